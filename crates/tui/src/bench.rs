//! Internals of the observatory for `benches/tui`: the cost of a frame, and the
//! memory that a day of events leaves in use.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;
use ratatui::{Terminal, TerminalOptions, Viewport};

use super::screens::ScreenId;
use super::testing::{self, Story};
use super::theme::{Palette, Theme};
use super::{frame, update};
use cyclometer_record::live::{self, Feed, FeedItem, LiveHandle};

/// Terminal that discards its output and counts the bytes.
#[derive(Default)]
struct CountingWriter(u64);

impl Write for CountingWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Draws `count` frames of the live screen of that size, each with changed
/// figures, to the bytes that a terminal would get. Returns the time of each
/// frame.
///
/// # Panics
/// Panics when the frame cannot be drawn, which never happens in memory.
#[must_use]
pub fn measure_frames(size: (u16, u16), count: u32) -> Vec<Duration> {
    let mut model = testing::model(size);
    model.theme = Theme::new(Palette::Terminal, false);
    model.screen = ScreenId::Live;
    let mut story = Story::new();
    let viewport = Viewport::Fixed(Rect::new(0, 0, size.0, size.1));
    let mut terminal = Terminal::with_options(
        CrosstermBackend::new(CountingWriter::default()),
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
        update::advance_to(&mut model, testing::NOW);
        terminal.draw(|frame| frame::render(frame, &model)).expect("memory");
        times.push(begun.elapsed());
    }
    times
}

/// Counts after a stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soaked {
    /// Events sent so far.
    pub sent: u64,
    /// Invocation events among them that the view has.
    pub shown: u64,
    /// Events that found the queue full.
    pub dropped: u64,
}

/// Stream of events such as a day of recording makes, sent as fast as it is taken.
pub struct Soak {
    feed: Feed,
    live: LiveHandle,
    story: Story,
    sent: u64,
    structural: u64,
}

impl Soak {
    /// Starts the aggregator; no event has been sent yet.
    ///
    /// # Panics
    /// Panics when the system provides no thread.
    #[must_use]
    pub fn new() -> Self {
        let (feed, live) = live::spawn_aggregator(|| true).expect("a thread");
        feed.send_blocking(FeedItem::Models(testing::contracts()));
        let story = Story::new();
        let begin = story.opening();
        // Events from before a recording begins are not counted with it.
        let structural = begin.len() as u64;
        for item in begin {
            feed.send_blocking(item);
        }
        Self { feed, live, story, sent: 0, structural }
    }

    /// Sends `count` more events, of invocations that start and finish alternately.
    pub fn send_events(&mut self, count: u64) {
        for _ in 0..count / 2 {
            let cell = usize::try_from(self.sent / 2 % 6).unwrap_or(0);
            let sequence = u32::try_from(self.sent / 12 + 1).unwrap_or(u32::MAX);
            for event in self.story.invocation(cell, sequence, 1 + self.sent % 97) {
                self.feed.send_event(Box::new(event));
                self.sent += 1;
            }
        }
    }

    /// Waits until every event was taken, and returns the counts.
    #[must_use]
    pub fn wait_until_drained(&self) -> Soaked {
        loop {
            let snapshot = self.live.newest_snapshot();
            let dropped = self.feed.dropped_events();
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

    /// Draws the newest snapshot as the screen would.
    pub fn render_screen(&self) {
        let mut model = testing::model((200, 60));
        model.snapshot = Arc::clone(&self.live.newest_snapshot());
        let _ = testing::buffer(&model);
    }
}

impl Default for Soak {
    fn default() -> Self {
        Self::new()
    }
}
