//! Lines of a guest's control socket, in both directions: what the decoder takes is a message that survives its own
//! line, and nothing that is printable text at the end holds what is not.

use phyllome_protocol::control::{FromGuest, ToGuest};
use phyllome_protocol::framing::{Decoder, MAX_LINE, encode};
use phyllome_protocol::text::{REPLACEMENT, is_hidden, printable};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Longest text of a guest that the shell shows, in characters.
const SHOWN: usize = 300;

/// The first byte says into pieces of which size what follows comes apart.
pub fn run(data: &[u8]) {
    lines::<FromGuest>(data, |message| match message {
        FromGuest::Refused { reason, .. } => shown(reason),
        FromGuest::Report(report) => report.message.iter().for_each(|text| shown(text)),
        FromGuest::Hello { .. } | FromGuest::Done { .. } => {}
    });
    lines::<ToGuest>(data, |_| {});
}

fn shown(text: &str) {
    let text = printable(text, SHOWN);
    let is_shown = |c| c == REPLACEMENT || !is_hidden(c);
    assert!(text.chars().count() <= SHOWN + 1 && text.chars().all(is_shown), "{text:?}");
}

/// Decodes lines until one is wrong, as both sides do, and gives each to `see`.
pub(crate) fn lines<T>(data: &[u8], see: impl Fn(&T))
where
    T: DeserializeOwned + Serialize + PartialEq + Debug,
{
    let Some((size, bytes)) = data.split_first() else { return };
    let mut decoder = Decoder::new();
    for piece in bytes.chunks(usize::from(*size).max(1)) {
        if decoder.push(piece).is_err() {
            assert!(bytes.len() > MAX_LINE);
            return;
        }
        loop {
            match decoder.next_message::<T>() {
                Ok(Some(message)) => {
                    see(&message);
                    survives(&message);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

/// What was read can be written, and is the same when it is read again.
fn survives<T: DeserializeOwned + Serialize + PartialEq + Debug>(message: &T) {
    let Ok(line) = encode(message) else { return };
    let mut again = Decoder::new();
    if again.push(&line).is_err() {
        return;
    }
    let read = again.next_message::<T>().expect("a line of our own");
    assert_eq!(read.as_ref(), Some(message));
}

/// One of each kind of message.
pub fn seeds() -> Vec<Vec<u8>> {
    let report = [
        r#"{"say":"report","state":"running","message":"it is up","pid":7,"qemu_pid":8,"accel":"kvm","uptime_s":1.5,"#,
        r#""leds":{"num":true,"caps":false,"scroll":false},"keep_awake":false,"#,
        r#""gpu":{"transport":"vhost-user-gpu","renderer":"2d","renderer_pid":null,"renderer_restarts":0,"#,
        r#""features":["edid"]},"scanouts":[{"id":0,"width":1272,"height":768,"source":"vhost-user-gpu","#,
        r#""buffer":"dmabuf","format":"XR24","modifier":"LINEAR","flushes":100,"presented":98}]}"#,
    ]
    .concat();
    let lines = [
        r#"{"say":"hello","version":1,"name":"work"}"#,
        &report,
        r#"{"say":"done","id":1}"#,
        r#"{"say":"refused","id":2,"reason":"it is paused"}"#,
        r#"{"id":1,"do":"attach-screen","width":1272,"height":768}"#,
        r#"{"id":2,"do":"pause"}"#,
        r#"{"id":3,"do":"send-keys","keys":["leftctrl","leftalt","delete"]}"#,
        r#"{"id":4,"do":"report"}"#,
    ];
    let one = |line: &str| [&[255], line.as_bytes(), b"\n"].concat();
    lines.iter().map(|line| one(line)).chain([one(&lines[..4].join("\n"))]).collect()
}
