//! Configuration file: `$XDG_CONFIG_HOME/cyclometer/config.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use super::keymap::{KeyError, Keymap};
use super::session::RecordingOptions;
use super::theme::{Palette, Theme};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::LaneSpec;
use cyclometer_record::{Starts, limits};
use cyclometer_system::files::{self, Bound, FileError, display_path};

/// Highest number of frames a second.
const MOST_FRAMES: u32 = 30;
/// Size limit of the file: a larger one is not read.
const FILE_BOUND: Bound = Bound::new("a configuration", 1 << 20);

/// Errors that make the configuration unusable.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {cause}", display_path(path))]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause of the failure.
        cause: FileError,
    },
    /// The content is invalid.
    #[error("the configuration {}: {message}", display_path(path))]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// Description of the mistake, and its place.
        message: String,
    },
}

/// Contents of the file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConfigFile {
    view: ViewSection,
    keys: BTreeMap<String, Vec<String>>,
    plan: PlanSection,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct ViewSection {
    theme: Palette,
    ascii: Option<bool>,
    mouse: bool,
    frames: u32,
    models: Vec<String>,
}

impl Default for ViewSection {
    fn default() -> Self {
        Self { theme: Palette::default(), ascii: None, mouse: true, frames: 10, models: Vec::new() }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
struct PlanSection {
    begin: Option<bool>,
    workloads: Option<Vec<String>>,
    lanes: Option<Vec<String>>,
    preset: Option<String>,
    start: Option<String>,
    runs: Option<u32>,
    warmup: Option<u32>,
    race: Option<bool>,
    until_stopped: Option<bool>,
    memory: Option<String>,
    timeout: Option<String>,
    sample_interval: Option<String>,
}

/// Appearance of the program, and the recording it begins with.
#[derive(Debug, Clone)]
pub struct TuiConfig {
    /// Colours and signs.
    pub theme: Theme,
    /// Key bindings.
    pub keymap: Keymap,
    /// Whether the mouse is captured.
    pub mouse: bool,
    /// Frames a second while something moves.
    pub frames: u32,
    /// Ids of the price models of the live view; empty: the usual two.
    pub models: Vec<String>,
    /// Options of the first recording.
    pub options: RecordingOptions,
    /// Whether that recording starts at once.
    pub begin: bool,
}

/// Capabilities of the terminal, according to the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalEnvironment {
    /// Whether colours are unwanted or unavailable.
    pub no_color: bool,
    /// Whether only ASCII can be shown.
    pub ascii: bool,
}

impl TerminalEnvironment {
    /// Reads the environment: `NO_COLOR`, `TERM`, and the locale.
    #[must_use]
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self::from_values(
            text("NO_COLOR").is_some(),
            text("TERM").as_deref(),
            text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG")).as_deref(),
        )
    }

    fn from_values(no_color: bool, term: Option<&str>, locale: Option<&str>) -> Self {
        let dumb = term == Some("dumb");
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        let utf8 = locale.contains("utf-8") || locale.contains("utf8");
        // An unset locale says nothing about the terminal.
        let plain = !locale.is_empty() && !utf8;
        Self { no_color: no_color || dumb, ascii: plain || dumb || term == Some("vt100") }
    }
}

impl TuiConfig {
    /// Reads the file; `plan` is recorded where the file sets nothing. A
    /// missing file counts as an empty one, unless it was `named`.
    ///
    /// # Errors
    /// Fails when the file cannot be read or used, with the place of the mistake.
    pub fn read_file(
        path: &Path,
        named: bool,
        around: TerminalEnvironment,
        plan: RecordingOptions,
    ) -> Result<Self, ConfigError> {
        // A file that the user named may be a pipe; at the usual path a pipe
        // would block the program silently.
        let content = if named {
            files::read_user_file(path, FILE_BOUND)
        } else {
            files::read_regular(path, FILE_BOUND)
        };
        let content = match content {
            Err(cause) if cause.is_missing() && !named => Vec::new(),
            other => other.map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?,
        };
        let text = files::into_text(content)
            .map_err(|cause| ConfigError::Read { path: path.to_owned(), cause })?;
        Self::parse(&text, around, plan)
            .map_err(|message| ConfigError::Invalid { path: path.to_owned(), message })
    }

