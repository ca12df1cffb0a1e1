//! Table of key bindings: their actions, and their texts in help and footer.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use thiserror::Error;

use super::action::UserAction;
use super::screens::ScreenId;
use cyclometer_core::suggest::find_nearest_name;

/// Scope in which a binding is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyContext {
    /// On every screen.
    Everywhere,
    /// On one screen.
    On(ScreenId),
}

/// Key as users write it: `q`, `ctrl-c`, `pgup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyChord {
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
    pub action: UserAction,
    /// Scope in which the binding is active.
    pub context: KeyContext,
    /// Default keys, which the configuration may replace.
    pub keys: &'static [&'static str],
    /// Text in the help.
    pub help: &'static str,
    /// Text in the footer; empty: none. `a b: text` stands for two bindings.
    pub short: &'static str,
}

const fn everywhere(
    name: &'static str,
    action: UserAction,
    keys: &'static [&'static str],
    help: &'static str,
    short: &'static str,
) -> Binding {
    Binding { name, action, context: KeyContext::Everywhere, keys, help, short }
}

/// Binding of keys to an action on one screen, which the screen itself declares.
#[derive(Debug, Clone, Copy)]
pub struct ScreenKey {
    name: &'static str,
    action: UserAction,
    keys: &'static [&'static str],
    help: &'static str,
    short: &'static str,
}

impl ScreenKey {
    /// Creates a binding; what the parts mean is told at [`Binding`].
    pub const fn new(
        name: &'static str,
        action: UserAction,
        keys: &'static [&'static str],
        help: &'static str,
        short: &'static str,
    ) -> Self {
        Self { name, action, keys, help, short }
    }

    /// Returns the binding for the table of all.
    const fn on(&self, screen: ScreenId) -> Binding {
        let Self { name, action, keys, help, short } = *self;
        Binding { name, action, context: KeyContext::On(screen), keys, help, short }
    }
}

/// Bindings that are active on every screen. After the second come those that go to a
/// screen.
const EVERYWHERE: &[Binding] = &[
    everywhere("help", UserAction::Help, &["?", "f1"], "show the keys", "help"),
    everywhere("quit", UserAction::Quit, &["q", "ctrl-c"], "quit", "quit"),
    everywhere("back", UserAction::Back, &["esc"], "close, or back", ""),
    everywhere("next-panel", UserAction::NextPanel, &["tab"], "next panel or lane", ""),
    everywhere(
        "previous-panel",
        UserAction::PreviousPanel,
        &["backtab"],
        "previous panel or lane",
        "",
    ),
    everywhere("up", UserAction::Up, &["up", "k"], "up", ""),
    everywhere("down", UserAction::Down, &["down", "j"], "down", ""),
    everywhere("left", UserAction::Left, &["left", "h"], "left; in time, back", ""),
    everywhere("right", UserAction::Right, &["right", "l"], "right; in time, on", ""),
    everywhere("page-up", UserAction::PageUp, &["pgup", "ctrl-b"], "up by a page", ""),
    everywhere("page-down", UserAction::PageDown, &["pgdn", "ctrl-f"], "down by a page", ""),
    everywhere("first", UserAction::First, &["g", "home"], "to the first", ""),
    everywhere("last", UserAction::Last, &["G", "end"], "to the last", ""),
    everywhere("enter", UserAction::Enter, &["enter"], "open, or explain", ""),
    everywhere("export", UserAction::Export, &["e"], "write this view to a file", ""),
    everywhere("mouse", UserAction::Mouse, &["m"], "mouse on and off", ""),
    everywhere("redraw", UserAction::Redraw, &["ctrl-l"], "draw everything anew", ""),
    everywhere("suspend", UserAction::Suspend, &["ctrl-z"], "to the shell; fg comes back", ""),
];

/// Keys that go to the screens, in their order.
const SCREEN_DIGITS: [&[&str]; 9] =
    [&["1"], &["2"], &["3"], &["4"], &["5"], &["6"], &["7"], &["8"], &["9"]];

const _: () = assert!(ScreenId::ALL.len() <= SCREEN_DIGITS.len(), "a screen has no digit");

/// All bindings. The footer shows those with a short text in this order, those
/// of the screen first.
static BINDINGS: LazyLock<Vec<Binding>> = LazyLock::new(|| {
    let to_screen = |(screen, keys): (ScreenId, &'static [&'static str])| Binding {
        name: screen.config_name(),
        action: UserAction::Go(screen),
        context: KeyContext::Everywhere,
        keys,
        help: screen.title(),
        short: "",
    };
    let (first, rest) = EVERYWHERE.split_at(2);
    let mut all = first.to_vec();
    all.extend(ScreenId::ALL.into_iter().zip(SCREEN_DIGITS).map(to_screen));
    all.extend_from_slice(rest);
    for screen in ScreenId::ALL {
        all.extend(screen.keys().iter().map(|key| key.on(screen)));
    }
    all
});

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
    keys: Vec<Vec<KeyChord>>,
}

