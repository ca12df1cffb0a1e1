//! Output for people and for programs: one table, three forms.

pub mod comparison;
pub mod explain;
mod stats;
mod table;
mod totals;

pub use stats::{half_spread, quantile};
pub use table::{Cell, Column, Format, Table, terminal_width};
pub use totals::{footnotes, totals};
