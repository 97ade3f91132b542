//! Faces: whoever may own the screen and the keys, as values. One folder each: [`guest`], [`switcher`], [`panel`],
//! [`dialog`].
//!
//! While nothing is on the stack a guest has screen and keys. The face on top has the keys and decides what they mean;
//! what it wants done are [`Verb`]s, which the gate lets through or not. What a face shows is a plain value ([`View`]),
//! which its own `view.rs` draws with the engine in [`drawing`]. Chords never get here. A new face is a folder, a
//! variant of [`Face`] and its lines in this file: the compiler asks for each.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new face or input is not to be taken for another")]

pub mod dialog;
pub mod drawing;
pub mod guest;
pub mod panel;
pub mod pointer;
pub mod switcher;

use crate::guests::GuestView;
use crate::outputs::OutputId;
use dialog::Dialog;
use drawing::{Cache, Extent, Latest};
use panel::{Panel, PanelView, PanelWindow};
use phyllome_protocol::GuestName;
use phyllome_protocol::status::Mode;
use phyllome_trusted::deaf::Deaf;
use phyllome_trusted::frame::colors;
use phyllome_trusted::gate::Verb;
use phyllome_trusted::keyboards::NewKeyboard;
use phyllome_trusted::pixels::Pixels;
use pointer::Part;
use std::rc::Rc;
use std::time::{Duration, Instant};
use switcher::view::draw_switcher;
use switcher::{Switcher, SwitcherView};

/// One of the shell's own faces.
#[derive(Debug)]
pub enum Face {
    /// The overlay of Super+Tab.
    Switcher(Switcher),
    /// The list of guests.
    Panel(Panel),
    /// A question that waits for an answer.
    Dialog(Dialog),
}

/// What is drawn of the faces that are open.
#[derive(Clone, Debug, PartialEq)]
pub enum View {
    /// The overlay of Super+Tab, in the middle of the area.
    Switcher(SwitcherView),
    /// The panel, with the question that is asked above it.
    Panel(PanelView),
}

impl View {
    /// Whether it fills all of the area; else it lies in its middle, on the shell's ground.
    pub fn covers(&self) -> bool {
        match self {
            Self::Switcher(_) => false,
            Self::Panel(_) => true,
        }
    }
}

/// The pictures of the faces that are open; of those that are not, after some frames, nothing is kept.
pub struct Pictures {
    switcher: Cache<(SwitcherView, Extent), Pixels>,
    panel: Latest<Extent, PanelWindow>,
}

impl Default for Pictures {
    fn default() -> Self {
        Self { switcher: Cache::new(1), panel: Latest::new() }
    }
}

impl Pictures {
    /// A face in the area of `w` × `h` physical pixels inside the band: all of the area and opaque where it covers it
    /// ([`View::covers`]), else as large as it needs to be, with transparent corners. What of it changed since an
    /// earlier frame, the picture says itself.
    pub fn of(&mut self, view: &View, w: u32, h: u32, scale: f64) -> Rc<Pixels> {
        match view {
            View::Switcher(switcher) => {
                let key = (switcher.clone(), (w, 0, scale.to_bits()));
                if let Some(pixels) = self.switcher.get(&key) {
                    return pixels;
                }
                let pixels = draw_switcher(switcher, w, scale)
                    .unwrap_or_else(|error| drawing::plain(&error, w.min(96), 96, colors::GROUND));
                self.switcher.put(key, pixels)
            }
            View::Panel(panel) => {
                match self.panel.get_or_make((w, h, scale.to_bits()), || PanelWindow::new(w, h, scale)) {
                    Ok(window) => window.show(panel),
                    Err(error) => Rc::new(drawing::plain(&error, w, h, colors::GROUND)),
                }
            }
        }
    }

    /// This face is open, though this frame is not its output's: its window stays.
    pub fn keep(&mut self, view: &View) {
        match view {
            View::Panel(_) => self.panel.keep(),
            View::Switcher(_) => {}
        }
    }

    /// A frame was drawn, of whatever.
    fn frame(&mut self) {
        self.switcher.frame();
        self.panel.frame();
    }

