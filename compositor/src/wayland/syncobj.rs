//! When a picture may be read: `wp_linux_drm_syncobj_manager_v1` (explicit fences), and the implicit fences of dmabufs.
//!
//! A commit whose picture is still being drawn waits, beside the loop, until its fence has come; what was shown before
//! stays. A fence that never comes costs only the surface that waits for it: neither the loop nor the display waits for
//! a guest's fence, and few commits may wait. Explicit fences are offered only where the kernel can tell by an event
//! that one has come.
//!
//! smithay 0.7.0 never gives a timeline back to the kernel, nor the fence that it makes for an export. So each
//! connection has the render node open for itself, which is closed with the connection, the timelines of a connection
//! are counted once and for all, and nothing is exported.

use super::client::{GuestClient, NO_MEMORY, admit, admit_thing, counted_dispatch, counted_global, cut, ended};
use super::ids::Table;
use super::quota::{MAX_FENCED, MAX_WAITING};
use super::things::Thing;
use crate::State;
use crate::descriptors::close_elsewhere;
use phyllome_protocol::descriptor::{Kind, describe};
use smithay::backend::drm::{DrmDeviceFd, DrmNode, NodeType};
use smithay::backend::renderer::sync::Fence;
use smithay::reexports::calloop::{Interest, RegistrationToken};
use smithay::reexports::rustix::fs::{Mode, OFlags, open};
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_manager_v1::{
    self, WpLinuxDrmSyncobjManagerV1,
};
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_surface_v1::WpLinuxDrmSyncobjSurfaceV1;
use smithay::reexports::wayland_protocols::wp::linux_drm_syncobj::v1::server::wp_linux_drm_syncobj_timeline_v1::WpLinuxDrmSyncobjTimelineV1;
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DataInit, Dispatch, DisplayHandle, Resource};
use smithay::utils::DeviceFd;
use smithay::wayland::compositor::{
    BufferAssignment, SurfaceAttributes, add_blocker, add_pre_commit_hook, with_states,
};
use smithay::wayland::dmabuf::get_dmabuf;
use smithay::wayland::drm_syncobj::{
    DrmSyncobjCachedState, DrmSyncobjGlobalData, DrmSyncobjHandler, DrmSyncobjState, DrmSyncobjSurfaceData,
    DrmSyncobjTimelineData, supports_syncobj_eventfd,
};
use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// What waits for fences.
#[derive(Default)]
pub struct Fences {
    /// The render node that explicit fences are of; none where they are not offered.
    node: Option<PathBuf>,
    /// The last device that was asked whether it can.
    asked: Option<u64>,
    /// Each connection's timelines.
    explicit: HashMap<ClientId, DrmSyncobjState>,
    /// The connection that is being served.
    serving: Option<ClientId>,
    /// Each surface's commits that were not applied yet, and what they wait for.
    waiting: Table<ObjectId, Waiting>,
}

/// One surface's commits that were not applied yet, oldest first, each with the event that it waits for, if it waits
/// for one.
type Waiting = VecDeque<Option<RegistrationToken>>;

impl Fences {
    /// Offers explicit fences to connections that come from now on, if the render node with this number can do what
    /// they need; 0: there is none yet. What is offered stays, and no device is asked twice.
    pub fn offer(&mut self, device: u64) {
        if device == 0 || self.node.is_some() || self.asked.replace(device) == Some(device) {
            return;
        }
        let path = DrmNode::from_dev_id(device).ok().and_then(|node| node.dev_path_with_type(NodeType::Render));
        self.node = path.filter(|path| match open_node(path) {
            Ok(device) => supports_syncobj_eventfd(&device),
            Err(why) => {
                tracing::info!("explicit fences are not offered to guests: {why}");
                false
            }
        });
        if let Some(path) = &self.node {
            tracing::debug!("explicit fences are offered to guests, by {}", path.display());
        }
    }

    /// The connection of `client` has begun: its own global, with a device of its own.
    pub fn begin(&mut self, display: &DisplayHandle, client: &Client) {
        let Some(path) = &self.node else { return };
        let id = client.id();
        match open_node(path) {
            Ok(device) => {
                let only = id.clone();
                let global = DrmSyncobjState::new_with_filter::<State, _>(display, device, move |c| c.id() == only);
                self.explicit.insert(id, global);
            }
            Err(why) => tracing::warn!("a guest has no explicit fences: {why}"),
        }
    }

