//! Session: the recording behind the live screen, opened, run and stored on
//! threads of its own. The screen only sends commands.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use super::app::Ending;
use super::config::SAMPLING;
use super::live::{Feed, Item, PlanView, StorageState};
use super::model::Settings;
use super::screens::history::ending::sentences;
use cyclometer_core::units::{Bytes, Nanos};
use cyclometer_lanes::{Cancel, LaneSpec, now};
use cyclometer_meter::host::Fingerprint;
use cyclometer_pricing::Terms;
use cyclometer_record::{
    Control, DEMO, Event, Plan, PlanRequest, Recorder, Sampler, Sampling, Sink, SinkError, Starts,
    Tally, fresh_seed, open_lanes,
};
use cyclometer_report::{counted, wrap_sentence};
use cyclometer_store::{Notice, Patience, RecordingHeader, Store, Writer};
use cyclometer_system::procfs::ProcessIdentity;
use cyclometer_system::threads::start_thread;
use cyclometer_workload::Catalog;

/// Largest recording, in invocations, whose conclusions are printed when the
/// program ends; a longer one would delay its end.
const TOLD_AT_ONCE: u64 = 100_000;

/// Options of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
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
    /// Longest time of one invocation, if not the function's own default.
    pub timeout: Option<Nanos>,
    /// Time between samples; `None`: no sampling.
    pub sample_interval: Option<Nanos>,
    /// Label of the recording.
    pub label: Option<String>,
}

impl Wanted {
    /// Returns the options of a recording that nobody configured.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            workloads: DEMO.map(str::to_owned).to_vec(),
            lanes: LaneSpec::defaults(),
            preset: "quick".to_owned(),
            starts: Starts::Both,
            runs: 10,
            warmup: 1,
            until_stopped: false,
            race: false,
            memory: None,
            timeout: None,
            sample_interval: Some(SAMPLING),
            label: None,
        }
    }

    /// Returns the length of the recording as text.
    #[must_use]
    pub fn length(&self) -> String {
        if self.until_stopped { "until stopped".to_owned() } else { format!("{} runs", self.runs) }
    }

    /// Returns the order in which lanes run as text.
    #[must_use]
    pub const fn order(&self) -> &'static str {
        if self.race { "race" } else { "one lane at a time" }
    }

    fn view(&self, remarks: Vec<String>) -> PlanView {
        PlanView {
            workloads: self.workloads.clone(),
            runs: (!self.until_stopped).then_some(self.runs),
            race: self.race,
            remarks,
        }
    }

    fn request(&self, catalog: &Catalog) -> Result<PlanRequest, String> {
        let mut workloads = Vec::new();
        for name in &self.workloads {
            workloads.push(Arc::clone(catalog.get(name).map_err(|error| error.to_string())?));
        }
        Ok(PlanRequest {
            workloads,
            preset: self.preset.clone(),
            starts: self.starts,
            runs: self.runs,
            warmup: self.warmup,
            memory: self.memory,
            timeout: self.timeout,
            cpu: None,
            until_stopped: self.until_stopped,
            race: self.race,
            until: None,
            seed: fresh_seed(),
        })
    }
}

/// Command to the session.
#[derive(Debug, Clone)]
pub enum Wish {
    /// Starts a recording.
    Start(Box<Wanted>),
    /// Stops after the invocation in flight; the second time: at once.
    Stop,
    /// Bills by these price models.
    Models(Vec<String>),
}

/// Controller of recordings.
pub struct Session {
    settings: Arc<Settings>,
    catalog: Arc<Catalog>,
    feed: Feed,
    active: Option<Active>,
}

/// Recording under way, or the last one.
struct Active {
    control: Control,
    /// Cancels the writer's wait for the database.
    give_up: Cancel,
    thread: JoinHandle<Result<Tally, String>>,
    recording: Arc<AtomicI64>,
    stopping: bool,
}

impl Session {
    /// Creates a session that records nothing yet.
    #[must_use]
    pub fn new(settings: Arc<Settings>, catalog: Catalog, feed: Feed) -> Self {
        Self { settings, catalog: Arc::new(catalog), feed, active: None }
    }

    /// Executes a command.
    ///
    /// # Errors
    /// Returns why it cannot be done, as text.
    pub fn wish(&mut self, wish: Wish) -> Result<(), String> {
        match wish {
            Wish::Start(wanted) => self.start(*wanted),
            Wish::Stop => {
                self.stop();
                Ok(())
            }
            Wish::Models(ids) => self.models(&ids),
        }
    }

