//! Reports for people and for programs: tables in all output formats, comparisons, gates,
//! and explanations of bills.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod answer;
mod calendar_bills;
pub mod comparison;
pub mod difference;
pub mod explain;
pub mod gate;
pub mod precision;
mod prices;
pub mod reconcile;
mod row_writer;
pub mod savings;
pub mod simulation_report;
pub mod stored_comparison;
pub mod subjects;
pub mod sweep;
mod table;
pub mod tax;
mod text_format;
mod totals;
mod trace_models;
mod waste;

pub use calendar_bills::{calendar_table, needs_hours};
pub use cyclometer_stats::{half_interquartile_range, integer_quantile};
pub use prices::{describe_extremes, format_bill, format_thousands, price_matrix, price_table};
pub use row_writer::RowWriter;
pub use table::{Cell, Column, Format, Table, markdown_code, terminal_width};
pub use text_format::{
    describe_extent, fill_sentences, format_count, format_percent, format_time, format_timestamp,
    shorten_list, wrap_sentence,
};
pub use totals::{
    failure_notes, has_few_models, list_refusals, list_stand_ins, only_pair, totals_table,
};
pub use trace_models::{find_platform_model, list_default_models};
pub use waste::{unmeasured_note, waste_table};
