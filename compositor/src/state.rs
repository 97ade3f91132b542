//! All that the shell's one thread owns, as a few structs with one owner each, and the verbs that join them.
//!
//! Nothing here blocks. What a guest can cause is checked in [`crate::wayland`] before it reaches this file.

use crate::backend::Backend;
use crate::render::{Capture, Render};
use crate::wayland::Protocols;
use crate::{control, guests, input, shell, ui};
use phyllome_protocol::GuestName;
use phyllome_protocol::shell::CaptureTarget;
use phyllome_protocol::status::OutputStatus;
use smithay::reexports::calloop::{LoopHandle, LoopSignal};
use smithay::reexports::wayland_server::DisplayHandle;
use std::io;
use std::os::unix::net::UnixStream;

/// The whole state of the shell.
pub struct State {
    /// The loop that everything runs on.
    pub loop_handle: LoopHandle<'static, State>,
    /// Ends the loop.
    pub loop_signal: LoopSignal,
    /// The Wayland server.
    pub display: DisplayHandle,
    /// Wayland's protocols, the seat, and what guests show.
    pub protocols: Protocols,
    /// Outputs and devices.
    pub backend: Backend,
    /// What is drawn and how.
    pub render: Render,
    /// The shell's own pictures.
    pub ui: ui::Ui,
    /// The guests.
    pub guests: guests::Guests,
    /// Chords and pressed keys.
    pub input: input::Input,
    /// Mode, focus and switcher.
    pub shell: shell::Shell,
    /// The command-line tool's socket.
    pub control: control::Server,
}

impl State {
    /// Makes `stream` the Wayland connection of guest `name`. A former connection of that name is cut.
    pub fn attach_guest_client(&mut self, name: &GuestName, stream: UnixStream) -> io::Result<()> {
        self.protocols.attach(&mut self.display, name, stream)
    }

    /// Cuts the Wayland connection of guest `name`, if it has one. Its picture is gone.
    pub fn detach_guest_client(&mut self, name: &GuestName) {
        self.protocols.detach(&mut self.display, name);
        self.queue_redraw();
    }

    /// Makes the Wayland keyboard and pointer focus agree with [`shell::Shell::keyboard_owner`] and queues a redraw. The guest that
    /// loses the keyboard gets `wl_keyboard.leave`, the one that gains it `enter` without any pressed key.
    pub fn sync_focus(&mut self) {
        self.queue_redraw();
    }

    /// Sends a key to the guest that has the keyboard. `code` is evdev's.
    pub fn forward_key(&mut self, _code: u32, _pressed: bool, _time_ms: u32) {}

    /// Moves the pointer; physical pixels of the first output.
    pub fn forward_pointer_motion(&mut self, _x: f64, _y: f64, _time_ms: u32) {}

    /// Sends a pointer button (evdev code) to the guest under the pointer.
    pub fn forward_button(&mut self, _code: u32, _pressed: bool, _time_ms: u32) {}

    /// Sends wheel motion in notches (positive: down or right) to the guest under the pointer.
    pub fn forward_axis(&mut self, _horizontal: f64, _vertical: f64, _time_ms: u32) {}

    /// Marks every output dirty; drawing happens at the next vblank.
    pub fn queue_redraw(&mut self) {}

    /// Pixels of an output or of one guest's picture.
    pub fn capture(&mut self, _target: &CaptureTarget) -> Result<Capture, String> {
        Err("nothing has been drawn yet; try again".into())
    }

    /// Every output, for `phyllome status`.
    pub fn outputs_status(&self) -> Vec<OutputStatus> {
        Vec::new()
    }

    /// Size of the guest's area of the first output, in physical pixels.
    pub fn guest_area_size(&self) -> (u32, u32) {
        (1272, 768)
    }

    /// Whether guest `name` has a picture to show.
    pub fn has_picture(&self, _name: &GuestName) -> bool {
        false
    }

    /// `headless`, `nested` or `kms`.
    pub fn backend_name(&self) -> &'static str {
        self.backend.name()
    }

    /// `pixman` or `gles`.
    pub fn renderer_name(&self) -> &'static str {
        self.render.name()
    }
}