    fn models(&self, ids: &[String]) -> Result<(), String> {
        let mut contracts = Vec::new();
        for id in ids {
            let model = self.settings.prices.find(id).map_err(|error| error.to_string())?;
            contracts.push((model.clone(), Terms::of(model)));
        }
        self.feed.tell(Item::Models(Arc::new(contracts)));
        Ok(())
    }

    fn start(&mut self, wanted: Wanted) -> Result<(), String> {
        if self.active.as_ref().is_some_and(|active| !active.thread.is_finished()) {
            return Err("a recording is under way: stop it first".to_owned());
        }
        let (control, give_up) = (Control::default(), Cancel::default());
        let recording = Arc::new(AtomicI64::new(0));
        let task = Task {
            settings: Arc::clone(&self.settings),
            catalog: Arc::clone(&self.catalog),
            feed: self.feed.clone(),
            control: control.clone(),
            give_up: give_up.clone(),
            recording: Arc::clone(&recording),
            wanted,
        };
        let thread =
            start_thread("recorder", move || task.run()).map_err(|error| error.to_string())?;
        self.active = Some(Active { control, give_up, thread, recording, stopping: false });
        Ok(())
    }

    fn stop(&mut self) {
        let Some(active) = self.active.as_mut().filter(|it| !it.thread.is_finished()) else {
            return;
        };
        if std::mem::replace(&mut active.stopping, true) {
            active.control.stop();
            active.give_up.cancel();
        } else {
            active.control.finish();
        }
        self.feed.tell(Item::Finishing);
    }

    /// Notes that this process is about to be stopped.
    pub fn suspending(&self, from: Nanos) {
        if let Some(active) = &self.active {
            active.control.suspending(from);
        }
    }

    /// Notes that this process was stopped during that time.
    pub fn suspended(&self, from: Nanos, to: Nanos) {
        if let Some(active) = &self.active {
            active.control.suspended(from, to);
        }
    }

