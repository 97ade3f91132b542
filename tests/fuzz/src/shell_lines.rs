//! Lines of the shell's socket, in both directions.

use crate::control::lines;
use phyllome_protocol::shell::{Command, Event, Reply};

/// The first byte says into pieces of which size what follows comes apart.
pub fn run(data: &[u8]) {
    lines::<Command>(data, |_| {});
    lines::<Reply>(data, |_| {});
    lines::<Event>(data, |_| {});
}

/// One of each kind of command.
pub fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        r#"{"command":"status"}"#,
        r#"{"command":"events"}"#,
        r#"{"command":"start","name":"work"}"#,
        r#"{"command":"panel","show":true}"#,
        r#"{"command":"screenshot","target":"default"}"#,
        r#"{"command":"screenshot","target":{"guest":"work"}}"#,
        r#"{"command":"send-keys","name":"work","keys":["leftctrl","c"]}"#,
        r#"{"command":"input","input":{"move":{"x":1.5,"y":2.5}}}"#,
        r#"{"reply":"done"}"#,
        r#"{"reply":"refused","reason":"no"}"#,
        r#"{"event":"mode","mode":"panel"}"#,
    ];
    lines.iter().map(|line| [&[255], line.as_bytes(), b"\n"].concat()).collect()
}
