//! What several panels are made of.

pub mod bar;
pub mod chart;
pub mod grid;
pub mod plot;
pub mod text;
