//! Shipped files with a mutation: whatever is broken, the result is a model or a problem with its
//! place, and never a panic or a long wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::builtin_files;
use crate::survival::price_model_survives;
use cyclometer_testkit::cpu_time;

/// Number of mutants of each file.
const MUTANTS: usize = 220;
/// Time limit: a mutant is parsed, billed and printed in milliseconds; this leaves room for a
/// machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Random number generator with the same numbers in every run (splitmix64).
struct Dice(u64);

impl Dice {
    fn of(seed: &str) -> Self {
        Self(seed.bytes().fold(7, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0193)))
    }

    /// Returns a number below `end`; 0 if there is none.
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) >> 1).unwrap() % end.max(1)
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

type Mutation = fn(&str, &mut Dice) -> String;

const MUTATIONS: &[(&str, Mutation)] = &[
    ("a byte is another one", flip),
    ("a line is gone", delete_line),
    ("a line is there twice", repeat_line),
    ("two lines change places", swap_lines),
    ("a number is another one", other_number),
    ("two keys change places", swap_keys),
    ("the end is missing", truncate),
    ("something strange is inserted", insert),
    ("a value is nested", nest),
    ("a table is there twice", repeat_table),
    ("a name is another one of the file", other_name),
];

/// Returns the start of a random character.
fn place(text: &str, dice: &mut Dice) -> usize {
    let mut at = dice.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn flip(text: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let at = dice.below(bytes.len());
    bytes[at] ^= 1 << dice.below(8);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

fn delete_line(text: &str, dice: &mut Dice) -> String {
    let mut lines = lines(text);
    lines.remove(dice.below(lines.len()));
    lines.concat()
}

fn repeat_line(text: &str, dice: &mut Dice) -> String {
    let mut lines = lines(text);
    let at = dice.below(lines.len());
    lines.insert(dice.below(lines.len()), lines[at]);
    lines.concat()
}

fn swap_lines(text: &str, dice: &mut Dice) -> String {
    let mut lines = lines(text);
    let (one, other) = (dice.below(lines.len()), dice.below(lines.len()));
    lines.swap(one, other);
    lines.concat()
}

/// Replaces one run of digits, chosen from all in the file, and keeps the text before and after
/// it.
fn other_number(text: &str, dice: &mut Dice) -> String {
    let digit = |at: usize| text.as_bytes().get(at).is_some_and(u8::is_ascii_digit);
    let starts: Vec<usize> =
        (0..text.len()).filter(|at| digit(*at) && (*at == 0 || !digit(at - 1))).collect();
    let start = starts[dice.below(starts.len())];
    let end = (start..text.len()).find(|at| !digit(*at)).unwrap_or(text.len());
    let long = "9".repeat(40);
    let longer = "1".repeat(5_000);
    let number = dice.one_of(&[
        "0",
        "-1",
        "18446744073709551615",
        "9223372036854775807",
        "0.0000000000000000000000000000000000001",
        "1e400",
        "00000000",
        "0.1.2",
        "nan",
        "1_0",
        "٣",
        &long,
        &longer,
    ]);
    format!("{}{number}{}", &text[..start], &text[end..])
}

fn swap_keys(text: &str, dice: &mut Dice) -> String {
    let lines = lines(text);
    let keyed: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains(" = ")).collect();
    let (one, other) = (keyed[dice.below(keyed.len())], keyed[dice.below(keyed.len())]);
    let parts = |at: usize| lines[at].split_once(" = ").unwrap();
    let swapped = |at: usize| match at {
        at if at == one => format!("{} = {}", parts(other).0, parts(one).1),
        at if at == other => format!("{} = {}", parts(one).0, parts(other).1),
        at => lines[at].to_owned(),
    };
    (0..lines.len()).map(swapped).collect()
}

fn truncate(text: &str, dice: &mut Dice) -> String {
    text[..place(text, dice)].to_owned()
}

fn insert(text: &str, dice: &mut Dice) -> String {
    let at = place(text, dice);
    let strange = dice.one_of(&[
        "\0",
        "\u{1b}[2J",
        "\u{7f}",
        "\r",
        "\u{85}",
        "\u{202e}",
        "\u{feff}",
        "\u{10ffff}",
        "é",
        "\"",
        "\"\"\"",
        "'",
        "[",
        "]",
        "{",
        "}",
        "=",
        "#",
        "\\u0000",
        "\\u202e",
        "\\",
        ".",
        ",",
    ]);
    format!("{}{strange}{}", &text[..at], &text[at..])
}

fn nest(text: &str, dice: &mut Dice) -> String {
    let mut lines: Vec<String> = lines(text).into_iter().map(str::to_owned).collect();
    let at = dice.below(lines.len());
    let depth = [1, 3, 100, 20_000][dice.below(4)];
    let (open, close) = [("[", "]"), ("{ a = ", " }"), ("a.", "")][dice.below(3)];
    let line = lines[at].trim_end().to_owned();
    let (key, value) = line.split_once(" = ").unwrap_or(("a", "1"));
    let (open, close) = (open.repeat(depth), close.repeat(depth));
    lines[at] = if open.starts_with("a.") {
        format!("{open}{key} = {value}\n")
    } else {
        format!("{key} = {open}{value}{close}\n")
    };
    lines.concat()
}

fn repeat_table(text: &str, dice: &mut Dice) -> String {
    let mut tables: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.get(1..).and_then(|rest| rest.find("\n[[")) {
        tables.push(&rest[..at + 2]);
        rest = &rest[at + 2..];
    }
    tables.push(rest);
    let (from, to) = (dice.below(tables.len()), dice.below(tables.len()));
    tables.insert(to, tables[from]);
    tables.concat()
}

/// Replaces one text in quotes, chosen from all in the file.
fn other_name(text: &str, dice: &mut Dice) -> String {
    let mut parts: Vec<&str> = text.split('"').collect();
    let names = parts.len() / 2;
    let (one, other) = (2 * dice.below(names) + 1, 2 * dice.below(names) + 1);
    parts[one] = parts[other];
    parts.join("\"")
}

/// Returns an endless sequence of mutants of a file, the same in every run, with a description of
/// each.
pub(crate) fn mutants<'a>(
    origin: &'a str,
    text: &'a str,
) -> impl Iterator<Item = (&'static str, String)> + 'a {
    let mut dice = Dice::of(origin);
    MUTATIONS.iter().cycle().map(move |(what, mutation)| {
        let mut mutant = mutation(text, &mut dice);
        // The rest of a truncated file may have nothing left to break.
        let more = mutant.contains(" = \"") && mutant.contains('1');
        if more && dice.below(4) == 0 {
            let (_, second) = MUTATIONS[dice.below(MUTATIONS.len())];
            mutant = second(&mutant, &mut dice);
        }
        (*what, mutant)
    })
}

#[test]
fn a_broken_file_is_a_model_or_a_complaint_with_a_place() {
    let mut slowest = (Duration::ZERO, String::new());
    for (origin, text) in builtin_files() {
        for (round, (what, mutant)) in mutants(origin, text).take(MUTANTS).enumerate() {
            let begun = cpu_time();
            let outcome = catch_unwind(AssertUnwindSafe(|| price_model_survives(&mutant)));
            let took = cpu_time().saturating_sub(begun);
            let which = format!("{origin}, mutant {round}: {what}");
            assert!(outcome.is_ok(), "{which}");
            assert!(took < PATIENCE, "{which}: took {took:?}");
            slowest = slowest.max((took, which));
        }
    }
    println!("slowest: {slowest:?}");
}

#[test]
fn shipped_files_survive_unbroken_and_mutants_differ() {
    for (origin, text) in builtin_files() {
        price_model_survives(text);
        let mut dice = Dice::of(origin);
        let same = MUTATIONS.iter().filter(|(_, mutation)| mutation(text, &mut dice) == **text);
        // A line may be swapped with itself, but not all mutations may be without effect.
        assert!(same.count() <= 3, "{origin}");
    }
}