    /// Parses a configuration.
    ///
    /// # Errors
    /// Returns what is wrong with it, as text.
    fn parse(
        text: &str,
        around: TerminalEnvironment,
        plan: RecordingOptions,
    ) -> Result<Self, String> {
        let ConfigFile { view, keys, plan: section } =
            toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        let keymap =
            Keymap::with_overrides(&keys).map_err(|error: KeyError| format!("[keys]: {error}"))?;
        if !(1..=MOST_FRAMES).contains(&view.frames) {
            return Err(format!("[view]: frames is 1 to {MOST_FRAMES} a second"));
        }
        let palette = if around.no_color { Palette::Mono } else { view.theme };
        let begin = section.begin.unwrap_or(true);
        Ok(Self {
            theme: Theme::new(palette, view.ascii.unwrap_or(around.ascii)),
            keymap,
            mouse: view.mouse,
            frames: view.frames,
            models: view.models,
            options: section.apply_to(plan).map_err(|error| format!("[plan]: {error}"))?,
            begin,
        })
    }
}

impl PlanSection {
    fn apply_to(self, mut wanted: RecordingOptions) -> Result<RecordingOptions, String> {
        let Self {
            begin: _,
            workloads,
            lanes,
            preset,
            start,
            runs,
            warmup,
            race,
            until_stopped,
            memory,
            timeout,
            sample_interval,
        } = self;
        if let Some(workloads) = workloads.filter(|it| !it.is_empty()) {
            wanted.workloads = workloads;
        }
        if let Some(lanes) = lanes.filter(|it| !it.is_empty()) {
            let parse = |name: &String| name.parse().map_err(|error| format!("{error}"));
            wanted.lanes = lanes.iter().map(parse).collect::<Result<Vec<LaneSpec>, String>>()?;
        }
        wanted.preset = preset.unwrap_or(wanted.preset);
        if let Some(start) = start {
            wanted.starts = match start.as_str() {
                "cold" => Starts::Cold,
                "warm" => Starts::Warm,
                "both" => Starts::Both,
                other => return Err(format!("start is cold, warm or both, not `{other}`")),
            };
        }
        if let Some(runs) = runs {
            limits::at_least_one(&runs.to_string()).map_err(|error| format!("runs: {error}"))?;
        }
        if let Some(warmup) = warmup {
            limits::parse_warmup(&warmup.to_string())
                .map_err(|error| format!("warmup: {error}"))?;
        }
        wanted.runs = runs.unwrap_or(wanted.runs);
        wanted.warmup = warmup.unwrap_or(wanted.warmup);
        wanted.race = race.unwrap_or(wanted.race);
        wanted.until_stopped = until_stopped.unwrap_or(wanted.until_stopped);
        if let Some(memory) = memory {
            wanted.memory = Some(limits::memory(&memory)?);
        }
        if let Some(timeout) = timeout {
            wanted.timeout = Some(limits::timeout(&timeout)?);
        }
        if let Some(interval) = sample_interval {
            wanted.sample_interval = limits::parse_interval(&interval)?;
        }
        Ok(wanted)
    }
}

/// Default sampling interval.
pub const DEFAULT_SAMPLE_INTERVAL: Nanos = Nanos(10_000_000);

#[cfg(test)]
mod tests {
    use super::*;

    const COLOUR: TerminalEnvironment = TerminalEnvironment { no_color: false, ascii: false };

