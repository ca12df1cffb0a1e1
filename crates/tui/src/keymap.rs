//! Table of key bindings: their actions, and their texts in help and footer.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use thiserror::Error;

use super::action::Action;
use super::screens::Screen;
use cyclometer_core::suggest::nearest;

/// Scope in which a binding is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Context {
    /// On every screen.
    Everywhere,
    /// On one screen.
    On(Screen),
}

/// Key as users write it: `q`, `ctrl-c`, `pgup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
    alt: bool,
}

/// Binding of keys to an action.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// Name in the configuration.
    pub name: &'static str,
    /// Action that the keys trigger.
    pub action: Action,
    /// Scope in which the binding is active.
    pub context: Context,
    /// Default keys, which the configuration may replace.
    pub keys: &'static [&'static str],
    /// Text in the help.
    pub help: &'static str,
    /// Text in the footer; empty: none. `a b: text` stands for two bindings.
    pub short: &'static str,
}

const fn every(
    name: &'static str,
    action: Action,
    keys: &'static [&'static str],
    help: &'static str,
    short: &'static str,
) -> Binding {
    Binding { name, action, context: Context::Everywhere, keys, help, short }
}

const fn on(
    screen: Screen,
    name: &'static str,
    action: Action,
    keys: &'static [&'static str],
    help: &'static str,
    short: &'static str,
) -> Binding {
    Binding { name, action, context: Context::On(screen), keys, help, short }
}

use Screen::{Bills, History, Host, Live, Timeline};

