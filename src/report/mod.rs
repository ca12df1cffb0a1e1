//! Output for people and for programs: one table, three forms.

pub mod comparison;
mod rows;
mod table;
mod totals;

pub use crate::stats::{half_spread, quantile};
pub use rows::RowWriter;
pub use table::{Cell, Column, Format, Table, terminal_width};
pub use totals::{footnotes, totals};
