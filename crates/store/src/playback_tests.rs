//! Playback of a database that was edited by hand.

use super::*;

#[test]
fn a_cell_is_played_in_its_own_lane_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("c.db")).expect("made");
    let run = |sql: &str| store.connection.execute_batch(sql).expect("written");
    run("INSERT INTO recording (id, started_at, status, owner, plan, host)
            VALUES (1, '', 'done', '', '{}', '{}'), (2, '', 'done', '', '{}', '{}');
         INSERT INTO lane (id, recording_id, name)
            VALUES (3, 1, 'native'), (4, 1, 'docker'), (5, 2, 'native');
         INSERT INTO cell (id, recording_id, lane_id, workload, preset, start)
            VALUES (7, 1, 4, 'nop', 'quick', 'cold');");
    let played = store.playback_recording(1).expect("read");
    assert_eq!(played.cells[0].lane, 1, "the second");
    run("UPDATE cell SET lane_id = 5 WHERE id = 7");
    let error = store.playback_recording(1).expect_err("another recording's lane").to_string();
    assert!(error.starts_with("cell 7 of recording 1 is in a lane of another"), "{error}");
}
