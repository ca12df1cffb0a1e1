//! Requests to the worker of the history screen, and their responses.

use std::mem::discriminant;
use std::sync::Arc;

use super::conclusion::conclusion_sentences;
use super::detail::{DetailLine, ItemDetail, comparison_text, item_text};
use super::list::{HistoryList, HistoryRow};
use crate::query_worker::{QueryContext, QueryRequest};
use cyclometer_core::units::Nanos;
use cyclometer_lanes::monotonic_now;
use cyclometer_report::stored_comparison::compare_items;
use cyclometer_stats::Confidence;
use cyclometer_store::{DeletionExtent, HistoryItem, StoreError};

/// Request to the worker of the history screen.
#[derive(Debug, Clone)]
pub enum HistoryRequest {
    /// Reads the newest recordings and simulations.
    List {
        /// List as it was read before: counts of what is over do not change.
        known: Option<Arc<HistoryList>>,
    },
    /// Reads everything about an item.
    Show {
        /// Row of the item.
        row: Box<HistoryRow>,
        /// Width of the lines.
        width: usize,
    },
    /// Reads everything about an item for an overlay.
    Text {
        /// Item to read.
        item: HistoryItem,
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
        item: HistoryItem,
    },
    /// Compares two items.
    Compare {
        /// First item.
        first: HistoryItem,
        /// Second item.
        second: HistoryItem,
        /// Width of the lines.
        width: usize,
    },
    /// Labels an item.
    Label {
        /// Item to label.
        item: HistoryItem,
        /// New label; empty: none.
        label: String,
    },
    /// Deletes items.
    Delete {
        /// Items to delete.
        items: Vec<HistoryItem>,
    },
}

impl QueryRequest for HistoryRequest {
    fn supersedes(&self, older: &Self) -> bool {
        let changes = matches!(self, Self::Label { .. } | Self::Delete { .. });
        !changes && discriminant(self) == discriminant(older)
    }
}

/// Response of the worker of the history screen: the subject of the request,
/// and the result, or a reason where it failed.
#[derive(Debug)]
pub enum HistoryResponse {
    /// List of items.
    List {
        /// Newest recordings and simulations.
        result: Result<Arc<HistoryList>, String>,
        /// Time that reading took.
        took: Nanos,
    },
    /// Details of an item.
    Show {
        /// Row of the item as it was then.
        row: Box<HistoryRow>,
        /// Width that was requested.
        width: usize,
        /// Everything about the item.
        result: Result<Vec<DetailLine>, String>,
        /// Time that reading took.
        took: Nanos,
    },
    /// Text of an item, for an overlay.
    Text {
        /// Item that was read.
        item: HistoryItem,
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
        item: HistoryItem,
        /// Extent of what would be removed.
        result: Result<DeletionExtent, String>,
    },
    /// Comparison of two items.
    Compare {
        /// First item.
        first: HistoryItem,
        /// Second item.
        second: HistoryItem,
        /// Differences, and how certain they are.
        result: Result<String, String>,
    },
    /// Result of labelling an item.
    Label {
        /// Item that was labelled.
        item: HistoryItem,
        /// New label.
        label: String,
        /// Whether it succeeded.
        result: Result<(), String>,
    },
    /// Result of deleting items.
    Delete {
        /// Items that were deleted.
        items: Vec<HistoryItem>,
        /// Extent of what was removed.
        result: Result<DeletionExtent, String>,
    },
}

/// Computes a response, on the worker's thread.
pub fn answer(context: &mut QueryContext, ask: HistoryRequest) -> HistoryResponse {
    let begun = monotonic_now();
    match ask {
        HistoryRequest::List { known } => {
            let result = read_list(context, known.as_deref()).map(Arc::new);
            let result = reopen_on_error(context, result);
            HistoryResponse::List { result, took: monotonic_now().saturating_since(begun) }
        }
        HistoryRequest::Show { row, width } => {
            let settings = Arc::clone(&context.settings);
            let shown = context
                .read_store()
                .and_then(|store| ItemDetail::read_item(store, &settings, row.item));
            let result = reopen_on_error(context, shown).map(|shown| shown.to_lines(width));
            HistoryResponse::Show {
                row,
                width,
                result,
                took: monotonic_now().saturating_since(begun),
            }
        }
        HistoryRequest::Text { item, width } => {
            let settings = Arc::clone(&context.settings);
            let text =
                context.read_store().and_then(|store| item_text(store, &settings, item, width));
            HistoryResponse::Text { item, result: reopen_on_error(context, text) }
        }
        HistoryRequest::Conclude { recording } => {
            let settings = Arc::clone(&context.settings);
            let text = context
                .read_store()
                .and_then(|store| conclusion_sentences(store, &settings, recording));
            let result = reopen_on_error(context, text).map(|paragraphs| paragraphs.join("\n\n"));
            HistoryResponse::Conclude { recording, result }
        }
        HistoryRequest::Extent { item } => {
            let result = deletion_extent(context, item).map_err(|error| error.to_string());
            HistoryResponse::Extent { item, result }
        }
        HistoryRequest::Compare { first, second, width } => {
            let store = context.read_store();
            let result =
                store.and_then(|store| compare_items(store, first, second, Confidence::default()));
            let result = reopen_on_error(context, result).and_then(|compared| {
                compared
                    .map(|compared| comparison_text(&compared, width))
                    .ok_or_else(|| "two recordings can be compared, or two simulations".to_owned())
            });
            HistoryResponse::Compare { first, second, result }
        }
        HistoryRequest::Label { item, label } => {
            let result = context.open_writable().and_then(|store| store.set_label(item, &label));
            HistoryResponse::Label {
                item,
                label,
                result: result.map_err(|error| error.to_string()),
            }
        }
        HistoryRequest::Delete { items } => {
            let result = context.open_writable().and_then(|store| store.delete_items(&items));
            HistoryResponse::Delete { items, result: result.map_err(|error| error.to_string()) }
        }
    }
}

fn read_list(
    context: &mut QueryContext,
    known: Option<&HistoryList>,
) -> Result<HistoryList, StoreError> {
    // There is no file before the first recording, which is no error here.
    if !context.settings.database.exists() {
        return Ok(HistoryList::default());
    }
    HistoryList::read_newest(context.read_store()?, known)
}

/// Measures what deleting an item would remove. The database is opened for
/// writing, so that one that is locked or read-only is noticed before the user
/// confirms twice, and recordings of programs that are gone do not count as
/// running.
fn deletion_extent(
    context: &QueryContext,
    item: HistoryItem,
) -> Result<DeletionExtent, StoreError> {
    let store = context.open_writable()?;
    store.recover_interrupted()?;
    store.deletion_extent(&[item])
}

/// Turns an error into text; the database is opened again for the next request.
fn reopen_on_error<T>(
    context: &mut QueryContext,
    result: Result<T, StoreError>,
) -> Result<T, String> {
    result.map_err(|error| {
        context.forget_connection();
        error.to_string()
    })
}
