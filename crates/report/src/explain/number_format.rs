//! Formats numbers for a person with a calculator: all digits, or a `~`.

use std::num::NonZeroU64;

use cyclometer_core::quantity::separate_thousands;
use cyclometer_pricing::{Dimension, Exact, Money};

/// Maximum number of significant digits in text.
const DIGITS: NonZeroU64 = NonZeroU64::new(15).expect("15 is not 0");

/// A space at which no line is broken.
pub(super) const TIED: char = '\u{a0}';

/// Formats all digits with thousands separators; a number that has no finite decimal, or
/// too many digits, is cut and marked with `~`.
pub(super) fn format_number(value: &Exact) -> String {
    let plain = value.to_plain_string();
    if value.to_fraction_string().is_none() && significant_digits(&plain) <= 15 {
        return separate_thousands(&plain);
    }
    format!("~{}", separate_thousands(&value.to_significant_string(DIGITS)))
}

/// Like [`format_number`], but keeps a fraction as a fraction.
pub(super) fn format_factor(value: &Exact) -> String {
    value.to_fraction_string().unwrap_or_else(|| format_number(value))
}

fn significant_digits(plain: &str) -> usize {
    let digits: String = plain.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    if plain.contains('.') { digits.len() } else { digits.trim_end_matches('0').len() }
}

/// Formats a number and its unit, which stay on one line.
pub(super) fn format_amount(value: &Exact, unit: &str) -> String {
    let unit = unit.replace(' ', &TIED.to_string());
    format!("{}{TIED}{}", format_number(value), pluralize_unit(&unit, value))
}

/// Returns the plural of a unit: words have one, abbreviations have none.
fn pluralize_unit(unit: &str, value: &Exact) -> String {
    let one = *value == Exact::from(1);
    let word = unit.len() >= 4 && unit.chars().all(|c| c.is_ascii_lowercase() || c == TIED);
    match (word || unit == "day", one, unit.ends_with('s')) {
        (true, true, true) if !unit.ends_with("ss") => unit[..unit.len() - 1].to_owned(),
        (true, false, false) => format!("{unit}s"),
        _ => unit.to_owned(),
    }
}

/// Formats a metered value in the largest unit that leaves few decimals.
pub(super) fn format_metered(value: &Exact, dimension: Dimension) -> String {
    if value.is_zero() {
        return format_amount(value, unit_of_zero(dimension));
    }
    // Few digits before the point if few decimals suffice for that, else few decimals.
    for (decimals, most) in [(2, 100_000), (6, u64::MAX), (9, u64::MAX)] {
        let most = Exact::from(most);
        let fitting = dimension.units().iter().filter_map(|(unit, size)| {
            let in_unit = value.checked_div(&Exact::from(*size))?;
            let size_fits = in_unit >= Exact::from(1) && in_unit < most;
            let fits = size_fits && decimals_of(&in_unit) <= decimals;
            fits.then_some((in_unit, *size, *unit))
        });
        if let Some((in_unit, _, unit)) = fitting.max_by_key(|(_, size, _)| *size) {
            return format_amount(&in_unit, unit);
        }
    }
    format_amount(value, dimension.units().first().map_or("", |(unit, _)| unit))
        .trim_end()
        .to_owned()
}

fn unit_of_zero(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Time => "ms",
        Dimension::CpuShare => "vCPU",
        _ => dimension.units().first().map_or("", |(unit, _)| unit),
    }
}

fn decimals_of(value: &Exact) -> usize {
    if value.to_fraction_string().is_some() {
        return usize::MAX;
    }
    value.to_plain_string().split_once('.').map_or(0, |(_, fraction)| fraction.len())
}

/// Formatter of amounts in one currency, given by its code.
#[derive(Debug, Clone, Copy)]
pub(super) struct CurrencyFormat<'a>(pub &'a str);

