//! The pointer over the shell's own faces: while one has the keys, what the pointer does in its area is that face's.
//!
//! No guest gets anything of it. A press belongs to whoever had the pointer then: its release goes there or nowhere, so
//! that nothing that was begun on a face ends in a guest, or in another face, or the other way round.

use super::pointer::{MAX_BUTTONS, PARTS};
use crate::State;
use crate::faces::{FaceInput, Modifiers};
use phyllome_protocol::status::Mode;
use phyllome_trusted::codes;
use std::time::Instant;

/// Most notches of a wheel that a face is told at once.
const MOST_NOTCHES: f64 = 100.0;

/// What of the pointer a face has.
#[derive(Debug, Default)]
pub struct FacePointer {
    /// It was told where the pointer is.
    over: bool,
    /// Buttons whose press it has seen.
    buttons: Vec<u32>,
    /// Which one that is.
    mode: Option<Mode>,
}

impl State {
    /// The pointer's place in the area of the face that has it, in physical pixels from its upper left corner; `None`
    /// where no face has it.
    fn place_on_face(&self) -> Option<(f64, f64)> {
        let (x, y) = self.place_beside_face()?;
        let area = self.backend.outputs().first()?.layout().area;
        let inside = (0.0..f64::from(area.width)).contains(&x) && (0.0..f64::from(area.height)).contains(&y);
        inside.then_some((x, y))
    }

    /// The same, wherever it is, while a face is open.
    fn place_beside_face(&self) -> Option<(f64, f64)> {
        if !self.shell.has_keys() || self.shell.is_locked() {
            return None;
        }
        let (x, y) = self.protocols.seat.position()?;
        // Faces are shown on the first output.
        let output = self.backend.outputs().first()?;
        let area = output.layout().area;
        let (left, upper) = (f64::from(output.position.0), f64::from(output.position.1));
        Some((x - left - f64::from(area.x), y - upper - f64::from(area.y)))
    }

    /// The pointer has moved. While a button is held the face in which it was pressed hears of it wherever it goes.
    pub(super) fn move_on_face(&mut self) {
        self.leave_old_face();
        let held = !self.input.face.buttons.is_empty();
        match if held { self.place_beside_face() } else { self.place_on_face() } {
            Some((x, y)) => {
                self.input.face.over = true;
                self.pointer_of_face((x, y), &FaceInput::Motion { x, y });
            }
            None if self.input.face.over => {
                self.leave_face();
                self.face_input(&FaceInput::Leave);
            }
            None => {}
        }
    }

    /// A button was pressed; whether it is a face's.
    pub(super) fn press_on_face(&mut self, code: u32) -> bool {
        self.leave_old_face();
        let Some(place) = self.place_on_face() else { return false };
        // A click that is begun while the face is deaf is none.
        if self.input.face.buttons.len() < MAX_BUTTONS && self.shell.hears(Instant::now()) {
            self.input.face.over = true;
            self.input.face.buttons.push(code);
            self.pointer_of_face(place, &FaceInput::Button { code, pressed: true });
        }
        true
    }

    /// A button was released. If a face has seen its press, it sees that.
    pub(super) fn release_on_face(&mut self, code: u32) {
        self.leave_old_face();
        let Some(at) = self.input.face.buttons.iter().position(|held| *held == code) else { return };
        self.input.face.buttons.swap_remove(at);
        if let Some(place) = self.place_beside_face() {
            self.pointer_of_face(place, &FaceInput::Button { code, pressed: false });
        }
    }

    /// The wheel turned by so many 120ths of a notch; whether it is a face's.
    pub(super) fn scroll_on_face(&mut self, horizontal: f64, vertical: f64) -> bool {
        let Some(place) = self.place_on_face() else { return false };
        let notches = |parts: f64| {
            if parts.is_finite() { (parts / PARTS).clamp(-MOST_NOTCHES, MOST_NOTCHES) } else { 0.0 }
        };
        let scroll = FaceInput::Scroll { horizontal: notches(horizontal), vertical: notches(vertical) };
        self.pointer_of_face(place, &scroll);
        true
    }

    /// The face loses the pointer, and with it what is pressed.
    pub(super) fn leave_face(&mut self) {
        if self.input.face.over {
            self.ui.faces.leave();
        }
        self.input.face = FacePointer { mode: Some(self.shell.mode()), ..FacePointer::default() };
    }

    /// The one that had the pointer is not on top any more.
    fn leave_old_face(&mut self) {
        if self.input.face.mode != Some(self.shell.mode()) {
            self.leave_face();
        }
    }

    /// The window of the face hears first, then the face itself, and then what the window makes of it.
    fn pointer_of_face(&mut self, place: (f64, f64), input: &FaceInput) {
        let Some(area) = self.backend.outputs().first().map(|output| output.layout().area) else { return };
        let Some(view) = self.shell.view() else { return };
        let modifiers = self.modifiers_of_face();
        let clicked = self.ui.faces.pointer(&view, (area.width, area.height), place, input, modifiers);
        self.face_input(input);
        if let Some(part) = clicked {
            self.face_input(&FaceInput::Click(part));
        }
    }

    /// What is held while the face hears of something else.
    pub(super) fn modifiers_of_face(&self) -> Modifiers {
        let down = self.input.keys.codes();
        let any = |which: fn(u32) -> bool| down.iter().any(|held| which(*held));
        Modifiers { shift: any(codes::is_shift), ctrl: any(codes::is_ctrl), alt: any(codes::is_alt) }
    }
}