    fn parse(text: &str) -> Result<TuiConfig, String> {
        TuiConfig::parse(text, COLOUR, crate::testing::wanted())
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        let config = parse("").expect("valid");
        assert_eq!(config.options, crate::testing::wanted());
        assert_eq!((config.frames, config.mouse, config.begin), (10, true, true));
        assert_eq!(config.theme, Theme::new(Palette::Terminal, false));
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            r#"
            [view]
            theme = "bright"
            ascii = true
            mouse = false
            frames = 20
            models = ["aws-lambda-arm"]
            [keys]
            quit = ["Q"]
            [plan]
            begin = false
            workloads = ["wait"]
            lanes = ["wasmtime:fuel", "docker:runsc"]
            preset = "paper"
            start = "warm"
            runs = 3
            warmup = 0
            race = true
            until-stopped = true
            memory = "256MiB"
            timeout = "5s"
            sample-interval = "off"
            "#,
        )
        .expect("valid");
        assert_eq!(config.theme, Theme::new(Palette::Bright, true));
        assert_eq!((config.frames, config.mouse, config.begin), (20, false, false));
        assert_eq!(config.models, ["aws-lambda-arm"]);
        let wanted = config.options;
        assert_eq!(wanted.workloads, ["wait"]);
        let lanes: Vec<String> = wanted.lanes.iter().map(ToString::to_string).collect();
        assert_eq!(lanes, ["wasmtime:fuel", "docker:runsc"]);
        assert_eq!((wanted.runs, wanted.warmup), (3, 0));
        assert!(wanted.race && wanted.until_stopped && wanted.starts == Starts::Warm);
        assert_eq!(wanted.memory.map(|it| it.0), Some(256 << 20));
        assert_eq!(wanted.timeout, Some(Nanos(5_000_000_000)));
        assert_eq!(wanted.sample_interval, None);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let wrong = |text: &str| parse(text).expect_err("refused");
        assert!(wrong("[view]\nthme = \"mono\"").contains("line 2"));
        assert!(wrong("[view]\nthme = \"mono\"").contains("unknown field `thme`"));
        assert!(wrong("[view]\ntheme = \"pink\"").contains("unknown variant `pink`"));
        assert!(wrong("[view]\nframes = 0").contains("frames is 1 to 30"));
        assert!(wrong("[keys]\nsort = [\"q\"]").contains("bound to both `quit` and `sort`"));
        assert!(wrong("[plan]\nlanes = [\"wasmtme\"]").contains("did you mean `wasmtime`"));
        assert!(wrong("[plan]\nruns = 0").contains("runs: `0`: write 1 or more"));
        assert!(wrong("[plan]\nmemory = \"1MiB\"").contains("less than"));
        assert!(wrong("[plan").contains("line 1"));
    }

    #[test]
    fn the_environment_decides_on_colours_and_signs() {
        let of = |no_color, term, locale| {
            let found = TerminalEnvironment::from_values(no_color, term, locale);
            (found.no_color, found.ascii)
        };
        assert_eq!(of(false, Some("xterm"), Some("en_US.UTF-8")), (false, false));
        assert_eq!(of(true, Some("xterm"), Some("C.utf8")), (true, false));
        assert_eq!(of(false, Some("xterm"), Some("C")), (false, true));
        assert_eq!(of(false, Some("xterm"), None), (false, false));
        assert_eq!(of(false, Some("dumb"), Some("C.UTF-8")), (true, true));
        let config = TuiConfig::parse(
            "[view]\ntheme = \"bright\"",
            TerminalEnvironment { no_color: true, ascii: false },
            crate::testing::wanted(),
        );
        let theme = config.expect("valid").theme;
        assert_eq!(theme, Theme::new(Palette::Mono, false), "NO_COLOR is stronger");
    }

    #[test]
    fn a_file_that_was_named_must_be_there() {
        let nowhere = Path::new("/nonexistent/config.toml");
        let plan = crate::testing::wanted;
        assert!(TuiConfig::read_file(nowhere, false, COLOUR, plan()).is_ok());
        let error = TuiConfig::read_file(nowhere, true, COLOUR, plan()).expect_err("refused");
        assert!(error.to_string().starts_with("cannot read the configuration /nonexistent"));
    }
}
