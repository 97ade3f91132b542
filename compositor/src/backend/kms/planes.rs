//! What may go onto a plane of its own: the guest's picture onto an overlay plane, its pointer onto the
//! cursor plane.
//!
//! A pure choice, made anew for every frame, and strict: whatever is not known to be right is composited. The primary
//! plane is the shell's alone and always, since the frame is on it. What came of it is what the kernel says
//! ([`Planner::came_to`]), never assumed. Nothing that a guest says about itself is believed: place and size come from
//! the scene.

use crate::render::scene::{Key, Layer, Scene};
use crate::render::shape::{PixelRect, Shape};
use crate::wayland::screens::Screens;
use phyllome_protocol::status::Area;

/// Why something is composited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is none of it on this output.
    Nothing,
    /// The display has no such plane.
    NoPlane,
    /// What is drawn is turned on its way to the display.
    OutputTurned,
    /// The first frame of a mode shows the frame on the primary plane and nothing else.
    FirstFrame,
    /// The shell shows something of its own above it.
    Covered,
    /// The guest's pointer is drawn above it.
    UnderPointer,
    /// Its memory is no dmabuf.
    NoDmabuf,
    /// How its memory is laid out is known to another device alone.
    Layout,
    /// What is behind would shine through.
    Transparent,
    /// The guest turns its picture.
    Turned,
    /// It is not shown pixel for pixel.
    Scaled,
    /// It reaches out of the guest's area, and a plane cannot be cut.
    ReachesOut,
    /// Its pixels could not be copied for the cursor plane.
    NotCopied,
    /// It is larger than the cursor plane.
    TooLarge,
    /// The display refused it when it was tried.
    Refused,
    /// A frame with a buffer of this guest in it was overdue.
    Late,
}

impl Why {
    /// Words for a person, after "because".
    pub fn words(self) -> &'static str {
        match self {
            Self::Nothing => "there is none",
            Self::NoPlane => "the display has no plane for it",
            Self::OutputTurned => "the output is rotated",
            Self::FirstFrame => "the mode was just set",
            Self::Covered => "the shell shows something above it",
            Self::UnderPointer => "the pointer is drawn above it",
            Self::NoDmabuf => "its memory is no dmabuf",
            Self::Layout => "only another device knows how its memory is laid out",
            Self::Transparent => "it is not opaque",
            Self::Turned => "it is turned",
            Self::Scaled => "it is scaled",
            Self::ReachesOut => "it reaches out of the guest's area",
            Self::NotCopied => "its pixels are of a kind that is drawn only",
            Self::TooLarge => "it is larger than the plane",
            Self::Refused => "the display refused it",
            Self::Late => "its guest held up a display",
        }
    }
}

/// What a display can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// There is an overlay plane above the primary one.
    pub overlay: bool,
    /// Largest width and height of a cursor, where there is a plane for it.
    pub cursor: Option<(u32, u32)>,
}

impl Shape {
    /// Whether it could be on a plane inside `area`, wherever else the frame is.
    pub fn suits_overlay(&self, area: &Area) -> Result<(), Why> {
        match self {
            Self { dmabuf: false, .. } => Err(Why::NoDmabuf),
            Self { opaque: false, .. } => Err(Why::Transparent),
            Self { upright: false, .. } => Err(Why::Turned),
            Self { exact: false, .. } => Err(Why::Scaled),
            _ if !inside(self.place, area) => Err(Why::ReachesOut),
            _ => Ok(()),
        }
    }

    /// Whether it could be on a cursor plane of this size inside `area`.
    pub fn suits_cursor(&self, area: &Area, most: (u32, u32)) -> Result<(), Why> {
        match self {
            Self { upright: false, .. } => Err(Why::Turned),
            Self { exact: false, .. } => Err(Why::Scaled),
            _ if !inside(self.place, area) => Err(Why::ReachesOut),
            _ if self.place.2 > most.0 || self.place.3 > most.1 => Err(Why::TooLarge),
            _ => Ok(()),
        }
    }
}

fn overlap(one: PixelRect, other: PixelRect) -> bool {
    let along = |a: i32, a_length: u32, b: i32, b_length: u32| {
        let (a, b) = (i64::from(a), i64::from(b));
        a < b + i64::from(b_length) && b < a + i64::from(a_length)
    };
    along(one.0, one.2, other.0, other.2) && along(one.1, one.3, other.1, other.3)
}

