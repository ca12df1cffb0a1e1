//! What `benches/tui` measures of the insides of the observatory: the cost of
//! a frame, and what a day of events leaves in memory.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::live::{self, Feed, Item, LiveHandle};
use super::screens::Screen;
use super::testing::{self, Story};
use super::theme::{Palette, Theme};
use super::{frame, update};

/// A terminal that forgets what it is told, and counts it.
#[derive(Default)]
struct Sink(u64);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Draws `count` frames of the live screen of that size, each with figures that
/// changed, to the bytes that a terminal gets. Returns the time of each frame.
///
/// # Panics
/// When the frame cannot be drawn, which memory never refuses.
#[must_use]
pub fn frames(size: (u16, u16), count: u32) -> Vec<Duration> {
    let mut model = testing::model(size);
    model.theme = Theme::new(Palette::Terminal, false);
    model.screen = Screen::Live;
    let mut story = Story::new();
    let viewport = Viewport::Fixed(Rect::new(0, 0, size.0, size.1));
    let mut terminal = Terminal::with_options(
        CrosstermBackend::new(Sink::default()),
        TerminalOptions { viewport },
    )
    .expect("memory");
    let mut times = Vec::new();
    for at in 0..count {
        for cell in 0..6 {
            story.ran(cell, at + 1, 1 + u64::from(at % 37));
        }
        model.snapshot = story.snapshot();
        let begun = Instant::now();
        update::tick(&mut model, testing::NOW);
        terminal.draw(|frame| frame::draw(frame, &model)).expect("memory");
        times.push(begun.elapsed());
    }
    times
}

/// What became of a stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soaked {
    /// Events that were sent so far.
    pub sent: u64,
    /// Of those, invocations that the view has.
    pub shown: u64,
    /// Events that found the queue full.
    pub dropped: u64,
}

/// A stream of events such as a day of recording makes, as fast as it is taken.
pub struct Soak {
    feed: Feed,
    live: LiveHandle,
    story: Story,
    sent: u64,
    structural: u64,
}

impl Soak {
    /// Nothing sent yet.
    ///
    /// # Panics
    /// When the system gives no thread.
    #[must_use]
    pub fn new() -> Self {
        let (feed, live) = live::start(|| true).expect("a thread");
        feed.tell(Item::Models(testing::contracts()));
        let story = Story::new();
        let begin = story.opening();
        // What came before a recording begins is not counted with it.
        let structural = begin.len() as u64;
        for item in begin {
            feed.tell(item);
        }
        Self { feed, live, story, sent: 0, structural }
    }

    /// Sends `count` more events, of invocations that start and finish in turn.
    pub fn send(&mut self, count: u64) {
        for _ in 0..count / 2 {
            let cell = usize::try_from(self.sent / 2 % 6).unwrap_or(0);
            let sequence = u32::try_from(self.sent / 12 + 1).unwrap_or(u32::MAX);
            for event in self.story.invocation(cell, sequence, 1 + self.sent % 97) {
                self.feed.event(Box::new(event));
                self.sent += 1;
            }
        }
    }

    /// Waits until everything was taken, and counts.
    #[must_use]
    pub fn settle(&self) -> Soaked {
        loop {
            let snapshot = self.live.snapshot();
            let dropped = self.feed.lost();
            if snapshot.events + dropped >= self.sent + self.structural {
                return Soaked {
                    sent: self.sent,
                    shown: snapshot.events - self.structural,
                    dropped,
                };
            }
            // A snapshot comes every 50 ms while there is something new.
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Draws what there is, as the screen would.
    pub fn draw(&self) {
        let mut model = testing::model((200, 60));
        model.snapshot = Arc::clone(&self.live.snapshot());
        let _ = testing::buffer(&model);
    }
}

impl Default for Soak {
    fn default() -> Self {
        Self::new()
    }
}
