//! Tells a virtual monitor its size, as a person who resizes a window does: a VNC client's `SetDesktopSize` (RFB
//! community extension), which QEMU hands to the display device as the wish of its user. A size of nothing unplugs the
//! monitor.

use anyhow::{Context, Result, bail, ensure};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const ENCODING_EXTENDED_DESKTOP_SIZE: i32 = -308;
const SET_ENCODINGS: u8 = 2;
const SET_DESKTOP_SIZE: u8 = 251;

/// Connects, sends the size, waits until QEMU has taken it, and goes. `again`: QEMU tells the device although it has
/// done so before.
pub fn set_size(socket: &Path, size: Option<(u16, u16)>, again: bool) -> Result<()> {
    let mut stream = UnixStream::connect(socket).with_context(|| format!("cannot reach {}", socket.display()))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    handshake(&mut stream).context("QEMU's VNC server does not speak as expected")?;

    let mut message = vec![SET_ENCODINGS, 0];
    message.extend_from_slice(&1u16.to_be_bytes());
    message.extend_from_slice(&ENCODING_EXTENDED_DESKTOP_SIZE.to_be_bytes());
    stream.write_all(&message)?;

    let (width, height) = size.unwrap_or((0, 0));
    let mut messages = Vec::new();
    if again {
        // QEMU passes on what differs from the wish before, once it has read all that has come: only the last of these
        // two.
        messages.extend(wish(width, height.wrapping_add(1)));
    }
    messages.extend(wish(width, height));
    stream.write_all(&messages)?;

    // Replies are updates of one rectangle each, of the encoding that was asked for: x says why, y says whether it was
    // granted.
    let mut answers = if again { 2 } else { 1 };
    for _ in 0..8 {
        let mut update = [0; 16];
        stream.read_exact(&mut update).context("QEMU does not say whether it took the size")?;
        let word = |at: usize| u16::from_be_bytes([update[at], update[at + 1]]);
        let encoding = i32::from_be_bytes([update[12], update[13], update[14], update[15]]);
        ensure!(
            update[0] == 0 && word(2) == 1 && encoding == ENCODING_EXTENDED_DESKTOP_SIZE,
            "an unexpected message: {update:?}"
        );
        let mut count = [0; 4];
        stream.read_exact(&mut count)?;
        stream.read_exact(&mut vec![0; usize::from(count[0]) * 16])?;
        const BY_THIS_CLIENT: u16 = 1;
        if word(4) == BY_THIS_CLIENT {
            // QEMU says 4 ("request forwarded") where the guest decides, as here.
            ensure!(matches!(word(6), 0 | 4), "QEMU refuses the size (reason {})", word(6));
            answers -= 1;
            if answers == 0 {
                return Ok(());
            }
        }
    }
    bail!("QEMU does not say whether it took the size")
}

/// The message that asks for a desktop of this size on one screen.
fn wish(width: u16, height: u16) -> Vec<u8> {
    let mut message = vec![SET_DESKTOP_SIZE, 0];
    message.extend_from_slice(&width.to_be_bytes());
    message.extend_from_slice(&height.to_be_bytes());
    message.extend_from_slice(&[1, 0]); // one screen
    message.extend_from_slice(&[0; 8]); // its id and position
    message.extend_from_slice(&width.to_be_bytes());
    message.extend_from_slice(&height.to_be_bytes());
    message.extend_from_slice(&[0; 4]); // its flags
    message
}

/// RFB 3.8 without a password.
fn handshake(stream: &mut UnixStream) -> Result<()> {
    let mut version = [0; 12];
    stream.read_exact(&mut version)?;
    stream.write_all(b"RFB 003.008\n")?;
    let mut count = [0; 1];
    stream.read_exact(&mut count)?;
    stream.read_exact(&mut vec![0; usize::from(count[0])])?;
    stream.write_all(&[1])?; // no password
    let mut verdict = [0; 4];
    stream.read_exact(&mut verdict)?;
    ensure!(verdict == [0; 4], "it refuses");
    stream.write_all(&[1])?; // shared with others
    let mut server = [0; 24];
    stream.read_exact(&mut server)?;
    let name = u32::from_be_bytes([server[20], server[21], server[22], server[23]]) as usize;
    ensure!(name <= 4096, "its name is too long");
    stream.read_exact(&mut vec![0; name])?;
    Ok(())
}
