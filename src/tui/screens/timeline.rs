//! The timeline screen.

use ratatui::Frame;
use ratatui::layout::{Position, Rect};

use crate::report::Table;
use crate::tui::action::{Action, Effect};
use crate::tui::desk::{Desk, Question};
use crate::tui::model::Model;

/// What the screen remembers.
#[derive(Debug, Default)]
pub struct State {}

/// What its desk is asked.
#[derive(Debug, Clone)]
pub enum Ask {}

impl Question for Ask {}

/// What its desk answers.
#[derive(Debug)]
pub enum Answer {}

/// The screen comes into sight.
pub fn entered(_model: &mut Model) -> Vec<Effect> {
    Vec::new()
}

/// Some time went by.
pub fn tick(_model: &mut Model) -> Vec<Effect> {
    Vec::new()
}

/// What an action does.
pub fn act(_model: &mut Model, _action: Action) -> Vec<Effect> {
    Vec::new()
}

/// What a click does.
pub fn click(_model: &mut Model, _area: Rect, _at: Position) -> Vec<Effect> {
    Vec::new()
}

/// The desk answered.
pub fn answered(_model: &mut Model, answer: Answer) -> Vec<Effect> {
    match answer {}
}

/// Works an answer out, on the desk's thread.
pub fn answer(_desk: &mut Desk, ask: Ask) -> Answer {
    match ask {}
}

/// Draws the screen.
pub fn draw(_frame: &mut Frame<'_>, _area: Rect, _model: &Model) {}

/// The figures of the screen.
pub fn table(_model: &Model) -> Table {
    Table::new(&[])
}

/// What help says of the figures.
pub const LEGEND: &str = "";

/// Whether the picture changes by itself: it plays.
pub fn moves(_model: &Model) -> bool {
    false
}
