//! Playback position, speed and zoom of a recording.

use cyclometer_core::units::Nanos;

/// Exponents of the speed, a power of two: 1/16 to 64 times.
const SPEED_EXPONENTS: std::ops::RangeInclusive<i32> = -4..=6;

/// Shortest visible time in nanoseconds.
const MIN_VISIBLE_SPAN: u64 = 1_000;

/// Playback of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Player {
    /// Beginning and end of the part, in nanoseconds.
    begin: u64,
    end: u64,
    position: u64,
    /// Time of the last step during playback; `None` when paused.
    since: Option<Nanos>,
    speed: i32,
    /// Beginning and length of the visible time; `None`: everything.
    zoom_window: Option<(u64, u64)>,
}

impl Player {
    /// Starts at the beginning of a part, paused.
    pub const fn new(begin: Nanos, end: Nanos) -> Self {
        let end = if end.0 < begin.0 { begin.0 } else { end.0 };
        let begin = begin.0;
        Self { begin, end, position: begin, since: None, speed: 0, zoom_window: None }
    }

    /// Moves the player to another part, keeping its speed, its zoom and whether it
    /// plays.
    pub(crate) fn in_part(self, begin: Nanos, end: Nanos, at_end: bool) -> Self {
        let mut next = Self::new(begin, end);
        next.since = self.since;
        next.speed = self.speed;
        next.zoom_window = self.zoom_window;
        next.seek(if at_end { end } else { begin });
        next
    }

    /// Extends the part to a new end; a position at the old end follows.
    pub(crate) fn extend_to(&mut self, end: Nanos) {
        let at_end = self.position == self.end;
        self.end = self.end.max(end.0);
        if at_end {
            self.position = self.end;
        }
        self.scroll_to_position();
    }

    /// Returns the time since the recording began.
    pub const fn position(&self) -> Nanos {
        Nanos(self.position)
    }

    /// Whether playback is running.
    pub(crate) const fn is_playing(&self) -> bool {
        self.since.is_some()
    }

    /// Whether the position is at the end.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Whether the position is at the beginning.
    pub(crate) const fn is_at_begin(&self) -> bool {
        self.position <= self.begin
    }

    /// Formats the speed: `1/4x`, `8x`.
    pub(crate) fn speed_label(&self) -> String {
        let times = 1_u32 << self.speed.unsigned_abs();
        if self.speed < 0 { format!("1/{times}x") } else { format!("{times}x") }
    }

    /// Doubles or halves the speed.
    pub(crate) fn change_speed(&mut self, faster: bool) {
        let next = self.speed + if faster { 1 } else { -1 };
        self.speed = next.clamp(*SPEED_EXPONENTS.start(), *SPEED_EXPONENTS.end());
    }

    /// Starts or pauses playback; at the end it starts over.
    pub(crate) fn toggle_playback(&mut self, now: Nanos) {
        if self.since.take().is_some() {
            return;
        }
        if self.is_at_end() {
            self.seek(Nanos(self.begin));
        }
        self.since = Some(now);
    }

    /// Pauses playback.
    pub const fn pause(&mut self) {
        self.since = None;
    }

    /// Advances the position to the time `now`; returns whether it reached the end,
    /// where it stays.
    pub(crate) fn advance_to(&mut self, now: Nanos) -> bool {
        let Some(since) = self.since else { return false };
        let went = now.saturating_since(since).0;
        let far = if self.speed < 0 {
            // The remainder of the division is kept for the next step.
            let times = 1_u64 << self.speed.unsigned_abs();
            self.since = Some(Nanos(now.0 - went % times));
            went / times
        } else {
            self.since = Some(now);
            went.saturating_mul(1 << self.speed.unsigned_abs())
        };
        self.position = self.position.saturating_add(far).min(self.end);
        self.scroll_to_position();
        self.is_at_end()
    }

    /// Seeks to a moment.
    pub fn seek(&mut self, to: Nanos) {
        self.position = to.0.clamp(self.begin, self.end);
        self.scroll_to_position();
    }

    /// Seeks forward by `share / of` of the visible time, or backward if `share` is
    /// negative.
    pub(crate) fn seek_by_share(&mut self, share: i64, of: u64) {
        let far = (self.visible_span().1 / of.max(1)).max(1).saturating_mul(share.unsigned_abs());
        let to = if share < 0 {
            self.position.saturating_sub(far)
        } else {
            self.position.saturating_add(far)
        };
        self.seek(Nanos(to));
    }

    /// Seeks to the first moment.
    pub(crate) fn seek_to_begin(&mut self) {
        self.seek(Nanos(self.begin));
    }

    /// Seeks to the last moment.
    pub(crate) fn seek_to_end(&mut self) {
        self.seek(Nanos(self.end));
    }

    /// Returns beginning and length of the visible time in nanoseconds; the length is
    /// at least 1.
    pub(crate) fn visible_span(&self) -> (u64, u64) {
        let whole = (self.end - self.begin).max(1);
        match self.zoom_window {
            Some((left, span)) if span < whole => (left.min(self.end - span), span),
            _ => (self.begin, whole),
        }
    }

