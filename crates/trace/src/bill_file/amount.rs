//! Exact amounts of bills, which may be negative.

use std::fmt;
use std::str::FromStr;

use cyclometer_core::quantity::Decimal;

/// Exact decimal number with a sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillAmount {
    /// Whether it is below 0.
    pub is_negative: bool,
    /// Its size.
    pub size: Decimal,
}

/// Error of an amount that is no decimal number in plain or exponent notation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoAmount;

impl FromStr for BillAmount {
    type Err = NoAmount;

    /// Parses `-0.0000166667` or `1.5E-7`; no other characters, so that `1,5` is never 15.
    fn from_str(text: &str) -> Result<Self, NoAmount> {
        let (is_negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-');
        if !digits.chars().all(is_number) {
            return Err(NoAmount);
        }
        // Spreadsheets and databases leave out a zero before the point.
        let whole = if digits.starts_with('.') { format!("0{digits}") } else { digits.to_owned() };
        let size = Decimal::parse(&whole).map_err(|_| NoAmount)?;
        Ok(Self { is_negative, size })
    }
}

impl fmt::Display for BillAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        write!(f, "{sign}{}", self.size.to_plain())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact_and_signed() {
        for (text, wanted) in [
            ("0.0000166667", "0.0000166667"),
            ("-12.5", "-12.5"),
            ("1.5E-7", "0.00000015"),
            (".5", "0.5"),
            ("12345678901234567890.123456789012345678", "12345678901234567890.123456789012345678"),
        ] {
            let amount: BillAmount = text.parse().expect(text);
            assert_eq!(amount.to_string(), wanted);
        }
        for text in ["", "-", "1,5", "1_000", "$1", "1 2", "--1", "NaN", "1e", "0x1"] {
            assert_eq!(text.parse::<BillAmount>(), Err(NoAmount), "{text}");
        }
    }
}
