//! The kinds of things that a guest's connection makes the shell keep, and how many of each may live at once.
//!
//! Every kind is counted by itself: an object of one kind may cost far more than one of another (each pointer hears of
//! each motion, each output of each change), and with all of them together the end of a connection is cheap, although
//! the Wayland library's work for it grows with the square of their number. `docs/developing.md` has the table of what
//! each request makes the shell keep.

/// What a connection wants to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A `wl_surface`.
    Surface,
    /// A `wl_buffer` of any kind.
    Buffer,
    /// A `wl_shm_pool`.
    Pool,
    /// A timeline of fences; never given back while the connection lives.
    Timeline,
    /// A global that is bound, but a seat or an output.
    Global,
    /// A `wl_seat`.
    Seat,
    /// A `wl_keyboard`.
    Keyboard,
    /// A `wl_pointer`.
    Pointer,
    /// A `wl_touch`.
    Touch,
    /// A `wl_output`.
    Output,
    /// A `wl_region`.
    Region,
    /// An `xdg_positioner`.
    Positioner,
    /// An `xdg_surface`.
    ShellSurface,
    /// An `xdg_toplevel`.
    Toplevel,
    /// A `wp_viewport`.
    Viewport,
    /// A `wp_presentation_feedback`.
    Presentation,
    /// A `zwp_linux_buffer_params_v1`.
    Parameters,
    /// A plane of a dmabuf that was not made yet.
    Plane,
    /// A `zwp_linux_dmabuf_feedback_v1`.
    Feedback,
    /// A `wp_linux_drm_syncobj_surface_v1`.
    FencedSurface,
}

/// How many kinds there are.
const KINDS: usize = Thing::FencedSurface as usize + 1;

impl Thing {
    /// Most that live at once, far more than phyllome-guest has; and their name for a sentence.
    pub const fn limit(self) -> (u32, &'static str) {
        match self {
            Self::Surface => (super::quota::MAX_SURFACES, "surfaces"),
            Self::Buffer => (super::quota::MAX_BUFFERS, "buffers"),
            Self::Pool => (super::quota::MAX_POOLS, "shared-memory pools"),
            Self::Timeline => (super::quota::MAX_TIMELINES, "timelines of fences"),
            Self::Global => (64, "bound globals"),
            Self::Seat => (4, "seats"),
            Self::Keyboard => (4, "keyboards"),
            Self::Pointer => (4, "pointers"),
            Self::Touch => (4, "touch screens"),
            Self::Output => (32, "outputs"),
            Self::Region => (64, "regions"),
            Self::Positioner => (16, "positioners"),
            Self::ShellSurface => (64, "shell surfaces"),
            Self::Toplevel => (64, "toplevels"),
            Self::Viewport => (64, "viewports"),
            Self::Presentation => (256, "answers about presentation"),
            Self::Parameters => (128, "unfinished buffers"),
            Self::Plane => (super::quota::MAX_PLANES, "planes of unfinished buffers"),
            Self::Feedback => (16, "feedbacks about dmabufs"),
            Self::FencedSurface => (64, "surfaces with fences"),
        }
    }

    /// What an object of this interface counts as, where the end of the object is the end of what is kept.
    pub fn of_interface(name: &str) -> Option<Self> {
        Some(match name {
            "wl_compositor"
            | "wl_shm"
            | "xdg_wm_base"
            | "wp_viewporter"
            | "wp_presentation"
            | "zwp_linux_dmabuf_v1"
            | "wp_linux_drm_syncobj_manager_v1" => Self::Global,
            "wl_seat" => Self::Seat,
            "wl_keyboard" => Self::Keyboard,
            "wl_pointer" => Self::Pointer,
            "wl_touch" => Self::Touch,
            "wl_output" => Self::Output,
            "wl_region" => Self::Region,
            "wl_shm_pool" => Self::Pool,
            "xdg_positioner" => Self::Positioner,
            "xdg_surface" => Self::ShellSurface,
            "xdg_toplevel" => Self::Toplevel,
            "wp_viewport" => Self::Viewport,
            "wp_presentation_feedback" => Self::Presentation,
            "zwp_linux_buffer_params_v1" => Self::Parameters,
            "zwp_linux_dmabuf_feedback_v1" => Self::Feedback,
            "wp_linux_drm_syncobj_surface_v1" => Self::FencedSurface,
            _ => return None,
        })
    }
}

/// How many of each kind a connection has.
#[derive(Debug, Default)]
pub struct Things([u32; KINDS]);

impl Things {
    /// One more; `false`, and not counted, if there are as many as may be.
    pub fn add(&mut self, thing: Thing) -> bool {
        let Some(count) = self.0.get_mut(thing as usize) else { return false };
        let more = *count < thing.limit().0;
        *count = count.saturating_add(u32::from(more));
        more
    }

    /// One fewer.
    pub fn remove(&mut self, thing: Thing) {
        if let Some(count) = self.0.get_mut(thing as usize) {
            *count = count.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_limit_of_its_own_and_what_goes_can_come_again() {
        let mut things = Things::default();
        for thing in [Thing::Surface, Thing::Pointer, Thing::FencedSurface] {
            let most = thing.limit().0;
            assert_eq!((0..most + 10).filter(|_| things.add(thing)).count(), most as usize, "{thing:?}");
            things.remove(thing);
            assert!(things.add(thing) && !things.add(thing), "{thing:?}");
        }
        assert!(things.add(Thing::Buffer));
    }
}