    /// Zooms in or out by a factor of two, keeping the column of the position.
    pub(crate) fn zoom(&mut self, closer: bool) {
        let (left, span) = self.visible_span();
        let whole = (self.end - self.begin).max(1);
        let next = if closer {
            (span / 2).max(MIN_VISIBLE_SPAN.min(whole))
        } else {
            span.saturating_mul(2)
        };
        if next >= whole {
            self.zoom_window = None;
            return;
        }
        let before = u128::from(self.position.saturating_sub(left));
        let share = before * u128::from(next) / u128::from(span);
        let left = self.position.saturating_sub(u64::try_from(share).unwrap_or(0));
        self.zoom_window = Some((left.clamp(self.begin, self.end - next), next));
    }

    /// Shows the whole part.
    pub(crate) const fn zoom_reset(&mut self) {
        self.zoom_window = None;
    }

    /// Scrolls so that the position stays visible, a tenth from the edges.
    fn scroll_to_position(&mut self) {
        let whole = (self.end - self.begin).max(1);
        let Some((left, span)) = self.zoom_window else { return };
        if span >= whole {
            return;
        }
        let edge = span / 10;
        let most = self.position.saturating_sub(edge);
        let least = (self.position + edge).saturating_sub(span);
        let left = left.clamp(least.min(most), most);
        self.zoom_window = Some((left.clamp(self.begin, self.end - span), span));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn player() -> Player {
        Player::new(Nanos(0), Nanos(100 * S))
    }

    #[test]
    fn time_goes_by_at_its_speed_and_stops_at_the_end() {
        let mut player = player();
        player.toggle_playback(Nanos(5 * S));
        assert!(!player.advance_to(Nanos(7 * S)));
        assert_eq!(player.position(), Nanos(2 * S));
        player.change_speed(true);
        player.change_speed(true);
        assert_eq!(player.speed_label(), "4x");
        assert!(!player.advance_to(Nanos(8 * S)));
        assert_eq!(player.position(), Nanos(6 * S), "2 s and 4 x 1 s");
        assert!(player.advance_to(Nanos(1_000 * S)));
        assert_eq!((player.position(), player.is_at_end()), (Nanos(100 * S), true));
        player.pause();
        // At the end it starts over.
        player.toggle_playback(Nanos(1_000 * S));
        assert_eq!((player.position(), player.is_playing()), (Nanos(0), true));
    }

    #[test]
    fn slow_steps_lose_nothing() {
        let mut player = player();
        for _ in 0..9 {
            player.change_speed(false);
        }
        assert_eq!(player.speed_label(), "1/16x");
        player.toggle_playback(Nanos(0));
        for now in 1..=1_600 {
            player.advance_to(Nanos(now));
        }
        assert_eq!(player.position(), Nanos(100), "1600 / 16");
    }

    #[test]
    fn seeking_stays_inside() {
        let mut player = player();
        player.seek_by_share(1, 20);
        assert_eq!(player.position(), Nanos(5 * S), "a twentieth of 100 s");
        player.seek_by_share(-2, 20);
        assert_eq!(player.position(), Nanos(0));
        player.seek_to_end();
        player.seek_by_share(1, 1);
        assert_eq!(player.position(), Nanos(100 * S));
    }

    #[test]
    fn zooming_keeps_the_moment_where_it_is() {
        let mut player = player();
        player.seek(Nanos(40 * S));
        player.zoom(true);
        // 40 % of the width: 20 of 50 from the left.
        assert_eq!(player.visible_span(), (20 * S, 50 * S));
        player.zoom(false);
        assert_eq!(player.visible_span(), (0, 100 * S));
        for _ in 0..60 {
            player.zoom(true);
        }
        assert_eq!(player.visible_span().1, 1_000, "a microsecond");
        player.zoom_reset();
        assert_eq!(player.visible_span(), (0, 100 * S));
    }

    #[test]
    fn sight_follows_the_moment() {
        let mut player = player();
        player.zoom(true);
        assert_eq!(player.visible_span(), (0, 50 * S));
        player.seek(Nanos(60 * S));
        // 45 of 50: the right edge less a tenth.
        assert_eq!(player.visible_span(), (15 * S, 50 * S));
        player.seek_to_end();
        assert_eq!(player.visible_span(), (50 * S, 50 * S));
        player.seek_to_begin();
        assert_eq!(player.visible_span(), (0, 50 * S));
    }

    #[test]
    fn a_recording_that_grows_is_followed_at_its_end_only() {
        let mut player = player();
        player.seek_to_end();
        player.extend_to(Nanos(120 * S));
        assert_eq!(player.position(), Nanos(120 * S));
        player.seek(Nanos(10 * S));
        player.extend_to(Nanos(130 * S));
        assert_eq!((player.position(), player.visible_span().1), (Nanos(10 * S), 130 * S));
    }

    #[test]
    fn nothing_recorded_has_no_time() {
        let mut player = Player::new(Nanos(0), Nanos(0));
        player.zoom(true);
        player.seek_by_share(1, 20);
        player.toggle_playback(Nanos(3));
        assert!(player.advance_to(Nanos(9)));
        assert_eq!((player.position(), player.visible_span()), (Nanos(0), (0, 1)));
    }
}
