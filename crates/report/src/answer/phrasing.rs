//! Numbers and lists as phrases of a sentence.

use cyclometer_stats::Change;

/// Formats a ratio above 1 with its interval: `78x [55, 88]`. Digits are added
/// until the lower end reads neither as 1 nor as the upper one.
pub(super) fn format_ratio(change: &Change) -> String {
    let digits = match change.ratio {
        ratio if ratio >= 9.95 => 0,
        ratio if ratio >= 1.95 => 1,
        _ => 2,
    };
    let told = |digits: usize| {
        let low = format!("{:.digits$}", change.low);
        let high = format_bound(change.high, digits);
        let clear = low.parse::<f64>().is_ok_and(|low| low > 1.0)
            && (low != high || digits > 1 && change.ratio >= 2.0);
        (clear, format!("{:.digits$}x [{low}, {high}]", change.ratio))
    };
    let (_, text) = (digits..5).map(told).find(|(clear, _)| *clear).unwrap_or_else(|| told(5));
    text
}

/// Formats an interval around 1: `0.81x, 1.32x`.
pub(super) fn format_interval(change: &Change) -> String {
    format!("{:.2}x, {}x", change.low, format_bound(change.high, 2))
}

fn format_bound(value: f64, digits: usize) -> String {
    if value.is_finite() { format!("{value:.digits$}") } else { "no bound".to_owned() }
}

/// Joins names: `a, b and c`.
pub(super) fn join_names(names: &[&str], last: &str) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [rest @ .., end] => format!("{} {last} {end}", rest.join(", ")),
    }
}
