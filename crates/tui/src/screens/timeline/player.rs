//! Where in the recording one is, how fast it plays, and what is in sight.

use cyclometer_core::units::Nanos;

/// Exponents of two: 1/16 to 64 times.
const SPEEDS: std::ops::RangeInclusive<i32> = -4..=6;

/// Shortest time in sight.
const LEAST: u64 = 1_000;

/// The player.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Player {
    /// When the part begins and ends.
    begin: u64,
    end: u64,
    position: u64,
    /// The moment of the last step, while it plays.
    since: Option<Nanos>,
    speed: i32,
    /// What is in sight: from when, and how long; `None`: everything.
    sight: Option<(u64, u64)>,
}

impl Player {
    /// A part, from its beginning.
    pub const fn new(begin: Nanos, end: Nanos) -> Self {
        let end = if end.0 < begin.0 { begin.0 } else { end.0 };
        let begin = begin.0;
        Self { begin, end, position: begin, since: None, speed: 0, sight: None }
    }

    /// The same player in another part: it plays on as fast as it did, and
    /// looks as closely.
    pub fn in_part(self, begin: Nanos, end: Nanos, at_end: bool) -> Self {
        let mut next = Self::new(begin, end);
        next.since = self.since;
        next.speed = self.speed;
        next.sight = self.sight;
        next.seek(if at_end { end } else { begin });
        next
    }

    /// The part has grown.
    pub fn grow(&mut self, end: Nanos) {
        let at_end = self.position == self.end;
        self.end = self.end.max(end.0);
        if at_end {
            self.position = self.end;
        }
        self.follow();
    }

    /// Since the recording began.
    pub const fn position(&self) -> Nanos {
        Nanos(self.position)
    }

    /// Whether it plays.
    pub const fn playing(&self) -> bool {
        self.since.is_some()
    }

    /// Whether it is at the end.
    pub const fn at_end(&self) -> bool {
        self.position >= self.end
    }

    /// Whether it is at the beginning.
    pub const fn at_begin(&self) -> bool {
        self.position <= self.begin
    }

    /// `1/4x`, `8x`.
    pub fn speed(&self) -> String {
        let times = 1_u32 << self.speed.unsigned_abs();
        if self.speed < 0 { format!("1/{times}x") } else { format!("{times}x") }
    }

    /// Twice as fast, or half as fast.
    pub fn change_speed(&mut self, faster: bool) {
        let next = self.speed + if faster { 1 } else { -1 };
        self.speed = next.clamp(*SPEEDS.start(), *SPEEDS.end());
    }

    /// Plays or pauses. At the end it starts again.
    pub fn toggle(&mut self, now: Nanos) {
        if self.since.take().is_some() {
            return;
        }
        if self.at_end() {
            self.seek(Nanos(self.begin));
        }
        self.since = Some(now);
    }

    /// Stops.
    pub const fn pause(&mut self) {
        self.since = None;
    }

    /// Time went by. Whether it came to the end with that, where it stays.
    pub fn advance(&mut self, now: Nanos) -> bool {
        let Some(since) = self.since else { return false };
        let went = now.since(since).0;
        let far = if self.speed < 0 {
            // What division leaves is not forgotten.
            let times = 1_u64 << self.speed.unsigned_abs();
            self.since = Some(Nanos(now.0 - went % times));
            went / times
        } else {
            self.since = Some(now);
            went.saturating_mul(1 << self.speed.unsigned_abs())
        };
        self.position = self.position.saturating_add(far).min(self.end);
        self.follow();
        self.at_end()
    }

    /// Goes to a moment.
    pub fn seek(&mut self, to: Nanos) {
        self.position = to.0.clamp(self.begin, self.end);
        self.follow();
    }

    /// Goes on by a share of what is in sight; back if it is negative.
    pub fn step(&mut self, share: i64, of: u64) {
        let far = (self.sight().1 / of.max(1)).max(1).saturating_mul(share.unsigned_abs());
        let to = if share < 0 {
            self.position.saturating_sub(far)
        } else {
            self.position.saturating_add(far)
        };
        self.seek(Nanos(to));
    }

    /// To the first moment.
    pub fn first(&mut self) {
        self.seek(Nanos(self.begin));
    }

    /// To the last.
    pub fn last(&mut self) {
        self.seek(Nanos(self.end));
    }

    /// What is in sight: from when, and how long, at least a nanosecond.
    pub fn sight(&self) -> (u64, u64) {
        let whole = (self.end - self.begin).max(1);
        match self.sight {
            Some((left, span)) if span < whole => (left.min(self.end - span), span),
            _ => (self.begin, whole),
        }
    }

