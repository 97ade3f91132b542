//! Where the one pointer lies: on which output, in which guest's picture, at which of its pixels.
//!
//! Only the guest that has the keys ever has the pointer. While a button is held the pointer stays in that guest's
//! pictures. What is told to the guest is [`crate::wayland::seat`]'s.

use crate::State;
use crate::guests::GuestView;
use crate::monotonic;
use crate::outputs::OutputId;
use crate::outputs::arrange;
use phyllome_protocol::ScanoutId;
use phyllome_protocol::status::{Area, GuestState};
use phyllome_trusted::frame::geometry::place;
use phyllome_trusted::places::Place;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::{Logical, Point};

/// Where the pointer lies in a guest.
pub(crate) struct Target {
    /// The guest's picture.
    pub surface: WlSurface,
    /// The place in its pixels.
    pub place: Point<f64, Logical>,
    /// The output on which the picture lies.
    pub output: OutputId,
    /// The guest's area there.
    pub area: Area,
    /// The same place in the output's pixels.
    pub shown: (f64, f64),
}

/// A guest whose state says that its picture is old.
fn has_ended(view: &GuestView) -> bool {
    matches!(view.state, GuestState::Stopped | GuestState::Crashed | GuestState::InternalError)
}

impl State {
    /// The surface of the guest's scanout that lies on an output, and the size it wants.
    pub(crate) fn picture(&self, place: &Place) -> Option<(WlSurface, (u32, u32))> {
        let name = place.guest.as_ref()?;
        self.shell.guest(name).filter(|view| !has_ended(view))?;
        let surface = self.protocols.screens.scanout(name, ScanoutId::new(place.scanout)?)?;
        let content = self.protocols.screens.content(surface).filter(|content| !content.unreadable)?;
        Some((surface.clone(), content.wanted))
    }

    /// Moves the pointer to the place on any output that is nearest; physical pixels of the plane that all outputs lie
    /// on.
    pub(crate) fn point_to(&mut self, x: f64, y: f64, time_ms: u32) {
        if !x.is_finite() || !y.is_finite() {
            return;
        }
        let Some(position) = arrange::nearest(&self.backend.rects(), x, y) else { return };
        self.protocols.seat.move_to(position);
        let target = self.pointer_target();
        let redraw = target.as_ref().map(|target| target.output).filter(|_| self.protocols.cursor_surface().is_some());
        self.point(target.map(|target| (target.surface, target.place)), time_ms);
        if let Some(output) = redraw {
            self.queue_redraw_of(output);
        }
    }

    /// Where the pointer lies in the guest that has the keyboard. While a button is held it stays in this guest: in
    /// another of its pictures, where it is on that one's output, else in the one that it was last in.
    pub(crate) fn pointer_target(&self) -> Option<Target> {
        let (x, y) = self.protocols.seat.position()?;
        let owner = self.shell.keyboard_owner()?;
        let holding = self.protocols.seat.holding();
        let located = arrange::locate(&self.backend.rects(), x, y).map(|(index, _)| index);
        let pictures = || {
            let places =
                self.shell.places().iter().enumerate().filter(|(_, place)| place.guest.as_ref() == Some(&owner));
            places.filter_map(|(index, place)| self.picture(place).map(|(surface, wanted)| (index, surface, wanted)))
        };
        let here = pictures().find(|(index, ..)| located == Some(*index));
        let held = || holding.and_then(|held| pictures().find(|(_, surface, _)| surface == held));
        let (index, surface, wanted) = here.or_else(held)?;
        let output = self.backend.outputs().get(index)?;
        let (x, y) = (x - f64::from(output.position.0), y - f64::from(output.position.1));
        let at = place(wanted.0, wanted.1, &output.layout().area)?;
        let (shown_x, place_x) = along(x, (at.x, at.width), wanted.0);
        let (shown_y, place_y) = along(y, (at.y, at.height), wanted.1);
        let inside = shown_x == x && shown_y == y;
        (inside || holding.is_some()).then(|| Target {
            surface,
            place: (place_x, place_y).into(),
            output: output.id,
            area: output.layout().area,
            shown: (shown_x, shown_y),
        })
    }

    /// Tells the pointer's place anew, for instance because another guest lies under it now.
    pub(crate) fn refresh_pointer(&mut self) {
        let Some((x, y)) = self.protocols.seat.position() else { return };
        // The output that it was on may be gone.
        self.protocols.seat.move_to(arrange::nearest(&self.backend.rects(), x, y).unwrap_or((x, y)));
        let target = self.pointer_target();
        if target.as_ref().map(|target| &target.surface) != self.protocols.seat.pointed_at().as_ref() {
            let time = monotonic::now_ms();
            self.point(target.map(|target| (target.surface, target.place)), time);
        }
    }
}

/// Along one axis: the place in a picture that is nearest to `value`, on the output and in the guest's own pixels.
fn along(value: f64, (start, shown): (u32, u32), wanted: u32) -> (f64, f64) {
    let (start, shown, wanted) = (f64::from(start), f64::from(shown.max(1)), f64::from(wanted.max(1)));
    // The smallest step of Wayland's numbers.
    let value = value.clamp(start, start + shown - 1.0 / 256.0);
    let own = (value - start) * wanted / shown;
    (value, own.clamp(0.0, wanted - 1.0 / 256.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever an output's area and a guest's mode: the middle of a pixel of the guest's, where it is shown, is
        /// that pixel, and every other place is one inside the picture.
        #[test]
        fn a_place_is_the_pixel_that_is_shown_there(
            area in (1u32..50, 1u32..60, 1u32..4000, 1u32..3000), wanted in (1u32..5000, 1u32..4000),
            pixel in (0.0..1.0f64, 0.0..1.0f64), elsewhere in -1e7..1e7f64,
        ) {
            let area = Area { x: area.0, y: area.1, width: area.2, height: area.3 };
            let at = place(wanted.0, wanted.1, &area).unwrap();
            for (start, shown, wanted, part) in
                [(at.x, at.width, wanted.0, pixel.0), (at.y, at.height, wanted.1, pixel.1)]
            {
                let pixel = (part * f64::from(wanted)).floor();
                let middle = f64::from(start) + (pixel + 0.5) * f64::from(shown) / f64::from(wanted);
                let (seen, own) = along(middle, (start, shown), wanted);
                prop_assert_eq!((seen, own.floor()), (middle, pixel));
                let (seen, own) = along(elsewhere, (start, shown), wanted);
                prop_assert!((0.0..f64::from(wanted)).contains(&own));
                prop_assert!((f64::from(start)..f64::from(start + shown)).contains(&seen));
            }
        }
    }
}
