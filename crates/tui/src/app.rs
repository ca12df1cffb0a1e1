//! Main loop: waits for events, updates the model and draws frames.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use crossterm::event::Event as TerminalEvent;
use parking_lot::Mutex;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use thiserror::Error;

use super::action::Effect;
use super::config::TuiConfig;
use super::model::{Model, TuiSettings};
use super::overlay::OverlayLayout;
use super::screens::live::LiveState;
use super::screens::{self, QueryWorkers, ScreenId, Screens};
use super::session::{Session, SessionCommand};
use super::terminal::{self, TerminalGuard as Terminal};
use super::update::{AppMessage, advance_to, update};
use super::{export, frame};
use cyclometer_lanes::monotonic_now;
use cyclometer_pricing::PriceCatalog;
use cyclometer_record::live::{self, LiveHandle};
use cyclometer_system::threads::start_thread;
use cyclometer_workload::Catalog;

/// Shortest time between two frames; the effect of a key is shown within two of
/// them.
const QUICK_REDRAW: Duration = Duration::from_millis(15);
/// Longest time between two frames, so that notices expire and clocks advance.
const SLOW_REDRAW: Duration = Duration::from_secs(1);

/// Longest wait, when the program ends, for workers that still read the database.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(500);

/// Inputs that the observatory starts with.
#[derive(Debug)]
pub struct TuiOptions {
    /// Path of the database.
    pub database: PathBuf,
    /// Available workloads.
    pub catalog: Catalog,
    /// Available price models.
    pub prices: PriceCatalog,
    /// Appearance and initial recording.
    pub config: TuiConfig,
}

/// Outcome of the program.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Lines to print once the terminal is restored.
    pub lines: Vec<String>,
    /// Whether something was lost, or could not be done.
    pub failed: bool,
    /// Signal that ended the program.
    pub signal: Option<i32>,
}