    /// After which time a frame has to be drawn though nothing that it is asked for has changed; `None` while no face
    /// has anything that moves by itself.
    pub fn alarm(&self) -> Option<Duration> {
        self.panel.get().and_then(PanelWindow::alarm)
    }
}

/// Which modifiers are down while a key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modifiers {
    /// Shift.
    pub shift: bool,
    /// Ctrl.
    pub ctrl: bool,
    /// Alt.
    pub alt: bool,
}

/// What a person does to the face on top.
#[derive(Clone, Debug, PartialEq)]
pub enum FaceInput {
    /// A key.
    Key {
        /// evdev code. Letters are where the keymap has them, by the codes that they have on a US keyboard: K is the
        /// key with a K on it. All other keys are where they are.
        code: u32,
        /// Press or release.
        pressed: bool,
        /// What else is down.
        modifiers: Modifiers,
        /// What the keymap types with it; empty for keys that type nothing, and for releases.
        text: String,
    },
    /// The pointer is at this place, in physical pixels from the upper left corner of the area inside the frame.
    Motion {
        /// To the right.
        x: f64,
        /// Down.
        y: f64,
    },
    /// The pointer is not over it any more.
    Leave,
    /// A pointer button.
    Button {
        /// evdev code.
        code: u32,
        /// Press or release.
        pressed: bool,
    },
    /// The wheel, in notches; positive: right, down.
    Scroll {
        /// To the right.
        horizontal: f64,
        /// Down.
        vertical: f64,
    },
    /// A part of its picture was clicked.
    Click(Part),
}

/// What the face on top makes of an input.
#[derive(Debug)]
pub enum Reply {
    /// Nothing has changed.
    Nothing,
    /// It looks otherwise.
    Changed,
    /// It wants this done, in this order.
    Verbs(Vec<Verb>),
    /// It asks first.
    Ask(Dialog),
    /// A dialog is answered: it goes, and this is done.
    Answered(Vec<Verb>),
}

/// What follows from an input.
#[derive(Debug, Default, PartialEq)]
pub struct Response {
    /// Something looks otherwise, or another face has the keys.
    pub changed: bool,
    /// What is wanted done, in this order.
    pub verbs: Vec<Verb>,
}

/// The faces that are open, the lowest first.
#[derive(Debug, Default)]
pub struct Faces {
    open: Vec<Face>,
}

impl Faces {
    /// Whom the person talks to.
    pub fn mode(&self) -> Mode {
        match self.open.last() {
            None => Mode::Guest,
            Some(Face::Switcher(_)) => Mode::Switcher,
            Some(Face::Panel(_)) => Mode::Panel,
            Some(Face::Dialog(_)) => Mode::Dialog,
        }
    }

    /// Whether the shell has the keys.
    pub fn have_keys(&self) -> bool {
        !self.open.is_empty()
    }

    /// What is drawn, on the first output.
    pub fn view(&self, guests: &[GuestView], sentences: &[String]) -> Option<View> {
        self.open.iter().rev().find_map(|face| match face {
            Face::Switcher(switcher) => Some(View::Switcher(switcher.view(guests))),
            Face::Panel(panel) => Some(View::Panel(panel.view(guests, sentences, self.dialog()))),
            // It is asked in the panel.
            Face::Dialog(_) => None,
        })
    }

    /// This face alone is open from now on.
    pub fn show(&mut self, face: Face) {
        self.open = vec![face];
    }

    /// Asks above the panel, if that is on top.
    pub fn ask(&mut self, dialog: Dialog) {
        if let Some(Face::Panel(_)) = self.open.last() {
            self.open.push(Face::Dialog(dialog));
        }
    }

    /// This is to be known of a keyboard from now on: a question that is another one goes.
    pub fn keyboard_changed(&mut self, keyboard: Option<&NewKeyboard>) {
        self.open.retain_mut(|face| match face {
            Face::Dialog(dialog) => {
                !dialog.is_of_keyboard() || keyboard.is_some_and(|keyboard| dialog.follows(keyboard))
            }
            Face::Switcher(_) | Face::Panel(_) => true,
        });
    }

