//! Reports for people and for programs: tables in all output formats, comparisons, gates,
//! and explanations of bills.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

pub mod answer;
pub mod compared;
pub mod comparison;
pub mod difference;
pub mod explain;
pub mod gate;
mod prices;
mod rows;
pub mod simulated;
pub mod steadiness;
pub mod subjects;
mod table;
pub mod tax;
mod totals;
mod waste;
mod words;

pub use cyclometer_stats::{half_spread, quantile};
pub use prices::{extremes, grouped, price_matrix, prices};
pub use rows::RowWriter;
pub use table::{Cell, Column, Format, Table, markdown_code, terminal_width};
pub use totals::{failure_notes, footnotes, has_few_models, only_pair, refusals, totals};
pub use waste::{unmeasured, waste};
pub use words::{counted, few, moment, what_goes, wrap_sentence};
