//! Main loop: waits for events, updates the model and draws frames.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use crossterm::event::Event as TerminalEvent;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use thiserror::Error;

use super::action::Effect;
use super::config::Config;
use super::desk::{Desk, DeskHandle};
use super::live::{self, LiveHandle};
use super::model::{Model, Settings};
use super::screens::{self, Screen, bills, history, host, timeline};
use super::session::{Session, Wish};
use super::terminal::{self, Screen as Terminal};
use super::update::{Message, tick, update};
use super::{export, frame};
use cyclometer_lanes::{Cancel, now};
use cyclometer_pricing::PriceCatalog;
use cyclometer_system::threads::start_thread;
use cyclometer_workload::Catalog;

/// Shortest time between two frames; the effect of a key is shown within two of
/// them.
const QUICK: Duration = Duration::from_millis(15);
/// Longest time between two frames, so that notices expire and clocks advance.
const SLOW: Duration = Duration::from_secs(1);

/// Longest wait, when the program ends, for workers that still read the database.
const GOODBYE: Duration = Duration::from_millis(500);

/// Inputs that the observatory starts with.
#[derive(Debug)]
pub struct Options {
    /// Path of the database.
    pub database: PathBuf,
    /// Available workloads.
    pub catalog: Catalog,
    /// Available price models.
    pub prices: PriceCatalog,
    /// Appearance and initial recording.
    pub config: Config,
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
enum Incoming {
    Terminal(TerminalEvent),
    /// The terminal is gone.
    Gone,
    Signal(i32),
    Message(Message),
    /// A new snapshot is available.
    Changed,
}

struct Desks {
    bills: DeskHandle<bills::Ask>,
    timeline: DeskHandle<timeline::Ask>,
    history: DeskHandle<history::Ask>,
    host: DeskHandle<host::Ask>,
}

struct App {
    model: Model,
    session: Session,
    desks: Desks,
    live: LiveHandle,
    incoming: Receiver<Incoming>,
    tell: Sender<Incoming>,
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
pub fn run(options: Options) -> Result<Ending, TuiError> {
    let panics = Panics::watch();
    let mut app = App::new(options, &panics)?;
    let result = match Terminal::take(app.model.mouse) {
        Ok(mut screen) => app.run(&mut screen),
        Err(error) => Err(error),
    };
    panics.forget();
    let gone = result.as_ref().is_err_and(terminal::is_gone);
    // Treated as a hang-up, whose signal may not arrive.
    let signal = app.signal.or(gone.then_some(SIGHUP));
    // Workers close before the writer's connection: the last one to close
    // tidies up the files.
    app.desks.end();
    // Lanes are closed and rows are written whatever happened to the terminal.
    let mut ending = app.session.end(signal.is_none());
    ending.lines.extend(panics.told());
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
    fn new(options: Options, panics: &Panics) -> Result<Self, TuiError> {
        let Options { database, catalog, prices, config } = options;
        let (tell, incoming) = unbounded();
        panics.tell(&tell);
        // Signals are caught before anything is started that needs an orderly end.
        listen_to_signals(tell.clone()).map_err(TuiError::System)?;
        let pending = Arc::new(AtomicBool::new(false));
        let (feed, live) = {
            let (tell, pending) = (tell.clone(), Arc::clone(&pending));
            // One pending notification of a change is enough until it has been
            // handled.
            live::start(move || {
                pending.swap(true, Ordering::SeqCst) || tell.send(Incoming::Changed).is_ok()
            })
            .map_err(TuiError::System)?
        };
        let settings = Arc::new(Settings {
            workloads: catalog.iter().map(|it| it.name.clone()).collect(),
            folder: std::env::current_dir().unwrap_or_else(|_| ".".into()),
            database,
            prices,
        });
        let desks = Desks::start(&settings, &tell).map_err(TuiError::System)?;
        let first = !settings.database.exists();
        let session = Session::new(Arc::clone(&settings), catalog, feed);
        let frame = Duration::from_secs(1) / config.frames.max(1);
        let begin = config.begin;
        let model = model(settings, config, first);
        let mut app = Self {
            model,
            session,
            desks,
            live,
            incoming,
            tell,
            pending,
            frame,
            quit: false,
            signal: None,
        };
        let models = app.model.live.models.clone();
        app.session.wish(Wish::Models(models)).map_err(TuiError::Name)?;
        if begin {
            let wanted = Box::new(app.model.live.wanted.clone());
            app.session.wish(Wish::Start(wanted)).map_err(TuiError::Name)?;
        }
        Ok(app)
    }

    fn run(&mut self, screen: &mut Terminal) -> io::Result<()> {
        let size = screen.terminal.size()?;
        self.model.size = (size.width, size.height);
        self.draw(screen)?;
        // Started only now, so that the first frame waits for nothing.
        listen_to_keys(self.tell.clone())?;
        let mut drawn = Instant::now();
        let mut due = drawn + self.frame;
        while !self.quit {
            match self.incoming.recv_deadline(due) {
                Ok(incoming) => {
                    let soon = self.take(incoming, screen)?;
                    due = due.min(drawn + soon);
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.draw(screen)?;
                    drawn = Instant::now();
                    due = drawn + if self.moves() { self.frame } else { SLOW };
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        Ok(())
    }

    /// Returns whether the screen changes without input.
    fn moves(&self) -> bool {
        let recording = self.model.snapshot.phase.is_active() && self.model.live.frozen.is_none();
        recording
            || (self.model.screen == Screen::Timeline && screens::timeline::moves(&self.model))
    }

    fn draw(&mut self, screen: &mut Terminal) -> io::Result<()> {
        self.pending.store(false, Ordering::SeqCst);
        self.model.snapshot = self.live.snapshot();
        let effects = tick(&mut self.model, now());
        self.carry_out(effects, screen)?;
        screen.terminal.draw(|frame| frame::draw(frame, &self.model))?;
        super::terminal::panic_for_tests("draw");
        Ok(())
    }

    /// Handles an incoming event; returns how soon after the last frame its
    /// effect has to be visible.
    fn take(&mut self, incoming: Incoming, screen: &mut Terminal) -> io::Result<Duration> {
        self.model.now = now();
        let message = match incoming {
            Incoming::Changed => return Ok(self.frame),
            Incoming::Signal(signal) => {
                self.signal(signal, screen)?;
                return Ok(QUICK);
            }
            // Treated as a hang-up, whose signal may not arrive.
            Incoming::Gone => {
                self.quit = true;
                self.signal = Some(SIGHUP);
                return Ok(QUICK);
            }
            Incoming::Terminal(event) => match event {
                TerminalEvent::Key(key) => Message::Key(key),
                TerminalEvent::Mouse(mouse) => Message::Mouse(mouse),
                TerminalEvent::Paste(text) => Message::Paste(text),
                TerminalEvent::Resize(columns, lines) => Message::Resize(columns, lines),
                TerminalEvent::FocusGained | TerminalEvent::FocusLost => return Ok(SLOW),
            },
            Incoming::Message(message) => message,
        };
        let effects = update(&mut self.model, message);
        self.carry_out(effects, screen)?;
        Ok(QUICK)
    }

    fn signal(&mut self, signal: i32, screen: &mut Terminal) -> io::Result<()> {
        match signal {
            SIGTSTP => self.suspend(screen),
            // The process that stopped this one may have changed the terminal.
            SIGCONT => screen.again(self.model.mouse),
            other => {
                self.quit = true;
                self.signal = Some(other);
                Ok(())
            }
        }
    }

    /// Suspends the process as Ctrl-Z does in any program. An invocation that
    /// is in flight meanwhile does not count as a measurement.
    fn suspend(&mut self, screen: &mut Terminal) -> io::Result<()> {
        let from = now();
        self.session.suspending(from);
        terminal::give_back();
        let stopped = signal_hook::low_level::emulate_default_handler(SIGTSTP);
        self.session.suspended(from, now());
        screen.again(self.model.mouse)?;
        stopped
    }

    fn carry_out(&mut self, effects: Vec<Effect>, screen: &mut Terminal) -> io::Result<()> {
        for effect in effects {
            match effect {
                Effect::Quit => self.quit = true,
                Effect::Suspend => self.suspend(screen)?,
                Effect::Mouse(on) => terminal::set_mouse(on)?,
                Effect::Redraw => screen.forget()?,
                Effect::Session(wish) => {
                    if let Err(complaint) = self.session.wish(wish) {
                        self.model.complain(complaint);
                    }
                }
                Effect::Export(form) => self.export(form, screen)?,
                Effect::Bills(ask) => self.desks.bills.ask(ask),
                Effect::Timeline(ask) => self.desks.timeline.ask(ask),
                Effect::History(ask) => self.desks.history.ask(ask),
                Effect::Host(ask) => self.desks.host.ask(ask),
            }
        }
        Ok(())
    }

    /// Draws the view alone and passes it to a thread that writes it.
    fn export(&mut self, form: export::Form, screen: &mut Terminal) -> io::Result<()> {
        let drawn = screen.terminal.draw(|frame| frame::draw(frame, &self.model))?;
        let page = export::Page::new(form, &self.model, drawn.buffer);
        let tell = self.tell.clone();
        std::thread::Builder::new().name("export".to_owned()).spawn(move || {
            let message = match page.write() {
                Ok(path) => Message::Told(format!("written: {}", path.display())),
                Err(error) => Message::Complaint(error),
            };
            let _ = tell.send(Incoming::Message(message));
        })?;
        Ok(())
    }
}

fn model(settings: Arc<Settings>, config: Config, first: bool) -> Model {
    Model {
        settings,
        theme: config.theme,
        keymap: config.keymap,
        size: (0, 0),
        mouse: config.mouse,
        now: now(),
        screen: Screen::Live,
        overlay: None,
        notice: None,
        snapshot: Arc::default(),
        opened: None,
        live: screens::live::State::new(config.wanted, config.models, first),
        bills: bills::State::default(),
        timeline: timeline::State::default(),
        history: history::State::default(),
        host: host::State::default(),
    }
}

impl Desks {
    /// Shuts all workers down, and waits a moment for those that are still busy.
    fn end(self) {
        let Self { bills, timeline, history, host } = self;
        let threads = [bills.end(), timeline.end(), history.end(), host.end()];
        let begun = Instant::now();
        while begun.elapsed() < GOODBYE && !threads.iter().all(JoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn start(settings: &Arc<Settings>, tell: &Sender<Incoming>) -> io::Result<Self> {
        let desk = || Desk::new(Arc::clone(settings), Cancel::default());
        macro_rules! start {
            ($screen:ident, $message:ident) => {{
                let tell = tell.clone();
                DeskHandle::start(stringify!($screen), desk(), $screen::answer, move |answer| {
                    tell.send(Incoming::Message(Message::$message(Box::new(answer)))).is_ok()
                })?
            }};
        }
        Ok(Self {
            bills: start!(bills, Bills),
            timeline: start!(timeline, Timeline),
            history: start!(history, History),
            host: start!(host, Host),
        })
    }
}

/// Starts the thread that waits for signals. They stay caught to the very end:
/// a terminal that goes away often sends several.
fn listen_to_signals(tell: Sender<Incoming>) -> io::Result<()> {
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
                crate::frozen::let_go_of_frozen_terminals();
            }
            if tell.send(Incoming::Signal(signal)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

/// Starts the thread that waits for keys.
fn listen_to_keys(tell: Sender<Incoming>) -> io::Result<()> {
    start_thread("keys", move || {
        loop {
            let incoming = match crossterm::event::read() {
                Ok(event) => Incoming::Terminal(event),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => Incoming::Gone,
            };
            let last = matches!(incoming, Incoming::Gone);
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
struct Panics {
    told: Arc<Mutex<Vec<String>>>,
    tell: Arc<Mutex<Option<Sender<Incoming>>>>,
}

impl Panics {
    fn watch() -> Self {
        let panics = Self { told: Arc::default(), tell: Arc::default() };
        let mine = panics.clone();
        let before = std::panic::take_hook();
        let drawing = std::thread::current().id();
        std::panic::set_hook(Box::new(move |panic| {
            let tell = mine.tell.lock().unwrap_or_else(PoisonError::into_inner).clone();
            match tell {
                Some(tell) if std::thread::current().id() != drawing => {
                    let thread = std::thread::current().name().unwrap_or("?").to_owned();
                    let text = format!("a defect in cyclometer: thread {thread}: {panic}");
                    let text = text.replace('\n', " ");
                    mine.told.lock().unwrap_or_else(PoisonError::into_inner).push(text.clone());
                    let _ = tell.send(Incoming::Message(Message::Complaint(text)));
                }
                _ => {
                    terminal::give_back();
                    before(panic);
                }
            }
        }));
        panics
    }

    fn tell(&self, tell: &Sender<Incoming>) {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = Some(tell.clone());
    }

    /// Stops the reporting to the screen, which is gone: panics are reported as
    /// usual again.
    fn forget(&self) {
        *self.tell.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