/// All bindings. The footer shows those with a short text in this order, those
/// of the screen first.
pub const TABLE: &[Binding] = &[
    every("help", Action::Help, &["?", "f1"], "show the keys", "help"),
    every("quit", Action::Quit, &["q", "ctrl-c"], "quit", "quit"),
    every("live", Action::Go(Live), &["1"], "live comparison", ""),
    every("bills", Action::Go(Bills), &["2"], "bills", ""),
    every("timeline", Action::Go(Timeline), &["3"], "timeline", ""),
    every("history", Action::Go(History), &["4"], "history", ""),
    every("host", Action::Go(Host), &["5"], "host", ""),
    every("back", Action::Back, &["esc"], "close, or back", ""),
    every("next-panel", Action::NextPanel, &["tab"], "next panel or lane", ""),
    every("previous-panel", Action::PreviousPanel, &["backtab"], "previous panel or lane", ""),
    every("up", Action::Up, &["up", "k"], "up", ""),
    every("down", Action::Down, &["down", "j"], "down", ""),
    every("left", Action::Left, &["left", "h"], "left; in time, back", ""),
    every("right", Action::Right, &["right", "l"], "right; in time, on", ""),
    every("page-up", Action::PageUp, &["pgup", "ctrl-b"], "up by a page", ""),
    every("page-down", Action::PageDown, &["pgdn", "ctrl-f"], "down by a page", ""),
    every("first", Action::First, &["g", "home"], "to the first", ""),
    every("last", Action::Last, &["G", "end"], "to the last", ""),
    every("enter", Action::Enter, &["enter"], "open, or explain", ""),
    every("export", Action::Export, &["e"], "write this view to a file", ""),
    every("mouse", Action::Mouse, &["m"], "mouse on and off", ""),
    every("redraw", Action::Redraw, &["ctrl-l"], "draw everything anew", ""),
    every("suspend", Action::Suspend, &["ctrl-z"], "to the shell; fg comes back", ""),
    on(Live, "start", Action::Start, &["r"], "record with the plan shown", "record"),
    on(Live, "stop", Action::Stop, &["x"], "stop after this invocation; twice: at once", "stop"),
    on(Live, "freeze", Action::Pause, &["space"], "freeze the view; recording goes on", "freeze"),
    on(Live, "loop", Action::Loop, &["o"], "once, or until stopped", "loop"),
    on(
        Live,
        "race",
        Action::Race,
        &["c"],
        "one lane at a time, or all on CPUs of their own",
        "race",
    ),
    on(Live, "workloads", Action::Workloads, &["w"], "choose workloads", "workloads"),
    on(Live, "lanes", Action::Lanes, &["n"], "choose lanes", "lanes"),
    on(Live, "models", Action::Models, &["p"], "choose price models", "prices"),
    on(Live, "previous-workload", Action::PreviousWorkload, &["["], "show the workload before", ""),
    on(Live, "next-workload", Action::NextWorkload, &["]"], "show the next workload", ""),
    on(Live, "start-kind", Action::StartKind, &["t"], "show cold or warm starts", "cold/warm"),
    on(Live, "unit", Action::Unit, &["u"], "bills of a million, or sums so far", "sums"),
    on(Live, "zoom-in", Action::ZoomIn, &["+", "="], "shorter time in the charts", ""),
    on(Live, "zoom-out", Action::ZoomOut, &["-"], "longer time in the charts", ""),
    on(Live, "zoom-reset", Action::ZoomReset, &["0"], "the whole recording in the charts", ""),
    on(Bills, "sort", Action::Sort, &["s"], "sort by the next column", "sort"),
    on(Bills, "reverse", Action::Reverse, &["S"], "turn the order round", ""),
    on(Bills, "filter", Action::Filter, &["/"], "only models with these words", "filter"),
    on(Bills, "less-memory", Action::LessMemory, &["["], "what if less memory", ""),
    on(Bills, "more-memory", Action::MoreMemory, &["]"], "what if more memory", "[ ]: memory"),
    on(Bills, "less-volume", Action::LessVolume, &["{"], "fewer requests a month", ""),
    on(Bills, "more-volume", Action::MoreVolume, &["}"], "more requests a month", "{ }: month"),
    on(Bills, "bills-workload", Action::NextWorkload, &["w"], "all workloads, or one", "workload"),
    on(Bills, "bills-start", Action::StartKind, &["t"], "cold, warm or both", "cold/warm"),
    on(Bills, "bills-models", Action::Models, &["p"], "all models, or those of the live view", ""),
    on(Timeline, "play", Action::Pause, &["space"], "play and pause", "play"),
    on(Timeline, "slower", Action::Slower, &["<", ","], "slower", ""),
    on(Timeline, "faster", Action::Faster, &[">", "."], "faster", "< >: speed"),
    on(Timeline, "timeline-in", Action::ZoomIn, &["+", "="], "look closer", ""),
    on(Timeline, "timeline-out", Action::ZoomOut, &["-"], "from further away", "+ -: zoom"),
    on(Timeline, "timeline-reset", Action::ZoomReset, &["0"], "the whole recording", ""),
    on(Timeline, "mark", Action::Mark, &["a"], "mark this invocation", "mark"),
    on(Timeline, "overlay", Action::Compare, &["b"], "the marked one over this one", "overlay"),
    on(Timeline, "lanes-over", Action::Overlay, &["o"], "two lanes over each other", "lanes"),
    on(Timeline, "next-invocation", Action::NextWorkload, &["]", "n"], "next invocation", ""),
    on(
        Timeline,
        "previous-invocation",
        Action::PreviousWorkload,
        &["[", "p"],
        "previous invocation",
        "",
    ),
    on(Timeline, "timeline-refresh", Action::Refresh, &["r"], "read anew", ""),
    on(History, "history-filter", Action::Filter, &["/"], "only those with these words", "filter"),
    on(History, "history-sort", Action::Sort, &["s"], "sort by the next column", "sort"),
    on(History, "history-reverse", Action::Reverse, &["S"], "turn the order round", ""),
    on(History, "label", Action::Label, &["L"], "name it", "label"),
    on(History, "delete", Action::Delete, &["d", "delete"], "delete it; asked twice", "delete"),
    on(History, "fold", Action::Fold, &["f"], "its simulations, shown or hidden", "simulations"),
    on(History, "history-mark", Action::Mark, &["a", "space"], "mark for a comparison", "mark"),
    on(
        History,
        "history-compare",
        Action::Compare,
        &["c"],
        "compare with the marked one",
        "compare",
    ),
    on(History, "history-refresh", Action::Refresh, &["r"], "read anew", ""),
    on(Host, "host-refresh", Action::Refresh, &["r"], "look again", "look again"),
    on(Host, "host-filter", Action::Filter, &["/"], "only lines with these words", "filter"),
];

