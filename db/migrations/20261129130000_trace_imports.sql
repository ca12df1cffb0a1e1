-- What an import needs to notice the same file, and two rows of one request.

-- Digest of the file as it was read, in hexadecimal; NULL: not read to its end.
ALTER TABLE trace_file ADD COLUMN content TEXT;
-- The file's last row. Rows of a trace are numbered in the order of its files, so
-- that a row is of the first file whose last row is not before it.
ALTER TABLE trace_file ADD COLUMN last_invocation INTEGER;
-- Bytes of the file of rejected records, and records in it, when this file was read.
ALTER TABLE trace_file ADD COLUMN rejects_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE trace_file ADD COLUMN rejects_written INTEGER NOT NULL DEFAULT 0;

-- Rows whose request may have come before: looked at when everything is stored,
-- and emptied then.
CREATE TABLE trace_candidate (
    invocation_id INTEGER PRIMARY KEY,
    recording_id  INTEGER NOT NULL REFERENCES recording ON DELETE CASCADE,
    file_id       INTEGER NOT NULL,
    line          INTEGER NOT NULL
) STRICT;
CREATE INDEX trace_candidate_recording ON trace_candidate (recording_id);
