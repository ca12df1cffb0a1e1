//! What the desk of the history is asked, and what it answers.

use std::mem::discriminant;
use std::sync::Arc;

use super::detail::{Shown, Told, comparison, text};
use super::ending::sentences;
use super::list::{Lists, Row};
use crate::desk::{Desk, Question};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::now;
use cyclometer_report::compared::compare;
use cyclometer_stats::Confidence;
use cyclometer_store::{Extent, Item, StoreError};

/// What its desk is asked.
#[derive(Debug, Clone)]
pub enum Ask {
    /// The newest recordings and simulations.
    List {
        /// What was read before: counts of what is over do not change.
        known: Option<Arc<Lists>>,
    },
    /// Everything about one of them.
    Show {
        /// Its row.
        row: Box<Row>,
        /// In lines of that width.
        width: usize,
    },
    /// The same, to be read above the screen.
    Text {
        /// Which.
        item: Item,
        /// In lines of that width.
        width: usize,
    },
    /// What a recording shows, in sentences.
    Conclude {
        /// Which.
        recording: i64,
    },
    /// What would go with it.
    Extent {
        /// Which.
        item: Item,
    },
    /// Whether two of them differ.
    Compare {
        /// The one.
        first: Item,
        /// The other.
        second: Item,
        /// In lines of that width.
        width: usize,
    },
    /// Name it.
    Label {
        /// Which.
        item: Item,
        /// The name; empty: none.
        label: String,
    },
    /// Delete them.
    Delete {
        /// Which.
        items: Vec<Item>,
    },
}

impl Question for Ask {
    fn replaces(&self, older: &Self) -> bool {
        let changes = matches!(self, Self::Label { .. } | Self::Delete { .. });
        !changes && discriminant(self) == discriminant(older)
    }
}

/// What its desk answers: to each question what was asked, and a reason where
/// it could not be done.
#[derive(Debug)]
pub enum Answer {
    /// The list.
    List {
        /// The newest of both.
        result: Result<Arc<Lists>, String>,
        /// How long reading took.
        took: Nanos,
    },
    /// One item.
    Show {
        /// Its row as it was then.
        row: Box<Row>,
        /// The width that was asked for.
        width: usize,
        /// Everything about it.
        result: Result<Vec<Told>, String>,
        /// How long reading took.
        took: Nanos,
    },
    /// One item, to be read above the screen.
    Text {
        /// Which.
        item: Item,
        /// Everything about it.
        result: Result<String, String>,
    },
    /// What a recording shows.
    Conclude {
        /// Which.
        recording: i64,
        /// A paragraph a workload.
        result: Result<String, String>,
    },
    /// What would go.
    Extent {
        /// With which.
        item: Item,
        /// How much.
        result: Result<Extent, String>,
    },
    /// A comparison.
    Compare {
        /// Of which.
        first: Item,
        /// With which.
        second: Item,
        /// What differs, and how sure that is.
        result: Result<String, String>,
    },
    /// It was named.
    Label {
        /// Which.
        item: Item,
        /// How.
        label: String,
        /// Whether it was.
        result: Result<(), String>,
    },
    /// They were deleted.
    Delete {
        /// Which.
        items: Vec<Item>,
        /// What went.
        result: Result<Extent, String>,
    },
}

/// Works an answer out, on the desk's thread.
pub fn answer(desk: &mut Desk, ask: Ask) -> Answer {
    let begun = now();
    match ask {
        Ask::List { known } => {
            let result = list(desk, known.as_deref()).map(Arc::new);
            let result = told(desk, result);
            Answer::List { result, took: now().since(begun) }
        }
        Ask::Show { row, width } => {
            let settings = Arc::clone(&desk.settings);
            let shown = desk.store().and_then(|store| Shown::read(store, &settings, row.item));
            let result = told(desk, shown).map(|shown| shown.lines(width));
            Answer::Show { row, width, result, took: now().since(begun) }
        }
        Ask::Text { item, width } => {
            let settings = Arc::clone(&desk.settings);
            let text = desk.store().and_then(|store| text(store, &settings, item, width));
            Answer::Text { item, result: told(desk, text) }
        }
        Ask::Conclude { recording } => {
            let settings = Arc::clone(&desk.settings);
            let text = desk.store().and_then(|store| sentences(store, &settings, recording));
            let result = told(desk, text).map(|paragraphs| paragraphs.join("\n\n"));
            Answer::Conclude { recording, result }
        }
        Ask::Extent { item } => {
            let result = extent(desk, item).map_err(|error| error.to_string());
            Answer::Extent { item, result }
        }
        Ask::Compare { first, second, width } => {
            let store = desk.store();
            let result =
                store.and_then(|store| compare(store, first, second, Confidence::default()));
            let result = told(desk, result).and_then(|compared| {
                compared
                    .map(|compared| comparison(&compared, width))
                    .ok_or_else(|| "two recordings can be compared, or two simulations".to_owned())
            });
            Answer::Compare { first, second, result }
        }
        Ask::Label { item, label } => {
            let result = desk.writable().and_then(|store| store.set_label(item, &label));
            Answer::Label { item, label, result: result.map_err(|error| error.to_string()) }
        }
        Ask::Delete { items } => {
            let result = desk.writable().and_then(|store| store.delete(&items));
            Answer::Delete { items, result: result.map_err(|error| error.to_string()) }
        }
    }
}

fn list(desk: &mut Desk, known: Option<&Lists>) -> Result<Lists, StoreError> {
    // Before the first recording there is no file, which is no error here.
    if !desk.settings.database.exists() {
        return Ok(Lists::default());
    }
    Lists::read(desk.store()?, known)
}

/// What would go. Written to, so that a database that is locked or read-only
/// shows before anybody is asked twice, and recordings of programs that are
/// gone do not count as running.
fn extent(desk: &Desk, item: Item) -> Result<Extent, StoreError> {
    let store = desk.writable()?;
    store.recover()?;
    store.extent(&[item])
}

/// An error in words; the database is opened again for the next question.
fn told<T>(desk: &mut Desk, result: Result<T, StoreError>) -> Result<T, String> {
    result.map_err(|error| {
        desk.reopen();
        error.to_string()
    })
}