/// Errors that keep the observatory from starting or from continuing.
#[derive(Debug, Error)]
pub enum TuiError {
    /// The terminal cannot be used.
    #[error("cannot use the terminal: {0}; `cyclometer record` needs none")]
    Terminal(#[source] io::Error),
    /// The system provides no thread, or no signals.
    #[error("cannot begin: {0}")]
    System(#[source] io::Error),
    /// A name is unknown.
    #[error("{0}")]
    Name(String),
}

/// Event that the main loop waits for.
enum LoopEvent {
    Terminal(TerminalEvent),
    /// The terminal is gone.
    Gone,
    Signal(i32),
    Message(AppMessage),
    /// A new snapshot is available.
    Changed,
}

struct App {
    model: Model,
    session: Session,
    workers: QueryWorkers,
    live: LiveHandle,
    incoming: Receiver<LoopEvent>,
    sender: Sender<LoopEvent>,
    pending: Arc<AtomicBool>,
    frame: Duration,
    quit: bool,
    signal: Option<i32>,
}

/// Runs the observatory until the user quits or a signal ends it.
///
/// # Errors
/// Fails when the terminal cannot be used, or when a name in the configuration
/// is unknown.
pub fn run(options: TuiOptions) -> Result<Ending, TuiError> {
    let panics = PanicLog::install_hook();
    let mut app = App::new(options, &panics)?;
    let result = match Terminal::take_over(app.model.mouse) {
        Ok(mut screen) => app.run_event_loop(&mut screen),
        Err(error) => Err(error),
    };
    panics.stop_reporting();
    let gone = result.as_ref().is_err_and(terminal::is_gone);
    // Treated as a hang-up, whose signal may not arrive.
    let signal = app.signal.or(gone.then_some(SIGHUP));
    // Workers close before the writer's connection: the last one to close
    // tidies up the files.
    shut_down_workers(app.workers);
    // Lanes are closed and rows are written whatever happened to the terminal.
    let mut ending = app.session.shut_down(signal.is_none());
    ending.lines.extend(panics.take_messages());
    ending.signal = signal;
    match result {
        Err(error) if signal.is_none() => {
            ending.failed = true;
            ending.lines.push(format!("error: {}", TuiError::Terminal(error)));
        }
        _ => {}
    }
    Ok(ending)
}

impl App {
    fn new(options: TuiOptions, panics: &PanicLog) -> Result<Self, TuiError> {
        let TuiOptions { database, catalog, prices, config } = options;
        let (tell, incoming) = unbounded();
        panics.report_to(&tell);
        // Signals are caught before anything is started that needs an orderly end.
        listen_to_signals(tell.clone()).map_err(TuiError::System)?;
        let pending = Arc::new(AtomicBool::new(false));
        let (feed, live) = {
            let (tell, pending) = (tell.clone(), Arc::clone(&pending));
            // One pending notification of a change is enough until it has been
            // handled.
            live::spawn_aggregator(move || {
                pending.swap(true, Ordering::SeqCst) || tell.send(LoopEvent::Changed).is_ok()
            })
            .map_err(TuiError::System)?
        };
        let settings = Arc::new(TuiSettings {
            folder: std::env::current_dir().unwrap_or_else(|_| ".".into()),
            database,
            prices,
        });
        let workers = {
            let tell = tell.clone();
            let tell = move |response| {
                tell.send(LoopEvent::Message(AppMessage::Response(response))).is_ok()
            };
            QueryWorkers::spawn_all(&settings, tell).map_err(TuiError::System)?
        };
        let first = !settings.database.exists();
        let session = Session::new(Arc::clone(&settings), feed);
        let frame = Duration::from_secs(1) / config.frames.max(1);
        let begin = config.begin;
        let model = build_model(settings, Arc::new(catalog), config, first);
        let mut app = Self {
            model,
            session,
            workers,
            live,
            incoming,
            sender: tell,
            pending,
            frame,
            quit: false,
            signal: None,
        };
        let models = app.model.screens.live.models.clone();
        app.session.execute_command(SessionCommand::Models(models)).map_err(TuiError::Name)?;
        if begin {
            let wanted = Box::new(app.model.screens.live.options.clone());
            let start = SessionCommand::Start(wanted, Arc::clone(&app.model.catalog));
            app.session.execute_command(start).map_err(TuiError::Name)?;
        }
        Ok(app)
    }

    fn run_event_loop(&mut self, screen: &mut Terminal) -> io::Result<()> {
        let size = screen.terminal.size()?;
        self.model.size = (size.width, size.height);
        self.render_frame(screen)?;
        // Started only now, so that the first frame waits for nothing.
        listen_to_keys(self.sender.clone())?;
        let mut drawn = Instant::now();
        let mut due = drawn + self.frame;
        while !self.quit {
            match self.incoming.recv_deadline(due) {
                Ok(incoming) => {
                    let soon = self.handle_incoming(incoming, screen)?;
                    due = due.min(drawn + soon);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.render_frame(screen)?;
                    drawn = Instant::now();
                    due = drawn + if self.is_animated() { self.frame } else { SLOW_REDRAW };
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Returns whether the screen changes without input.
    fn is_animated(&self) -> bool {
        let recording =
            self.model.snapshot.phase.is_active() && self.model.screens.live.frozen.is_none();
        recording || screens::is_animated(&self.model)
    }

    fn render_frame(&mut self, screen: &mut Terminal) -> io::Result<()> {
        self.pending.store(false, Ordering::SeqCst);
        self.model.snapshot = self.live.newest_snapshot();
        let effects = advance_to(&mut self.model, monotonic_now());
        self.carry_out(effects, screen)?;
        screen.terminal.draw(|frame| frame::render(frame, &self.model))?;
        super::terminal::panic_for_tests("draw");
        Ok(())
    }

    /// Handles an incoming event; returns how soon after the last frame its
    /// effect has to be visible.
    fn handle_incoming(
        &mut self,
        incoming: LoopEvent,
        screen: &mut Terminal,
    ) -> io::Result<Duration> {
        self.model.now = monotonic_now();
        let message = match incoming {
            LoopEvent::Changed => return Ok(self.frame),
            LoopEvent::Signal(signal) => {
                self.handle_signal(signal, screen)?;
                return Ok(QUICK_REDRAW);
            }
            // Treated as a hang-up, whose signal may not arrive.
            LoopEvent::Gone => {
                self.quit = true;
                self.signal = Some(SIGHUP);
                return Ok(QUICK_REDRAW);
            }
            LoopEvent::Terminal(event) => match event {
                TerminalEvent::Key(key) => AppMessage::Key(key),
                TerminalEvent::Mouse(mouse) => AppMessage::Mouse(mouse),
                TerminalEvent::Paste(text) => AppMessage::Paste(text),
                TerminalEvent::Resize(columns, lines) => AppMessage::Resize(columns, lines),
                TerminalEvent::FocusGained | TerminalEvent::FocusLost => return Ok(SLOW_REDRAW),
            },
            LoopEvent::Message(message) => message,
        };
        let effects = update(&mut self.model, message);
        self.carry_out(effects, screen)?;
        Ok(QUICK_REDRAW)
    }

    fn handle_signal(&mut self, signal: i32, screen: &mut Terminal) -> io::Result<()> {
        match signal {
            SIGTSTP => self.suspend_process(screen),
            // The process that stopped this one may have changed the terminal.
            SIGCONT => screen.take_over_again(self.model.mouse),
            other => {
                self.quit = true;
                self.signal = Some(other);
                Ok(())
            }
        }
    }

    /// Suspends the process as Ctrl-Z does in any program. An invocation that
    /// is in flight meanwhile does not count as a measurement.
    fn suspend_process(&mut self, screen: &mut Terminal) -> io::Result<()> {
        let from = monotonic_now();
        self.session.before_suspend(from);
        terminal::restore();
        let stopped = signal_hook::low_level::emulate_default_handler(SIGTSTP);
        self.session.after_suspend(from, monotonic_now());
        screen.take_over_again(self.model.mouse)?;
        stopped
    }

    fn carry_out(&mut self, effects: Vec<Effect>, screen: &mut Terminal) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Quit => self.quit = true,
                Effect::Suspend => self.suspend_process(screen)?,
                Effect::Mouse(on) => terminal::set_mouse(on)?,
                Effect::Redraw => screen.force_redraw()?,
                Effect::Session(wish) => {
                    if let Err(complaint) = self.session.execute_command(wish) {
                        self.model.notify_error(complaint);
                    }
                }
                Effect::Export(form) => self.export_view(form, screen)?,
                Effect::Query(request) => self.workers.send_request(request),
            }
        }
        Ok(())
    }

    /// Draws the view alone and passes it to a thread that writes it.
    fn export_view(&mut self, form: export::ExportFormat, screen: &mut Terminal) -> io::Result<()> {
        let drawn = screen.terminal.draw(|frame| frame::render(frame, &self.model))?;
        let page = export::PendingExport::new(form, &self.model, drawn.buffer);
        let tell = self.sender.clone();
        std::thread::Builder::new().name("export".to_owned()).spawn(move || {
            let message = match page.write_new_file() {
                Ok(path) => AppMessage::Notice(format!("written: {}", path.display())),
                Err(error) => AppMessage::Error(error),
            };
            let _ = tell.send(LoopEvent::Message(message));
        })?;
        Ok(())
    }
}

fn build_model(
    settings: Arc<TuiSettings>,
    catalog: Arc<Catalog>,
    config: TuiConfig,
    first: bool,
) -> Model {
    Model {
        settings,
        catalog,
        theme: config.theme,
        keymap: config.keymap,
        size: (0, 0),
        mouse: config.mouse,
        now: monotonic_now(),
        screen: ScreenId::Live,
        overlay: None,
        overlay_layout: OverlayLayout::default(),
        notice: None,
        snapshot: Arc::default(),
        opened: None,
        screens: Screens {
            live: LiveState::new(config.options, config.models, first),
            ..Screens::default()
        },
    }
}

/// Shuts all workers down, and waits a moment for those that are still busy.
fn shut_down_workers(workers: QueryWorkers) {
    let threads = workers.shut_down();
    let begun = Instant::now();
    while begun.elapsed() < SHUTDOWN_TIMEOUT && !threads.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts the thread that waits for signals. They stay caught to the very end:
/// a terminal that goes away often sends several.
fn listen_to_signals(tell: Sender<LoopEvent>) -> io::Result<()> {
    let mut all = vec![SIGTERM, SIGINT, SIGTSTP, SIGCONT];
    // Under `nohup` the signal stays ignored; without a terminal drawing soon
    // fails.
    if !cyclometer_system::sys::ignores_hangup() {
        all.push(SIGHUP);
    }
    let mut signals = Signals::new(all)?;
    start_thread("signals", move || {
        for signal in signals.forever() {
            if ![SIGTSTP, SIGCONT].contains(&signal) {
                crate::frozen_terminals::detach_frozen_terminals();
            }
            if tell.send(LoopEvent::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Starts the thread that waits for keys.
fn listen_to_keys(tell: Sender<LoopEvent>) -> io::Result<()> {
    start_thread("keys", move || {
        loop {
            let incoming = match crossterm::event::read() {
                Ok(event) => LoopEvent::Terminal(event),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => LoopEvent::Gone,
            };
            let last = matches!(incoming, LoopEvent::Gone);
            if tell.send(incoming).is_err() || last {
                return;
            }
        }
    })?;
    Ok(())
}

/// Collects panics. On the thread that draws, the terminal is restored first;
/// elsewhere the screen continues and shows the message.
#[derive(Clone)]
struct PanicLog {
    messages: Arc<Mutex<Vec<String>>>,
    sender: Arc<Mutex<Option<Sender<LoopEvent>>>>,
}

impl PanicLog {
    fn install_hook() -> Self {
        let panics = Self { messages: Arc::default(), sender: Arc::default() };
        let mine = panics.clone();
        let before = std::panic::take_hook();
        let drawing = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            let tell = mine.sender.lock().clone();
            match tell {
                Some(tell) if std::thread::current().id() != drawing => {
                    let thread = std::thread::current().name().unwrap_or("?").to_owned();
                    let text = format!("a defect in cyclometer: thread {thread}: {panic}");
                    let text = text.replace('\n', " ");
                    mine.messages.lock().push(text.clone());
                    let _ = tell.send(LoopEvent::Message(AppMessage::Error(text)));
                }
                _ => {
                    terminal::restore();
                    before(panic);
                }
            }
        }));
        panics
    }

    fn report_to(&self, tell: &Sender<LoopEvent>) {
        *self.sender.lock() = Some(tell.clone());
    }

    /// Stops the reporting to the screen, which is gone: panics are reported as
    /// usual again.
    fn stop_reporting(&self) {
        *self.sender.lock() = None;
    }

    fn take_messages(&self) -> Vec<String> {
        std::mem::take(&mut *self.messages.lock())
    }
}