    /// The guest has screen and keys again.
    pub fn close(&mut self) {
        self.open.clear();
    }

    /// The switcher, if it is on top.
    pub fn switcher(&self) -> Option<&Switcher> {
        match self.open.last() {
            Some(Face::Switcher(switcher)) => Some(switcher),
            Some(Face::Panel(_) | Face::Dialog(_)) | None => None,
        }
    }

    /// The panel, if it is open, under a dialog or not.
    pub fn panel(&self) -> Option<&Panel> {
        self.open.iter().find_map(|face| match face {
            Face::Panel(panel) => Some(panel),
            Face::Switcher(_) | Face::Dialog(_) => None,
        })
    }

    /// The dialog, if it is on top.
    pub fn dialog(&self) -> Option<&Dialog> {
        match self.open.last() {
            Some(Face::Dialog(dialog)) => Some(dialog),
            Some(Face::Switcher(_) | Face::Panel(_)) | None => None,
        }
    }

    /// Whether the face on top counts what the person does at `now`: those do that they have seen for a moment. The
    /// switcher is there only while its keys are held.
    pub fn hear(&self, now: Instant) -> bool {
        match self.open.last() {
            Some(Face::Panel(panel)) => panel.deaf.hears(now),
            Some(Face::Dialog(dialog)) => dialog.deaf.hears(now),
            Some(Face::Switcher(_)) | None => true,
        }
    }

    /// What becomes of the frames that have what is open.
    pub fn frames(&mut self, frame: impl Fn(&mut Deaf<OutputId>)) {
        for face in &mut self.open {
            match face {
                Face::Panel(panel) => frame(&mut panel.deaf),
                Face::Dialog(dialog) => frame(&mut dialog.deaf),
                Face::Switcher(_) => {}
            }
        }
    }

    /// The person does something to the face on top at `now`. One that does not hear yet passes over it.
    pub fn input(&mut self, input: &FaceInput, guests: &[GuestView], now: Instant) -> Response {
        if !self.hear(now) {
            return Response::default();
        }
        let reply = match self.open.last_mut() {
            Some(Face::Panel(panel)) => panel.input(input, guests),
            Some(Face::Dialog(dialog)) => dialog.input(input),
            Some(Face::Switcher(switcher)) => switcher.input(input),
            None => Reply::Nothing,
        };
        match reply {
            Reply::Nothing => Response::default(),
            Reply::Changed => Response { changed: true, verbs: Vec::new() },
            Reply::Verbs(verbs) => Response { changed: false, verbs },
            Reply::Ask(dialog) => {
                self.open.push(Face::Dialog(dialog));
                Response { changed: true, verbs: Vec::new() }
            }
            Reply::Answered(verbs) => {
                self.open.pop();
                Response { changed: true, verbs }
            }
        }
    }

    /// The list of guests has changed.
    pub fn guests_changed(&mut self, before: &[GuestView], after: &[GuestView]) {
        self.open.retain_mut(|face| match face {
            Face::Switcher(switcher) => {
                switcher.guests_changed(after);
                true
            }
            Face::Panel(panel) => {
                panel.guests_changed(before, after);
                true
            }
            Face::Dialog(dialog) => dialog.still_makes_sense(after),
        });
    }

    /// Whether a press of this key is repeated while it is held: keys that move a selection are, those that do
    /// something never.
    pub fn repeats(&self, code: u32) -> bool {
        match self.open.last() {
            Some(Face::Panel(_)) => panel::repeats(code),
            Some(Face::Switcher(_) | Face::Dialog(_)) | None => false,
        }
    }
}

/// The guests that can be switched to.
pub fn running(guests: &[GuestView]) -> impl DoubleEndedIterator<Item = &GuestView> {
    guests.iter().filter(|guest| guest.state.is_alive())
}

fn position(guests: &[GuestView], name: &GuestName) -> Option<usize> {
    guests.iter().position(|guest| guest.name == *name)
}