    /// The connection of `client` has ended, with all that it made.
    pub fn end(&mut self, display: &DisplayHandle, client: &ClientId) {
        if let Some(explicit) = self.explicit.remove(client) {
            display.remove_global::<State>(explicit.into_global());
        }
    }

    /// Whether they are offered, and the device that was asked last.
    #[cfg(test)]
    pub(crate) fn offered(&self) -> (bool, Option<u64>) {
        (self.node.is_some(), self.asked)
    }

    /// Nothing waits.
    #[cfg(test)]
    pub(crate) fn is_quiet(&self) -> bool {
        self.waiting.values().all(Waiting::is_empty)
    }

    /// The requests that follow are of `client`.
    pub fn serve(&mut self, client: Option<ClientId>) {
        self.serving = client;
    }
}

/// A render node. The error is some words.
pub(crate) fn open_node(path: &Path) -> Result<DrmDeviceFd, String> {
    // Never a node that modes can be set with: opening one could make this descriptor the display's master.
    let fd = open(path, OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty());
    let fd = fd.map_err(|error| format!("{} cannot be opened: {error}", path.display()))?;
    Ok(DrmDeviceFd::new(DeviceFd::from(fd)))
}

impl DrmSyncobjHandler for State {
    fn drm_syncobj_state(&mut self) -> Option<&mut DrmSyncobjState> {
        let fences = &mut self.protocols.fences;
        fences.explicit.get_mut(fences.serving.as_ref()?)
    }
}

impl State {
    /// A surface was made: its commits are to wait for their fences.
    pub(super) fn watch_commits(&mut self, surface: &WlSurface) {
        add_pre_commit_hook::<State, _>(surface, |state, _, surface| state.before_commit(surface));
    }

    /// A commit of `surface` was made and is applied as soon as its fence has come.
    fn before_commit(&mut self, surface: &WlSurface) {
        let Some(client) = surface.client() else { return };
        let waiting = self.protocols.fences.waiting.entry(surface.id()).or_default();
        waiting.push_back(None);
        if waiting.len() > MAX_WAITING {
            cut(&client, surface, 2, "more pictures of one surface wait for fences than a guest's screen may have");
            return;
        }
        let (acquire, dmabuf) = with_states(surface, |states| {
            let acquire = states.cached_state.get::<DrmSyncobjCachedState>().pending().acquire_point.clone();
            let mut attributes = states.cached_state.get::<SurfaceAttributes>();
            let dmabuf = match &attributes.pending().buffer {
                Some(BufferAssignment::NewBuffer(buffer)) => get_dmabuf(buffer).ok().cloned(),
                _ => None,
            };
            (acquire, dmabuf)
        });
        // Blocked only once the event is waited for: a fence that nobody waits for would never come. That fails, for
        // instance, for a buffer whose implicit fence an earlier commit waits for; this commit is behind that one
        // anyway.
        let inserted = match (acquire, dmabuf) {
            (Some(point), _) if point.is_signaled() => return,
            (Some(point), _) => match point.generate_blocker() {
                Ok((blocker, source)) => {
                    let come = move |(), _: &mut (), state: &mut State| {
                        state.fence_came(&client);
                        Ok(())
                    };
                    let inserted = self.loop_handle.insert_source(source, come).map_err(|error| error.to_string());
                    if inserted.is_ok() {
                        add_blocker(surface, blocker);
                    }
                    inserted
                }
                // The device is gone: the picture is taken as it is.
                Err(error) => Err(error.to_string()),
            },
            (None, Some(dmabuf)) => match dmabuf.generate_blocker(Interest::READ) {
                Ok((blocker, source)) => {
                    let come = move |(), _: &mut _, state: &mut State| {
                        state.fence_came(&client);
                        Ok(())
                    };
                    let inserted = self.loop_handle.insert_source(source, come).map_err(|error| error.to_string());
                    if inserted.is_ok() {
                        add_blocker(surface, blocker);
                    }
                    inserted
                }
                // The usual case: nobody draws into it.
                Err(_ready) => return,
            },
            (None, None) => return,
        };
        match inserted {
            Ok(token) => {
                let waiting = self.protocols.fences.waiting.get_mut(&surface.id());
                if let Some(last) = waiting.and_then(VecDeque::back_mut) {
                    *last = Some(token);
                }
            }
            Err(error) => tracing::debug!("a fence of a guest cannot be waited for: {error}"),
        }
    }

