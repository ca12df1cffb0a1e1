//! Bar whose parts add up to a whole: the waste of a bill.

use ratatui::text::{Line, Span};

use crate::theme::{StyleRole, Theme};
use crate::widgets::text::display_width;
use cyclometer_pricing::{Exact, Money, Waste};

/// Names of the parts, short enough for the legend.
pub const NAMES: [&str; 7] =
    ["used", "idle", "head-room", "rounding", "start-up", "fees", "unmeasured"];

/// Short descriptions of the parts.
pub const ABOUT: [&str; 7] = [
    "work that was done",
    "time in which the function waited",
    "memory that was never touched",
    "grids and minimums",
    "time before the first instruction",
    "charges for requests and the like",
    "no meter says what it was for",
];

/// Returns the share of each part in parts per million; `None` where the whole
/// is zero.
#[must_use]
pub(crate) fn waste_shares(waste: &Waste<Money>) -> Option<[u64; 7]> {
    let total = waste.total();
    let mut shares = [0; 7];
    for (share, (_, part)) in shares.iter_mut().zip(waste.named_parts()) {
        let ratio = part.as_exact().checked_div(total.as_exact())?;
        *share = (&ratio * &Exact::from(1_000_000))
            .round_to(0, cyclometer_pricing::RoundingDirection::HalfUp)
            .to_u64()?;
    }
    Some(shares)
}

/// Returns the number of cells of each part in a bar of `width`: as near to the
/// shares as cells allow, and together exactly `width`. The largest remainders
/// get what rounding down leaves.
#[must_use]
pub(crate) fn cell_counts(shares: &[u64; 7], width: usize) -> [usize; 7] {
    let sum: u128 = shares.iter().map(|share| u128::from(*share)).sum();
    let mut cells = [0; 7];
    if sum == 0 {
        return cells;
    }
    let mut remainders = [0_u128; 7];
    for (at, share) in shares.iter().enumerate() {
        let exact = u128::from(*share) * width as u128;
        cells[at] = usize::try_from(exact / sum).unwrap_or(0);
        remainders[at] = exact % sum;
    }
    let left = width.saturating_sub(cells.iter().sum());
    let mut order: Vec<usize> = (0..7).collect();
    order.sort_by_key(|at| std::cmp::Reverse(remainders[*at]));
    for at in order.into_iter().take(left) {
        cells[at] += 1;
    }
    cells
}

/// Returns the bar as spans.
#[must_use]
pub(crate) fn bar_spans(theme: &Theme, shares: &[u64; 7], width: usize) -> Vec<Span<'static>> {
    let cells = cell_counts(shares, width);
    let parts = cells.into_iter().enumerate().filter(|(_, count)| *count > 0);
    parts
        .map(|(at, count)| {
            let text: String = std::iter::repeat_n(theme.part_sign(at), count).collect();
            Span::styled(text, theme.style(StyleRole::Part(at)))
        })
        .collect()
}

/// Returns sign and name of every part in lines of `room` columns, with its
/// share where there is one.
#[must_use]
pub(crate) fn legend_lines(
    theme: &Theme,
    shares: Option<&[u64; 7]>,
    room: usize,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let (mut spans, mut used) = (vec![Span::raw(" ")], 1);
    for (at, name) in NAMES.iter().enumerate() {
        let text = match shares.map(|shares| shares[at]).filter(|share| *share > 0) {
            Some(share) => format!("{name} {}", format_percent(share)),
            None => (*name).to_owned(),
        };
        let takes = 2 + display_width(&text);
        if used > 1 && used + takes > room {
            lines.push(Line::from(std::mem::replace(&mut spans, vec![Span::raw(" ")])));
            used = 1;
        }
        if used > 1 {
            spans.push(Span::raw(" "));
        }
        used += takes;
        spans.push(Span::styled(theme.part_sign(at).to_string(), theme.style(StyleRole::Part(at))));
        spans.push(Span::raw(text));
    }
    lines.push(Line::from(spans));
    lines
}

/// Formats parts per million as per cent: `12%`, `0.3%`, `<0.1%`.
#[must_use]
pub fn format_percent(ppm: u64) -> String {
    match ppm {
        0 => "0%".to_owned(),
        1..=499 => "<0.1%".to_owned(),
        500..=99_499 => format!("{}.{}%", (ppm + 500) / 10_000, (ppm + 500) / 1_000 % 10),
        _ => format!("{}%", (ppm + 5_000) / 10_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_follow_the_shares() {
        let shares = [500_000, 250_000, 0, 250_000, 0, 0, 0];
        assert_eq!(cell_counts(&shares, 8), [4, 2, 0, 2, 0, 0, 0]);
        // 2.5, 1.25, 1.25 of 5: the half goes up.
        assert_eq!(cell_counts(&shares, 5), [3, 1, 0, 1, 0, 0, 0]);
        assert_eq!(cell_counts(&[0; 7], 5), [0; 7]);
    }

    proptest! {
        #[test]
        fn parts_fill_the_bar(shares: [u32; 7], width in 0_usize..300) {
            let shares = shares.map(u64::from);
            let total: usize = cell_counts(&shares, width).iter().sum();
            prop_assert_eq!(total, if shares.iter().sum::<u64>() == 0 { 0 } else { width });
        }
    }

    #[test]
    fn a_legend_names_all_parts_by_sign_and_fits() {
        let theme = Theme::new(crate::theme::Palette::Mono, true);
        for room in [20, 40, 78, 200] {
            let lines = legend_lines(&theme, Some(&[600_000, 0, 0, 0, 0, 400_000, 0]), room);
            let text: Vec<String> = lines.iter().map(ToString::to_string).collect();
            assert!(text.iter().all(|line| display_width(line) <= room), "{text:?}");
            let text = text.join("");
            let signs = ["#used 60%", ".idle", ":head-room", "%rounding", "@start-up", "=fees 40%"];
            assert!(signs.iter().all(|it| text.contains(it)), "{text}");
            assert!(text.contains("?unmeasured"), "{text}");
        }
    }

    #[test]
    fn shares_are_written_as_per_cent() {
        let texts = [0, 499, 500, 3_000, 99_499, 99_500, 1_000_000].map(format_percent);
        assert_eq!(texts, ["0%", "<0.1%", "0.1%", "0.3%", "9.9%", "10%", "100%"]);
    }
}