/// Errors in the keys of the configuration.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum KeyError {
    /// The text names no key.
    #[error("`{0}` is not a key: write one such as `q`, `G`, `ctrl-c`, `f5`, `space` or `pgup`")]
    Unknown(String),
    /// The name belongs to no action.
    #[error("there is no action `{given}`{hint}")]
    Action {
        /// Name as it was written.
        given: String,
        /// Suggestion of a similar name, if there is one.
        hint: String,
    },
    /// Two actions share a key.
    #[error("`{key}` is bound to both `{first}` and `{second}`, which hold at the same time")]
    Conflict {
        /// Key in question.
        key: String,
        /// Name of one action.
        first: String,
        /// Name of the other action.
        second: String,
    },
    /// No key quits the program.
    #[error("`quit` needs a key")]
    NoQuit,
}

/// Keys as they are bound now.
#[derive(Debug, Clone)]
pub struct Keymap {
    keys: Vec<Vec<Key>>,
}

impl Keymap {
    /// Builds the table, with the keys of some actions replaced by `changes`.
    ///
    /// # Errors
    /// Fails for an unknown key or action, and when two actions that are active
    /// at the same time share a key.
    pub fn new(changes: &BTreeMap<String, Vec<String>>) -> Result<Self, KeyError> {
        for name in changes.keys() {
            if !TABLE.iter().any(|binding| binding.name == name) {
                let near = nearest(name, TABLE.iter().map(|binding| binding.name));
                let hint =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(KeyError::Action { given: name.clone(), hint });
            }
        }
        let mut keys = Vec::with_capacity(TABLE.len());
        for binding in TABLE {
            let texts: Vec<&str> = match changes.get(binding.name) {
                Some(given) => given.iter().map(String::as_str).collect(),
                None => binding.keys.to_vec(),
            };
            keys.push(texts.into_iter().map(str::parse).collect::<Result<Vec<Key>, _>>()?);
        }
        let keymap = Self { keys };
        keymap.check()?;
        Ok(keymap)
    }

