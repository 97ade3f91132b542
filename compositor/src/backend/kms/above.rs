//! What a display shows on planes above the primary one: a guest's picture, and its pointer above that.
//!
//! The kernel decides whether it can, before a frame is given to it: each arrangement is tried once, without being
//! shown. What was refused is tried again after [`AGAIN`], for a refusal may be of the moment: of what else is plugged
//! in, or of how fast memory is.

use super::cursors::CursorBuffer;
use super::framebuffers::{AGAIN, Framebuffer};
use smithay::backend::allocator::{Format, Modifier};
use smithay::backend::drm::{DrmSurface, PlaneClaim, PlaneConfig, PlaneInfo, PlaneState};
use smithay::backend::renderer::utils::{Buffer as SurfaceBuffer, CommitCounter};
use smithay::reexports::drm::control::{framebuffer, plane};
use smithay::utils::{Buffer, Physical, Rectangle, Transform};
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Arrangements whose verdicts are remembered.
const REMEMBERED: usize = 64;
/// The kernel is asked so often in a second at most: each question may wait for other displays.
const QUESTIONS: u32 = 8;

/// What lies on a plane, whole and pixel for pixel.
#[derive(Clone, Debug)]
pub struct OnPlane<B> {
    /// The plane, for as long as something lies on it.
    pub claim: PlaneClaim,
    /// What it reads.
    pub buffer: B,
    /// The part of that which is shown.
    pub source: Rectangle<f64, Buffer>,
    /// Where.
    pub place: Rectangle<i32, Physical>,
}

/// A guest's picture on a plane. It is the guest's again when no frame has it any more.
#[derive(Clone, Debug)]
pub struct Picture {
    /// What the plane is told.
    pub framebuffer: Rc<Framebuffer>,
    /// Its format.
    pub format: Format,
    /// Bytes of a row.
    pub stride: u32,
    /// Changes with everything that the guest draws into it.
    pub commit: CommitCounter,
    /// Keeps it from being given back.
    pub _held: SurfaceBuffer,
}

/// What lies above the primary plane in one frame.
#[derive(Clone, Default)]
pub struct Above {
    /// The guest's picture.
    pub picture: Option<OnPlane<Picture>>,
    /// The guest's pointer.
    pub pointer: Option<OnPlane<Rc<CursorBuffer>>>,
}

/// What of a picture the kernel's verdict depends on.
#[derive(Clone, Copy, Debug, PartialEq)]
struct PictureKind {
    plane: plane::Handle,
    format: Format,
    /// Bytes of a row.
    stride: u32,
    /// What of it is shown.
    source: Rectangle<f64, Buffer>,
    place: Rectangle<i32, Physical>,
}

/// What of a frame the kernel's verdict depends on.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrangement {
    picture: Option<PictureKind>,
    /// Whether there is a pointer: it moves too often for its place to be asked about.
    pointer: bool,
}

impl<B> OnPlane<B> {
    /// What the kernel is told, with the framebuffer of its buffer.
    fn state<'a>(&self, framebuffer: framebuffer::Handle, fence: Option<BorrowedFd<'a>>) -> PlaneState<'a> {
        let config = PlaneConfig {
            src: self.source,
            dst: self.place,
            transform: Transform::Normal,
            alpha: 1.0,
            damage_clips: None,
            fb: framebuffer,
            fence,
        };
        PlaneState { handle: self.claim.plane(), config: Some(config) }
    }
}

