-- Simulations: a recording replayed through price models. Money is text, an
-- exact decimal: a REAL would round it.

CREATE TABLE simulation (
    id           INTEGER PRIMARY KEY,
    recording_id INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    created_at   TEXT NOT NULL,
    -- Digest of the recording's state and the models: the same replay twice is
    -- one simulation.
    inputs       TEXT NOT NULL UNIQUE,
    invocations  INTEGER NOT NULL
) STRICT;

-- A price model as it was when it was used.
CREATE TABLE simulation_model (
    simulation_id INTEGER NOT NULL REFERENCES simulation ON DELETE CASCADE,
    model    TEXT NOT NULL,
    digest   TEXT NOT NULL,
    currency TEXT NOT NULL,
    granularity TEXT NOT NULL,
    text     TEXT NOT NULL,
    PRIMARY KEY (simulation_id, model)
) STRICT, WITHOUT ROWID;

-- What one invocation costs under one model.
CREATE TABLE bill (
    simulation_id INTEGER NOT NULL REFERENCES simulation ON DELETE CASCADE,
    model         TEXT NOT NULL,
    invocation_id INTEGER NOT NULL REFERENCES invocation ON DELETE CASCADE,
    amount        TEXT NOT NULL,
    PRIMARY KEY (simulation_id, model, invocation_id)
) STRICT, WITHOUT ROWID;

-- Totals by cell and charge; `refused` instead of an amount where the lane
-- lacks a meter.
CREATE TABLE line_item (
    simulation_id INTEGER NOT NULL REFERENCES simulation ON DELETE CASCADE,
    model    TEXT NOT NULL,
    cell_id  INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    charge   TEXT NOT NULL,
    amount   TEXT,
    invocations INTEGER NOT NULL,
    refused  TEXT,
    note     TEXT,
    PRIMARY KEY (simulation_id, model, cell_id, charge)
) STRICT, WITHOUT ROWID;
