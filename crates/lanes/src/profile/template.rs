//! Command lines with placeholders: lists of arguments, never a shell command.

use toml::Spanned;

use super::error::Problem;

/// Placeholder that becomes the function's arguments, each one of its own.
pub const ARGS: &str = "args...";

/// Most arguments of one command line.
const MAX_ARGS: usize = 256;

/// Arguments of a command, without its program's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine(Vec<Argument>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Argument {
    /// All arguments of the function.
    Args,
    /// Literals and placeholders in order.
    Text(Vec<Piece>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Place(String),
}

impl CommandLine {
    /// Parses the arguments; only the placeholders in `allowed` may be used.
    pub(super) fn parse(
        given: &Spanned<Vec<Spanned<String>>>,
        allowed: &[&str],
    ) -> Result<Self, Problem> {
        if given.get_ref().len() > MAX_ARGS {
            let message = format!("more than {MAX_ARGS} arguments");
            return Err(Problem::new(given.span(), message));
        }
        let arguments = given.get_ref().iter().map(|argument| {
            parse(argument.get_ref(), allowed)
                .map_err(|message| Problem::new(argument.span(), message))
        });
        Ok(Self(arguments.collect::<Result<_, _>>()?))
    }

    /// Returns whether the placeholder is used.
    #[must_use]
    pub fn uses(&self, name: &str) -> bool {
        self.count(name) > 0
    }

    /// Counts how often the placeholder is used.
    pub(super) fn count(&self, name: &str) -> usize {
        let of = |argument: &Argument| match argument {
            Argument::Args => usize::from(name == ARGS),
            Argument::Text(pieces) => pieces
                .iter()
                .filter(|piece| matches!(piece, Piece::Place(place) if place == name))
                .count(),
        };
        self.0.iter().map(of).sum()
    }

    /// Returns the arguments, with `value` for each placeholder and `args` for `{args...}`. A
    /// placeholder without a value is an error: its name.
    ///
    /// # Errors
    /// The placeholder that has no value.
    pub fn expand(
        &self,
        value: &dyn Fn(&str) -> Option<String>,
        args: &[String],
    ) -> Result<Vec<String>, String> {
        let mut line = Vec::with_capacity(self.0.len() + args.len());
        for argument in &self.0 {
            match argument {
                Argument::Args => line.extend_from_slice(args),
                Argument::Text(pieces) => {
                    let mut text = String::new();
                    for piece in pieces {
                        match piece {
                            Piece::Literal(literal) => text.push_str(literal),
                            Piece::Place(name) => {
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

fn parse(text: &str, allowed: &[&str]) -> Result<Argument, String> {
    if text.contains('\0') {
        return Err("an argument cannot contain a NUL character".to_owned());
    }
    if text == "{args...}" && allowed.contains(&ARGS) {
        return Ok(Argument::Args);
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
        check(name, allowed)?;
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(Piece::Place(name.to_owned()));
        rest = &rest[end + 1..];
    }
    literal.push_str(rest);
    if !literal.is_empty() || pieces.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(Argument::Text(pieces))
}

fn check(name: &str, allowed: &[&str]) -> Result<(), String> {
    if name == ARGS && allowed.contains(&ARGS) {
        return Err("`{args...}` must be an argument of its own, nothing before or after it: \
                    joined arguments cannot be told apart"
            .to_owned());
    }
    if allowed.contains(&name) {
        return Ok(());
    }
    let hint = cyclometer_core::suggest::suggestion(name, allowed.iter().copied());
    Err(format!("unknown placeholder `{{{name}}}`{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: [&str; 3] = ["module", "memory_bytes", ARGS];

    fn line(arguments: &[&str]) -> Result<CommandLine, String> {
        let of = |text: &&str| Spanned::new(0..0, (*text).to_owned());
        CommandLine::parse(&Spanned::new(0..0, arguments.iter().map(of).collect()), &ALLOWED)
            .map_err(|problem| problem.message)
    }

    #[test]
    fn placeholders_become_values_and_arguments_stay_apart() {
        let line = line(&["run", "-m={memory_bytes}", "{{x}}{module}", "", "{args...}"]);
        let line = line.expect("valid");
        let value = |name: &str| (name != ARGS).then(|| format!("<{name}>"));
        let args = ["a b".to_owned(), String::new(), "{module}".to_owned()];
        assert_eq!(
            line.expand(&value, &args).expect("all known"),
            ["run", "-m=<memory_bytes>", "{x}<module>", "", "a b", "", "{module}"]
        );
        assert!(line.uses("module") && line.uses(ARGS) && !line.uses("memory_mib"));
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
