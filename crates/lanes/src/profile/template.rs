//! Command lines with placeholders: lists of arguments, never a shell command.

use toml::Spanned;

use super::error::ProfileProblem;

/// Placeholder that becomes the function's arguments, each one of its own.
pub(crate) const ARGS_PLACEHOLDER: &str = "args...";

/// Placeholder that becomes the settings of a container, as options like those of `podman run`.
pub(crate) const OPTIONS_PLACEHOLDER: &str = "options...";

/// Placeholder that becomes the command line of a container, its program first.
pub(crate) const COMMAND_PLACEHOLDER: &str = "command...";

/// Placeholders that become any number of arguments.
const LISTS: [&str; 3] = [ARGS_PLACEHOLDER, OPTIONS_PLACEHOLDER, COMMAND_PLACEHOLDER];

/// Values of the placeholders that become any number of arguments.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct CommandLists<'a> {
    pub args: &'a [String],
    pub options: &'a [String],
    pub command: &'a [String],
}

impl<'a> CommandLists<'a> {
    fn find_list(&self, name: &str) -> &'a [String] {
        match name {
            OPTIONS_PLACEHOLDER => self.options,
            COMMAND_PLACEHOLDER => self.command,
            _ => self.args,
        }
    }
}

/// Most arguments of one command line.
const MAX_ARGS: usize = 256;

