//! Asks the desktop around the shell's window for its keyboard shortcuts, which would keep Super from the shell: by
//! `zwp_keyboard_shortcuts_inhibit_manager_v1`, for as long as the window has the keyboard there.
//!
//! The desktop decides, may ask the person first, and keeps a way out of its own, which is said at the start. An X11
//! desktop, and one that does not know the protocol, keep their shortcuts. Nothing here is a trusted path.

use smithay::reexports::winit::raw_window_handle::{
    HasDisplayHandle, HasWindowHandle, RawDisplayHandle, RawWindowHandle,
};
use smithay::reexports::winit::window::Window;
use std::mem::ManuallyDrop;
use wayland_client::backend::{Backend, ObjectId};
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::wl_registry::WlRegistry;
use wayland_client::protocol::wl_seat::WlSeat;
use wayland_client::protocol::wl_surface::WlSurface;
use wayland_client::{Connection, Dispatch, EventQueue, Proxy, QueueHandle, delegate_noop};
use wayland_protocols::wp::keyboard_shortcuts_inhibit::zv1::client::zwp_keyboard_shortcuts_inhibit_manager_v1::ZwpKeyboardShortcutsInhibitManagerV1 as Manager;
use wayland_protocols::wp::keyboard_shortcuts_inhibit::zv1::client::zwp_keyboard_shortcuts_inhibitor_v1::ZwpKeyboardShortcutsInhibitorV1 as Inhibitor;

/// What a person is told whose desktop gives its shortcuts.
pub const GIVEN: &str = "while this window has the keyboard, the desktop's own shortcuts are asked to come to it; the \
    way out is the desktop's: Super+Escape on GNOME (which then does not reach the shell), a click on another window \
    anywhere";
/// What a person is told whose desktop keeps them.
pub const KEPT: &str = "this desktop keeps its own shortcuts with Super, so chords that it uses itself do not reach \
    the shell; `phyllome switch NAME` and `phyllome panel show` do the same";

/// What is asked of the desktop, for as long as this is kept.
pub struct Shortcuts {
    /// Never dropped: its objects live on the window's connection, and nothing says which of the two ends first.
    queue: ManuallyDrop<EventQueue<Ignored>>,
}

/// What the desktop says of it: nothing that changes anything here.
struct Ignored;

impl Shortcuts {
    /// Asks; `None` where it cannot be asked. Waits for one answer of the desktop's.
    pub fn ask(window: &Window) -> Option<Self> {
        let RawDisplayHandle::Wayland(display) = window.display_handle().ok()?.as_raw() else { return None };
        let RawWindowHandle::Wayland(surface) = window.window_handle().ok()?.as_raw() else { return None };
        // SAFETY: the display is the one that winit has connected, which lives at least until this function returns
        // because `window` holds it; what is made of it here and outlives the function is never used without an event
        // of that window, and never dropped.
        let backend = unsafe { Backend::from_foreign_display(display.display.as_ptr().cast()) };
        let connection = Connection::from_backend(backend);
        let (globals, queue) = registry_queue_init::<Ignored>(&connection).ok()?;
        // Whatever becomes of it: see `queue`.
        let (globals, queue) = (ManuallyDrop::new(globals), ManuallyDrop::new(queue));
        let handle = queue.handle();
        let manager: Manager = globals.bind(&handle, 1..=1, ()).ok()?;
        let seat: WlSeat = globals.bind(&handle, 1..=1, ()).ok()?;
        // SAFETY: the window's own wl_surface, which lives as long as `window`; the request is sent before this
        // function returns.
        let id = unsafe { ObjectId::from_ptr(WlSurface::interface(), surface.surface.as_ptr().cast()) }.ok()?;
        let surface = WlSurface::from_id(&connection, id).ok()?;
        manager.inhibit_shortcuts(&surface, &seat, &handle, ());
        connection.flush().ok()?;
        Some(Self { queue })
    }

    /// The window's events have been read, and with them what the desktop says here: it is forgotten.
    pub fn forget_events(&mut self) {
        // An error of the connection is the window's to notice.
        let _ = self.queue.dispatch_pending(&mut Ignored);
    }
}

impl Dispatch<WlRegistry, GlobalListContents> for Ignored {
    fn event(
        _: &mut Self,
        _: &WlRegistry,
        _: <WlRegistry as Proxy>::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Ignored: Manager);
delegate_noop!(Ignored: ignore WlSeat);
delegate_noop!(Ignored: ignore Inhibitor);
