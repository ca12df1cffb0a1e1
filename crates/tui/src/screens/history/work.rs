//! Requests to the worker of the history screen, and their responses.

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

/// Request to the worker of the history screen.
#[derive(Debug, Clone)]
pub enum Ask {
    /// Reads the newest recordings and simulations.
    List {
        /// List as it was read before: counts of what is over do not change.
        known: Option<Arc<Lists>>,
    },
    /// Reads everything about an item.
    Show {
        /// Row of the item.
        row: Box<Row>,
        /// Width of the lines.
        width: usize,
    },
    /// Reads everything about an item for an overlay.
    Text {
        /// Item to read.
        item: Item,
        /// Width of the lines.
        width: usize,
    },
    /// Reads the conclusion of a recording, in sentences.
    Conclude {
        /// Number of the recording.
        recording: i64,
    },
    /// Measures what deleting an item would remove.
    Extent {
        /// Item to delete.
        item: Item,
    },
    /// Compares two items.
    Compare {
        /// First item.
        first: Item,
        /// Second item.
        second: Item,
        /// Width of the lines.
        width: usize,
    },
    /// Labels an item.
    Label {
        /// Item to label.
        item: Item,
        /// New label; empty: none.
        label: String,
    },
    /// Deletes items.
    Delete {
        /// Items to delete.
        items: Vec<Item>,
    },
}

impl Question for Ask {
    fn replaces(&self, older: &Self) -> bool {
        let changes = matches!(self, Self::Label { .. } | Self::Delete { .. });
        !changes && discriminant(self) == discriminant(older)
    }
}

/// Response of the worker of the history screen: the subject of the request,
/// and the result, or a reason where it failed.
#[derive(Debug)]
pub enum Answer {
    /// List of items.
    List {
        /// Newest recordings and simulations.
        result: Result<Arc<Lists>, String>,
        /// Time that reading took.
        took: Nanos,
    },
    /// Details of an item.
    Show {
        /// Row of the item as it was then.
        row: Box<Row>,
        /// Width that was requested.
        width: usize,
        /// Everything about the item.
        result: Result<Vec<Told>, String>,
        /// Time that reading took.
        took: Nanos,
    },
    /// Text of an item, for an overlay.
    Text {
        /// Item that was read.
        item: Item,
        /// Everything about the item.
        result: Result<String, String>,
    },
    /// Conclusion of a recording.
    Conclude {
        /// Number of the recording.
        recording: i64,
        /// One paragraph for each workload.
        result: Result<String, String>,
    },
    /// Extent of a deletion.
    Extent {
        /// Item to delete.
        item: Item,
        /// Extent of what would be removed.
        result: Result<Extent, String>,
    },
    /// Comparison of two items.
    Compare {
        /// First item.
        first: Item,
        /// Second item.
        second: Item,
        /// Differences, and how certain they are.
        result: Result<String, String>,
    },
    /// Result of labelling an item.
    Label {
        /// Item that was labelled.
        item: Item,
        /// New label.
        label: String,
        /// Whether it succeeded.
        result: Result<(), String>,
    },
    /// Result of deleting items.
    Delete {
        /// Items that were deleted.
        items: Vec<Item>,
        /// Extent of what was removed.
        result: Result<Extent, String>,
    },
}

/// Computes a response, on the worker's thread.
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
    // There is no file before the first recording, which is no error here.
    if !desk.settings.database.exists() {
        return Ok(Lists::default());
    }
    Lists::read(desk.store()?, known)
}

/// Measures what deleting an item would remove. The database is opened for
/// writing, so that one that is locked or read-only is noticed before the user
/// confirms twice, and recordings of programs that are gone do not count as
/// running.
fn extent(desk: &Desk, item: Item) -> Result<Extent, StoreError> {
    let store = desk.writable()?;
    store.recover()?;
    store.extent(&[item])
}

/// Turns an error into text; the database is opened again for the next request.
fn told<T>(desk: &mut Desk, result: Result<T, StoreError>) -> Result<T, String> {
    result.map_err(|error| {
        desk.reopen();
        error.to_string()
    })
}
