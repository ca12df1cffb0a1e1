//! Tests of writers that have to wait for a second connection.

use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::busy_retry::WriteNotice;
use super::*;
use cyclometer_core::meter::{Meter, Provenances, Source};
use cyclometer_core::units::Nanos;
use cyclometer_workload::Catalog;
use cyclometer_workload::{Cancel, Job, Outcome, Sample, StartKind, Status};

const LONG: Duration = Duration::from_secs(20);

fn header() -> RecordingHeader {
    let text = "{}".to_owned();
    RecordingHeader {
        label: None,
        owner: "x".to_owned(),
        plan: text.clone(),
        host: text,
        sample_interval: None,
    }
}

fn job() -> Job {
    let catalog = Catalog::load_builtin().expect("valid");
    let workload = catalog.get("nop").expect("there");
    let preset = workload.find_preset("quick").expect("there").clone();
    let (start, limits) = (StartKind::Warm, preset.limits);
    let (workload, preset) = (workload.clone(), std::sync::Arc::new(preset));
    Job { limits, ..Job::new(0, workload, preset, start) }
}

/// Creates events for a lane and a cell in it.
fn preamble() -> [Event; 2] {
    let lane = Event::Lane {
        name: "a".to_owned(),
        version: "1".to_owned(),
        note: String::new(),
        unavailable: None,
    };
    [lane, Event::Cell { lane: "a".to_owned(), job: std::sync::Arc::new(job()) }]
}

/// Creates an invocation with so many samples, whose sources are known.
fn finished(sequence: u32, samples: u64) -> Event {
    let mut provenances = Provenances::default();
    provenances.set_source(Meter::Wall, Source::Clock, "by hand");
    let mut outcome = Outcome::failed_to_start(&job(), Nanos(0), "none");
    outcome.status = Status::Ok;
    outcome.provenances = std::sync::Arc::new(provenances);
    let sample = |at| Sample { at: Nanos(at), meter: Meter::MemoryRss, value: at };
    let samples = (0..samples).map(sample).collect();
    Event::Finished { cell: 0, sequence, outcome: Box::new(outcome), samples }
}

type Heard = mpsc::Receiver<WriteNotice>;

/// Starts a patient writer over `store`; returns it with its notices and the
/// events that it has stored.
fn patient(store: Store, give_up: &Cancel) -> (Writer, Heard, mpsc::Receiver<Box<Event>>) {
    let (says, heard) = mpsc::channel();
    let (keeps, kept) = mpsc::channel();
    let tell = Box::new(move |notice| says.send(notice).unwrap_or(()));
    store.connection.busy_timeout(RetryPolicy::BUSY_TIMEOUT).expect("set");
    let store = store.with_retry_policy(Some(RetryPolicy::new(tell, give_up.clone())));
    let stored = Box::new(move |event| keeps.send(event).unwrap_or(()));
    (Writer::start(store, &header(), stored).expect("a writer"), heard, kept)
}

/// Returns why the writer waits; `None` when it goes on.
fn hear(heard: &Heard) -> Option<String> {
    match heard.recv_timeout(LONG).expect("it says something") {
        WriteNotice::Waiting(reason) => Some(reason),
        WriteNotice::Resumed(_) => None,
        WriteNotice::Remark(remark) => panic!("{remark}"),
    }
}

fn other(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("opened");
    connection.busy_timeout(LONG).expect("set");
    connection
}

fn count(connection: &Connection, what: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {what}");
    connection.query_row(&sql, [], |row| row.get(0)).expect("counted")
}

#[test]
fn a_patient_writer_waits_for_a_lock_and_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let (mut writer, heard, kept) = patient(Store::open(&path).expect("made"), &Cancel::default());
    let lock = other(&path);
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for event in preamble().into_iter().chain((1..=3).map(|sequence| finished(sequence, 2))) {
        writer.send_event(event).expect("queued");
    }
    let settling = std::thread::spawn(move || (writer.flush_events(), writer));
    let reason = hear(&heard).expect("it waits");
    assert!(reason.ends_with(": wait for it to end, or end it"), "{reason}");
    // More than one try; the reason is the same and reported once.
    std::thread::sleep(Duration::from_millis(1_200));
    assert!(!settling.is_finished() && heard.try_recv().is_err());
    assert!(kept.try_recv().is_err(), "nothing is told as stored before it is");
    lock.execute_batch("COMMIT").expect("let go");
    assert_eq!(hear(&heard), None);
    let (settled, writer) = settling.join().expect("no panic");
    settled.expect("safe");
    assert_eq!(kept.try_iter().count(), 5);
    assert_eq!((count(&lock, "invocation"), count(&lock, "sample")), (3, 6));
    drop(writer.finish().expect("written"));
    assert!(heard.try_recv().is_err(), "told once");
}

