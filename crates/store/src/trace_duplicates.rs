//! Rows of one request that came more than once, in memory of a fixed size.
//!
//! A filter says of each row whether its request may have come before; those rows are noted. When
//! everything is stored, the rows of the noted requests are compared exactly. Copies of one row,
//! such as two exporters make, are removed but for the first. A further attempt at a request, which
//! has its identity too and is billed again, stays.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, params};

use cyclometer_trace::RequestId;
use cyclometer_trace::import::{Leftover, LeftoverKind, Leftovers};

/// Words of the filter: 128 MiB.
const WORDS: usize = 16 << 20;

/// Words of the block in which the bits of one request lie: a line of the processor's cache.
const BLOCK: usize = 8;

/// Bits that a request sets, one in a word.
const BITS: usize = 5;

/// Requests after which the filter knows too little: 10 bits for each.
const MOST_REQUESTS: u64 = 100_000_000;

/// Requests that are compared in one pass over the rows.
const REQUESTS_OF_PASS: u64 = 500_000;

/// Span within which two rows of a request are of one attempt: the provider waits longer before
/// the next.
const SAME_ATTEMPT: u64 = 30_000_000_000;

/// Cause under which duplicates are counted.
pub(super) const DUPLICATE: &str = "duplicate of a request";

/// Cause under which further attempts are counted.
const FURTHER_ATTEMPT: &str = "a further attempt at a request, which is kept";

/// Filter of the requests of a trace.
pub(super) struct SeenRequests {
    words: Vec<u64>,
    requests: u64,
}

impl SeenRequests {
    pub const fn new() -> Self {
        Self { words: Vec::new(), requests: 0 }
    }

    /// Adds a request; returns whether it may have been added before.
    pub fn insert(&mut self, request: &RequestId) -> bool {
        if self.requests >= MOST_REQUESTS {
            return false;
        }
        if self.words.is_empty() {
            // Zeroed by the kernel: memory is taken only where bits are set.
            self.words = vec![0; WORDS];
        }
        self.requests += 1;
        // Ids may be random, or count upwards.
        let hash = mix(request.0);
        let block = usize::try_from(hash % (WORDS / BLOCK) as u64).unwrap_or(0) * BLOCK;
        let mut bits = hash >> 24;
        let mut known = true;
        for word in &mut self.words[block..block + BITS] {
            let mask = 1 << (bits & 63);
            known &= *word & mask != 0;
            *word |= mask;
            bits >>= 6;
        }
        known
    }

    /// Returns a remark if duplicates can no longer be noticed.
    pub fn describe_limit(&self) -> Option<String> {
        (self.requests >= MOST_REQUESTS)
            .then(|| format!("duplicates were looked for among the first {MOST_REQUESTS} requests"))
    }
}

/// Mixes the bits of an id into 64 (the finalizer of `SplitMix64`, twice).
fn mix(id: [u8; 16]) -> u64 {
    let (low, high) = id.split_at(8);
    let word = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
    finalize(finalize(word(low)).wrapping_add(word(high)))
}

const fn finalize(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Row of a request, as far as copies are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AttemptRow {
    /// `None`: the log has no time.
    time: Option<i64>,
    format: usize,
    status: String,
    values: [Option<i64>; 5],
}

impl AttemptRow {
    /// Returns whether another row tells of this attempt too: equal values, or those of another
    /// format, unless the times are too far apart.
    fn is_same_attempt(&self, other: &Self) -> bool {
        let far = matches!(
            (self.time, other.time),
            (Some(one), Some(two)) if one.abs_diff(two) > SAME_ATTEMPT
        );
        let alike = self.status == other.status && self.values == other.values;
        !far && (alike || self.format != other.format)
    }
}

/// File of a trace, in the order of the files.
struct FileRows {
    id: i64,
    format: usize,
    last_invocation: i64,
}

/// Removes the duplicates of a trace, and counts them with their files.
pub(super) fn remove_duplicates(connection: &Connection, recording: i64) -> rusqlite::Result<()> {
    let (count, last): (u64, Option<i64>) = connection.query_row(
        "SELECT COUNT(*), MAX(invocation_id) FROM trace_candidate WHERE recording_id = ?1",
        [recording],
        |row| Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get(1)?)),
    )?;
    let Some(last) = last else { return Ok(()) };
    let files = read_files(connection, recording)?;
    let cells = read_cells(connection, recording)?;
    let passes = count.div_ceil(REQUESTS_OF_PASS);
    let mut found: HashMap<i64, Leftovers> = HashMap::new();
    for pass in 0..passes {
        let wanted = read_candidates(connection, recording, pass, passes)?;
        let first = first_row(connection, recording)?;
        compare_rows(connection, &wanted, (first, last), (&cells, &files), &mut found)?;
    }
    for (file, leftovers) in &found {
        store_leftovers(connection, *file, leftovers.all())?;
        let removed = leftovers.all().iter().filter(|it| it.kind == LeftoverKind::Duplicate);
        let removed: u64 = removed.map(|it| it.records).sum();
        connection.execute(
            "UPDATE trace_file SET rows = rows - ?2 WHERE id = ?1",
            params![file, removed.cast_signed()],
        )?;
    }
    connection.execute("DELETE FROM trace_candidate WHERE recording_id = ?1", [recording])?;
    Ok(())
}

