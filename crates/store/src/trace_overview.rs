//! What is known of a trace besides its invocations: its files, what could not be read of them,
//! and how much there is.

use rusqlite::params;

use super::event_rows::HAS_FINISHED;
use super::open::{Store, StoreError};
use super::query::query_list;
use super::trace_imports::{TraceFile, read_trace_files};

/// Records of a trace that gave no row, or gave one with a remark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceLeftover {
    /// Kind: other, rejected, duplicate or note.
    pub kind: String,
    /// Cause, or what the records are.
    pub cause: String,
    /// Number of the records, over all files.
    pub records: i64,
    /// Path of the first file that has such records.
    pub path: String,
    /// Numbers of the first lines in that file, as a JSON array.
    pub first_lines: String,
}

/// Function of a trace, with the number of its invocations that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionRows {
    /// Platform.
    pub platform: String,
    /// Name of the function.
    pub function: String,
    /// Number of rows.
    pub rows: i64,
}

/// Contents of a trace besides its invocations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TraceContents {
    /// Whether the log has the times of the invocations.
    pub has_times: bool,
    /// Number of the files.
    pub file_count: i64,
    /// First files, in the order in which they were read.
    pub files: Vec<TraceFile>,
    /// Records that gave no row, the most frequent first.
    pub leftovers: Vec<TraceLeftover>,
    /// Number of functions: the same name on two platforms counts twice.
    pub function_count: i64,
    /// Number of cells: functions by size, region and kind of start.
    pub cell_count: i64,
    /// Number of instances that the log names.
    pub instance_count: i64,
    /// Regions.
    pub regions: Vec<String>,
    /// Functions with the most invocations.
    pub busiest: Vec<FunctionRows>,
}

/// Most files, causes, regions and functions that an overview lists.
const LISTED: i64 = 12;

