//! Output for people and for programs: one table, four forms.

pub mod comparison;
pub mod difference;
mod rows;
mod table;
mod totals;

pub use crate::stats::{half_spread, quantile};
pub use rows::RowWriter;
pub use table::{Cell, Column, Format, Table, terminal_width};
pub use totals::{footnotes, totals};