impl Above {
    /// What the kernel is told. `come`: the fence that a guest's buffer is given.
    pub fn states<'a>(&self, come: Option<BorrowedFd<'a>>) -> impl Iterator<Item = PlaneState<'a>> + use<'a> {
        let picture = self.picture.as_ref().map(|on| on.state(on.buffer.framebuffer.handle(), come));
        let pointer = self.pointer.as_ref().map(|on| on.state(on.buffer.framebuffer(), None));
        picture.into_iter().chain(pointer)
    }

    /// Its planes.
    pub fn planes(&self) -> impl Iterator<Item = plane::Handle> {
        let picture = self.picture.as_ref().map(|picture| picture.claim.plane());
        picture.into_iter().chain(self.pointer.as_ref().map(|pointer| pointer.claim.plane()))
    }

    /// Whether a frame with `other` in its place would look the same.
    pub fn is_as(&self, other: &Self) -> bool {
        let picture =
            |above: &Self| above.picture.as_ref().map(|on| (on.buffer.framebuffer.handle(), on.buffer.commit));
        let pointer = |above: &Self| above.pointer.as_ref().map(|on| (on.buffer.framebuffer(), on.place));
        self.is_arranged_as(other) && picture(self) == picture(other) && pointer(self) == pointer(other)
    }

    /// Whether the same planes have buffers of the same kinds, with the same picture's place.
    pub fn is_arranged_as(&self, other: &Self) -> bool {
        let place = |above: &Self| above.picture.as_ref().map(|on| (on.source, on.place));
        self.planes().eq(other.planes()) && self.arrangement() == other.arrangement() && place(self) == place(other)
    }

    /// What the kernel is asked about.
    pub fn arrangement(&self) -> Arrangement {
        let picture = self.picture.as_ref();
        Arrangement {
            picture: picture.map(|on| PictureKind {
                plane: on.claim.plane(),
                format: on.buffer.format,
                stride: on.buffer.stride,
                source: on.source,
                place: on.place,
            }),
            pointer: self.pointer.is_some(),
        }
    }
}

/// What the kernel said of arrangements.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Questions in the second that began then.
    asked: Option<(Instant, u32)>,
    all: Vec<(Arrangement, bool, Instant)>,
}

impl Verdicts {
    /// What it said, if it need not be asked.
    pub fn known(&mut self, arrangement: &Arrangement, now: Instant) -> Option<bool> {
        self.all.retain(|(_, taken, when)| *taken || now.saturating_duration_since(*when) < AGAIN);
        self.all.iter().find(|(known, ..)| known == arrangement).map(|(_, taken, _)| *taken)
    }

    /// Whether it may be asked now; that is counted.
    pub fn may_ask(&mut self, now: Instant) -> bool {
        let second = self.asked.filter(|(began, _)| now.saturating_duration_since(*began) < Duration::from_secs(1));
        let (began, count) = second.unwrap_or((now, 0));
        self.asked = Some((began, count.saturating_add(1)));
        count < QUESTIONS
    }

    /// What it says now.
    pub fn note(&mut self, arrangement: Arrangement, taken: bool, now: Instant) {
        self.all.retain(|(known, ..)| *known != arrangement);
        if self.all.len() >= REMEMBERED {
            self.all.remove(0);
        }
        self.all.push((arrangement, taken, now));
    }

    /// All is asked anew.
    pub fn forget(&mut self) {
        self.all.clear();
    }
}

/// What lies above what: the order that planes have themselves, or that in which they were made.
fn order(info: &PlaneInfo) -> (i32, u32) {
    (info.zpos.unwrap_or_default(), u32::from(info.handle))
}

/// The highest cursor plane of `surface`, if it lies above the primary one.
pub fn cursor(surface: &DrmSurface) -> Option<PlaneInfo> {
    let highest = surface.planes().cursor.iter().max_by_key(|info| order(info));
    highest.filter(|info| order(info) > order(surface.plane_info())).cloned()
}

/// The overlay planes of `surface` that lie above its primary one and below its cursor, the lowest first.
pub fn overlays(surface: &DrmSurface) -> Vec<PlaneInfo> {
    let (primary, cursor) = (surface.plane_info(), cursor(surface));
    let is_between = |info: &&PlaneInfo| {
        order(info) > order(primary) && cursor.as_ref().is_none_or(|cursor| order(info) < order(cursor))
    };
    let mut above: Vec<_> = surface.planes().overlay.iter().filter(is_between).cloned().collect();
    above.sort_by_key(order);
    above
}