    /// Looks closer, or from further away: the moment stays where it is.
    pub fn zoom(&mut self, closer: bool) {
        let (left, span) = self.sight();
        let whole = (self.end - self.begin).max(1);
        let next = if closer { (span / 2).max(LEAST.min(whole)) } else { span.saturating_mul(2) };
        if next >= whole {
            self.sight = None;
            return;
        }
        let before = u128::from(self.position.saturating_sub(left));
        let share = before * u128::from(next) / u128::from(span);
        let left = self.position.saturating_sub(u64::try_from(share).unwrap_or(0));
        self.sight = Some((left.clamp(self.begin, self.end - next), next));
    }

    /// Looks at everything.
    pub const fn zoom_reset(&mut self) {
        self.sight = None;
    }

    /// Keeps the moment in sight, a tenth from the edges.
    fn follow(&mut self) {
        let whole = (self.end - self.begin).max(1);
        let Some((left, span)) = self.sight else { return };
        if span >= whole {
            return;
        }
        let edge = span / 10;
        let most = self.position.saturating_sub(edge);
        let least = (self.position + edge).saturating_sub(span);
        let left = left.clamp(least.min(most), most);
        self.sight = Some((left.clamp(self.begin, self.end - span), span));
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
        player.toggle(Nanos(5 * S));
        assert!(!player.advance(Nanos(7 * S)));
        assert_eq!(player.position(), Nanos(2 * S));
        player.change_speed(true);
        player.change_speed(true);
        assert_eq!(player.speed(), "4x");
        assert!(!player.advance(Nanos(8 * S)));
        assert_eq!(player.position(), Nanos(6 * S), "2 s and 4 x 1 s");
        assert!(player.advance(Nanos(1_000 * S)));
        assert_eq!((player.position(), player.at_end()), (Nanos(100 * S), true));
        player.pause();
        // At the end it starts again.
        player.toggle(Nanos(1_000 * S));
        assert_eq!((player.position(), player.playing()), (Nanos(0), true));
    }

    #[test]
    fn slow_steps_lose_nothing() {
        let mut player = player();
        for _ in 0..9 {
            player.change_speed(false);
        }
        assert_eq!(player.speed(), "1/16x");
        player.toggle(Nanos(0));
        for now in 1..=1_600 {
            player.advance(Nanos(now));
        }
        assert_eq!(player.position(), Nanos(100), "1600 / 16");
    }

    #[test]
    fn seeking_stays_inside() {
        let mut player = player();
        player.step(1, 20);
        assert_eq!(player.position(), Nanos(5 * S), "a twentieth of 100 s");
        player.step(-2, 20);
        assert_eq!(player.position(), Nanos(0));
        player.last();
        player.step(1, 1);
        assert_eq!(player.position(), Nanos(100 * S));
    }

    #[test]
    fn zooming_keeps_the_moment_where_it_is() {
        let mut player = player();
        player.seek(Nanos(40 * S));
        player.zoom(true);
        // At 40 of 100; of 50 that is 20 from the left.
        assert_eq!(player.sight(), (20 * S, 50 * S));
        player.zoom(false);
        assert_eq!(player.sight(), (0, 100 * S));
        for _ in 0..60 {
            player.zoom(true);
        }
        assert_eq!(player.sight().1, 1_000, "a microsecond");
        player.zoom_reset();
        assert_eq!(player.sight(), (0, 100 * S));
    }

    #[test]
    fn sight_follows_the_moment() {
        let mut player = player();
        player.zoom(true);
        assert_eq!(player.sight(), (0, 50 * S));
        player.seek(Nanos(60 * S));
        // 45 of 50 is the right edge less a tenth.
        assert_eq!(player.sight(), (15 * S, 50 * S));
        player.last();
        assert_eq!(player.sight(), (50 * S, 50 * S));
        player.first();
        assert_eq!(player.sight(), (0, 50 * S));
    }

    #[test]
    fn a_recording_that_grows_is_followed_at_its_end_only() {
        let mut player = player();
        player.last();
        player.grow(Nanos(120 * S));
        assert_eq!(player.position(), Nanos(120 * S));
        player.seek(Nanos(10 * S));
        player.grow(Nanos(130 * S));
        assert_eq!((player.position(), player.sight().1), (Nanos(10 * S), 130 * S));
    }

    #[test]
    fn nothing_recorded_has_no_time() {
        let mut player = Player::new(Nanos(0), Nanos(0));
        player.zoom(true);
        player.step(1, 20);
        player.toggle(Nanos(3));
        assert!(player.advance(Nanos(9)));
        assert_eq!((player.position(), player.sight()), (Nanos(0), (0, 1)));
    }
}
