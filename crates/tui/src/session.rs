//! Session: the recording behind the live screen, opened, run and stored on
//! threads of its own. The screen only sends commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use super::app::Ending;
use super::config::DEFAULT_SAMPLE_INTERVAL;
use super::model::TuiSettings;
use super::screens::history::conclusion::conclusion_sentences;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_lanes::{Cancel, LaneSpec, monotonic_now};
use cyclometer_pricing::Terms;
use cyclometer_record::live::{Feed, FeedItem, PlanView, StorageState};
use cyclometer_record::{
    Control, DEMO, Event, InvocationTally, PlanRequest, RecordingHeader, RecordingSession,
    SamplerTap, SessionError, SessionObserver, SessionOptions, Sink, SinkError, Starts,
};
use cyclometer_report::{format_count, wrap_sentence};
use cyclometer_store::{RetryPolicy, Store, WriteNotice, Writer};
use cyclometer_system::threads::start_thread;
use cyclometer_workload::{Catalog, CpuShareRule, SandboxRules};

/// Largest recording, in invocations, whose conclusions are printed when the
/// program ends; a longer one would delay its end.
const CONCLUSION_LIMIT: u64 = 100_000;

/// Options of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingOptions {
    /// Names of workloads.
    pub workloads: Vec<String>,
    /// Lanes to record in.
    pub lanes: Vec<LaneSpec>,
    /// Preset of arguments and input.
    pub preset: String,
    /// Kinds of start to record.
    pub starts: Starts,
    /// Recorded runs of each cell.
    pub runs: u32,
    /// Warm-up runs before those.
    pub warmup: u32,
    /// Whether it continues until stopped.
    pub until_stopped: bool,
    /// Whether lanes run at the same time.
    pub race: bool,
    /// Memory given to functions, if not their own default.
    pub memory: Option<Bytes>,
    /// Share of CPUs that functions get; `None`: whole ones.
    pub cpu_share: Option<CpuShareRule>,
    /// Longest time of one invocation, if not the function's own default.
    pub timeout: Option<Nanos>,
    /// Time between samples; `None`: no sampling.
    pub sample_interval: Option<Nanos>,
    /// Label of the recording.
    pub label: Option<String>,
    /// Rules of the sandbox that are loosened.
    pub rules: SandboxRules,
}

impl RecordingOptions {
    /// Returns the options of a recording that nobody configured.
    #[must_use]
    pub fn for_demo() -> Self {
        Self {
            workloads: DEMO.map(str::to_owned).to_vec(),
            lanes: LaneSpec::default_lanes(),
            preset: "quick".to_owned(),
            starts: Starts::Both,
            runs: 10,
            warmup: 1,
            until_stopped: false,
            race: false,
            memory: None,
            cpu_share: None,
            timeout: None,
            sample_interval: Some(DEFAULT_SAMPLE_INTERVAL),
            label: None,
            rules: SandboxRules::default(),
        }
    }

    /// Returns the length of the recording as text.
    #[must_use]
    pub(crate) fn length_text(&self) -> String {
        if self.until_stopped { "until stopped".to_owned() } else { format!("{} runs", self.runs) }
    }

    /// Returns the order in which lanes run as text.
    #[must_use]
    pub(crate) const fn order_text(&self) -> &'static str {
        if self.race { "race" } else { "one lane at a time" }
    }

    fn to_plan_view(&self, remarks: Vec<String>) -> PlanView {
        PlanView {
            workloads: self.workloads.clone(),
            runs: (!self.until_stopped).then_some(self.runs),
            race: self.race,
            remarks,
        }
    }

    fn to_session_options(&self, catalog: &Catalog) -> Result<SessionOptions, String> {
        let mut workloads = Vec::new();
        for name in &self.workloads {
            workloads.push(Arc::clone(catalog.get(name).map_err(|error| error.to_string())?));
        }
        let request = PlanRequest {
            starts: self.starts,
            runs: self.runs,
            warmup: self.warmup,
            memory: self.memory,
            cpu_share: self.cpu_share,
            timeout: self.timeout,
            until_stopped: self.until_stopped,
            race: self.race,
            rules: self.rules.clone(),
            ..PlanRequest::for_workloads(workloads, &self.preset)
        };
        Ok(SessionOptions {
            label: self.label.clone(),
            sample_interval: self.sample_interval,
            ..SessionOptions::for_lanes(self.lanes.clone(), request)
        })
    }
}

/// Command to the session.
#[derive(Debug, Clone)]
pub(crate) enum SessionCommand {
    /// Starts a recording.
    Start(Box<RecordingOptions>),
    /// Stops after the invocation in flight; the second time: at once.
    Stop,
    /// Bills by these price models.
    Models(Vec<String>),
}

/// Controller of recordings.
pub(crate) struct Session {
    settings: Arc<TuiSettings>,
    catalog: Arc<Catalog>,
    feed: Feed,
    active: Option<ActiveRecording>,
}

/// Recording under way, or the last one.
struct ActiveRecording {
    control: Control,
    /// Cancels the writer's wait for the database.
    give_up: Cancel,
    thread: JoinHandle<Result<InvocationTally, String>>,
    recording: Arc<AtomicI64>,
    stopping: bool,
}

