//! Options that say how files are read.

use std::path::PathBuf;

use crate::cli::CommandFailure;
use crate::files::{Bound, into_text, read_user_file};
use crate::suggest::find_nearest_name;
use crate::trace::ImportSettings;
use crate::trace::formats::{FORMATS, find_format};
use crate::trace::import::InputFormat;
use crate::trace::mapping::{MAX_FILE_BYTES, parse_map_options, parse_mapping};
use crate::units::Bytes;

/// Options that say how files are read.
#[derive(Debug, clap::Args)]
pub(super) struct ReadingOptions {
    /// Format of the files, or `auto`: each by its own beginning
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    from: String,
    /// Read a column as a meter in a unit, such as `dur_ms=run:ms`; may be repeated
    #[arg(long, value_name = "COLUMN=METER:UNIT", conflicts_with_all = ["from", "mapping"])]
    map: Vec<String>,
    /// Read the columns that a mapping file describes
    #[arg(long, value_name = "FILE.toml", conflicts_with = "from")]
    mapping: Option<PathBuf>,
    /// Platform of the invocations that --map reads
    #[arg(long, value_name = "NAME", default_value = "custom", requires = "map")]
    platform: String,
    /// Function of records that name none [default: the name of the file]
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// Region of records that name none
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// Memory size of the functions, such as 512MiB, where the log has none
    #[arg(long, value_name = "SIZE")]
    memory: Option<Bytes>,
    /// vCPUs of the functions, such as 0.5, where the log has none
    #[arg(long, value_name = "N", value_parser = parse_vcpus)]
    vcpu: Option<u64>,
    /// Zone of times that have none, such as +02:00
    #[arg(long, value_name = "OFFSET", value_parser = parse_zone, allow_hyphen_values = true)]
    zone: Option<i32>,
}

/// How files are read, with a text by which two commands are compared.
pub(super) struct ChosenReading {
    pub settings: ImportSettings,
    /// `None`: each file is of the format that its beginning tells.
    pub format: Option<InputFormat>,
    /// Text of the mapping or name of the format.
    pub description: String,
}

impl ReadingOptions {
    pub fn settings(&self) -> ImportSettings {
        ImportSettings {
            function: self.function.clone(),
            region: self.region.clone(),
            memory: self.memory.map(|it| it.0),
            vcpu_milli: self.vcpu,
            zone_minutes: self.zone,
        }
    }

    /// Chooses how files are read; `start` returns the beginning of the first one.
    pub fn choose(
        &self,
        start: impl FnOnce() -> Result<Vec<u8>, CommandFailure>,
    ) -> Result<ChosenReading, CommandFailure> {
        let settings = self.settings();
        if let Some(path) = &self.mapping {
            let bound = Bound::new("a mapping file", MAX_FILE_BYTES as u64);
            let shown = crate::files::display_path(path);
            let text = read_user_file(path, bound)
                .and_then(into_text)
                .map_err(|error| CommandFailure::Usage(format!("cannot read {shown}: {error}")))?;
            let mapping = parse_mapping(&text, &shown).map_err(CommandFailure::usage)?;
            return Ok(ChosenReading { settings, format: Some(mapping.into()), description: text });
        }
        if !self.map.is_empty() {
            let mapping = parse_map_options(&self.map, &self.platform, &start()?);
            let mapping = mapping.map_err(CommandFailure::usage)?;
            let description = format!("{}\n{}", self.platform, self.map.join("\n"));
            return Ok(ChosenReading { settings, format: Some(mapping.into()), description });
        }
        let description = self.from.clone();
        if self.from == "auto" {
            return Ok(ChosenReading { settings, format: None, description });
        }
        let format = find_format(&self.from).ok_or_else(|| {
            let known = FORMATS.iter().map(|format| format.name);
            let near = find_nearest_name(&self.from, known);
            let near = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
            CommandFailure::Usage(format!(
                "there is no format `{}`{near} (`cyclometer import formats` lists them)",
                self.from
            ))
        })?;
        Ok(ChosenReading { settings, format: Some(format.into()), description })
    }
}

fn parse_vcpus(text: &str) -> Result<u64, String> {
    let milli = crate::trace::parse_scaled(text.as_bytes(), 3);
    let exact = text.split_once('.').is_none_or(|(_, fraction)| fraction.len() <= 3);
    milli
        .filter(|milli| exact && (1..=1_000_000).contains(milli))
        .ok_or_else(|| format!("`{text}` is no number of vCPUs such as 0.5, from 0.001 to 1000"))
}

fn parse_zone(text: &str) -> Result<i32, String> {
    let wrong = || format!("`{text}` is no offset from UTC such as +02:00, -05:30 or Z");
    if text == "Z" || text == "UTC" {
        return Ok(0);
    }
    let (sign, rest) = match text.split_at_checked(1) {
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        _ => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let number = |part: &str, most: i32| {
        let digits = part.len() == 2 && part.bytes().all(|it| it.is_ascii_digit());
        part.parse::<i32>().ok().filter(|it| digits && *it <= most).ok_or_else(wrong)
    };
    Ok(sign * (number(hours, 23)? * 60 + number(minutes, 59)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_and_vcpus_are_exact() {
        assert_eq!(parse_zone("+02:00"), Ok(120));
        assert_eq!(parse_zone("-05:30"), Ok(-330));
        assert_eq!(parse_zone("Z"), Ok(0));
        for wrong in ["", "2", "+2:00", "+24:00", "+02:60", "02:00", "+0200", "+-2:00", "é"] {
            assert!(parse_zone(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse_vcpus("0.5"), Ok(500));
        assert_eq!(parse_vcpus("2"), Ok(2_000));
        for wrong in ["0", "-1", "0.0001", "1e3", "", "1000.1"] {
            assert!(parse_vcpus(wrong).is_err(), "{wrong}");
        }
    }
}
