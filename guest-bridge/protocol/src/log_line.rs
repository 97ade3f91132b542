//! Log lines that are one line each, whatever stands in them: what a guest, its QEMU, a client or a file has named must
//! not end a line and begin another, nor move a terminal's cursor.
//!
//! Every program of this workspace that logs does it through [`OneLine`], so that no place which logs a stranger's
//! words can forget to make them printable. It trusts whoever writes to hand over each event as a whole, which
//! `tracing` does.

use crate::text::printable;
use std::io::{self, Write};

/// Most characters of a log line.
pub const MOST: usize = 2000;

/// Writes what it is handed at once as one printable line of at most [`MOST`] characters to what is inside.
#[derive(Clone, Debug)]
pub struct OneLine<W>(pub W);

impl<W: Write> Write for OneLine<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        // As many bytes as so many characters may have, so that a huge one is not looked through.
        let bytes = event.get(..event.len().min(4 * (MOST + 1))).unwrap_or(event);
        let text = String::from_utf8_lossy(bytes);
        let mut line = printable(text.strip_suffix('\n').unwrap_or(&text), MOST);
        line.push('\n');
        self.0.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &[u8]) -> String {
        let mut log = OneLine(Vec::new());
        log.write_all(event).unwrap();
        String::from_utf8(log.0).unwrap()
    }

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        assert_eq!(line(b"INFO the screen of work has gone\n"), "INFO the screen of work has gone\n");
        let forged = line("WARN wl_a\n2026-11-30 INFO all is well\u{1b}[2J\r\u{202e}\n".as_bytes());
        assert_eq!(forged, "WARN wl_a\u{fffd}2026-11-30 INFO all is well\u{fffd}[2J\u{fffd}\u{fffd}\n");
        assert_eq!(line(b"half a letter \xc3\n").lines().count(), 1);
        assert_eq!(line(b""), "", "nothing was handed over");
    }

    #[test]
    fn an_event_is_bounded() {
        let long = line("ä\n".repeat(1_000_000).as_bytes());
        assert_eq!((long.chars().count(), long.lines().count()), (MOST + 2, 1));
    }
}