    /// A commit of `surface` is applied.
    pub(super) fn commit_applied(&mut self, surface: &WlSurface) {
        if let Some(waiting) = self.protocols.fences.waiting.get_mut(&surface.id()) {
            waiting.pop_front();
        }
    }

    /// A surface is gone: nothing of it waits any more.
    pub(super) fn forget_commits(&mut self, surface: &WlSurface) {
        if let Some(waiting) = self.protocols.fences.waiting.remove(&surface.id()) {
            for event in waiting.into_iter().flatten() {
                self.loop_handle.remove(event);
            }
        }
    }

    fn fence_came(&mut self, client: &Client) {
        let display = self.display.clone();
        if let Some(guest) = client.get_data::<GuestClient>() {
            guest.compositor.blocker_cleared(self, &display);
        }
    }
}

counted_global!(WpLinuxDrmSyncobjManagerV1, DrmSyncobjGlobalData => DrmSyncobjState, Thing::Global);
counted_dispatch! {
    WpLinuxDrmSyncobjSurfaceV1, DrmSyncobjSurfaceData => DrmSyncobjState;
    WpLinuxDrmSyncobjTimelineV1, DrmSyncobjTimelineData => DrmSyncobjState;
}

impl Dispatch<WpLinuxDrmSyncobjManagerV1, ()> for State {
    fn request(
        state: &mut Self,
        client: &Client,
        manager: &WpLinuxDrmSyncobjManagerV1,
        request: wp_linux_drm_syncobj_manager_v1::Request,
        data: &(),
        display: &DisplayHandle,
        init: &mut DataInit<'_, Self>,
    ) {
        use wp_linux_drm_syncobj_manager_v1::{Error, Request};
        let request = match request {
            // Of any other file not even the closing may be waited for.
            Request::ImportTimeline { fd, .. } if describe(fd.as_fd()).kind != Kind::Timeline => {
                cut(client, manager, Error::InvalidTimeline as u32, "a timeline of fences is none");
                close_elsewhere(fd);
                return;
            }
            other => other,
        };
        if !admit(display, client, manager) {
            return;
        }
        let thing = match &request {
            Request::ImportTimeline { .. } => Some(Thing::Timeline),
            Request::GetSurface { surface, .. } if count_fenced(surface) > MAX_FENCED => {
                let why = format!("a surface was given fences more than {MAX_FENCED} times");
                cut(client, manager, NO_MEMORY, &why);
                return;
            }
            Request::GetSurface { .. } => Some(Thing::FencedSurface),
            _ => None,
        };
        if thing.is_some_and(|thing| !admit_thing(client, manager, thing)) {
            return;
        }
        <DrmSyncobjState as Dispatch<WpLinuxDrmSyncobjManagerV1, (), Self>>::request(
            state, client, manager, request, data, display, init,
        );
    }

    fn destroyed(_state: &mut Self, _client: ClientId, manager: &WpLinuxDrmSyncobjManagerV1, _data: &()) {
        ended(manager);
    }
}

/// How often a surface was given fences, with this time.
fn count_fenced(surface: &WlSurface) -> u32 {
    struct Fenced(AtomicU32);
    with_states(surface, |states| {
        states.data_map.insert_if_missing_threadsafe(|| Fenced(AtomicU32::new(0)));
        let count = states.data_map.get::<Fenced>().map(|fenced| fenced.0.fetch_add(1, Ordering::Relaxed));
        count.map_or(1, |before| before.saturating_add(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_comes_later_is_asked_and_each_once() {
        let mut fences = Fences::default();
        fences.offer(0);
        assert_eq!(fences.offered(), (false, None), "the shell started without a device");
        // No graphics device has this number.
        fences.offer(1);
        assert_eq!(fences.offered(), (false, Some(1)));
        fences.offer(0);
        assert_eq!(fences.offered(), (false, Some(1)), "away again");
    }
}
