//! Saved queries: `db/queries/NAME.sql`, compiled into the program.

use crate::report::{Cell, Column, Table};
use crate::suggest::format_suggestion;

/// A saved query. The first comment line says which question it answers; lines such as
/// `-- :factor = 3` name its parameters, with their defaults.
#[derive(Debug)]
pub(super) struct Saved {
    name: &'static str,
    pub(super) text: &'static str,
}

macro_rules! saved {
    ($($name:literal),+ $(,)?) => {
        &[$(Saved {
            name: $name,
            text: include_str!(concat!("../../../db/queries/", $name, ".sql")),
        }),+]
    };
}

const ALL: &[Saved] = saved![
    "bills",
    "clock",
    "coarse-over-fine",
    "cold-over-warm",
    "cold-starts",
    "dearest",
    "drift",
    "failures",
    "headroom",
    "missing-meters",
    "months",
    "outliers",
    "recordings",
    "refusals",
    "throughput",
    "waste",
];

impl Saved {
    /// Returns the query with the name `name`.
    pub(super) fn by_name(name: &str) -> Result<&'static Self, String> {
        ALL.iter().find(|saved| saved.name == name).ok_or_else(|| {
            let hint = format_suggestion(name, ALL.iter().map(|saved| saved.name));
            format!("there is no saved query `{name}`{hint}")
        })
    }

    /// Returns the question that the query answers.
    fn purpose(&self) -> &str {
        self.text.lines().next().unwrap_or("").trim_start_matches("--").trim()
    }

    /// Returns the parameters with their defaults.
    fn parameters(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let comments = self.text.lines().filter_map(|line| line.strip_prefix("-- :"));
        comments.map(|line| match line.split_once('=') {
            Some((name, value)) => (name.trim(), Some(value.trim())),
            None => (line.trim(), None),
        })
    }

    /// Returns the default of a parameter.
    pub(super) fn default_value(&self, name: &str) -> Option<&str> {
        self.parameters().find(|(known, _)| *known == name)?.1
    }
}

/// Builds the table of all saved queries.
pub(super) fn saved_query_table() -> Table {
    let mut table = Table::new(&[
        Column::text("query", "query"),
        Column::text("parameters", "parameters"),
        Column::text("answers", "answers"),
    ]);
    for saved in ALL {
        let parameters: Vec<_> = saved
            .parameters()
            .map(|(name, value)| value.map_or(name.to_owned(), |value| format!("{name}={value}")))
            .collect();
        table.push(vec![
            Cell::text(saved.name),
            Cell::text(parameters.join(" ")),
            Cell::text(saved.purpose()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{SqlReader, Store};

    #[test]
    fn every_file_is_carried_and_says_what_it_answers() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/db/queries");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .expect("the folder")
            .map(|file| file.expect("a file").file_name().into_string().expect("a name"))
            .collect();
        files.sort_unstable();
        let names: Vec<String> = ALL.iter().map(|saved| format!("{}.sql", saved.name)).collect();
        assert_eq!(files, names);
        for saved in ALL {
            let documentation = include_str!("../../../docs/queries.md");
            assert!(documentation.contains(&format!("\n| `{}` |", saved.name)), "{saved:?}");
            assert!(saved.text.starts_with("-- ") && saved.purpose().ends_with('?'), "{saved:?}");
        }
        assert!(Saved::by_name("cold-start").expect_err("unknown").contains("`cold-starts`"));
    }

    #[test]
    fn every_parameter_is_named_in_a_comment_and_has_a_value() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("c.db");
        drop(Store::open(&path).expect("made"));
        let reader = SqlReader::open(&path).expect("opened");
        for saved in ALL {
            let mut used = reader.parameter_names(saved.text).expect(saved.name);
            let mut named: Vec<&str> = saved.parameters().map(|(name, _)| name).collect();
            used.sort_unstable();
            named.sort_unstable();
            assert_eq!(used, named, "{}", saved.name);
            for name in named.into_iter().filter(|name| !["recording", "simulation"].contains(name))
            {
                assert!(saved.default_value(name).is_some(), "{}: {name}", saved.name);
            }
        }
        assert_eq!(Saved::by_name("outliers").expect("known").default_value("factor"), Some("3"));
    }

    #[test]
    fn only_the_stable_views_are_used() {
        for saved in ALL {
            for word in ["recording_id", "FROM invocation", "JOIN cell", "FROM bill", "lane_id"] {
                assert!(!saved.text.contains(word), "{}: {word}", saved.name);
            }
        }
    }
}
