//! The Wayland server that guests' screens connect to.

use phyllome_protocol::GuestName;
use smithay::reexports::wayland_server::DisplayHandle;
use std::io;
use std::os::unix::net::UnixStream;

/// Protocol states and what guests show.
#[derive(Debug, Default)]
pub struct Protocols {}

impl Protocols {
    pub(crate) fn attach(
        &mut self,
        _display: &mut DisplayHandle,
        _name: &GuestName,
        _stream: UnixStream,
    ) -> io::Result<()> {
        Ok(())
    }
    pub(crate) fn detach(&mut self, _display: &mut DisplayHandle, _name: &GuestName) {}
}
