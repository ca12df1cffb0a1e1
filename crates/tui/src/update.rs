//! Updates of the model: pure, except for the effects they return.

use crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::action::{Action, Effect};
use super::model::Model;
use super::screens::{self, bills, history, host, timeline};
use super::{frame, overlay};
use cyclometer_core::units::Nanos;

/// Message that updates the model.
#[derive(Debug)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse was moved or pressed.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal was resized to that many columns and lines.
    Resize(u16, u16),
    /// Response of the bills worker.
    Bills(Box<bills::Answer>),
    /// Response of the timeline worker.
    Timeline(Box<timeline::Answer>),
    /// Response of the history worker.
    History(Box<history::Answer>),
    /// Response of the host worker.
    Host(Box<host::Answer>),
    /// Failure outside of the model.
    Complaint(String),
    /// Notice for the user.
    Told(String),
}

/// Updates the model by a message.
pub fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    match message {
        Message::Key(event) if event.kind == KeyEventKind::Release => Vec::new(),
        Message::Key(event) => key(model, &event),
        Message::Mouse(event) => mouse(model, event),
        Message::Paste(text) => {
            overlay::pasted(model, &text);
            Vec::new()
        }
        Message::Resize(columns, lines) => {
            model.size = (columns, lines);
            vec![Effect::Redraw]
        }
        Message::Bills(answer) => bills::answered(model, *answer),
        Message::Timeline(answer) => timeline::answered(model, *answer),
        Message::History(answer) => history::answered(model, *answer),
        Message::Host(answer) => host::answered(model, *answer),
        Message::Complaint(text) => {
            model.complain(text);
            Vec::new()
        }
        Message::Told(text) => {
            model.say(text);
            Vec::new()
        }
    }
}

/// Advances the model to the time of a new frame.
pub fn tick(model: &mut Model, now: Nanos) -> Vec<Effect> {
    model.now = now;
    screens::tick(model)
}

fn key(model: &mut Model, event: &KeyEvent) -> Vec<Effect> {
    // A key dismisses the notice.
    model.notice = None;
    if let Some(effects) = overlay::key(model, event) {
        return effects;
    }
    match model.keymap.action(event, model.screen) {
        Some(action) => act(model, action),
        None => Vec::new(),
    }
}

fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    match action {
        Action::Quit => vec![Effect::Quit],
        Action::Suspend => vec![Effect::Suspend],
        Action::Help => {
            model.overlay = Some(overlay::Overlay::Help { scroll: 0 });
            Vec::new()
        }
        Action::Go(screen) => go(model, screen),
        Action::Export => {
            model.overlay = Some(overlay::export_choice());
            Vec::new()
        }
        Action::Mouse => {
            model.mouse = !model.mouse;
            model.say(if model.mouse {
                "mouse on"
            } else {
                "mouse off: the terminal selects text again"
            });
            vec![Effect::Mouse(model.mouse)]
        }
        Action::Redraw => vec![Effect::Redraw],
        other => screens::act(model, other),
    }
}

/// Goes to a screen.
pub fn go(model: &mut Model, screen: screens::Screen) -> Vec<Effect> {
    model.screen = screen;
    screens::entered(model)
}

fn mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    if model.overlay.is_some() {
        return wheel_over(model, event);
    }
    let parts = frame::parts(Rect::new(0, 0, model.size.0, model.size.1));
    let at = Position::new(event.column, event.row);
    match event.kind {
        MouseEventKind::ScrollUp => screens::act(model, Action::Up),
        MouseEventKind::ScrollDown => screens::act(model, Action::Down),
        MouseEventKind::Down(MouseButton::Left) => match frame::tab_at(parts.tabs, at) {
            Some(screen) => go(model, screen),
            None if parts.body.contains(at) => screens::click(model, parts.body, at),
            None => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Scrolls the overlay with the wheel; nothing else in it can be clicked.
fn wheel_over(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let code = match event.kind {
        MouseEventKind::ScrollUp => crossterm::event::KeyCode::Up,
        MouseEventKind::ScrollDown => crossterm::event::KeyCode::Down,
        _ => return Vec::new(),
    };
    overlay::key(model, &KeyEvent::from(code)).unwrap_or_default()
}
