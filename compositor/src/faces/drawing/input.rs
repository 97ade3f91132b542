//! What a person does to a face, as values, and how a Slint window is told.
//!
//! Slint counts modifiers as keys, for all windows of a thread; a face is told those that are held with every input,
//! since a chord may have eaten a press or a release. This module decides nothing: chords have ended before, and who
//! has the keys is decided elsewhere.

use slint::platform::{Key, PointerEventButton, WindowEvent, WindowEventDispatchResult};
use slint::{LogicalPosition, SharedString, Window};
use std::cell::Cell;

/// The modifiers that are held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowModifiers {
    /// Either Shift.
    pub shift: bool,
    /// Either Control.
    pub control: bool,
    /// The left Alt.
    pub alt: bool,
    /// Either Super.
    pub logo: bool,
}

impl WindowModifiers {
    /// No modifier is held.
    pub const NONE: Self = Self { shift: false, control: false, alt: false, logo: false };
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyAction {
    /// It goes down.
    Press,
    /// It is held.
    Repeat,
    /// It comes up.
    Release,
}

/// One thing that a person does. Places are physical pixels from the upper left corner of the face's picture.
#[derive(Clone, Debug, PartialEq)]
pub enum WindowInput {
    /// A key other than a modifier.
    Key {
        /// What it types with the keymap and the modifiers; of a key that types nothing, the character of [`Key`].
        text: SharedString,
        /// What it does.
        action: KeyAction,
    },
    /// The pointer moves.
    Motion {
        /// From the left edge.
        x: f64,
        /// From the upper edge.
        y: f64,
    },
    /// A button of the pointer.
    Button {
        /// From the left edge.
        x: f64,
        /// From the upper edge.
        y: f64,
        /// Which.
        button: PointerEventButton,
        /// It goes down, or else comes up.
        pressed: bool,
    },
    /// The wheel turns, or fingers move.
    Scroll {
        /// Of the pointer, from the left edge.
        x: f64,
        /// Of the pointer, from the upper edge.
        y: f64,
        /// By how many physical pixels the content goes to the right.
        dx: f64,
        /// By how many physical pixels the content goes down.
        dy: f64,
    },
    /// The pointer leaves the face.
    Leave,
}

thread_local! {
    /// The modifiers that Slint counts as held.
    static TOLD: Cell<WindowModifiers> = const { Cell::new(WindowModifiers::NONE) };
}

/// Tells `window` of an input, and before it of modifiers that are held now or no longer. Whether anything took it.
pub(super) fn dispatch(window: &Window, input: &WindowInput, modifiers: WindowModifiers) -> bool {
    hold(window, modifiers);
    let scale = f64::from(window.scale_factor());
    let at = |x: &f64, y: &f64| LogicalPosition::new((x / scale) as f32, (y / scale) as f32);
    send(
        window,
        match input {
            WindowInput::Key { text, action: KeyAction::Press } => WindowEvent::KeyPressed { text: text.clone() },
            WindowInput::Key { text, action: KeyAction::Repeat } => {
                WindowEvent::KeyPressRepeated { text: text.clone() }
            }
            WindowInput::Key { text, action: KeyAction::Release } => WindowEvent::KeyReleased { text: text.clone() },
            WindowInput::Motion { x, y } => WindowEvent::PointerMoved { position: at(x, y) },
            WindowInput::Button { x, y, button, pressed: true } => {
                WindowEvent::PointerPressed { position: at(x, y), button: *button }
            }
            WindowInput::Button { x, y, button, pressed: false } => {
                WindowEvent::PointerReleased { position: at(x, y), button: *button }
            }
            WindowInput::Scroll { x, y, dx, dy } => WindowEvent::PointerScrolled {
                position: at(x, y),
                delta_x: (dx / scale) as f32,
                delta_y: (dy / scale) as f32,
            },
            WindowInput::Leave => WindowEvent::PointerExited,
        },
    )
}

/// Presses and releases modifiers until Slint counts these as held.
fn hold(window: &Window, now: WindowModifiers) {
    let before = TOLD.replace(now);
    for (was, is, key) in [
        (before.shift, now.shift, Key::Shift),
        (before.control, now.control, Key::Control),
        (before.alt, now.alt, Key::Alt),
        (before.logo, now.logo, Key::Meta),
    ] {
        let text = key.into();
        match (was, is) {
            (false, true) => send(window, WindowEvent::KeyPressed { text }),
            (true, false) => send(window, WindowEvent::KeyReleased { text }),
            _ => continue,
        };
    }
}

fn send(window: &Window, event: WindowEvent) -> bool {
    match window.dispatch_event_with_result(event) {
        Ok(result) => result == WindowEventDispatchResult::Accepted,
        Err(error) => {
            tracing::warn!("a face could not be given an input: {error}");
            false
        }
    }
}
