//! A bar of parts that add up to it.

use ratatui::text::Span;

use crate::pricing::{Exact, Money, Waste};
use crate::tui::theme::{Role, Theme};

/// Names of the parts, as short as the legend needs them.
pub const NAMES: [&str; 7] =
    ["used", "idle", "head-room", "rounding", "start-up", "fees", "unmeasured"];

/// Shares of the whole in parts per million; `None` where there is no whole.
#[must_use]
pub fn shares(waste: &Waste<Money>) -> Option<[u64; 7]> {
    let total = waste.total();
    let mut shares = [0; 7];
    for (share, (_, part)) in shares.iter_mut().zip(waste.parts()) {
        let ratio = part.as_exact().over(total.as_exact())?;
        *share = (&ratio * &Exact::from(1_000_000))
            .round(0, crate::pricing::Direction::HalfUp)
            .to_u64()?;
    }
    Some(shares)
}

/// Cells of a bar of `width`, part by part: as near to the shares as cells
/// allow, and together exactly `width`. The largest remainders get what
/// rounding down leaves.
#[must_use]
pub fn cells(shares: &[u64; 7], width: usize) -> [usize; 7] {
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

/// The bar.
#[must_use]
pub fn spans(theme: &Theme, shares: &[u64; 7], width: usize) -> Vec<Span<'static>> {
    let cells = cells(shares, width);
    let parts = cells.into_iter().enumerate().filter(|(_, count)| *count > 0);
    parts
        .map(|(at, count)| {
            let text: String = std::iter::repeat_n(theme.part(at), count).collect();
            Span::styled(text, theme.style(Role::Part(at)))
        })
        .collect()
}

/// What the signs mean, those parts that there are.
#[must_use]
pub fn legend(theme: &Theme, shares: &[u64; 7]) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    for (at, name) in NAMES.iter().enumerate().filter(|(at, _)| shares[*at] > 0) {
        if !spans.is_empty() {
            spans.push(Span::raw(" "));
        }
        spans.push(Span::styled(theme.part(at).to_string(), theme.style(Role::Part(at))));
        spans.push(Span::raw(format!("{name} {}", percent(shares[at]))));
    }
    spans
}

/// Parts per million as per cent: `12%`, `0.3%`, `<0.1%`.
#[must_use]
pub fn percent(ppm: u64) -> String {
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
        assert_eq!(cells(&shares, 8), [4, 2, 0, 2, 0, 0, 0]);
        // 2.5, 1.25, 1.25 of 5: the half goes up.
        assert_eq!(cells(&shares, 5), [3, 1, 0, 1, 0, 0, 0]);
        assert_eq!(cells(&[0; 7], 5), [0; 7]);
    }

    proptest! {
        #[test]
        fn parts_fill_the_bar(shares: [u32; 7], width in 0_usize..300) {
            let shares = shares.map(u64::from);
            let total: usize = cells(&shares, width).iter().sum();
            prop_assert_eq!(total, if shares.iter().sum::<u64>() == 0 { 0 } else { width });
        }
    }

    #[test]
    fn shares_are_written_as_per_cent() {
        let texts = [0, 499, 500, 3_000, 99_499, 99_500, 1_000_000].map(percent);
        assert_eq!(texts, ["0%", "<0.1%", "0.1%", "0.3%", "9.9%", "10%", "100%"]);
    }
}
