//! Recordings in memory with round numbers, for tests.

use cyclometer_core::cell_key::CellKey;
use cyclometer_core::invocation::StartKind;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_lanes::Status;
use cyclometer_store::PlayedPart;
use cyclometer_store::{PlaybackCell, PlaybackLane, PlaybackRecording, PlaybackRow, RecordingPart};

/// Nanoseconds of a millisecond.
pub const MS: u64 = 1_000_000;

/// Returns an invocation of a cell: the time of its request, how long it took to start
/// and to run, and its CPU time, in milliseconds.
pub(crate) fn played_row(
    id: i64,
    cell: i64,
    at: u64,
    startup: u64,
    run: u64,
    cpu: Option<u64>,
) -> PlaybackRow {
    PlaybackRow {
        id,
        cell,
        sequence: u32::try_from(id).expect("small"),
        status: Status::Ok,
        offset: Nanos(at * MS),
        end: Nanos((at + startup + run) * MS),
        create: Some(0),
        start: Some(startup * MS),
        run: Some(run * MS),
        cpu: cpu.map(|it| it * MS),
        cycles: None,
        ref_cycles: Some(run * 1_000_000),
        peak: Some(Bytes(64 << 20)),
        allocated: Some(Bytes(128 << 20)),
    }
}

/// Describes a recording of two lanes: cells 0 and 1 belong to the first, 2 to the
/// second.
pub(crate) fn two_lane_recording(rows: &[PlaybackRow]) -> PlaybackRecording {
    let lane = |name: &str| PlaybackLane { name: name.into(), unavailable: None };
    let cell = |id: i64, lane: usize, workload: &str| PlaybackCell {
        id,
        lane,
        key: CellKey::new(["native", "wasmtime"][lane], workload, "quick", StartKind::Warm),
        user_only: false,
        estimated: false,
    };
    PlaybackRecording {
        id: 7,
        label: None,
        started_at: "2026-11-21T00:00:00.000Z".to_owned(),
        status: "done".to_owned(),
        sample_interval: Some(Nanos(10 * MS)),
        lanes: vec![lane("native"), lane("wasmtime")],
        cells: vec![cell(0, 0, "nop"), cell(1, 0, "nbody"), cell(2, 1, "nop")],
        sources: Vec::new(),
        invocations: rows.len() as u64,
        newest: rows.iter().map(|row| row.id).max().unwrap_or(0),
        end: rows.iter().map(|row| row.end).max().unwrap_or(Nanos(0)),
    }
}

/// Returns a recording of these rows, given in the order of their ends.
pub fn played_part(rows: &[PlaybackRow]) -> PlayedPart {
    let about = two_lane_recording(rows);
    let key = RecordingPart::first_of(7, about.newest, cyclometer_store::MAX_PART_INVOCATIONS);
    PlayedPart::from_rows(about, key, 0, rows)
}
