//! What may go onto a plane of its own: the guest's picture onto an overlay (or underlay) plane, its pointer onto the
//! cursor plane.
//!
//! A pure choice, made anew for every frame, and strict: whatever is not known to be right is composited. The primary
//! plane is the shell's alone and always, since the frame is on it. What the display then made of it is read from
//! smithay's own result ([`Planner::learn`]), never assumed. Nothing that a guest says about itself is believed: place
//! and size come from the scene.

use crate::outputs::Plane;
use crate::render::elements::{Part, Piece};
use crate::render::scene::{Key, Layer, Scene};
use crate::render::shape::{PixelRect, Shape};
use crate::wayland::screens::Screens;
use phyllome_protocol::status::Area;
use smithay::backend::drm::DrmSurface;
use smithay::backend::drm::compositor::FrameFlags;
use smithay::backend::renderer::element::{Id, RenderElementPresentationState, RenderElementStates};
use std::fmt;

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
    /// The memory is not one that the GPU has imported.
    NotImported,
    /// What is behind would shine through.
    Transparent,
    /// The guest turns its picture.
    Turned,
    /// It is not shown pixel for pixel.
    Scaled,
    /// It reaches out of the guest's area, and a plane cannot be cut.
    ReachesOut,
    /// It is larger than the cursor plane.
    TooLarge,
    /// The display refused it when it was tried.
    Refused,
    /// A frame with a buffer of this guest in it was overdue.
    Late,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "there is none",
            Self::NoPlane => "the display has no plane for it",
            Self::OutputTurned => "the output is rotated",
            Self::FirstFrame => "the mode was just set",
            Self::Covered => "the shell shows something above it",
            Self::UnderPointer => "the pointer is drawn above it",
            Self::NotImported => "its memory is not the GPU's",
            Self::Transparent => "it is not opaque",
            Self::Turned => "it is turned",
            Self::Scaled => "it is scaled",
            Self::ReachesOut => "it reaches out of the guest's area",
            Self::TooLarge => "it is larger than the plane",
            Self::Refused => "the display refused it",
            Self::Late => "its guest held up a display",
        })
    }
}

/// What a display can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardware {
    /// There is an overlay or underlay plane.
    pub overlay: bool,
    /// Largest width and height of a cursor, where there is a plane for it.
    pub cursor: Option<(u32, u32)>,
}

impl Hardware {
    /// That of `surface`; `cursor_size` is what the device says. Without atomic mode setting there are no planes.
    pub fn of(surface: &DrmSurface, cursor_size: (u32, u32)) -> Self {
        if surface.is_legacy() {
            return Self::default();
        }
        let planes = surface.planes();
        Self { overlay: !planes.overlay.is_empty(), cursor: (!planes.cursor.is_empty()).then_some(cursor_size) }
    }
}

