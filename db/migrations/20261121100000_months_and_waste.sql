-- Simulations grow from sums of invocations to months: allowances, tiers and
-- fees are applied to the volume of a month, several recordings may be replayed
-- at once, and every coarse bill is split into what was used and what was not.

-- What the replay was asked for, as JSON: filters, volume, what-if values.
ALTER TABLE simulation ADD COLUMN options TEXT NOT NULL DEFAULT '{}';
ALTER TABLE simulation ADD COLUMN label TEXT;

-- simulation.recording_id is the first of these.
CREATE TABLE simulation_recording (
    simulation_id INTEGER NOT NULL REFERENCES simulation ON DELETE CASCADE,
    recording_id  INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    PRIMARY KEY (simulation_id, recording_id)
) STRICT, WITHOUT ROWID;
INSERT INTO simulation_recording SELECT id, recording_id FROM simulation;

-- Billed quantity and its unit: the arithmetic can be followed without the model.
ALTER TABLE line_item ADD COLUMN quantity TEXT;
ALTER TABLE line_item ADD COLUMN unit TEXT;

-- A month's bill of one lane, workload, preset and kind of start, position by
-- position, after allowances, tiers, packages and the model's rounding. Money
-- and quantities are exact decimals; where there is no finite decimal (a price
-- per hour, say) `exact` has the fraction, and the decimal is cut at 40 places.
CREATE TABLE settlement (
    simulation_id INTEGER NOT NULL REFERENCES simulation ON DELETE CASCADE,
    model    TEXT NOT NULL,
    cell_id  INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    position TEXT NOT NULL,
    unit     TEXT NOT NULL,
    -- Requests of the month that the cell's invocations stand for.
    requests TEXT NOT NULL,
    quantity TEXT NOT NULL,
    free     TEXT NOT NULL,
    billable TEXT NOT NULL,
    amount   TEXT NOT NULL,
    exact    TEXT,
    PRIMARY KEY (simulation_id, model, cell_id, position)
) STRICT, WITHOUT ROWID;

-- The parts of a bill before allowances; they add up to it exactly.
CREATE TABLE waste (
    simulation_id INTEGER NOT NULL REFERENCES simulation ON DELETE CASCADE,
    model    TEXT NOT NULL,
    cell_id  INTEGER NOT NULL REFERENCES cell ON DELETE CASCADE,
    part     TEXT NOT NULL CHECK (part IN
        ('used', 'idle', 'headroom', 'rounding', 'startup', 'fees', 'unmeasured')),
    amount   TEXT NOT NULL,
    exact    TEXT,
    PRIMARY KEY (simulation_id, model, cell_id, part)
) STRICT, WITHOUT ROWID;

ALTER TABLE bill ADD COLUMN exact TEXT;
ALTER TABLE line_item ADD COLUMN exact TEXT;

-- Deleting a recording deletes its simulations: without these, by full scans.
CREATE INDEX bill_invocation ON bill (invocation_id);
CREATE INDEX line_item_cell ON line_item (cell_id);
CREATE INDEX settlement_cell ON settlement (cell_id);
CREATE INDEX waste_cell ON waste (cell_id);
CREATE INDEX simulation_of ON simulation_recording (recording_id);

DROP VIEW v_bill;
CREATE VIEW v_bill AS
SELECT b.simulation_id AS simulation, c.recording_id AS recording, b.model, m.currency,
       l.name AS lane, c.workload, c.preset, c.start, i.sequence, b.amount,
       b.invocation_id AS invocation, b.exact
FROM bill b
JOIN simulation_model m ON m.simulation_id = b.simulation_id AND m.model = b.model
JOIN invocation i ON i.id = b.invocation_id
JOIN cell c ON c.id = i.cell_id
JOIN lane l ON l.id = c.lane_id;

CREATE VIEW v_simulation AS
SELECT s.id AS simulation, s.label, s.created_at, s.invocations, s.options,
       (SELECT group_concat(recording_id, ' ') FROM simulation_recording r
        WHERE r.simulation_id = s.id) AS recordings,
       (SELECT group_concat(model, ' ') FROM simulation_model m
        WHERE m.simulation_id = s.id) AS models
FROM simulation s;

-- List price of all invocations of a cell, charge by charge; NULL: refused.
CREATE VIEW v_line_item AS
SELECT x.simulation_id AS simulation, c.recording_id AS recording, x.model, m.currency,
       m.granularity, l.name AS lane, c.workload, c.preset, c.start, x.charge,
       x.quantity, x.unit, x.amount, x.invocations, x.refused, x.note, x.exact, x.cell_id AS cell
FROM line_item x
JOIN simulation_model m ON m.simulation_id = x.simulation_id AND m.model = x.model
JOIN cell c ON c.id = x.cell_id
JOIN lane l ON l.id = c.lane_id;

CREATE VIEW v_settlement AS
SELECT x.simulation_id AS simulation, c.recording_id AS recording, x.model, m.currency,
       l.name AS lane, c.workload, c.preset, c.start, x.position, x.requests,
       x.quantity, x.free, x.billable, x.unit, x.amount, x.exact, x.cell_id AS cell
FROM settlement x
JOIN simulation_model m ON m.simulation_id = x.simulation_id AND m.model = x.model
JOIN cell c ON c.id = x.cell_id
JOIN lane l ON l.id = c.lane_id;

CREATE VIEW v_waste AS
SELECT x.simulation_id AS simulation, c.recording_id AS recording, x.model, m.currency,
       l.name AS lane, c.workload, c.preset, c.start, x.part, x.amount, x.exact, x.cell_id AS cell
FROM waste x
JOIN simulation_model m ON m.simulation_id = x.simulation_id AND m.model = x.model
JOIN cell c ON c.id = x.cell_id
JOIN lane l ON l.id = c.lane_id;