fn read_files(connection: &Connection, recording: i64) -> rusqlite::Result<Vec<FileRows>> {
    let sql = "SELECT id, format, last_invocation FROM trace_file
         WHERE recording_id = ?1 AND last_invocation IS NOT NULL ORDER BY position";
    let mut formats: Vec<String> = Vec::new();
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([recording])?;
    let mut files = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(1)?;
        let format = formats.iter().position(|it| *it == name).unwrap_or_else(|| {
            formats.push(name);
            formats.len() - 1
        });
        files.push(FileRows { id: row.get(0)?, format, last_invocation: row.get(2)? });
    }
    Ok(files)
}

/// Reads the cells of a trace: rows of another import, made meanwhile, lie between its own.
fn read_cells(connection: &Connection, recording: i64) -> rusqlite::Result<HashSet<i64>> {
    let mut statement = connection.prepare("SELECT id FROM cell WHERE recording_id = ?1")?;
    statement.query_map([recording], |row| row.get(0))?.collect()
}

/// Adds the requests of all rows of a trace, in their order.
pub(super) fn add_stored_requests(
    connection: &Connection,
    recording: i64,
    seen: &mut SeenRequests,
) -> rusqlite::Result<()> {
    let cells = read_cells(connection, recording)?;
    let first = first_row(connection, recording)?;
    let mut statement = connection.prepare(
        "SELECT cell_id, request_id FROM invocation
         WHERE id >= ?1 AND request_id IS NOT NULL ORDER BY id",
    )?;
    let mut rows = statement.query([first])?;
    while let Some(row) = rows.next()? {
        if cells.contains(&row.get(0)?) {
            seen.insert(&RequestId(row.get(1)?));
        }
    }
    Ok(())
}

fn first_row(connection: &Connection, recording: i64) -> rusqlite::Result<i64> {
    // The ends of an index, cell by cell.
    connection.query_row(
        "SELECT COALESCE(MIN((SELECT MIN(id) FROM invocation i WHERE i.cell_id = c.id)), 0)
         FROM cell c WHERE c.recording_id = ?1",
        [recording],
        |row| row.get(0),
    )
}

/// Reads the requests of one pass; all rows of a request fall into the same.
fn read_candidates(
    connection: &Connection,
    recording: i64,
    pass: u64,
    passes: u64,
) -> rusqlite::Result<HashSet<[u8; 16]>> {
    let mut statement = connection.prepare(
        "SELECT i.request_id FROM trace_candidate t JOIN invocation i ON i.id = t.invocation_id
         WHERE t.recording_id = ?1",
    )?;
    let mut rows = statement.query([recording])?;
    let mut wanted = HashSet::new();
    while let Some(row) = rows.next()? {
        let request: [u8; 16] = row.get(0)?;
        if mix(request) % passes == pass {
            wanted.insert(request);
        }
    }
    Ok(wanted)
}