/// Arguments of a command, without its program's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<ArgumentTemplate>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum ArgumentTemplate {
    /// All of a list: the function's arguments, or others.
    List(&'static str),
    /// Literals and placeholders in order.
    Text(Vec<TemplatePiece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum TemplatePiece {
    Literal(String),
    Placeholder(String),
}

impl CommandLine {
    /// Parses the arguments; only the placeholders in `allowed` may be used.
    pub(super) fn parse(
        given: &Spanned<Vec<Spanned<String>>>,
        allowed: &[&str],
    ) -> Result<Self, ProfileProblem> {
        if given.get_ref().len() > MAX_ARGS {
            let message = format!("more than {MAX_ARGS} arguments");
            return Err(ProfileProblem::new(given.span(), message));
        }
        let arguments = given.get_ref().iter().map(|argument| {
            parse_argument(argument.get_ref(), allowed)
                .map_err(|message| ProfileProblem::new(argument.span(), message))
        });
        Ok(Self(arguments.collect::<Result<_, _>>()?))
    }

    /// Returns whether the placeholder is used.
    #[must_use]
    pub(crate) fn uses_placeholder(&self, name: &str) -> bool {
        self.count_placeholder(name) > 0
    }

    /// Returns whether one of the arguments is this text, without placeholders.
    #[must_use]
    pub(crate) fn has_literal(&self, text: &str) -> bool {
        let wanted = [TemplatePiece::Literal(text.to_owned())];
        let fits = |it: &ArgumentTemplate| matches!(it, ArgumentTemplate::Text(pieces) if *pieces == wanted);
        self.0.iter().any(fits)
    }

    /// Counts how often the placeholder is used.
    pub(super) fn count_placeholder(&self, name: &str) -> usize {
        let of = |argument: &ArgumentTemplate| match argument {
            ArgumentTemplate::List(list) => usize::from(name == *list),
            ArgumentTemplate::Text(pieces) => pieces
                .iter()
                .filter(|piece| matches!(piece, TemplatePiece::Placeholder(place) if place == name))
                .count(),
        };
        self.0.iter().map(of).sum()
    }

    /// Returns the arguments, with `value` for each placeholder and `args` for `{args...}`. A
    /// placeholder without a value is an error: its name.
    ///
    /// # Errors
    /// The placeholder that has no value.
    pub(crate) fn expand(
        &self,
        value: &dyn Fn(&str) -> Option<String>,
        args: &[String],
    ) -> Result<Vec<String>, String> {
        self.expand_lists(value, &CommandLists { args, ..CommandLists::default() })
    }

    /// Expands like [`Self::expand`], with a value for each list.
    ///
    /// # Errors
    /// The placeholder that has no value.
    pub(crate) fn expand_lists(
        &self,
        value: &dyn Fn(&str) -> Option<String>,
        lists: &CommandLists<'_>,
    ) -> Result<Vec<String>, String> {
        let mut line = Vec::with_capacity(self.0.len() + lists.args.len());
        for argument in &self.0 {
            match argument {
                ArgumentTemplate::List(name) => line.extend_from_slice(lists.find_list(name)),
                ArgumentTemplate::Text(pieces) => {
                    let mut text = String::new();
                    for piece in pieces {
                        match piece {
                            TemplatePiece::Literal(literal) => text.push_str(literal),
                            TemplatePiece::Placeholder(name) => {
                                text.push_str(&value(name).ok_or_else(|| name.clone())?);
                            }
                        }
                    }
                    line.push(text);
                }
            }
        }
        Ok(line)
    }
}

fn parse_argument(text: &str, allowed: &[&str]) -> Result<ArgumentTemplate, String> {
    if text.contains('\0') {
        return Err("an argument cannot contain a NUL character".to_owned());
    }
    let inside = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
    if let Some(list) = LISTS.into_iter().find(|list| inside == Some(list))
        && allowed.contains(&list)
    {
        return Ok(ArgumentTemplate::List(list));
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        literal.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            literal.push_str(brace);
            rest = after;
            continue;
        }
        if brace == "}" {
            return Err("a `}` without `{`; a literal brace is written twice".to_owned());
        }
        let end = rest.find('}').ok_or("a `{` without `}`; a literal brace is written twice")?;
        let name = &rest[..end];
        check_placeholder(name, allowed)?;
        if !literal.is_empty() {
            pieces.push(TemplatePiece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(TemplatePiece::Placeholder(name.to_owned()));
        rest = &rest[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(TemplatePiece::Literal(literal));
    }
    Ok(ArgumentTemplate::Text(pieces))
}

fn check_placeholder(name: &str, allowed: &[&str]) -> Result<(), String> {
    if LISTS.contains(&name) && allowed.contains(&name) {
        return Err(format!(
            "`{{{name}}}` must be an argument of its own, nothing before or after it: joined \
             arguments cannot be told apart"
        ));
    }
    if allowed.contains(&name) {
        return Ok(());
    }
    let hint = cyclometer_core::suggest::format_suggestion(name, allowed.iter().copied());
    Err(format!("unknown placeholder `{{{name}}}`{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 3] = ["module", "memory_bytes", ARGS_PLACEHOLDER];

    fn line(arguments: &[&str]) -> Result<CommandLine, String> {
        let of = |text: &&str| Spanned::new(0..0, (*text).to_owned());
        CommandLine::parse(&Spanned::new(0..0, arguments.iter().map(of).collect()), &ALLOWED)
            .map_err(|problem| problem.message)
    }

    #[test]
    fn placeholders_become_values_and_arguments_stay_apart() {
        let line = line(&["run", "-m={memory_bytes}", "{{x}}{module}", "", "{args...}"]);
        let line = line.expect("valid");
        let value = |name: &str| (name != ARGS_PLACEHOLDER).then(|| format!("<{name}>"));
        let args = ["a b".to_owned(), String::new(), "{module}".to_owned()];
        assert_eq!(
            line.expand(&value, &args).expect("all known"),
            ["run", "-m=<memory_bytes>", "{x}<module>", "", "a b", "", "{module}"]
        );
        let lists = CommandLists { args: &args[..1], ..CommandLists::default() };
        let shorter = line.expand_lists(&value, &lists).expect("all known");
        assert_eq!(shorter[4..], ["a b"]);
        assert!(
            line.uses_placeholder("module")
                && line.uses_placeholder(ARGS_PLACEHOLDER)
                && !line.uses_placeholder("memory_mib")
        );
        assert_eq!(line.expand(&|_| None, &[]), Err("memory_bytes".to_owned()));
    }

    #[test]
    fn mistakes_are_told() {
        for (text, word) in [
            ("{modul}", "unknown placeholder `{modul}`; did you mean `module`?"),
            ("{", "a `{` without `}`"),
            ("a}b", "a `}` without `{`"),
            ("--args={args...}", "an argument of its own"),
            ("a\0b", "NUL"),
        ] {
            let error = line(&[text]).expect_err(text);
            assert!(error.contains(word), "{text:?} gave {error:?}");
        }
        let many = vec!["x"; 257];
        assert!(line(&many).expect_err("too many").contains("more than 256"));
    }
}