impl Store {
    /// Returns whether the invocations of a recording have the times of a log, so that it is known
    /// which period they cover.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn has_log_times(&self, recording: i64) -> Result<bool, StoreError> {
        self.connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM cell WHERE recording_id = ?1 AND offset_base_ns > 0)",
                [recording],
                |row| row.get(0),
            )
            .map_err(StoreError::for_action("search for the times of a trace"))
    }

    /// Returns whether a recording is a trace; `false` where there is none of that number.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn is_trace(&self, recording: i64) -> Result<bool, StoreError> {
        self.connection
            .query_row(
                "SELECT EXISTS (SELECT 1 FROM recording WHERE id = ?1 AND kind = 'trace')",
                [recording],
                |row| row.get(0),
            )
            .map_err(StoreError::for_action("search for a trace"))
    }

    /// Returns the regions of a platform of a trace; `None` stands for functions whose region the
    /// log does not have.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn platform_regions(
        &self,
        recording: i64,
        platform: &str,
    ) -> Result<Vec<Option<String>>, StoreError> {
        query_list(
            &self.connection,
            "list of regions",
            "SELECT DISTINCT c.region FROM cell c JOIN lane l ON l.id = c.lane_id
             WHERE c.recording_id = ?1 AND l.name = ?2 ORDER BY c.region LIMIT 100",
            params![recording, platform],
            |row| row.get(0),
        )
    }

    /// Returns the number of the newest recording that is no trace and has finished invocations;
    /// `None` if there is none.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn newest_measured_recording(&self) -> Result<Option<i64>, StoreError> {
        let sql =
            format!("SELECT MAX(id) FROM recording WHERE kind = 'recording' AND {HAS_FINISHED}");
        self.connection
            .query_row(&sql, [], |row| row.get(0))
            .map_err(StoreError::for_action("search for the newest recording"))
    }

    /// Returns how many rows the import of a trace has stored, by its own account, without
    /// counting them.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn imported_rows(&self, recording: i64) -> Result<i64, StoreError> {
        self.connection
            .query_row(
                "SELECT COALESCE(SUM(rows), 0) FROM trace_file WHERE recording_id = ?1",
                [recording],
                |row| row.get(0),
            )
            .map_err(StoreError::for_action("count of the rows of a trace"))
    }

    /// Returns the contents of a trace. It reads the index of the invocations, not these.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn trace_contents(&self, recording: i64) -> Result<TraceContents, StoreError> {
        let (function_count, cell_count, instance_count, file_count) = self
            .connection
            .query_row(
                "SELECT (SELECT COUNT(*) FROM (SELECT DISTINCT lane_id, workload FROM cell
                        WHERE recording_id = ?1)),
                    (SELECT COUNT(*) FROM cell WHERE recording_id = ?1),
                    (SELECT COUNT(*) FROM trace_instance WHERE recording_id = ?1),
                    (SELECT COUNT(*) FROM trace_file WHERE recording_id = ?1)",
                [recording],
                |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
            )
            .map_err(StoreError::for_action("count of what a trace has"))?;
        Ok(TraceContents {
            has_times: self.has_log_times(recording)?,
            file_count,
            files: read_trace_files(&self.connection, recording, LISTED)
                .map_err(StoreError::for_action("list of the files of a trace"))?,
            leftovers: self.trace_leftovers(recording)?,
            function_count,
            cell_count,
            instance_count,
            regions: query_list(
                &self.connection,
                "list of regions",
                "SELECT DISTINCT region FROM cell
                 WHERE recording_id = ?1 AND region IS NOT NULL ORDER BY region LIMIT ?2",
                params![recording, LISTED],
                |row| row.get(0),
            )?,
            busiest: self.busiest_functions(recording)?,
        })
    }

    fn trace_leftovers(&self, recording: i64) -> Result<Vec<TraceLeftover>, StoreError> {
        // With MIN, SQLite takes the other columns from the row that has it.
        query_list(
            &self.connection,
            "list of what was left over of a trace",
            "SELECT x.kind, x.cause, SUM(x.records) AS records, f.path, x.first_lines,
                MIN(f.position)
             FROM trace_leftover x JOIN trace_file f ON f.id = x.file_id
             WHERE f.recording_id = ?1 GROUP BY x.kind, x.cause
             ORDER BY x.kind = 'other', records DESC LIMIT ?2",
            params![recording, LISTED],
            |row| {
                Ok(TraceLeftover {
                    kind: row.get(0)?,
                    cause: row.get(1)?,
                    records: row.get(2)?,
                    path: row.get(3)?,
                    first_lines: row.get(4)?,
                })
            },
        )
    }

    fn busiest_functions(&self, recording: i64) -> Result<Vec<FunctionRows>, StoreError> {
        query_list(
            &self.connection,
            "list of functions",
            "SELECT l.name, c.workload, SUM((SELECT COUNT(*) FROM invocation i
                    WHERE i.cell_id = c.id)) AS rows
             FROM cell c JOIN lane l ON l.id = c.lane_id
             WHERE c.recording_id = ?1 GROUP BY l.id, c.workload
             ORDER BY rows DESC, c.workload LIMIT ?2",
            params![recording, LISTED],
            |row| {
                Ok(FunctionRows { platform: row.get(0)?, function: row.get(1)?, rows: row.get(2)? })
            },
        )
    }

    /// Returns the newest recordings whose plan is one of a sweep, with that plan, newest first.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn sweep_plans(&self) -> Result<Vec<(i64, String)>, StoreError> {
        query_list(
            &self.connection,
            "list of sweeps",
            "SELECT id, json_extract(plan, '$.sweep') FROM recording
             WHERE importing = 0 AND kind = 'recording' AND instr(plan, '\"sweep\"') > 0
                AND json_valid(plan) AND json_extract(plan, '$.sweep') IS NOT NULL
             ORDER BY id DESC LIMIT 200",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contents_count_and_lists_what_a_trace_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("c.db")).expect("made");
        store
            .connection
            .execute_batch(
                "INSERT INTO recording (id, started_at, status, owner, plan, host, kind)
                    VALUES (1, '', 'done', '', '{}', '{}', 'trace');
                 INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'aws-lambda');
                 INSERT INTO cell (id, recording_id, lane_id, workload, preset, start, region,
                        offset_base_ns)
                    VALUES (1, 1, 1, 'a', '128MB', 'cold', 'eu-west-1', 5),
                           (2, 1, 1, 'a', '128MB', 'warm', 'eu-west-1', 5),
                           (3, 1, 1, 'b', '512MB', 'warm', NULL, 5);
                 INSERT INTO invocation (cell_id, sequence, status, offset_ns, wall_ns)
                    VALUES (1, 1, 'ok', 5, 9), (2, 1, 'ok', 6, 9), (2, 2, 'ok', 7, 9),
                        (3, 1, 'failed', 8, 9);
                 INSERT INTO trace_file (id, recording_id, position, path, format, bytes, identity,
                        records, rows, digest)
                    VALUES (1, 1, 0, 'a.log', 'aws-lambda-report', 10, 'x', 6, 3, 'aa'),
                           (2, 1, 1, '-', 'aws-lambda-report', NULL, 'y', 1, 1, 'bb');
                 INSERT INTO trace_leftover VALUES (1, 'rejected', 'no duration', 2, '[3,4]'),
                    (2, 'rejected', 'no duration', 1, '[1]'), (1, 'other', 'START', 9, '[1]');",
            )
            .expect("filled");
        let seen = store.trace_contents(1).expect("read");
        assert!(seen.has_times && store.is_trace(1).expect("read"));
        assert!(!store.is_trace(2).expect("read"));
        let counts = (seen.function_count, seen.cell_count, seen.file_count, seen.instance_count);
        assert_eq!(counts, (2, 3, 2, 0));
        assert_eq!(seen.files.iter().map(|file| file.rows).collect::<Vec<_>>(), [3, 1]);
        let causes: Vec<_> =
            seen.leftovers.iter().map(|it| (it.cause.as_str(), it.records)).collect();
        assert_eq!(causes, [("no duration", 3), ("START", 9)], "what is wrong comes first");
        assert_eq!((&*seen.leftovers[0].path, &*seen.leftovers[0].first_lines), ("a.log", "[3,4]"));
        assert_eq!(seen.regions, ["eu-west-1"]);
        assert_eq!(store.imported_rows(1).expect("read"), 4);
        assert_eq!(store.newest_measured_recording().expect("read"), None, "a trace is none");
        let busiest: Vec<_> = seen.busiest.iter().map(|it| (&*it.function, it.rows)).collect();
        assert_eq!(busiest, [("a", 3), ("b", 1)]);
    }
}