impl Shape {
    /// Whether it could be on a plane inside `area`, wherever else the frame is.
    pub fn suits_overlay(&self, area: &Area) -> Result<(), Why> {
        match self {
            Self { imported: false, .. } => Err(Why::NotImported),
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

impl Choice {
    /// What smithay may do. Never anything on the primary plane.
    pub fn flags(&self) -> FrameFlags {
        let mut flags = FrameFlags::empty();
        flags.set(FrameFlags::ALLOW_OVERLAY_PLANE_SCANOUT, self.picture.is_ok());
        flags.set(FrameFlags::ALLOW_CURSOR_PLANE_SCANOUT, self.pointer.is_ok());
        flags
    }
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
        // smithay 0.7.0 punches the hole for an underlay through what is composited above it.
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

/// Chooses for one output, and learns from what came of it.
#[derive(Debug, Default)]
pub struct Planner {
    hardware: Hardware,
    /// The pointer that the cursor plane did not take.
    refused: Option<Id>,
    last: Option<Choice>,
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

    /// Whether a guest's picture may ever have a plane of its own.
    pub fn has_overlay(&self) -> bool {
        self.hardware.overlay
    }

    /// What may go onto a plane in the frame of `pieces`.
    pub fn choose<T>(&mut self, stage: &Stage, pieces: &[Piece<T>], upright: bool, settled: bool) -> Choice {
        let mut hardware = self.hardware;
        let pointer = id_of(pieces, Part::Pointer);
        if self.refused.is_some() && self.refused.as_ref() == pointer {
            hardware.cursor = None;
        } else if pointer.is_some() {
            self.refused = None;
        }
        let mut choice = choose(stage, &hardware, upright, settled);
        if self.refused.is_some() && choice.pointer == Err(Why::NoPlane) {
            choice.pointer = Err(Why::Refused);
        }
        if self.last != Some(choice) {
            let say =
                |what: Result<(), Why>| what.map_or_else(|why| format!("composited: {why}"), |()| "a plane".into());
            tracing::debug!("the guest's picture: {}; its pointer: {}", say(choice.picture), say(choice.pointer));
            self.last = Some(choice);
        }
        choice
    }

    /// Where the guest's pixels went, from smithay's result for the frame that was chosen for last.
    pub fn learn<T>(&mut self, states: &RenderElementStates, pieces: &[Piece<T>]) -> Plane {
        let composited = |id: &Id| {
            let state = states.element_render_state(id.clone());
            state.is_some_and(|s| matches!(s.presentation_state, RenderElementPresentationState::Rendering { .. }))
        };
        if let Some(pointer) = id_of(pieces, Part::Pointer)
            && self.last.is_some_and(|choice| choice.pointer.is_ok())
            && composited(pointer)
        {
            self.refused = Some(pointer.clone());
        }
        plane_of(states, pieces)
    }
}

/// The plane that smithay says the guest's picture is on. It is never the primary one: see [`Choice::flags`].
pub fn plane_of<T>(states: &RenderElementStates, pieces: &[Piece<T>]) -> Plane {
    let state = id_of(pieces, Part::Picture).and_then(|id| states.element_render_state(id.clone()));
    match state.map(|state| state.presentation_state) {
        Some(RenderElementPresentationState::ZeroCopy) => Plane::Overlay,
        _ => Plane::Composited,
    }
}

fn id_of<T>(pieces: &[Piece<T>], part: Part) -> Option<&Id> {
    pieces.iter().find(|piece| piece.part() == part).map(Piece::element_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AREA: Area = Area { x: 4, y: 28, width: 1272, height: 768 };
    const ALL: Hardware = Hardware { overlay: true, cursor: Some((64, 64)) };
    const PICTURE: Shape =
        Shape { place: (4, 28, 1272, 768), exact: true, upright: true, opaque: true, imported: true };
    const POINTER: Shape =
        Shape { place: (100, 100, 24, 24), exact: true, upright: true, opaque: false, imported: false };

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
            (Shape { imported: false, ..PICTURE }, Why::NotImported),
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
            assert!(choice.flags().is_empty());
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
        fn tp01_nothing_is_ever_allowed_on_the_primary_plane_or_outside_the_area(
            x in -100i32..1400, y in -100i32..900, w in 0u32..2000, h in 0u32..2000,
            flags in proptest::array::uniform8(any::<bool>()), cursor in any::<bool>(),
        ) {
            let [exact, upright, opaque, imported, covered, overlay, turned, settled] = flags;
            let shape = Shape { place: (x, y, w, h), exact, upright, opaque, imported };
            let stage = Stage {
                area: AREA, picture: Some(shape), pointer: Some(shape),
                picture_covered: covered, pointer_covered: covered, late: false,
            };
            let hardware = Hardware { overlay, cursor: cursor.then_some((64, 64)) };
            let flags = choose(&stage, &hardware, !turned, settled).flags();
            prop_assert!(!flags.intersects(
                FrameFlags::ALLOW_PRIMARY_PLANE_SCANOUT | FrameFlags::ALLOW_PRIMARY_PLANE_SCANOUT_ANY
            ));
            prop_assert!(flags.is_empty() || (!covered && !turned && settled && inside(shape.place, &AREA)));
        }
    }
}
