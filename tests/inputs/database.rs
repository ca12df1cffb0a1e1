//! Runs everything that reads a database over one that somebody else made: for fuzzing
//! and for tests of damaged files.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use cyclometer::pricing::PriceCatalog;
use cyclometer::report::simulation_report::SimulationReport;
use cyclometer::report::{answer, comparison};
use cyclometer::store::{AmountKind, HistoryFilter, RecordingPart, ReplayPlan, Selection, Store};

/// Number of items of each kind that are read.
const FEW: u32 = 2;

/// Writes an image of a database to a file and reads all of it.
///
/// # Panics
/// Panics if a reader does, or if there is no place for a file.
pub(super) fn database_image_survives(image: &[u8]) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let shared = Path::new("/dev/shm");
    let folder = if shared.is_dir() { shared.to_owned() } else { std::env::temp_dir() };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = folder.join(format!("cyclometer-image-{}-{number}.db", std::process::id()));
    let file = TemporaryFile(path);
    std::fs::write(&file.0, image).expect("a place for a file");
    database_survives(&file.0);
}

/// A file that is removed when this is dropped.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Runs everything that `history`, `replay` and the observatory read over a database, and
/// lays out the result. Errors are accepted; the file is not changed.
///
/// # Panics
/// Panics if a reader does.
fn database_survives(path: &Path) {
    let Ok(mut store) = Store::open_frozen(path) else { return };
    let filter = HistoryFilter { limit: Some(FEW), ..HistoryFilter::default() };
    let _ = store.count_items();
    let _ = store.newest_recordings(FEW);
    let recordings = store.list_recordings(&filter).unwrap_or_default();
    let simulations = store.list_simulations(&filter).unwrap_or_default();
    for (recording, _) in &recordings {
        recording_survives(&mut store, recording.id);
    }
    for simulation in &simulations {
        let _ = store.simulation_info(simulation.id);
        let _ = store.priced_cells(simulation.id);
        let _ = store.used_models(simulation.id);
        for part in [AmountKind::Charges, AmountKind::Settlement, AmountKind::Waste] {
            let _ = store.simulation_amounts(simulation.id, part);
        }
        let _ = SimulationReport::load(&store, simulation.id).map(|it| it.heading_lines());
    }
    let _ = store.find_invocation(1);
}

fn recording_survives(store: &mut Store, recording: i64) {
    let _ = store.recording_details(recording);
    let _ = store.recording_size(recording);
    let _ = store.count_invocations(recording);
    let _ = store.unavailable_lanes(recording);
    let _ = store.merged_meter_sources(recording);
    let _ = store.recording_circumstances(recording);
    let _ = store.recorded_cells(recording);
    let _ = store.footprint_parts(recording);
    let _ = store.cell_subjects(recording);
    let _ = store.throttling_counts(recording);
    let _ = store.cell_series(&[recording]);
    let _ = store.lanes_of_recordings(&[recording]);
    let contracts =
        answer::headline_contracts(&PriceCatalog::with_builtin_models()).unwrap_or_default();
    let plan = ReplayPlan::for_recordings(vec![recording], contracts);
    let summary = store.replay_and_save(&plan).ok().map(|it| it.summary);
    let selection = Selection { recordings: vec![recording], ..Selection::default() };
    let _ = store.first_failures(&selection, |_| true);
    let _ = store.cells_without_runs(&selection);
    if let Ok(cells) = store.cell_stats(recording) {
        let _ = comparison::build_table(&cells, summary.as_ref()).render_wrapped(80);
        let _ = comparison::list_footnotes(&cells, summary.as_ref());
        let _ = comparison::list_failures(&cells);
    }
    if let Ok(runs) = store.cell_runs(recording) {
        let _ = answer::render_answers(&answer::build_answers(&runs, summary.as_ref()), 80);
    }
    if let Ok(played) = store.playback_recording(recording) {
        let part = RecordingPart::first_of(recording, i64::MAX, 64);
        let _ = store.count_before_part(&part);
        let _ = store.overlap_groups(recording, i64::MAX);
        for row in store.playback_rows(&part).unwrap_or_default().iter().take(4) {
            let _ = store.playback_invocation(row.id);
            let _ = store.cpu_samples(row.cell, row.id, FEW);
        }
        drop(played);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a database with a recording of every kind of item.
    fn image() -> Vec<u8> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        drop(Store::open(&path).expect("made"));
        let connection = rusqlite::Connection::open(&path).expect("opened");
        connection
            .execute_batch(
                "INSERT INTO recording (id, started_at, status, owner, plan, host)
                    VALUES (1, '2026-11-21T00:00:00Z', 'done', 'x', '{}', '{}');
                 INSERT INTO lane (id, recording_id, name) VALUES (1, 1, 'native');
                 INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
                    VALUES (1, 1, 1, 'nop', 'quick', 'cold');
                 INSERT INTO invocation (id, cell_id, sequence, status, offset_ns, wall_ns, run_ns)
                    VALUES (1, 1, 1, 'ok', 0, 9, 9), (2, 1, 2, 'failed', 3, 9, 9);
                 INSERT INTO sample VALUES (1, 1, 'memory_rss', 5);
                 INSERT INTO simulation (id, recording_id, created_at, inputs, invocations)
                    VALUES (1, 1, '', 'x', 2);
                 INSERT INTO simulation_model VALUES (1, 'm', 'aa', 'USD', 'coarse', '');
                 INSERT INTO waste (simulation_id, model, cell_id, part, amount)
                    VALUES (1, 'm', 1, 'used', '1/');
                 PRAGMA journal_mode = DELETE;",
            )
            .expect("filled");
        drop(connection);
        std::fs::read(&path).expect("readable")
    }

    #[test]
    fn databases_with_any_byte_changed_are_read_or_refused() {
        let image = image();
        database_image_survives(&image);
        database_image_survives(&[]);
        // Steps that share no factor with the size of a page.
        for at in (0..image.len()).step_by(997) {
            let mut damaged = image.clone();
            damaged[at] ^= 0x41;
            database_image_survives(&damaged);
            database_image_survives(&image[..at]);
        }
    }
}
