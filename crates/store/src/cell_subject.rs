//! Subjects of cells: arguments, input, digests and limits of the function that
//! was run.

use rusqlite::{Transaction, params};
use sha2::{Digest, Sha256};

use super::event_rows::to_sql_integer;
use super::open::{Store, StoreError};
use super::query::query_list;
use super::stored_words::read_cell_key;
use cyclometer_core::cell_key::CellKey;
use cyclometer_workload::Job;
use cyclometer_workload::hex;

/// Function that a cell ran, with its input and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellSubject {
    /// Key of the cell.
    pub key: CellKey,
    /// Arguments without the name of the program.
    pub arguments: Vec<String>,
    /// Standard input: `none`, `counter`, or a SHA-256.
    pub input: String,
    /// Length of the input in bytes.
    pub input_bytes: i64,
    /// SHA-256 of the WebAssembly module.
    pub module: Option<String>,
    /// SHA-256 of the native program.
    pub program: Option<String>,
    /// SHA-256 of the expected output.
    pub expected: Option<String>,
    /// Memory that the function was given, in bytes.
    pub memory: i64,
    /// Time limit of an invocation, in nanoseconds.
    pub timeout: i64,
    /// Further settings as a JSON object: image, environment, folders, loosened rules, CPU share;
    /// `None`: nothing of these.
    pub settings: Option<String>,
    /// Name and size of each part that is shipped with the function: the layers
    /// of an image, a module, a program.
    pub shipped: String,
}

/// Inserts the subject of a cell.
pub(super) fn insert_subject(
    transaction: &Transaction<'_>,
    cell: i64,
    job: &Job,
) -> rusqlite::Result<()> {
    let preset = &job.preset;
    let sha256 = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    // A file that cannot be read now cannot be run either: the lane reports
    // why.
    let program = job.workload.native.as_ref().and_then(|native| native.read_bytes().ok());
    transaction.execute(
        "INSERT INTO subject (cell_id, arguments, input, input_bytes, module_sha256,
            program_sha256, expected_sha256, memory_limit_bytes, timeout_ns, output_limit_bytes,
            settings)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            cell,
            serde_json::json!(preset.args).to_string(),
            preset.stdin.content_identity(),
            to_sql_integer(preset.stdin.len()),
            job.workload.wasm.as_deref().map(sha256),
            program.as_deref().map(sha256),
            preset.expected.map(|expected| hex(&expected.sha256)),
            to_sql_integer(job.limits.memory.0),
            to_sql_integer(job.limits.timeout.0),
            to_sql_integer(job.limits.output.0),
            job.settings_json().map(|settings| settings.to_string()),
        ],
    )?;
    Ok(())
}

impl Store {
    /// Returns the subject of each cell of a recording, in the order of the
    /// plan; empty for recordings made before this was kept.
    ///
    /// # Errors
    /// Fails when the database cannot be read.
    pub fn cell_subjects(&self, recording: i64) -> Result<Vec<CellSubject>, StoreError> {
        query_list(
            &self.connection,
            "list of what was run",
            "SELECT workload, preset, lane, start, arguments, input, input_bytes, module_sha256,
                program_sha256, expected_sha256, memory_limit_bytes, timeout_ns,
                COALESCE((SELECT group_concat(name || ' ' || bytes, ', ')
                    FROM (SELECT name, bytes FROM v_footprint f
                        WHERE f.cell = v_subject.cell AND f.kind = 'function'
                        ORDER BY f.position)), ''), cell, settings
             FROM v_subject WHERE recording = ?1 ORDER BY cell",
            [recording],
            |row| {
                let (arguments, cell): (String, i64) = (row.get(4)?, row.get(13)?);
                Ok(CellSubject {
                    key: read_cell_key(row, [2, 0, 1, 3], format_args!("cell {cell}"))?,
                    // Text that is not a list is shown unchanged, and never as
                    // no arguments.
                    arguments: serde_json::from_str(&arguments).unwrap_or_else(|_| vec![arguments]),
                    input: row.get(5)?,
                    input_bytes: row.get(6)?,
                    module: row.get(7)?,
                    program: row.get(8)?,
                    expected: row.get(9)?,
                    memory: row.get(10)?,
                    timeout: row.get(11)?,
                    shipped: row.get(12)?,
                    settings: row.get(14)?,
                })
            },
        )
    }
}