/// Whether a plane says that it reads this format. Without modifiers it reads rows, whatever their driver calls them.
pub fn reads(info: &PlaneInfo, format: Format) -> bool {
    is_read(info.formats.iter(), format)
}

fn is_read<'a>(mut named: impl Iterator<Item = &'a Format>, format: Format) -> bool {
    let plain = |modifier| matches!(modifier, Modifier::Linear | Modifier::Invalid);
    let fits = |own: &Format| own.modifier == format.modifier || (plain(own.modifier) && plain(format.modifier));
    named.any(|own| own.code == format.code && fits(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::backend::allocator::Fourcc;

    fn picture(width: i32) -> Arrangement {
        let format = Format { code: Fourcc::Xrgb8888, modifier: Modifier::Linear };
        let source = Rectangle::from_size((f64::from(width), 10.0).into());
        let place = Rectangle::from_size((width, 10).into());
        let plane = smithay::reexports::drm::control::from_u32(31).unwrap();
        Arrangement { picture: Some(PictureKind { plane, format, stride: 4096, source, place }), pointer: false }
    }

    #[test]
    fn what_was_taken_is_asked_about_once_and_what_was_refused_again_after_a_while() {
        let (mut verdicts, start) = (Verdicts::default(), Instant::now());
        verdicts.note(picture(1), true, start);
        verdicts.note(picture(2), false, start);
        let soon = start + AGAIN - Duration::from_millis(1);
        assert_eq!(verdicts.known(&picture(1), soon), Some(true));
        assert_eq!(verdicts.known(&picture(2), soon), Some(false));
        assert_eq!(verdicts.known(&Arrangement { pointer: true, ..picture(1) }, soon), None, "it is another");
        assert_eq!(verdicts.known(&picture(2), start + AGAIN), None);
        assert_eq!(verdicts.known(&picture(1), start + 10 * AGAIN), Some(true));
        verdicts.note(picture(1), false, soon);
        assert_eq!(verdicts.known(&picture(1), soon), Some(false), "it was too much after all");
    }

    #[test]
    fn no_guest_has_the_kernel_asked_more_often_than_some_times_a_second() {
        let (mut verdicts, start) = (Verdicts::default(), Instant::now());
        for second in 0..3 {
            let began = start + Duration::from_secs(second);
            let asked = (0..1000).filter(|ms| verdicts.may_ask(began + Duration::from_micros(ms * 900)));
            assert_eq!(asked.count(), QUESTIONS as usize);
        }
    }

    #[test]
    fn a_guest_that_changes_its_size_all_the_time_fills_no_memory() {
        let (mut verdicts, now) = (Verdicts::default(), Instant::now());
        for width in 1..1000 {
            verdicts.note(picture(width), true, now);
            assert!(verdicts.all.len() <= REMEMBERED);
        }
        assert_eq!(verdicts.known(&picture(999), now), Some(true));
    }

    #[test]
    fn a_plane_reads_what_it_names_and_rows_whatever_they_are_called() {
        let info = |formats: &[Modifier]| -> Vec<Format> {
            formats.iter().map(|modifier| Format { code: Fourcc::Xrgb8888, modifier: *modifier }).collect()
        };
        let tiled = Modifier::I915_x_tiled;
        for (named, modifier, wanted) in [
            (&[Modifier::Linear][..], Modifier::Invalid, true),
            (&[Modifier::Invalid], Modifier::Linear, true),
            (&[Modifier::Invalid], tiled, false),
            (&[tiled], tiled, true),
            (&[tiled], Modifier::Linear, false),
        ] {
            let format = Format { code: Fourcc::Xrgb8888, modifier };
            assert_eq!(is_read(info(named).iter(), format), wanted, "{named:?} {modifier:?}");
        }
        let other = Format { code: Fourcc::Argb8888, modifier: Modifier::Linear };
        assert!(!is_read(info(&[Modifier::Linear]).iter(), other));
    }
}