/// Creates a database that may not grow, in a file that has free pages as soon
/// as somebody deletes the filler.
fn full(path: &Path) -> (Store, Connection) {
    let store = Store::open(path).expect("made");
    let other = other(path);
    other
        .execute_batch(
            "CREATE TABLE filler (x);
             INSERT INTO filler VALUES (zeroblob(4000000));",
        )
        .expect("filled");
    // One page more, for the row of the recording.
    let pages: i64 =
        store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("counted");
    store.connection.pragma_update(None, "max_page_count", pages + 1).expect("set");
    (store, other)
}

#[test]
fn a_patient_writer_waits_for_space_and_forgets_what_was_rolled_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let (store, other) = full(&path);
    let (mut writer, heard, kept) = patient(store, &Cancel::default());
    // All in one transaction: it fails at the samples, after lane, cell,
    // invocations and sources were inserted.
    other.execute_batch("BEGIN IMMEDIATE").expect("locked");
    let events = [finished(1, 1), finished(2, 50_000), finished(3, 1)];
    for event in preamble().into_iter().chain(events) {
        writer.send_event(event).expect("queued");
    }
    let settling = std::thread::spawn(move || (writer.flush_events(), writer));
    assert!(hear(&heard).is_some_and(|reason| reason.contains("lock")));
    other.execute_batch("COMMIT").expect("let go");
    let reason = hear(&heard).expect("it waits");
    assert_eq!(reason, "the disk is full: free some space");
    assert_eq!((count(&other, "lane"), count(&other, "invocation")), (0, 0));
    other.execute_batch("DELETE FROM filler").expect("freed");
    assert_eq!(hear(&heard), None);
    let (settled, writer) = settling.join().expect("no panic");
    settled.expect("safe");
    assert_eq!(kept.try_iter().count(), 5);
    assert_eq!((count(&other, "v_invocation"), count(&other, "v_sample")), (3, 50_002));
    assert_eq!(count(&other, "lane_meter WHERE meter = 'wall' AND source = 'clock'"), 1);
    drop(writer.finish().expect("written"));
}

#[test]
fn invocations_are_sent_in_bundles_and_other_events_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let (mut writer, _heard, kept) = patient(Store::open(&path).expect("made"), &Cancel::default());
    let next = || kept.recv_timeout(Duration::from_secs(20)).expect("stored");
    for event in preamble() {
        writer.send_event(event).expect("queued");
        next();
    }
    // A bundle that is full goes by itself; what is behind it waits for an event of another kind,
    // or for whoever waits for it.
    for sequence in 1..=130 {
        writer.send_event(finished(sequence, 0)).expect("queued");
    }
    (0..128).for_each(|_| drop(next()));
    assert!(kept.recv_timeout(Duration::from_millis(50)).is_err());
    writer.send_event(Event::Ended { status: Status::Ok, sampler: None }).expect("queued");
    (0..3).for_each(|_| drop(next()));
    writer.send_event(finished(131, 0)).expect("queued");
    let store = writer.finish().expect("written");
    assert_eq!(count(&store.connection, "invocation"), 131, "in their order");
    let sql = "SELECT count(*) FROM invocation WHERE sequence = id";
    let in_order: i64 = store.connection.query_row(sql, [], |row| row.get(0)).expect("counted");
    assert_eq!(in_order, 131);
}

#[test]
fn a_writer_that_gives_up_keeps_what_was_measured_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let rescued = folder.path().join("c.rescued.db");
    let give_up = Cancel::default();
    let (mut writer, heard, _kept) = patient(Store::open(&path).expect("made"), &give_up);
    let lock = other(&path);
    lock.execute_batch("BEGIN IMMEDIATE").expect("locked");
    for event in preamble().into_iter().chain((1..=3).map(|sequence| finished(sequence, 0))) {
        writer.send_event(event).expect("queued");
    }
    assert!(hear(&heard).is_some());
    let begun = Instant::now();
    give_up.cancel();
    let error = writer.flush_events().expect_err("it gave up").to_string();
    // A second of grace; the rest is for slow machines.
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    assert!(error.contains("another program holds its lock"), "{error}");
    assert!(error.contains(&format!("--db {}", rescued.display())), "{error}");
    assert_eq!(writer.finish().expect_err("no database").to_string(), error);
    lock.execute_batch("COMMIT").expect("let go");
    assert_eq!(count(&lock, "invocation"), 0);
    assert_eq!(count(&other(&rescued), "invocation"), 3);
}