impl Session {
    /// Creates a session that records nothing yet.
    #[must_use]
    pub fn new(settings: Arc<TuiSettings>, catalog: Catalog, feed: Feed) -> Self {
        Self { settings, catalog: Arc::new(catalog), feed, active: None }
    }

    /// Executes a command.
    ///
    /// # Errors
    /// Returns why it cannot be done, as text.
    pub(crate) fn execute_command(&mut self, wish: SessionCommand) -> Result<(), String> {
        match wish {
            SessionCommand::Start(wanted) => self.start_recording(*wanted),
            SessionCommand::Stop => {
                self.stop_recording();
                Ok(())
            }
            SessionCommand::Models(ids) => self.set_models(&ids),
        }
    }

    fn set_models(&self, ids: &[String]) -> Result<(), String> {
        let mut contracts = Vec::new();
        for id in ids {
            let model = self.settings.prices.find_model(id).map_err(|error| error.to_string())?;
            contracts.push((model.clone(), Terms::for_model(model)));
        }
        self.feed.send_blocking(FeedItem::Models(Arc::new(contracts)));
        Ok(())
    }

    fn start_recording(&mut self, wanted: RecordingOptions) -> Result<(), String> {
        if self.active.as_ref().is_some_and(|active| !active.thread.is_finished()) {
            return Err("a recording is under way: stop it first".to_owned());
        }
        let (control, give_up) = (Control::default(), Cancel::default());
        let recording = Arc::new(AtomicI64::new(0));
        let task = RecordingTask {
            settings: Arc::clone(&self.settings),
            catalog: Arc::clone(&self.catalog),
            feed: self.feed.clone(),
            control: control.clone(),
            give_up: give_up.clone(),
            recording: Arc::clone(&recording),
            options: wanted,
        };
        let thread =
            start_thread("recorder", move || task.run()).map_err(|error| error.to_string())?;
        self.active =
            Some(ActiveRecording { control, give_up, thread, recording, stopping: false });
        Ok(())
    }

    fn stop_recording(&mut self) {
        let Some(active) = self.active.as_mut().filter(|it| !it.thread.is_finished()) else {
            return;
        };
        if std::mem::replace(&mut active.stopping, true) {
            active.control.stop_now();
            active.give_up.cancel();
        } else {
            active.control.finish_after_current();
        }
        self.feed.send_blocking(FeedItem::Finishing);
    }

    /// Notes that this process is about to be stopped.
    pub(crate) fn before_suspend(&self, from: Nanos) {
        if let Some(active) = &self.active {
            active.control.note_suspending(from);
        }
    }

    /// Notes that this process was stopped during that time.
    pub(crate) fn after_suspend(&self, from: Nanos, to: Nanos) {
        if let Some(active) = &self.active {
            active.control.note_suspended(from, to);
        }
    }

    /// Ends the recording under way at once, waits until finished invocations
    /// are stored, and returns the outcome. `told`: whether anyone reads
    /// messages meanwhile.
    #[must_use]
    pub(crate) fn shut_down(self, told: bool) -> Ending {
        let mut ending = Ending::default();
        let Some(active) = self.active else { return ending };
        let running = !active.thread.is_finished();
        if running {
            active.control.stop_now();
            active.give_up.cancel();
            if told {
                cyclometer_system::output::write_message("stopping the recording ...");
            }
        }
        let recording = active.recording.load(Ordering::SeqCst);
        let path = self.settings.database.display();
        match active.thread.join() {
            Ok(Ok(tally)) if tally.is_empty() => {
                ending.lines.push("no invocation had finished: no recording is kept".to_owned());
            }
            Ok(Ok(tally)) => {
                let how = if tally.interrupted { ", interrupted" } else { "" };
                let done = tally.ok + tally.failed + tally.unprepared;
                ending.lines.push(format!(
                    "recording {recording}{how}: {} in {path}; \
                     `cyclometer history show {recording}` tells more",
                    finished_count_text(done, tally.interrupted)
                ));
                if told && done <= CONCLUSION_LIMIT {
                    ending.lines.extend(conclusion_lines(&self.settings, recording));
                }
            }
            Ok(Err(reason)) => {
                ending.failed = true;
                ending.lines.push(format!("error: {reason}"));
            }
            Err(_) => {
                ending.failed = true;
                ending.lines.push("error: the recorder panicked; please report this".to_owned());
            }
        }
        ending
    }
}

/// Returns the number of finished invocations as text. The database also has
/// the one in flight of a recording that was interrupted, and the word
/// `finished` says that it is not counted.
fn finished_count_text(done: u64, interrupted: bool) -> String {
    let name = if interrupted { "finished invocation" } else { "invocation" };
    format_count(i64::try_from(done).unwrap_or(i64::MAX), name)
}

/// Returns what a recording shows, in sentences on lines that fit the terminal;
/// none where it cannot be read, which is no reason to complain at the very
/// end.
fn conclusion_lines(settings: &TuiSettings, recording: i64) -> Vec<String> {
    let all = Store::open_read_only(&settings.database)
        .and_then(|store| conclusion_sentences(&store, settings, recording))
        .unwrap_or_default();
    all.iter().map(|text| wrap_sentence(text)).collect()
}

