//! `zwp_linux_buffer_params_v1`: a dmabuf as a guest puts it together.
//!
//! In the place of smithay 0.7.0's own, which seeks in each file for its size: that ends the connection of a guest whose
//! dmabuf has its pixels elsewhere (a virtual graphics device's) and so another size than they need. Here a request is
//! only well formed or not; whether the files hold the picture is asked once, when it is [imported](super::import).

use super::import::is_picture;
use crate::State;
use crate::descriptors::close_elsewhere;
use crate::wayland::client::{admit, admit_thing, cut, ended, remove_thing};
use crate::wayland::quota::MAX_EXTENT;
use crate::wayland::things::Thing;
use phyllome_protocol::descriptor::describe;
use smithay::backend::allocator::dmabuf::{Dmabuf, DmabufFlags, MAX_PLANES};
use smithay::backend::allocator::{Fourcc, Modifier};
use smithay::reexports::wayland_protocols::wp::linux_dmabuf::zv1::server::zwp_linux_buffer_params_v1::{
    Error, Request, ZwpLinuxBufferParamsV1,
};
use smithay::reexports::wayland_server::backend::ClientId;
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The version of the interface from which on all planes must have the same modifier.
const ONE_MODIFIER_SINCE: u32 = 5;

/// What ends a connection: the protocol's code, and the reason.
type Fault = (Error, &'static str);

/// What was said of a buffer so far.
#[derive(Debug, Default)]
pub struct Params(Mutex<Given>);

/// The planes of one buffer, and whether it was made.
#[derive(Debug, Default)]
struct Given {
    used: bool,
    /// The first plane's.
    modifier: Option<Modifier>,
    planes: Vec<Plane>,
}

#[derive(Debug)]
struct Plane {
    file: OwnedFd,
    /// Where its first row begins, and how far it is from row to row; in bytes.
    offset: u32,
    stride: u32,
}

/// What a buffer is to be, as it was asked for.
struct Wanted {
    size: (i32, i32),
    format: u32,
    flags: u32,
}

impl Given {
    /// One more plane, which said to be number `index`. `version`: the interface's. smithay takes planes in the order in
    /// which they come.
    fn add(&mut self, plane: Plane, index: u32, modifier: Modifier, version: u32) -> Result<(), Fault> {
        if self.used {
            return Err((Error::AlreadyUsed, "a dmabuf gets planes after it was made"));
        }
        let next = self.planes.len();
        match usize::try_from(index) {
            Ok(index) if index < next => return Err((Error::PlaneSet, "a dmabuf's plane is set twice")),
            Ok(index) if index == next && index < MAX_PLANES => {}
            _ => return Err((Error::PlaneIdx, "a dmabuf's planes are not in their order")),
        }
        if plane.offset.checked_add(plane.stride).is_none() {
            return Err((Error::OutOfBounds, "a dmabuf's offset and stride overflow"));
        }
        if *self.modifier.get_or_insert(modifier) != modifier && version >= ONE_MODIFIER_SINCE {
            return Err((Error::InvalidFormat, "a dmabuf's planes have different modifiers"));
        }
        self.planes.push(plane);
        Ok(())
    }

    /// The buffer, of one of the formats that are `offered`.
    fn make(&mut self, wanted: &Wanted, offered: impl Fn(Fourcc) -> bool) -> Result<Dmabuf, Fault> {
        if std::mem::replace(&mut self.used, true) {
            return Err((Error::AlreadyUsed, "a dmabuf is made twice"));
        }
        let planes = std::mem::take(&mut self.planes);
        let (width, height) = wanted.size;
        if !(1..=MAX_EXTENT).contains(&width) || !(1..=MAX_EXTENT).contains(&height) {
            return Err((Error::InvalidDimensions, "a dmabuf is not between 1 and 16384 pixels wide and high"));
        }
        let Some(format) = Fourcc::try_from(wanted.format).ok().filter(|format| offered(*format)) else {
            return Err((Error::InvalidFormat, "a dmabuf has a format that is not offered"));
        };
        let Some(flags) = DmabufFlags::from_bits(wanted.flags) else {
            return Err((Error::InvalidFormat, "a dmabuf has unknown flags"));
        };
        let modifier = self.modifier.unwrap_or(Modifier::Invalid);
        let mut dmabuf = Dmabuf::builder((width, height), format, modifier, flags);
        for (plane, index) in planes.into_iter().zip(0..) {
            let end = plane.stride.checked_mul(height.unsigned_abs()).and_then(|rows| rows.checked_add(plane.offset));
            if end.is_none() {
                return Err((Error::OutOfBounds, "a dmabuf's rows end beyond 32 bits"));
            }
            dmabuf.add_plane(plane.file, index, plane.offset, plane.stride);
        }
        dmabuf.build().ok_or((Error::Incomplete, "a dmabuf has no plane"))
    }
}

impl Params {
    fn given(&self) -> MutexGuard<'_, Given> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The buffer that was asked for. `None`: its connection has just been cut off.
    fn make(&self, state: &State, client: &Client, params: &ZwpLinuxBufferParamsV1, wanted: &Wanted) -> Option<Dmabuf> {
        let (made, planes) = {
            let mut given = self.given();
            let planes = given.planes.len();
            (given.make(wanted, |format| state.protocols.dmabufs.offers(format)), planes)
        };
        (0..planes).for_each(|_| remove_thing(params, Thing::Plane));
        let dmabuf = made.map_err(|(code, why)| cut(client, params, code as u32, why)).ok()?;
        admit_thing(client, params, Thing::Buffer).then_some(dmabuf)
    }
}

impl Dispatch<ZwpLinuxBufferParamsV1, Params> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        params: &ZwpLinuxBufferParamsV1,
        request: Request,
        data: &Params,
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        // First of all what came with it: dropping a descriptor closes it, and of a file that its sender serves that
        // may take for ever.
        let request = match request {
            Request::Add { fd, .. } if !is_picture(&describe(fd.as_fd())) => {
                let why = "a dmabuf is neither one nor a memfd that is sealed against shrinking";
                cut(client, params, Error::InvalidWlBuffer as u32, why);
                close_elsewhere(fd);
                return;
            }
            other => other,
        };
        if !admit(display, client, params) {
            return;
        }
        match request {
            Request::Add { fd, plane_idx, offset, stride, modifier_hi, modifier_lo } => {
                if !admit_thing(client, params, Thing::Plane) {
                    return;
                }
                let modifier = Modifier::from(u64::from(modifier_hi) << 32 | u64::from(modifier_lo));
                let plane = Plane { file: fd, offset, stride };
                let added = data.given().add(plane, plane_idx, modifier, params.version());
                if let Err((code, why)) = added {
                    cut(client, params, code as u32, why);
                }
            }
            Request::Create { width, height, format, flags } => {
                let wanted = Wanted { size: (width, height), format, flags: flags.into() };
                let Some(dmabuf) = data.make(state, client, params, &wanted) else { return };
                let Some(import) = state.import_or_say(&dmabuf, client) else {
                    params.failed();
                    return;
                };
                // An error means that the client has gone in the meantime.
                if let Ok(buffer) = client.create_resource::<WlBuffer, Dmabuf, Self>(display, 1, dmabuf) {
                    params.created(&buffer);
                    state.imported(&buffer, import);
                }
            }
            Request::CreateImmed { buffer_id, width, height, format, flags } => {
                let wanted = Wanted { size: (width, height), format, flags: flags.into() };
                let Some(dmabuf) = data.make(state, client, params, &wanted) else { return };
                let import = state.import_or_say(&dmabuf, client);
                let buffer = init.init(buffer_id, dmabuf);
                match import {
                    Some(import) => state.imported(&buffer, import),
                    None => cut(client, params, Error::InvalidWlBuffer as u32, "a dmabuf that must be taken cannot be"),
                }
            }
            _ => {}
        }
    }

    fn destroyed(_state: &mut Self, _client: ClientId, params: &ZwpLinuxBufferParamsV1, data: &Params) {
        let planes = std::mem::take(&mut data.given().planes);
        planes.iter().for_each(|_| remove_thing(params, Thing::Plane));
        ended(params);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::backend::allocator::Buffer;

    const XR24: u32 = Fourcc::Xrgb8888 as u32;

    fn plane(offset: u32, stride: u32) -> Plane {
        let flags = rustix::fs::MemfdFlags::CLOEXEC;
        Plane { file: rustix::fs::memfd_create("plane", flags).unwrap(), offset, stride }
    }

    fn offered(format: Fourcc) -> bool {
        format == Fourcc::Xrgb8888
    }

    /// One plane of the layout that drivers choose.
    fn one(offset: u32, stride: u32) -> Given {
        let mut given = Given::default();
        given.add(plane(offset, stride), 0, Modifier::Invalid, 3).unwrap();
        given
    }

    fn wanted(width: i32, height: i32) -> Wanted {
        Wanted { size: (width, height), format: XR24, flags: 0 }
    }

    fn code<T: std::fmt::Debug>(outcome: Result<T, Fault>) -> Error {
        outcome.unwrap_err().0
    }

    #[test]
    fn a_buffer_has_what_was_said_of_it() {
        let mut given = one(64, 5120);
        given.add(plane(0, 32), 1, Modifier::Invalid, 3).unwrap();
        let dmabuf = given.make(&wanted(1272, 768), offered).unwrap();
        assert_eq!((dmabuf.width(), dmabuf.height()), (1272, 768));
        assert_eq!((dmabuf.format().code, dmabuf.format().modifier), (Fourcc::Xrgb8888, Modifier::Invalid));
        assert_eq!(dmabuf.offsets().zip(dmabuf.strides()).collect::<Vec<_>>(), [(64, 5120), (0, 32)]);
    }

    #[test]
    fn a_buffer_is_made_once_and_gets_no_plane_after_that() {
        let mut given = one(0, 256);
        given.make(&wanted(64, 64), offered).unwrap();
        assert_eq!(code(given.make(&wanted(64, 64), offered)), Error::AlreadyUsed);
        assert_eq!(code(given.add(plane(0, 256), 0, Modifier::Invalid, 3)), Error::AlreadyUsed);
        let mut given = one(0, 256);
        assert_eq!(code(given.make(&wanted(0, 64), offered)), Error::InvalidDimensions);
        assert_eq!(code(given.make(&wanted(64, 64), offered)), Error::AlreadyUsed, "one that was refused neither");
    }

    #[test]
    fn planes_come_in_their_order_each_once_and_few() {
        let mut given = one(0, 256);
        assert_eq!(code(given.add(plane(0, 256), 0, Modifier::Invalid, 3)), Error::PlaneSet);
        for index in [2, 4, u32::MAX] {
            assert_eq!(code(given.add(plane(0, 256), index, Modifier::Invalid, 3)), Error::PlaneIdx);
        }
        for index in 1..4 {
            given.add(plane(0, 256), index, Modifier::Invalid, 3).unwrap();
        }
        assert_eq!(code(given.add(plane(0, 256), 4, Modifier::Invalid, 3)), Error::PlaneIdx);
    }

    #[test]
    fn planes_have_one_modifier_from_version_5_on() {
        for (version, refused) in [(3, false), (4, false), (5, true)] {
            let mut given = one(0, 256);
            let added = given.add(plane(0, 256), 1, Modifier::Linear, version);
            assert_eq!(added.is_err(), refused, "version {version}");
        }
    }

    #[test]
    fn no_sum_of_a_plane_s_overflows() {
        assert_eq!(code(Given::default().add(plane(u32::MAX, 1), 0, Modifier::Linear, 3)), Error::OutOfBounds);
        assert_eq!(code(one(0, u32::MAX).make(&wanted(64, 2), offered)), Error::OutOfBounds);
        assert_eq!(code(one(u32::MAX - 256, 256).make(&wanted(64, 2), offered)), Error::OutOfBounds);
    }

    #[test]
    fn what_is_no_picture_of_an_offered_kind_is_refused() {
        for (width, height) in [(0, 64), (64, 0), (-1, 64), (64, i32::MIN), (MAX_EXTENT + 1, 1), (1, i32::MAX)] {
            assert_eq!(code(one(0, 256).make(&wanted(width, height), offered)), Error::InvalidDimensions);
        }
        for format in [0, u32::MAX, Fourcc::Nv12 as u32] {
            let wanted = Wanted { format, ..wanted(64, 64) };
            assert_eq!(code(one(0, 256).make(&wanted, offered)), Error::InvalidFormat);
        }
        let wanted_flags = Wanted { flags: 1 << 31, ..wanted(64, 64) };
        assert_eq!(code(one(0, 256).make(&wanted_flags, offered)), Error::InvalidFormat);
        assert_eq!(code(Given::default().make(&wanted(64, 64), offered)), Error::Incomplete);
    }
}