impl CurrencyFormat<'_> {
    /// Formats an exact amount, with at least two decimals.
    pub(super) fn format_exact(self, money: &Exact) -> String {
        self.add_symbol(&pad_decimals(format_number(money)))
    }

    /// Formats an amount with the given number of decimals.
    pub(super) fn format_rounded(self, money: &Money, digits: u32) -> String {
        self.add_symbol(&separate_thousands(&money.to_rounded_string(digits)))
    }

    /// Formats a price: `x $0.20 / 1,000,000`.
    pub(super) fn format_price(self, price: &Exact, per: &Exact) -> String {
        let price = format!("x{TIED}{}", self.format_exact(price));
        if *per == Exact::from(1) {
            return price;
        }
        format!("{price} /{TIED}{}", format_number(per))
    }

    fn add_symbol(self, number: &str) -> String {
        let (about, number) = number.strip_prefix('~').map_or(("", number), |rest| ("~", rest));
        let (sign, number) = number.strip_prefix('-').map_or(("", number), |rest| ("-", rest));
        match self.0 {
            "USD" => format!("{about}{sign}${number}"),
            "EUR" => format!("{about}{sign}\u{20ac}{number}"),
            code => format!("{about}{sign}{number}{TIED}{code}"),
        }
    }
}

fn pad_decimals(number: String) -> String {
    match number.split_once('.') {
        None => number + ".00",
        Some((_, fraction)) if fraction.len() == 1 => number + "0",
        Some(_) => number,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exact(text: &str) -> Exact {
        text.parse().unwrap()
    }

    #[test]
    fn all_digits_or_a_mark() {
        assert_eq!(format_number(&exact("1234567.5")), "1,234,567.5");
        assert_eq!(format_number(&exact("999")), "999");
        assert_eq!(format_number(&exact("0.0000166667")), "0.0000166667");
        assert_eq!(format_number(&exact("123456789012345")), "123,456,789,012,345");
        assert_eq!(format_number(&exact("1234567890123456")), "~1,234,567,890,123,460");
        assert_eq!(
            format_number(&exact("1000000000000000000000")),
            "1,000,000,000,000,000,000,000"
        );
        assert_eq!(format_number(&exact("1/3")), "~0.333333333333333");
        assert_eq!(format_number(&exact("0.1234567890123456")), "~0.123456789012346");
        assert_eq!(format_factor(&exact("5/48")), "5/48");
    }

    #[test]
    fn money_has_its_sign_or_its_code() {
        let money = |text: &str| text.parse::<Money>().unwrap();
        assert_eq!(CurrencyFormat("USD").format_exact(&exact("2.333338")), "$2.333338");
        assert_eq!(CurrencyFormat("USD").format_exact(&exact("1234.5")), "$1,234.50");
        assert_eq!(CurrencyFormat("EUR").format_exact(&exact("3")), "\u{20ac}3.00");
        assert_eq!(CurrencyFormat("NEAR").format_exact(&exact("0.0001")), "0.0001\u{a0}NEAR");
        assert_eq!(CurrencyFormat("USD").format_exact(&exact("1/3")), "~$0.333333333333333");
        assert_eq!(CurrencyFormat("USD").format_rounded(&money("26.085"), 2), "$26.09");
    }

    #[test]
    fn units_are_those_that_people_use() {
        let metered = |value: u64, dimension| {
            super::format_metered(&Exact::from(value), dimension).replace(TIED, " ")
        };
        assert_eq!(metered(120_000_000, Dimension::Time), "120 ms");
        assert_eq!(metered(1_307_680_000, Dimension::Time), "1,307.68 ms");
        assert_eq!(metered(1_234_567, Dimension::Time), "1.234567 ms");
        assert_eq!(metered(2_592_000_000_000_000, Dimension::Time), "30 days");
        assert_eq!(metered(1536 << 20, Dimension::Size), "1.5 GiB");
        assert_eq!(metered(1_500, Dimension::CpuShare), "1.5 vCPU");
        assert_eq!(metered(70_400_000, Dimension::Cycles), "70,400,000 cycles");
        assert_eq!(metered(1, Dimension::Requests), "1 request");
        assert_eq!(format_amount(&exact("2"), "request").replace(TIED, " "), "2 requests");
        assert_eq!(format_amount(&exact("1"), "requests").replace(TIED, " "), "1 request");
        assert_eq!(format_amount(&exact("2"), "GB-s").replace(TIED, " "), "2 GB-s");
    }
}
