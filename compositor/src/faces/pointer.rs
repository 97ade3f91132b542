//! The pointer in the picture of a face: its window hears of it, and where a click means something it is a [`Part`].
//!
//! What lies where is asked of the picture that was drawn last, since that is what the person sees; a part has the name
//! of what it stands for, so that a list that has changed since then is clicked where it was. What a click does is the
//! face's to say, as with a key.

use super::drawing::{WindowInput, WindowModifiers};
use super::switcher::view::tile_at;
use super::{FaceInput, Modifiers, Pictures, View};
use phyllome_protocol::GuestName;
use phyllome_trusted::codes;
use slint::platform::PointerEventButton;

/// By how many physical pixels a window's content goes for a notch of the wheel.
const NOTCH: f64 = 48.0;

/// What a person clicked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// What stands for this guest: its row, its tile.
    Guest(GuestName),
    /// What says that this key (evdev code) does something.
    Key(u32),
}

impl Pictures {
    /// The pointer did `input` at this place of the area of `area` physical pixels in which `view` is shown, while
    /// these modifiers were held. What was clicked by it.
    pub fn pointer(
        &mut self,
        view: &View,
        area: (u32, u32),
        (x, y): (f64, f64),
        input: &FaceInput,
        modifiers: Modifiers,
    ) -> Option<Part> {
        match view {
            View::Panel(_) => {
                let window = self.panel.get()?;
                window.input(&window_input(input, (x, y))?, window_modifiers(modifiers));
                window.take_clicked()
            }
            View::Switcher(_) => {
                let FaceInput::Button { code: codes::BTN_LEFT, pressed: true } = input else { return None };
                let ((shown, (_, _, scale)), pixels) = self.switcher.latest()?;
                let left = f64::from(middle(area.0, pixels.width));
                let upper = f64::from(middle(area.1, pixels.height));
                let at = tile_at(shown, area.0, f64::from_bits(*scale), (x - left, y - upper))?;
                shown.entries.get(at).map(|entry| Part::Guest(entry.name.clone()))
            }
        }
    }

    /// The pointer is in no face any more; a click that was begun is none.
    pub fn leave(&mut self) {
        if let Some(window) = self.panel.get() {
            window.input(&WindowInput::Leave, WindowModifiers::NONE);
        }
    }
}

/// Where something `own` pixels long begins that lies in the middle of `length` pixels; before them if it is longer.
pub fn middle(length: u32, own: u32) -> i32 {
    let offset = (i64::from(length) - i64::from(own)).div_euclid(2);
    i32::try_from(offset).unwrap_or(0)
}

/// What a window is told; keys go to the face itself.
fn window_input(input: &FaceInput, (x, y): (f64, f64)) -> Option<WindowInput> {
    match input {
        FaceInput::Motion { .. } => Some(WindowInput::Motion { x, y }),
        FaceInput::Leave => Some(WindowInput::Leave),
        FaceInput::Button { code, pressed } => {
            let button = match *code {
                codes::BTN_LEFT => PointerEventButton::Left,
                codes::BTN_RIGHT => PointerEventButton::Right,
                codes::BTN_MIDDLE => PointerEventButton::Middle,
                _ => PointerEventButton::Other,
            };
            Some(WindowInput::Button { x, y, button, pressed: *pressed })
        }
        FaceInput::Scroll { horizontal, vertical } => {
            Some(WindowInput::Scroll { x, y, dx: -horizontal * NOTCH, dy: -vertical * NOTCH })
        }
        FaceInput::Key { .. } | FaceInput::Click(_) => None,
    }
}

/// Super is never among them: what is pressed under it is a chord, or nobody's.
fn window_modifiers(Modifiers { shift, ctrl, alt }: Modifiers) -> WindowModifiers {
    WindowModifiers { shift, control: ctrl, alt, logo: false }
}
