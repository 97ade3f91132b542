//! A frame as the kernel is told of it: all of its planes at once, or only what is another than in the frame before.

use super::super::above::Above;
use super::super::sheets::DrawsSheets;
use super::{Crtc, Sheet};
use smithay::backend::drm::{DrmError, DrmSurface, PlaneConfig, PlaneDamageClips, PlaneState};
use smithay::reexports::drm::Device as _;
use smithay::reexports::drm::control::atomic::AtomicModeReq;
use smithay::reexports::drm::control::{AtomicCommitFlags, Device as _, framebuffer, plane, property};
use smithay::utils::{Rectangle, Transform};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Kernel drivers whose host or device has a copy of every buffer. What changed on the display says nothing of what
/// changed in the buffer: the kernel passes over it where it is told, or where it is too old for that, leaves parts of
/// the picture old.
const COPIES: [&str; 2] = ["virtio_gpu", "vmwgfx"];

/// Where a plane is told of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Properties {
    pub(super) plane: plane::Handle,
    framebuffer: property::Handle,
    /// CRTC_X and CRTC_Y.
    at: (property::Handle, property::Handle),
    /// FB_DAMAGE_CLIPS, where it is of use.
    clips: Option<property::Handle>,
    /// IN_FENCE_FD, where there is one.
    pub(super) fence: Option<property::Handle>,
}

/// Why there is no frame.
pub(super) enum FrameError {
    /// The kernel is at something else for a moment, perhaps with another display.
    Busy,
    /// The kernel does not take it.
    Refused(String),
    /// It could not be drawn, or handed over.
    Other(String),
}

impl FrameError {
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Busy => "the kernel is busy with a display".to_owned(),
            Self::Refused(why) | Self::Other(why) => why,
        }
    }

    /// What the kernel said.
    fn of(errno: Option<i32>, words: &dyn std::fmt::Display) -> Self {
        match errno {
            Some(libc::EBUSY) => Self::Busy,
            _ => Self::Refused(format!("the kernel refuses the frame: {words}")),
        }
    }
}

/// What the kernel said, where it was asked.
fn errno_of(error: &DrmError) -> Option<i32> {
    if let DrmError::Access(access) = error { access.source.raw_os_error() } else { None }
}