impl Keymap {
    /// Builds the table, with the keys of some actions replaced by `changes`.
    ///
    /// # Errors
    /// Fails for an unknown key or action, and when two actions that are active
    /// at the same time share a key.
    pub(crate) fn with_overrides(
        changes: &BTreeMap<String, Vec<String>>,
    ) -> Result<Self, KeyError> {
        for name in changes.keys() {
            if !BINDINGS.iter().any(|binding| binding.name == name) {
                let near = find_nearest_name(name, BINDINGS.iter().map(|binding| binding.name));
                let hint =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(KeyError::Action { given: name.clone(), hint });
            }
        }
        let mut keys = Vec::with_capacity(BINDINGS.len());
        for binding in BINDINGS.iter() {
            let texts: Vec<&str> = match changes.get(binding.name) {
                Some(given) => given.iter().map(String::as_str).collect(),
                None => binding.keys.to_vec(),
            };
            keys.push(texts.into_iter().map(str::parse).collect::<Result<Vec<KeyChord>, _>>()?);
        }
        let keymap = Self { keys };
        keymap.check_conflicts()?;
        Ok(keymap)
    }

    fn check_conflicts(&self) -> Result<(), KeyError> {
        for (at, (binding, keys)) in self.iter().enumerate() {
            if binding.action == UserAction::Quit && keys.is_empty() {
                return Err(KeyError::NoQuit);
            }
            for (other, theirs) in self.iter().skip(at + 1) {
                let together = binding.context == other.context
                    || binding.context == KeyContext::Everywhere
                    || other.context == KeyContext::Everywhere;
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
    pub fn iter(&self) -> impl Iterator<Item = (&'static Binding, &[KeyChord])> {
        BINDINGS.iter().zip(self.keys.iter().map(Vec::as_slice))
    }

    /// Returns the action of a key on a screen.
    #[must_use]
    pub(crate) fn action_for(&self, event: &KeyEvent, screen: ScreenId) -> Option<UserAction> {
        let key = KeyChord::from_event(event);
        self.iter()
            .filter(|(binding, _)| {
                binding.context == KeyContext::Everywhere
                    || binding.context == KeyContext::On(screen)
            })
            .find(|(_, keys)| keys.contains(&key))
            .map(|(binding, _)| binding.action)
    }

    /// Returns the first key of an action on a screen, as users write it.
    #[must_use]
    pub(crate) fn key_for(&self, action: UserAction, screen: ScreenId) -> Option<String> {
        self.iter()
            .find(|(binding, _)| {
                binding.action == action
                    && (binding.context == KeyContext::Everywhere
                        || binding.context == KeyContext::On(screen))
            })
            .and_then(|(_, keys)| keys.first())
            .map(ToString::to_string)
    }
}

impl KeyChord {
    /// Returns the key of a terminal event. Shift is part of the character already.
    #[must_use]
    pub(crate) fn from_event(event: &KeyEvent) -> Self {
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

impl FromStr for KeyChord {
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

impl fmt::Display for KeyChord {
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
    use ScreenId::{Bills, History, Host, Live};

    fn press(text: &str) -> KeyEvent {
        let key: KeyChord = text.parse().expect("a key");
        let mut modifiers = KeyModifiers::NONE;
        modifiers.set(KeyModifiers::CONTROL, key.ctrl);
        KeyEvent::new(key.code, modifiers)
    }

    fn with(name: &str, keys: &[&str]) -> Result<Keymap, KeyError> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Keymap::with_overrides(&BTreeMap::from([(name.to_owned(), keys)]))
    }

    #[test]
    fn the_table_has_no_conflicts_and_every_name_once() {
        Keymap::with_overrides(&BTreeMap::new()).expect("no conflicts");
        let mut names: Vec<_> = BINDINGS.iter().map(|binding| binding.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), BINDINGS.len());
    }

    #[test]
    fn keys_mean_what_their_screen_says() {
        let keymap = Keymap::with_overrides(&BTreeMap::new()).expect("no conflicts");
        let action = |key: &str, screen| keymap.action_for(&press(key), screen);
        assert_eq!(action("q", Live), Some(UserAction::Quit));
        assert_eq!(action("ctrl-c", History), Some(UserAction::Quit));
        assert_eq!(action("space", Live), Some(UserAction::Pause));
        assert_eq!(action("[", Live), Some(UserAction::PreviousWorkload));
        assert_eq!(action("[", Bills), Some(UserAction::LessMemory));
        assert_eq!(action("d", Live), None);
        assert_eq!(action("G", Host), Some(UserAction::Last));
    }

    #[test]
    fn changed_keys_replace_the_old_ones() {
        let keymap = with("quit", &["Q", "ctrl-q"]).expect("free keys");
        assert_eq!(keymap.action_for(&press("Q"), Live), Some(UserAction::Quit));
        assert_eq!(keymap.action_for(&press("q"), Live), None);
        assert_eq!(keymap.key_for(UserAction::Quit, Live).as_deref(), Some("Q"));
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
        for binding in BINDINGS.iter() {
            let on = match binding.context {
                KeyContext::Everywhere => "everywhere",
                KeyContext::On(screen) => screen.name(),
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
        let defaults = cyclometer_lanes::LaneSpec::default_lanes();
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
            assert_eq!(text.parse::<KeyChord>().map(|key| key.to_string()), Ok(text.to_owned()));
        }
        for text in ["", "f13", "f0", "qq", "ctrl-", "\u{7}"] {
            assert!(text.parse::<KeyChord>().is_err(), "{text:?} was accepted");
        }
    }
}