#[test]
fn one_last_try_may_work() {
    let folder = tempfile::tempdir().expect("a folder");
    let give_up = Cancel::default();
    give_up.cancel();
    let store = Store::open(&folder.path().join("c.db")).expect("made");
    let (mut writer, _heard, kept) = patient(store, &give_up);
    for event in preamble() {
        writer.send_event(event).expect("queued");
    }
    writer.flush_events().expect("nothing is in the way");
    assert_eq!(kept.try_iter().count(), 2);
}

#[test]
fn an_impatient_writer_fails_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _other) = full(&folder.path().join("c.db"));
    let mut writer = Writer::start(store, &header(), Box::new(drop)).expect("a writer");
    for event in preamble().into_iter().chain([finished(1, 50_000)]) {
        writer.send_event(event).expect("queued");
    }
    let error = writer.flush_events().expect_err("it cannot wait").to_string();
    assert!(error.contains("full"), "{error}");
    // A full disk is rescued from to the temporary folder, which is not the test's own.
    let rescued = error.rsplit_once("--db ").map(|(_, path)| path.trim().to_owned());
    std::fs::remove_file(rescued.expect("a path")).expect("it was rescued");
}

#[test]
fn what_is_about_to_happen_does_not_reach_the_thread() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("c.db")).expect("made");
    let (keeps, kept) = mpsc::channel();
    let stored: StoredCallback = Box::new(move |event| keeps.send(event).unwrap_or(()));
    let mut writer = Writer::start(store, &header(), stored).expect("a writer");
    let [lane, cell] = preamble();
    for event in [
        lane,
        cell,
        Event::Preparing { cell: 0 },
        Event::Started { cell: 0, sequence: 1, count: 1 },
        finished(1, 0),
    ] {
        writer.send_event(event).expect("queued");
    }
    drop(writer.finish().expect("written"));
    let kept: Vec<Box<Event>> = kept.try_iter().collect();
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|event| !event.is_transient()));
}

/// Creates the state of the thread of a writer.
fn scribe(path: &Path) -> WriterThread {
    let store = Store::open(path).expect("made");
    let recording = insert_recording(&header(), &store.connection).expect("entered");
    WriterThread {
        watch: FileWatch::for_path(path),
        path: path.to_owned(),
        connection: store.connection,
        ids: RowIds::new(recording, Nanos(0)),
        header: header(),
        preamble: Vec::new(),
        stored: Box::new(drop),
        retry_policy: None,
        reported_log_bytes: 0,
        left_behind: Vec::new(),
    }
}

#[test]
fn a_log_that_grows_is_told_of_and_again_when_it_has_doubled() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let (says, heard) = mpsc::channel();
    let tell = Box::new(move |notice| says.send(notice).unwrap_or(()));
    let mut scribe = scribe(&path);
    scribe.retry_policy = Some(RetryPolicy::new(tell, Cancel::default()));
    scribe.remark_on_large_log();
    assert!(heard.try_recv().is_err(), "a usual one is not worth a word");
    // As if 1 byte had been reported: any log is more than twice that.
    scribe.reported_log_bytes = 1;
    scribe.remark_on_large_log();
    scribe.remark_on_large_log();
    let told: Vec<WriteNotice> = heard.try_iter().collect();
    let [WriteNotice::Remark(remark)] = &told[..] else { panic!("{told:?}") };
    assert!(remark.contains("c.db-wal has grown to "), "{remark}");
}

#[test]
fn what_a_locked_database_does_not_take_is_kept_even_where_no_copy_can_be_made() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("c.db");
    let mut scribe = scribe(&path);
    let (queue, incoming) = sync_channel(QUEUE);
    let mut batch = EventBatch { events: preamble().map(Box::new).to_vec(), waiting: Vec::new() };
    scribe.write_batch(&mut batch, &incoming).expect("stored");
    scribe.preamble = std::mem::take(&mut batch.events).into_iter().map(|it| *it).collect();

    // Within a transaction, SQLite makes no copy.
    scribe.connection.execute_batch("BEGIN").expect("begun");
    for sequence in 1..=3 {
        queue.send(WriterMessage::Events(vec![Box::new(finished(sequence, 1))])).expect("queued");
    }
    let locked = StoreError::Locked { path };
    let error = scribe.give_up(&locked, &mut batch, &incoming).to_string();
    let rescued = folder.path().join("c.rescued.db");
    assert!(error.contains("as a recording of its own"), "{error}");
    assert!(error.ends_with(&format!("--db {}", rescued.display())), "{error}");
    let kept = other(&rescued);
    assert_eq!((count(&kept, "v_invocation"), count(&kept, "v_sample")), (3, 3));
    assert_eq!(count(&kept, "recording WHERE status = 'interrupted'"), 1);
}
