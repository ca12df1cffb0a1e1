//! Updates of the model: pure, except for the effects they return.

use crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::action::{Effect, UserAction};
use super::model::Model;
use super::screens::{self, ScreenResponse};
use super::{choice, frame, overlay};
use cyclometer_core::units::Nanos;

/// Message that updates the model.
#[derive(Debug)]
pub(crate) enum AppMessage {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was moved or pressed.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal was resized to that many columns and lines.
    Resize(u16, u16),
    /// Response of the worker of a screen.
    Response(ScreenResponse),
    /// Failure outside of the model.
    Error(String),
    /// Notice for the user.
    Notice(String),
}

/// Updates the model by a message, and lays the screen out again.
pub fn update(model: &mut Model, message: AppMessage) -> Vec<Effect> {
    let effects = handle_message(model, message);
    frame::lay_out(model);
    effects
}

fn handle_message(model: &mut Model, message: AppMessage) -> Vec<Effect> {
    match message {
        AppMessage::Key(event) if event.kind == KeyEventKind::Release => Vec::new(),
        AppMessage::Key(event) => handle_key(model, &event),
        AppMessage::Mouse(event) => handle_mouse(model, event),
        AppMessage::Paste(text) => {
            overlay::insert_pasted(model, &text);
            Vec::new()
        }
        AppMessage::Resize(columns, lines) => {
            model.size = (columns, lines);
            vec![Effect::Redraw]
        }
        AppMessage::Response(response) => response.apply_to(model),
        AppMessage::Error(text) => {
            model.notify_error(text);
            Vec::new()
        }
        AppMessage::Notice(text) => {
            model.notify(text);
            Vec::new()
        }
    }
}

/// Advances the model to the time of a new frame, and lays the frame out.
pub(crate) fn advance_to(model: &mut Model, now: Nanos) -> Vec<Effect> {
    model.now = now;
    let effects = screens::tick(model);
    frame::lay_out(model);
    effects
}

fn handle_key(model: &mut Model, event: &KeyEvent) -> Vec<Effect> {
    // A key dismisses the notice.
    model.notice = None;
    if let Some(effects) = overlay::handle_key(model, event) {
        return effects;
    }
    match model.keymap.action_for(event, model.screen) {
        Some(action) => apply_action(model, action),
        None => Vec::new(),
    }
}

fn apply_action(model: &mut Model, action: UserAction) -> Vec<Effect> {
    match action {
        UserAction::Quit => vec![Effect::Quit],
        UserAction::Suspend => vec![Effect::Suspend],
        UserAction::Help => {
            model.overlay = Some(overlay::Overlay::Help { scroll: 0 });
            Vec::new()
        }
        UserAction::Go(screen) => go_to_screen(model, screen),
        UserAction::Export => {
            model.overlay = Some(overlay::export_choice());
            Vec::new()
        }
        UserAction::Mouse => {
            model.mouse = !model.mouse;
            model.notify(if model.mouse {
                "mouse on"
            } else {
                "mouse off: the terminal selects text again"
            });
            vec![Effect::Mouse(model.mouse)]
        }
        UserAction::Redraw => vec![Effect::Redraw],
        other => screens::apply_action(model, other),
    }
}

/// Goes to a screen.
pub(crate) fn go_to_screen(model: &mut Model, screen: screens::ScreenId) -> Vec<Effect> {
    model.screen = screen;
    screens::entered(model)
}

fn handle_mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    if model.overlay.is_some() {
        return handle_overlay_mouse(model, event);
    }
    let parts = frame::split_areas(Rect::new(0, 0, model.size.0, model.size.1));
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::ScrollUp => screens::apply_action(model, UserAction::Up),
        MouseEventKind::ScrollDown => screens::apply_action(model, UserAction::Down),
        MouseEventKind::Down(MouseButton::Left) => match frame::tab_at(parts.tabs, at) {
            Some(screen) => go_to_screen(model, screen),
            None if parts.body.contains(at) => screens::click(model, at),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Scrolls the overlay with the wheel; items of a choice can be clicked.
fn handle_overlay_mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let code = match event.kind {
        MouseEventKind::Down(MouseButton::Left) => {
            return choice::click(model, Position::new(event.column, event.row));
        }
        MouseEventKind::ScrollUp => crossterm::event::KeyCode::Up,
        MouseEventKind::ScrollDown => crossterm::event::KeyCode::Down,
        _ => return Vec::new(),
    };
    overlay::handle_key(model, &KeyEvent::from(code)).unwrap_or_default()
}
