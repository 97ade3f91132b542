//! Where every backend's input arrives: chords end here, the rest goes to the one guest that has the focus.

/// Chords and pressed keys.
#[derive(Debug, Default)]
pub struct Input {}

impl Input {
    /// Nothing is pressed.
    pub fn new() -> Self {
        Self::default()
    }
}

impl crate::State {
    /// A key of any keyboard: evdev code, milliseconds of any clock that does not jump. Repeats (a press of a key that is
    /// down) are passed over.
    pub fn handle_key(&mut self, code: u32, pressed: bool, time_ms: u32) {
        self.forward_key(code, pressed, time_ms);
    }

    /// The pointer is at this place; physical pixels of the first output.
    pub fn handle_pointer_motion(&mut self, x: f64, y: f64, time_ms: u32) {
        self.forward_pointer_motion(x, y, time_ms);
    }

    /// A pointer button: evdev code.
    pub fn handle_button(&mut self, code: u32, pressed: bool, time_ms: u32) {
        self.forward_button(code, pressed, time_ms);
    }

    /// The wheel turned by so many notches; positive: right, down.
    pub fn handle_wheel(&mut self, horizontal: f64, vertical: f64, time_ms: u32) {
        self.forward_axis(horizontal, vertical, time_ms);
    }

    /// The backend has lost its keyboard (the nested window is no longer focused, the seat went away): whatever is held is
    /// taken as released.
    pub fn handle_input_lost(&mut self, _time_ms: u32) {}
}
