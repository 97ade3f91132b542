//! QEMU's end of the GPU socket (QEMU documentation, vhost-user-gpu protocol): answers what must be answered, reads the
//! rest away.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the device sent on the socket.
#[derive(Default)]
pub struct Traffic {
    /// Messages.
    pub messages: AtomicU64,
    /// Bytes of payload.
    pub bytes: AtomicU64,
}

const GET_PROTOCOL_FEATURES: u32 = 1;
/// QEMU's own device ends itself where the driver takes EDIDs and the socket does not.
const PROTOCOL_F_EDID: u64 = 1;
const GET_DISPLAY_INFO: u32 = 3;
const DMABUF_UPDATE: u32 = 10;
const GET_EDID: u32 = 11;
const REPLY: u32 = 4;

/// Serves the socket on a thread of its own until the device closes it.
pub fn serve(mut socket: UnixStream, width: u32, height: u32) -> Arc<Traffic> {
    let traffic = Arc::new(Traffic::default());
    let counters = traffic.clone();
    std::thread::spawn(move || {
        let mut header = [0u8; 12];
        let mut sink = vec![0u8; 1 << 20];
        while socket.read_exact(&mut header).is_ok() {
            let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
            let (request, size) = (word(0), word(8));
            let mut left = size as usize;
            while left > 0 {
                let part = left.min(sink.len());
                if socket.read_exact(&mut sink[..part]).is_err() {
                    return;
                }
                left -= part;
            }
            counters.messages.fetch_add(1, Ordering::Relaxed);
            counters.bytes.fetch_add(size.into(), Ordering::Relaxed);
            let payload = match request {
                GET_PROTOCOL_FEATURES => PROTOCOL_F_EDID.to_le_bytes().to_vec(),
                GET_DISPLAY_INFO => display_info(width, height),
                GET_EDID => vec![0; 1056],
                DMABUF_UPDATE => Vec::new(),
                _ => continue,
            };
            let mut answer = Vec::with_capacity(12 + payload.len());
            answer.extend(request.to_le_bytes());
            answer.extend(REPLY.to_le_bytes());
            answer.extend((payload.len() as u32).to_le_bytes());
            answer.extend(payload);
            if socket.write_all(&answer).is_err() {
                return;
            }
        }
    });
    traffic
}

fn display_info(width: u32, height: u32) -> Vec<u8> {
    let mut out = vec![0; 408];
    out[..4].copy_from_slice(&0x1101u32.to_le_bytes());
    out[32..36].copy_from_slice(&width.to_le_bytes());
    out[36..40].copy_from_slice(&height.to_le_bytes());
    out[40..44].copy_from_slice(&1u32.to_le_bytes());
    out
}
