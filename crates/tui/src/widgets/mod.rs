//! Widgets that several panels are built from.

pub mod bar;
pub mod chart;
pub mod grid;
pub mod plot;
pub mod text;