/// Resources of the recorder's thread.
struct RecordingTask {
    settings: Arc<TuiSettings>,
    catalog: Arc<Catalog>,
    feed: Feed,
    control: Control,
    give_up: Cancel,
    recording: Arc<AtomicI64>,
    options: RecordingOptions,
}

/// Sink that passes events to the database, and from there to the screen;
/// events that are not stored go to the screen at once.
struct Tee {
    writer: Writer,
    feed: Feed,
}

impl Sink for Tee {
    fn send_event(&mut self, event: Event) -> Result<(), SinkError> {
        match event {
            Event::Preparing { .. } | Event::Started { .. } => {
                self.feed.send_event(Box::new(event));
                Ok(())
            }
            stored => self.writer.send_event(stored),
        }
    }

    fn flush_events(&mut self) -> Result<(), SinkError> {
        self.writer.flush_events()
    }
}

/// Observer that shows lanes as soon as they are open, long before they are stored,
/// and samples as they are read.
struct SessionFeed(Feed);

impl SessionObserver for SessionFeed {
    fn lane_opened(&mut self, event: &Event) {
        self.0.send_event(Box::new(event.clone().with_summarized_texts()));
    }

    fn sample_tap(&mut self, lane: Option<&str>) -> Option<SamplerTap> {
        Some(self.0.sample_tap(lane))
    }
}

impl RecordingTask {
    fn run(self) -> Result<InvocationTally, String> {
        self.feed.send_blocking(FeedItem::Begin(self.options.to_plan_view(Vec::new())));
        let result = self.record();
        if let Err(reason) = &result {
            self.feed.send_blocking(FeedItem::Failed(reason.clone()));
        }
        result
    }

    fn record(&self) -> Result<InvocationTally, String> {
        let options = self.options.to_session_options(&self.catalog)?;
        let store = self.open_store()?;
        let mut shown = SessionFeed(self.feed.clone());
        let session = RecordingSession::open(&options, &mut shown)
            .map_err(|error| describe_session_error(&error))?;
        let plan = session.plan();
        let left_out = plan.left_out.iter().map(|reason| format!("left out: {reason}"));
        let remarks = left_out.chain(plan.remarks.iter().cloned()).collect();
        self.feed.send_blocking(FeedItem::Plan(self.options.to_plan_view(remarks)));
        let writer = self.start_writer(store, session.header())?;
        let mut tee = Tee { writer, feed: self.feed.clone() };
        let ran = session.run(&mut tee, self.control.clone(), &mut shown);
        let finished = tee.writer.finish();
        let tally = ran.map_err(|error| describe_session_error(&error))?;
        finished.map_err(|error| error.to_string())?;
        Ok(tally)
    }

    /// Opens the database, and reports what an earlier recording left behind.
    fn open_store(&self) -> Result<Store, String> {
        let mut notes = |note: String| self.feed.send_blocking(FeedItem::Note(note));
        let feed = self.feed.clone();
        let tell = Box::new(move |notice| {
            feed.send_blocking(match notice {
                WriteNotice::Waiting(reason) => {
                    FeedItem::Storage(StorageState::Waiting { reason, since: monotonic_now() })
                }
                WriteNotice::Resumed(_) => FeedItem::Storage(StorageState::Fine),
                WriteNotice::Remark(remark) => FeedItem::Note(remark),
            });
        });
        let patience = RetryPolicy::new(tell, self.give_up.clone());
        let path = &self.settings.database;
        let (store, _) = Store::open_recovered_with_retry(path, patience, &mut notes)
            .map_err(|error| error.to_string())?;
        cyclometer_lanes::clean::sweep_leftovers(&mut notes);
        Ok(store)
    }

    fn start_writer(&self, store: Store, header: &RecordingHeader) -> Result<Writer, String> {
        let stored = self.feed.clone();
        let writer = Writer::start(
            store,
            header,
            Box::new(move |event| match *event {
                // Lanes were reported when they were opened.
                Event::Lane { .. } => {}
                _ => stored.send_event(event),
            }),
        )
        .map_err(|error| error.to_string())?;
        self.recording.store(writer.recording(), Ordering::SeqCst);
        self.feed.send_blocking(FeedItem::Recording(writer.recording()));
        Ok(writer)
    }
}

/// Describes why a session was not opened or run.
fn describe_session_error(error: &SessionError) -> String {
    match error {
        SessionError::Threads(error) => format!("the system gives no thread: {error}"),
        error if error.is_without_lanes() => {
            "none of the lanes can run here; nothing was recorded".to_owned()
        }
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::finished_count_text;

    #[test]
    fn the_invocation_in_flight_is_not_counted_as_finished() {
        assert_eq!(finished_count_text(23, true), "23 finished invocations");
        assert_eq!(finished_count_text(1, true), "1 finished invocation");
        assert_eq!(finished_count_text(200, false), "200 invocations");
    }
}