    fn check(&self) -> Result<(), KeyError> {
        for (at, (binding, keys)) in self.iter().enumerate() {
            if binding.action == Action::Quit && keys.is_empty() {
                return Err(KeyError::NoQuit);
            }
            for (other, theirs) in self.iter().skip(at + 1) {
                let together = binding.context == other.context
                    || binding.context == Context::Everywhere
                    || other.context == Context::Everywhere;
                if let Some(key) = keys.iter().find(|key| together && theirs.contains(key)) {
                    return Err(KeyError::Conflict {
                        key: key.to_string(),
                        first: binding.name.to_owned(),
                        second: other.name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Iterates over the bindings with their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Binding, &[Key])> {
        TABLE.iter().zip(self.keys.iter().map(Vec::as_slice))
    }

    /// Returns the action of a key on a screen.
    #[must_use]
    pub fn action(&self, event: &KeyEvent, screen: Screen) -> Option<Action> {
        let key = Key::of(event);
        self.iter()
            .filter(|(binding, _)| {
                binding.context == Context::Everywhere || binding.context == Context::On(screen)
            })
            .find(|(_, keys)| keys.contains(&key))
            .map(|(binding, _)| binding.action)
    }

    /// Returns the first key of an action on a screen, as users write it.
    #[must_use]
    pub fn key_of(&self, action: Action, screen: Screen) -> Option<String> {
        self.iter()
            .find(|(binding, _)| {
                binding.action == action
                    && (binding.context == Context::Everywhere
                        || binding.context == Context::On(screen))
            })
            .and_then(|(_, keys)| keys.first())
            .map(ToString::to_string)
    }
}

impl Key {
    /// Returns the key of a terminal event. Shift is part of the character already.
    #[must_use]
    pub fn of(event: &KeyEvent) -> Self {
        Self {
            code: event.code,
            ctrl: event.modifiers.contains(KeyModifiers::CONTROL),
            alt: event.modifiers.contains(KeyModifiers::ALT),
        }
    }
}

/// Names of keys that are no characters.
const NAMES: [(&str, KeyCode); 17] = [
    ("enter", KeyCode::Enter),
    ("esc", KeyCode::Esc),
    ("tab", KeyCode::Tab),
    ("backtab", KeyCode::BackTab),
    ("space", KeyCode::Char(' ')),
    ("up", KeyCode::Up),
    ("down", KeyCode::Down),
    ("left", KeyCode::Left),
    ("right", KeyCode::Right),
    ("pgup", KeyCode::PageUp),
    ("pgdn", KeyCode::PageDown),
    ("home", KeyCode::Home),
    ("end", KeyCode::End),
    ("delete", KeyCode::Delete),
    ("insert", KeyCode::Insert),
    ("backspace", KeyCode::Backspace),
    ("minus", KeyCode::Char('-')),
];

/// Parses `f1` to `f12`.
fn function_key(text: &str) -> Option<KeyCode> {
    let number = text.strip_prefix('f')?.parse().ok()?;
    (1..=12).contains(&number).then_some(KeyCode::F(number))
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let unknown = || KeyError::Unknown(text.chars().take(32).collect());
        let (mut rest, mut ctrl, mut alt) = (text, false, false);
        loop {
            if let Some(after) = rest.strip_prefix("ctrl-").filter(|it| !it.is_empty()) {
                (rest, ctrl) = (after, true);
            } else if let Some(after) = rest.strip_prefix("alt-").filter(|it| !it.is_empty()) {
                (rest, alt) = (after, true);
            } else {
                break;
            }
        }
        let mut characters = rest.chars();
        let code = match (characters.next(), characters.next()) {
            (Some(only), None) if !only.is_control() => KeyCode::Char(only),
            _ => {
                let named = NAMES.iter().find(|(name, _)| *name == rest).map(|(_, code)| *code);
                named.or_else(|| function_key(rest)).ok_or_else(unknown)?
            }
        };
        Ok(Self { code, ctrl, alt })
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("ctrl-")?;
        }
        if self.alt {
            f.write_str("alt-")?;
        }
        let named = NAMES[..16].iter().find(|(_, code)| *code == self.code);
        match (named, self.code) {
            (Some((name, _)), _) => f.write_str(name),
            (None, KeyCode::Char(character)) => write!(f, "{character}"),
            (None, KeyCode::F(number)) => write!(f, "f{number}"),
            (None, other) => write!(f, "{other:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(text: &str) -> KeyEvent {
        let key: Key = text.parse().expect("a key");
        let mut modifiers = KeyModifiers::NONE;
        modifiers.set(KeyModifiers::CONTROL, key.ctrl);
        KeyEvent::new(key.code, modifiers)
    }

    fn with(name: &str, keys: &[&str]) -> Result<Keymap, KeyError> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Keymap::new(&BTreeMap::from([(name.to_owned(), keys)]))
    }

    #[test]
    fn the_table_has_no_conflicts_and_every_name_once() {
        Keymap::new(&BTreeMap::new()).expect("no conflicts");
        let mut names: Vec<_> = TABLE.iter().map(|binding| binding.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
    }

    #[test]
    fn keys_mean_what_their_screen_says() {
        let keymap = Keymap::new(&BTreeMap::new()).expect("no conflicts");
        let action = |key: &str, screen| keymap.action(&press(key), screen);
        assert_eq!(action("q", Live), Some(Action::Quit));
        assert_eq!(action("ctrl-c", History), Some(Action::Quit));
        assert_eq!(action("space", Live), Some(Action::Pause));
        assert_eq!(action("[", Live), Some(Action::PreviousWorkload));
        assert_eq!(action("[", Bills), Some(Action::LessMemory));
        assert_eq!(action("d", Live), None);
        assert_eq!(action("G", Host), Some(Action::Last));
    }

    #[test]
    fn changed_keys_replace_the_old_ones() {
        let keymap = with("quit", &["Q", "ctrl-q"]).expect("free keys");
        assert_eq!(keymap.action(&press("Q"), Live), Some(Action::Quit));
        assert_eq!(keymap.action(&press("q"), Live), None);
        assert_eq!(keymap.key_of(Action::Quit, Live).as_deref(), Some("Q"));
    }

    #[test]
    fn conflicts_typos_and_dead_ends_are_refused() {
        let message = |result: Result<Keymap, KeyError>| result.expect_err("refused").to_string();
        assert_eq!(
            message(with("sort", &["q"])),
            "`q` is bound to both `quit` and `sort`, which hold at the same time"
        );
        assert_eq!(
            message(with("slower", &["a"])),
            "`a` is bound to both `slower` and `mark`, which hold at the same time",
            "on the same screen"
        );
        assert!(with("sort", &["d"]).is_ok(), "`d` deletes on another screen only");
        assert_eq!(message(with("qit", &["q"])), "there is no action `qit`; did you mean `quit`?");
        assert!(message(with("quit", &["hyper-q"])).starts_with("`hyper-q` is not a key"));
        assert_eq!(message(with("quit", &[])), "`quit` needs a key");
    }

    /// Returns the table of `docs/observatory.md`.
    fn documented() -> String {
        use std::fmt::Write as _;
        let mut text = String::from("| on | keys | does | name |\n|---|---|---|---|\n");
        for binding in TABLE {
            let on = match binding.context {
                Context::Everywhere => "everywhere",
                Context::On(screen) => screen.name(),
            };
            let keys: Vec<String> = binding.keys.iter().map(|key| format!("`{key}`")).collect();
            let (keys, name) = (keys.join(" "), binding.name);
            writeln!(text, "| {on} | {keys} | {} | {name} |", binding.help).expect("memory");
        }
        text
    }

    #[test]
    fn the_keys_in_the_documents_are_these() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observatory.md");
        let document = std::fs::read_to_string(path).expect("a document");
        let table = documented();
        assert!(document.contains(&table), "docs/observatory.md should hold\n{table}");
    }

    #[test]
    fn the_configuration_in_the_documents_is_what_holds_without_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/observatory.md");
        let document = std::fs::read_to_string(path).expect("a document");
        let (_, rest) = document.split_once("```toml\n").expect("an example");
        let (example, _) = rest.split_once("```").expect("its end");
        let value: toml::Table = toml::from_str(example).expect("valid");
        let keys = value["keys"]["quit"].as_array().expect("keys");
        assert_eq!(keys.len(), 2);
        let lanes = value["plan"]["lanes"].as_array().expect("lanes");
        let defaults = cyclometer_lanes::LaneSpec::defaults();
        assert_eq!(lanes.len(), defaults.len());
        for (lane, default) in lanes.iter().zip(defaults) {
            assert_eq!(lane.as_str(), Some(&*default.to_string()));
        }
        let workloads = value["plan"]["workloads"].as_array().expect("workloads");
        let demo = cyclometer_record::DEMO.map(toml::Value::from);
        assert_eq!(workloads[..], demo);
    }

    #[test]
    fn keys_survive_being_written() {
        for text in ["q", "G", "ctrl-c", "alt-x", "space", "pgup", "f12", "-", "ctrl--", "?"] {
            assert_eq!(text.parse::<Key>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "f13", "f0", "qq", "ctrl-", "\u{7}"] {
            assert!(text.parse::<Key>().is_err(), "{text:?} was accepted");
        }
    }
}