fn inside((x, y, width, height): PixelRect, area: &Area) -> bool {
    let along = |start: i32, length: u32, from: u32, most: u32| {
        i64::from(start) >= i64::from(from) && i64::from(start) + i64::from(length) <= i64::from(from) + i64::from(most)
    };
    along(x, width, area.x, area.width) && along(y, height, area.y, area.height)
}

/// What of a scene matters to planes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Where a guest may be.
    pub area: Area,
    /// The guest's picture.
    pub picture: Option<Shape>,
    /// The guest's pointer.
    pub pointer: Option<Shape>,
    /// The shell shows something of its own above the picture: a name, the switcher, the panel.
    pub picture_covered: bool,
    /// The same of the pointer.
    pub pointer_covered: bool,
    /// The guest's pictures have held up a display: the display itself is not to read them.
    pub late: bool,
}

impl Stage {
    /// Nothing of a guest.
    pub fn empty(area: Area) -> Self {
        Self { area, picture: None, pointer: None, picture_covered: false, pointer_covered: false, late: false }
    }

    /// That of `scene`, whose guest's area is `area`.
    pub fn of(scene: &Scene, area: &Area, screens: &Screens) -> Self {
        let mut stage = Self::empty(*area);
        let mut above: Vec<PixelRect> = Vec::new();
        for layer in &scene.layers {
            match layer {
                // The band lies around the area.
                Layer::Pixels { key: Key::Strip(..), .. } => {}
                Layer::Pixels { pixels, x, y, .. } => above.push((*x, *y, pixels.width, pixels.height)),
                Layer::Surface { surface, x, y, width, height, pointer, .. } => {
                    let place = (*x, *y, *width, *height);
                    let shape = screens.content(surface).map(|content| Shape::of(content, place));
                    let covered = above.iter().any(|other| overlap(*other, place));
                    if *pointer {
                        stage.pointer = shape;
                        // The cursor plane is above all others.
                        stage.pointer_covered = covered;
                    } else {
                        stage.picture = shape;
                        stage.picture_covered = covered;
                    }
                }
            }
        }
        stage
    }
}

/// What may go onto a plane, and else why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The guest's picture.
    pub picture: Result<(), Why>,
    /// The guest's pointer.
    pub pointer: Result<(), Why>,
}

/// Chooses. `upright`: the output is not rotated; `settled`: a frame of this mode is on the display.
pub fn choose(stage: &Stage, hardware: &Hardware, upright: bool, settled: bool) -> Choice {
    let display = match (upright, settled) {
        (false, _) => Err(Why::OutputTurned),
        (_, false) => Err(Why::FirstFrame),
        _ => Ok(()),
    };
    let pointer = stage.pointer.ok_or(Why::Nothing).and_then(|shape| {
        let most = hardware.cursor.ok_or(Why::NoPlane)?;
        display?;
        if stage.pointer_covered {
            return Err(Why::Covered);
        }
        shape.suits_cursor(&stage.area, most)
    });
    let picture = stage.picture.ok_or(Why::Nothing).and_then(|shape| {
        if !hardware.overlay {
            return Err(Why::NoPlane);
        }
        display?;
        if stage.late {
            return Err(Why::Late);
        }
        // The shell's own is on the primary plane, below.
        if stage.picture_covered {
            return Err(Why::Covered);
        }
        if stage.pointer.is_some() && pointer.is_err() {
            return Err(Why::UnderPointer);
        }
        shape.suits_overlay(&stage.area)
    });
    Choice { picture, pointer }
}

/// What comes of what is `possible`: all that the kernel `takes`, and where it does not take all, the pointer, which moves
/// most. A picture above a pointer that is drawn would hide it. `has_pointer`: there is one.
pub fn settle(possible: Choice, has_pointer: bool, mut takes: impl FnMut(&Choice) -> bool) -> Choice {
    let mut choice = possible;
    if has_pointer && choice.pointer.is_err() {
        choice.picture = choice.picture.and(Err(Why::UnderPointer));
    }
    if choice.picture.is_ok() && !takes(&choice) {
        choice.picture = Err(Why::Refused);
    }
    if choice.picture.is_err() && choice.pointer.is_ok() && !takes(&choice) {
        choice.pointer = Err(Why::Refused);
    }
    choice
}

/// Chooses for one output, and says why.
#[derive(Debug, Default)]
pub struct Planner {
    hardware: Hardware,
    said: Option<Choice>,
}

