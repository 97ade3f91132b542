//! A peer of a guest's control socket, as the shell is one.

use anyhow::{Context, Result};
use phyllome_protocol::control::{FromGuest, Report, Request, ToGuest};
use phyllome_protocol::framing::{Decoder, receive_blocking, send_blocking};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Dials, asks for a fresh report and gives it.
pub fn report(socket: &Path) -> Result<Report> {
    let stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    send_blocking(&stream, &ToGuest { id: 1, request: Request::Report }, &[])?;
    let mut decoder = Decoder::new();
    let mut last = None;
    loop {
        match receive_blocking(&stream, &mut decoder)? {
            FromGuest::Report(report) => last = Some(report),
            FromGuest::Done { id: 1 } => return last.context("no report came"),
            _ => {}
        }
    }
}