    /// Ends the recording under way at once, waits until finished invocations
    /// are stored, and returns the outcome. `told`: whether anyone reads
    /// messages meanwhile.
    #[must_use]
    pub fn end(self, told: bool) -> Ending {
        let mut ending = Ending::default();
        let Some(active) = self.active else { return ending };
        let running = !active.thread.is_finished();
        if running {
            active.control.stop();
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
                let done = tally.ok + tally.bad + tally.unprepared;
                ending.lines.push(format!(
                    "recording {recording}{how}: {} in {path}; \
                     `cyclometer history show {recording}` tells more",
                    held(done, tally.interrupted)
                ));
                if told && done <= TOLD_AT_ONCE {
                    ending.lines.extend(answers(&self.settings, recording));
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
fn held(done: u64, interrupted: bool) -> String {
    let name = if interrupted { "finished invocation" } else { "invocation" };
    counted(i64::try_from(done).unwrap_or(i64::MAX), name)
}

/// Returns what a recording shows, in sentences on lines that fit the terminal;
/// none where it cannot be read, which is no reason to complain at the very
/// end.
fn answers(settings: &Settings, recording: i64) -> Vec<String> {
    let all = Store::open_reading(&settings.database)
        .and_then(|store| sentences(&store, settings, recording))
        .unwrap_or_default();
    all.iter().map(|text| wrap_sentence(text)).collect()
}

/// Resources of the recorder's thread.
struct Task {
    settings: Arc<Settings>,
    catalog: Arc<Catalog>,
    feed: Feed,
    control: Control,
    give_up: Cancel,
    recording: Arc<AtomicI64>,
    wanted: Wanted,
}

/// Sink that passes events to the database, and from there to the screen;
/// events that are not stored go to the screen at once.
struct Tee {
    writer: Writer,
    feed: Feed,
}

impl Sink for Tee {
    fn send(&mut self, event: Event) -> Result<(), SinkError> {
        match event {
            Event::Preparing { .. } | Event::Started { .. } => {
                self.feed.event(Box::new(event));
                Ok(())
            }
            stored => self.writer.send(stored),
        }
    }

    fn settle(&mut self) -> Result<(), SinkError> {
        self.writer.settle()
    }
}

/// Sink that shows lanes as soon as they are open, long before they are stored.
struct Opened {
    events: Vec<Event>,
    feed: Feed,
}

impl Sink for Opened {
    fn send(&mut self, event: Event) -> Result<(), SinkError> {
        let event = event.with_summarized_texts();
        self.feed.event(Box::new(event.clone()));
        self.events.push(event);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Task {
    fn run(self) -> Result<Tally, String> {
        self.feed.tell(Item::Begin(self.wanted.view(Vec::new())));
        let result = self.record();
        if let Err(reason) = &result {
            self.feed.tell(Item::Failed(reason.clone()));
        }
        result
    }

    fn record(&self) -> Result<Tally, String> {
        let say = |error: &dyn std::fmt::Display| error.to_string();
        let request = self.wanted.request(&self.catalog)?;
        let store = self.open()?;
        let owner = ProcessIdentity::current().map_err(|error| say(&error))?;
        let mut opened = Opened { events: Vec::new(), feed: self.feed.clone() };
        let mut lanes =
            open_lanes(&self.wanted.lanes, &owner, &mut opened).map_err(|error| say(&error))?;
        if lanes.is_empty() {
            return Err("none of the lanes can run here; nothing was recorded".to_owned());
        }
        let plan = Plan::new(&request, &lanes).map_err(|error| say(&error))?;
        let left_out = plan.left_out.iter().map(|reason| format!("left out: {reason}"));
        let remarks = left_out.chain(plan.remarks.iter().cloned()).collect();
        self.feed.tell(Item::Plan(self.wanted.view(remarks)));
        let mut tee =
            Tee { writer: self.writer(store, &request, &owner)?, feed: self.feed.clone() };
        for event in opened.events {
            tee.writer.send(event).map_err(|error| say(&error))?;
        }
        let names: Vec<String> = lanes.iter().map(|open| open.name.clone()).collect();
        let sampling = self.wanted.sample_interval.map(|interval| {
            Sampling::with(move |lane| {
                let name = lane.and_then(|at| names.get(at)).map(String::as_str);
                Sampler::tapped(interval, self.feed.tap(name))
            })
        });
        let recorder = Recorder::new(&mut lanes, &plan, sampling, self.control.clone())
            .map_err(|error| format!("the system gives no thread: {error}"))?;
        let ran = recorder.run(&mut tee);
        let finished = tee.writer.finish();
        let tally = ran.map_err(|error| say(&error))?;
        finished.map_err(|error| say(&error))?;
        Ok(tally)
    }

    /// Opens the database, and reports what an earlier recording left behind.
    fn open(&self) -> Result<Store, String> {
        let mut notes = |note: String| self.feed.tell(Item::Note(note));
        let feed = self.feed.clone();
        let tell = Box::new(move |notice| {
            feed.tell(match notice {
                Notice::Waits(reason) => {
                    Item::Storage(StorageState::Waiting { reason, since: now() })
                }
                Notice::GoesOn(_) => Item::Storage(StorageState::Fine),
                Notice::Remark(remark) => Item::Note(remark),
            });
        });
        let patience = Patience::new(tell, self.give_up.clone());
        let path = &self.settings.database;
        let (store, _) = Store::open_recovered_patiently(path, patience, &mut notes)
            .map_err(|error| error.to_string())?;
        cyclometer_lanes::clean::sweep(&mut notes);
        Ok(store)
    }

    fn writer(
        &self,
        store: Store,
        request: &PlanRequest,
        owner: &ProcessIdentity,
    ) -> Result<Writer, String> {
        let lanes: Vec<String> = self.wanted.lanes.iter().map(ToString::to_string).collect();
        let header = RecordingHeader {
            label: self.wanted.label.clone(),
            owner: owner.to_string(),
            plan: request.to_json(&lanes, self.wanted.sample_interval).to_string(),
            host: serde_json::to_string(&Fingerprint::take()).map_err(|error| error.to_string())?,
            sample_interval: self.wanted.sample_interval,
        };
        let stored = self.feed.clone();
        let writer = Writer::start(
            store,
            &header,
            Box::new(move |event| match *event {
                // Lanes were reported when they were opened.
                Event::Lane { .. } => {}
                _ => stored.event(event),
            }),
        )
        .map_err(|error| error.to_string())?;
        self.recording.store(writer.recording(), Ordering::SeqCst);
        self.feed.tell(Item::Recording(writer.recording()));
        Ok(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::held;

    #[test]
    fn the_invocation_in_flight_is_not_counted_as_finished() {
        assert_eq!(held(23, true), "23 finished invocations");
        assert_eq!(held(1, true), "1 finished invocation");
        assert_eq!(held(200, false), "200 invocations");
    }
}