impl Planner {
    /// For an output with these planes.
    pub fn new(hardware: Hardware) -> Self {
        Self { hardware, ..Self::default() }
    }

    /// Whether pointers are to be kept ready for a cursor plane (see
    /// [`crate::render::elements::Textures::keep_pointers`]).
    pub fn has_cursor(&self) -> bool {
        self.hardware.cursor.is_some()
    }

    /// What may go onto a plane in the frame of `stage`.
    pub fn choose(&self, stage: &Stage, upright: bool, settled: bool) -> Choice {
        choose(stage, &self.hardware, upright, settled)
    }

    /// What was `chosen` came to what is `done`. Tells what that is: what may be on a plane is there, or it is known why
    /// not.
    pub fn came_to(&mut self, chosen: Choice, done: Choice) -> Choice {
        let choice = Choice { picture: chosen.picture.and(done.picture), pointer: chosen.pointer.and(done.pointer) };
        if self.said != Some(choice) {
            let say = |what: Result<(), Why>| {
                what.map_or_else(|why| format!("composited, {}", why.words()), |()| "a plane".into())
            };
            tracing::debug!("the guest's picture: {}; its pointer: {}", say(choice.picture), say(choice.pointer));
            self.said = Some(choice);
        }
        choice
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AREA: Area = Area { x: 4, y: 28, width: 1272, height: 768 };
    const ALL: Hardware = Hardware { overlay: true, cursor: Some((64, 64)) };
    const PICTURE: Shape =
        Shape { place: (4, 28, 1272, 768), exact: true, upright: true, opaque: true, dmabuf: true, imported: false };
    const POINTER: Shape =
        Shape { place: (100, 100, 24, 24), exact: true, upright: true, opaque: false, dmabuf: false, imported: false };

    fn stage(picture: Shape, pointer: Option<Shape>) -> Stage {
        Stage { picture: Some(picture), pointer, ..Stage::empty(AREA) }
    }

    fn both(stage: &Stage, hardware: &Hardware) -> (Result<(), Why>, Result<(), Why>) {
        let choice = choose(stage, hardware, true, true);
        (choice.picture, choice.pointer)
    }

    #[test]
    fn a_picture_in_the_ring_and_a_pointer_inside_it_have_planes_of_their_own() {
        assert_eq!(both(&stage(PICTURE, Some(POINTER)), &ALL), (Ok(()), Ok(())));
        assert_eq!(both(&stage(PICTURE, None), &ALL), (Ok(()), Err(Why::Nothing)));
        let small = Shape { place: (300, 300, 640, 480), ..PICTURE };
        assert_eq!(both(&stage(small, None), &ALL).0, Ok(()));
    }

    #[test]
    fn a_picture_that_is_not_exactly_what_a_plane_shows_is_composited() {
        let cases = [
            (Shape { dmabuf: false, ..PICTURE }, Why::NoDmabuf),
            (Shape { opaque: false, ..PICTURE }, Why::Transparent),
            (Shape { upright: false, ..PICTURE }, Why::Turned),
            (Shape { exact: false, ..PICTURE }, Why::Scaled),
            (Shape { place: (3, 28, 1272, 768), ..PICTURE }, Why::ReachesOut),
            (Shape { place: (4, 28, 1273, 768), ..PICTURE }, Why::ReachesOut),
            (Shape { place: (4, 27, 10, 10), ..PICTURE }, Why::ReachesOut),
        ];
        for (shape, why) in cases {
            assert_eq!(both(&stage(shape, None), &ALL).0, Err(why), "{shape:?}");
        }
    }

    #[test]
    fn tp15_a_pointer_that_would_reach_out_of_the_area_is_composited_and_the_picture_with_it() {
        for place in [(3, 100, 24, 24), (1260, 100, 24, 24), (100, 20, 24, 24), (100, 790, 24, 24)] {
            let pointer = Shape { place, ..POINTER };
            let seen = both(&stage(PICTURE, Some(pointer)), &ALL);
            assert_eq!(seen, (Err(Why::UnderPointer), Err(Why::ReachesOut)), "{place:?}");
        }
        let huge = Shape { place: (100, 100, 65, 24), ..POINTER };
        assert_eq!(both(&stage(PICTURE, Some(huge)), &ALL).1, Err(Why::TooLarge));
    }

    #[test]
    fn under_anything_of_the_shells_all_is_composited() {
        let covered = Stage { picture_covered: true, pointer_covered: true, ..stage(PICTURE, Some(POINTER)) };
        assert_eq!(both(&covered, &ALL), (Err(Why::Covered), Err(Why::Covered)));
        let panel = Stage { picture: None, ..stage(PICTURE, None) };
        assert_eq!(both(&panel, &ALL), (Err(Why::Nothing), Err(Why::Nothing)));
    }

    #[test]
    fn a_guest_that_held_up_a_display_is_composited_and_keeps_its_pointers_plane() {
        let late = Stage { late: true, ..stage(PICTURE, Some(POINTER)) };
        assert_eq!(both(&late, &ALL), (Err(Why::Late), Ok(())));
    }

    #[test]
    fn what_only_touches_does_not_cover() {
        assert!(overlap((0, 0, 10, 10), (9, 9, 5, 5)));
        assert!(!overlap((0, 0, 10, 10), (10, 0, 5, 5)));
        assert!(!overlap((0, 0, 10, 10), (0, -5, 5, 5)));
        assert!(overlap((i32::MIN, i32::MIN, u32::MAX, u32::MAX), (0, 0, 1, 1)));
    }

    #[test]
    fn tp01_the_first_frame_of_a_mode_and_a_rotated_output_use_the_primary_plane_alone() {
        let full = stage(PICTURE, Some(POINTER));
        for (upright, settled, why) in [(false, true, Why::OutputTurned), (true, false, Why::FirstFrame)] {
            let choice = choose(&full, &ALL, upright, settled);
            assert_eq!(choice, Choice { picture: Err(why), pointer: Err(why) });
        }
    }

    #[test]
    fn hardware_without_planes_composites() {
        let full = stage(PICTURE, Some(POINTER));
        assert_eq!(both(&full, &Hardware::default()), (Err(Why::NoPlane), Err(Why::NoPlane)));
        let no_cursor = Hardware { cursor: None, ..ALL };
        assert_eq!(both(&full, &no_cursor), (Err(Why::UnderPointer), Err(Why::NoPlane)));
        let no_overlay = Hardware { overlay: false, ..ALL };
        assert_eq!(both(&full, &no_overlay), (Err(Why::NoPlane), Ok(())));
    }

    proptest! {
        #[test]
        fn only_what_the_kernel_takes_is_on_planes_and_never_a_picture_above_a_pointer_that_is_drawn(
            picture in any::<bool>(), pointer in proptest::option::of(any::<bool>()),
            verdicts in proptest::array::uniform3(any::<bool>()),
        ) {
            let can = |can: bool| if can { Ok(()) } else { Err(Why::Nothing) };
            let possible = Choice { picture: can(picture), pointer: can(pointer == Some(true)) };
            let verdict = |choice: &Choice| match (choice.picture.is_ok(), choice.pointer.is_ok()) {
                (true, true) => verdicts[0],
                (true, false) => verdicts[1],
                (false, true) => verdicts[2],
                (false, false) => panic!("nothing is asked about"),
            };
            let choice = settle(possible, pointer.is_some(), verdict);
            prop_assert!(choice.picture.is_err() || (picture && (pointer.is_none() || choice.pointer.is_ok())));
            prop_assert!(choice.pointer.is_err() || pointer == Some(true));
            prop_assert!((choice.picture.is_err() && choice.pointer.is_err()) || verdict(&choice));
            // What could be there is.
            if picture && pointer != Some(false) && verdicts[usize::from(pointer.is_none())] {
                prop_assert!(choice.picture.is_ok());
            }
        }

        #[test]
        fn tp01_nothing_is_ever_allowed_outside_the_area_or_under_the_shells_own(
            x in -100i32..1400, y in -100i32..900, w in 0u32..2000, h in 0u32..2000,
            flags in proptest::array::uniform8(any::<bool>()), cursor in any::<bool>(),
        ) {
            let [exact, upright, opaque, dmabuf, covered, overlay, turned, settled] = flags;
            let shape = Shape { place: (x, y, w, h), exact, upright, opaque, dmabuf, imported: false };
            let stage = Stage {
                area: AREA, picture: Some(shape), pointer: Some(shape),
                picture_covered: covered, pointer_covered: covered, late: false,
            };
            let hardware = Hardware { overlay, cursor: cursor.then_some((64, 64)) };
            let choice = choose(&stage, &hardware, !turned, settled);
            let none = choice.picture.is_err() && choice.pointer.is_err();
            prop_assert!(none || (!covered && !turned && settled && inside(shape.place, &AREA)));
        }
    }
}
