//! Output for people and for programs: one table, four forms.

pub mod comparison;
pub mod difference;
pub mod explain;
mod prices;
mod rows;
mod table;
mod totals;
mod waste;

pub use crate::stats::{half_spread, quantile};
pub use prices::{extremes, grouped, price_matrix, prices};
pub use rows::RowWriter;
pub use table::{Cell, Column, Format, Table, terminal_width};
pub use totals::{footnotes, totals};
pub use waste::waste;