/// Compares the rows of some requests in the order of reading.
fn compare_rows(
    connection: &Connection,
    wanted: &HashSet<[u8; 16]>,
    range: (i64, i64),
    (cells, files): (&HashSet<i64>, &[FileRows]),
    found: &mut HashMap<i64, Leftovers>,
) -> rusqlite::Result<()> {
    let mut scan = connection.prepare(
        "SELECT id, request_id, status, offset_ns, run_ns, start_ns, wall_ns, billed_ns,
            memory_allocated_bytes, cell_id
         FROM invocation WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
    )?;
    let mut line =
        connection.prepare("SELECT line FROM trace_candidate WHERE invocation_id = ?1")?;
    let mut remove = connection.prepare("DELETE FROM invocation WHERE id = ?1")?;
    let mut kept: HashMap<[u8; 16], Vec<AttemptRow>> = HashMap::new();
    let mut rows = scan.query([range.0, range.1])?;
    let mut file = 0;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let Some(request) = row.get::<_, Option<[u8; 16]>>(1)? else { continue };
        if !wanted.contains(&request) || !cells.contains(&row.get(9)?) {
            continue;
        }
        while files.get(file).is_some_and(|it| it.last_invocation < id) {
            file += 1;
        }
        let Some(of) = files.get(file) else { break };
        let offset: i64 = row.get(3)?;
        let attempt = AttemptRow {
            time: (offset >= 1_000_000_000).then_some(offset),
            format: of.format,
            status: row.get(2)?,
            values: [row.get(4)?, row.get(5)?, row.get(6)?, row.get(7)?, row.get(8)?],
        };
        let attempts = kept.entry(request).or_default();
        let is_copy = attempts.iter().any(|it| it.is_same_attempt(&attempt));
        if attempts.is_empty() {
            attempts.push(attempt);
            continue;
        }
        let line: i64 = line.query_row([id], |row| row.get(0)).unwrap_or(0);
        let leftovers = found.entry(of.id).or_default();
        if is_copy {
            leftovers.count(LeftoverKind::Duplicate, DUPLICATE, line.unsigned_abs());
            remove.execute([id])?;
        } else {
            leftovers.count(LeftoverKind::Note, FURTHER_ATTEMPT, line.unsigned_abs());
            // As many as a provider makes; without a limit, one id in every row would take a
            // time that grows with the square.
            if attempts.len() < 64 {
                attempts.push(attempt);
            }
        }
    }
    Ok(())
}

/// Stores the leftovers of a file, which are those of all its records so far.
pub(super) fn store_leftovers(
    connection: &Connection,
    file: i64,
    leftovers: &[Leftover],
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO trace_leftover (file_id, kind, cause, records, first_lines)
         VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (file_id, kind, cause)
         DO UPDATE SET records = excluded.records, first_lines = excluded.first_lines",
    )?;
    for leftover in leftovers {
        let lines: Vec<String> = leftover.first_lines.iter().map(ToString::to_string).collect();
        statement.execute(params![
            file,
            leftover.kind.label(),
            leftover.cause,
            leftover.records.cast_signed(),
            format!("[{}]", lines.join(",")),
        ])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_knows_what_was_added_and_little_else() {
        let mut seen = SeenRequests::new();
        let id = |number: u32| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            RequestId(id)
        };
        let early = (0..200_000).filter(|number| seen.insert(&id(*number))).count();
        assert_eq!(early, 0, "5,000 bits for each request");
        assert!((0..200_000).all(|number| seen.insert(&id(number))));
    }

    #[test]
    fn copies_are_alike_and_close_in_time() {
        let row = AttemptRow {
            time: Some(5_000_000_000),
            format: 0,
            status: "ok".to_owned(),
            values: [Some(1), None, Some(1), Some(2), Some(3)],
        };
        assert!(row.is_same_attempt(&row.clone()));
        let later = AttemptRow { time: Some(65_000_000_000), ..row.clone() };
        assert!(!row.is_same_attempt(&later), "a minute later it is tried again");
        let timeless = AttemptRow { time: None, ..row.clone() };
        assert!(row.is_same_attempt(&timeless));
        let other =
            AttemptRow { values: [Some(9), None, Some(9), Some(9), Some(3)], ..row.clone() };
        assert!(!row.is_same_attempt(&other), "other values in one log");
        let insights = AttemptRow { format: 1, ..other };
        assert!(row.is_same_attempt(&insights), "rounded by another exporter");
    }
}