impl<R: DrawsSheets> Crtc<R> {
    /// All that a frame sets: this buffer on the primary plane, once `fence` has come, and on others what is above it,
    /// and nothing else.
    pub(super) fn states<'a>(
        &'a self,
        framebuffer: framebuffer::Handle,
        above: &Above,
        fence: Option<BorrowedFd<'a>>,
    ) -> Vec<PlaneState<'a>> {
        let size = self.size();
        let config = PlaneConfig {
            src: Rectangle::from_size((f64::from(size.w), f64::from(size.h)).into()),
            dst: Rectangle::from_size(size),
            transform: Transform::Normal,
            alpha: 1.0,
            damage_clips: None,
            fb: framebuffer,
            fence,
        };
        let mut states = vec![PlaneState { handle: self.surface.plane(), config: Some(config) }];
        if self.surface.is_legacy() {
            return states;
        }
        states.extend(above.states(self.come()));
        // Those of another display are not to be had.
        let planes = self.surface.planes();
        let others = planes.overlay.iter().chain(&planes.cursor).map(|info| info.handle);
        let unused = others.filter(|plane| above.planes().all(|used| used != *plane));
        let free = unused.filter(|plane| self.surface.claim_plane(*plane).is_some());
        states.extend(free.map(|handle| PlaneState { handle, config: None }));
        states
    }

    /// Hands a frame to the kernel, which tells when it is shown. Without a `sheet` that of the frame before stays.
    /// `fence`: what is drawn is there when it comes; `whole`: what changed is not known.
    pub(super) fn submit(
        &self,
        sheet: Option<&Sheet<R>>,
        above: &Above,
        fence: Option<BorrowedFd<'_>>,
        whole: bool,
    ) -> Result<(), FrameError> {
        let before = self.queued.as_ref().or(self.shown.as_ref());
        let nothing = || FrameError::Other("there is nothing to show".to_owned());
        let framebuffer = sheet.or(before).ok_or_else(nothing)?.canvas.framebuffer();
        let refused = |error: DrmError| FrameError::of(errno_of(&error), &error);
        if self.surface.commit_pending() {
            return self.surface.commit(self.states(framebuffer, above, fence), true).map_err(refused);
        }
        // What stays is not told again, which for a frame after the other is most of it.
        match &self.properties {
            Some(primary) if !whole && above.is_arranged_as(self.above()) => {
                let changed = self.change(primary, sheet.map(|_| framebuffer), above, fence);
                changed.map_err(|error| FrameError::of(error.raw_os_error(), &error))
            }
            _ => self.surface.page_flip(self.states(framebuffer, above, fence), true).map_err(refused),
        }
    }

    /// Hands over only what is another than in the frame before, whose planes are the same.
    fn change(
        &self,
        primary: &Properties,
        framebuffer: Option<framebuffer::Handle>,
        above: &Above,
        fence: Option<BorrowedFd<'_>>,
    ) -> std::io::Result<()> {
        let fd = self.surface.device_fd();
        let mut request = AtomicModeReq::new();
        let shows = |buffer| property::Value::Framebuffer(Some(buffer));
        let mut clips = None;
        if let Some(framebuffer) = framebuffer {
            request.add_property(primary.plane, primary.framebuffer, shows(framebuffer));
            // Without it all of the buffer counts as changed.
            clips = primary.clips.and_then(|property| {
                let dst = Rectangle::from_size(self.size());
                let src = Rectangle::from_size((f64::from(dst.size.w), f64::from(dst.size.h)).into());
                let parts = self.changed.parts().iter().copied();
                Some((property, PlaneDamageClips::from_damage(fd, src, dst, parts).ok()??))
            });
        }
        if let Some((property, clips)) = &clips {
            request.add_property(primary.plane, *property, clips.blob());
        }
        if let Some((property, fence)) = primary.fence.zip(fence) {
            request.add_property(primary.plane, property, number_of(fence));
        }
        let of = |plane: plane::Handle| {
            let all = self.planes.overlays.iter().chain(&self.planes.cursor);
            all.map(|(_, properties)| properties).find(|properties| properties.plane == plane)
        };
        if let Some(on) = &above.picture
            && let Some(properties) = of(on.claim.plane())
        {
            request.add_property(properties.plane, properties.framebuffer, shows(on.buffer.framebuffer.handle()));
            if let Some((property, fence)) = properties.fence.zip(self.come()) {
                request.add_property(properties.plane, property, number_of(fence));
            }
        }
        if let Some(on) = &above.pointer
            && let Some(properties) = of(on.claim.plane())
        {
            request.add_property(properties.plane, properties.framebuffer, shows(on.buffer.framebuffer()));
            let place = |value: i32| property::Value::SignedRange(i64::from(value));
            request.add_property(properties.plane, properties.at.0, place(on.place.loc.x));
            request.add_property(properties.plane, properties.at.1, place(on.place.loc.y));
        }
        fd.atomic_commit(AtomicCommitFlags::PAGE_FLIP_EVENT | AtomicCommitFlags::NONBLOCK, request)
    }
}

/// A descriptor as a property's value.
fn number_of(fence: BorrowedFd<'_>) -> property::Value<'static> {
    property::Value::SignedRange(i64::from(fence.as_raw_fd()))
}

impl Properties {
    pub(super) fn of(surface: &DrmSurface, plane: plane::Handle) -> std::io::Result<Self> {
        let fd = surface.device_fd();
        let (mut framebuffer, mut x, mut y, mut clips, mut fence) = (None, None, None, None, None);
        for id in fd.get_properties(plane)?.as_props_and_values().0 {
            match fd.get_property(*id)?.name().to_bytes() {
                b"FB_ID" => framebuffer = Some(*id),
                b"CRTC_X" => x = Some(*id),
                b"CRTC_Y" => y = Some(*id),
                b"FB_DAMAGE_CLIPS" => clips = Some(*id),
                b"IN_FENCE_FD" => fence = Some(*id),
                _ => {}
            }
        }
        let copies = fd.get_driver().is_ok_and(|driver| {
            let name = driver.name().to_string_lossy();
            COPIES.iter().any(|copies| *copies == name)
        });
        let missing = |what: &str| std::io::Error::other(format!("it has no {what}"));
        Ok(Self {
            plane,
            framebuffer: framebuffer.ok_or_else(|| missing("FB_ID"))?,
            at: (x.ok_or_else(|| missing("CRTC_X"))?, y.ok_or_else(|| missing("CRTC_Y"))?),
            clips: clips.filter(|_| !copies),
            fence,
        })
    }
}
