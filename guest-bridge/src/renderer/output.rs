//! What a renderer prints, as lines for the guest's log: short, clean, and only so many a minute.
//!
//! Drivers may print a line for each command of a guest's, so a guest may have them print for ever: what is too
//! much is counted instead, and the reading slows down. Pure: time is passed in.

use std::time::{Duration, Instant};

/// Longest line that is kept, in bytes.
const LONGEST: usize = 400;
/// Lines within one [`PERIOD`].
const MOST: u32 = 60;
const PERIOD: Duration = Duration::from_secs(60);
/// Between two readings of someone who talks too much.
const PAUSE: Duration = Duration::from_millis(20);

/// A renderer's output as it comes.
#[derive(Debug, Default)]
pub struct OutputLines {
    unfinished: Vec<u8>,
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
    last: Option<Instant>,
}

impl OutputLines {
    /// How long the rest is to be left unread.
    pub fn pause(&self, now: Instant) -> Duration {
        let last = self.last.filter(|_| self.left_out > 0);
        last.map_or(Duration::ZERO, |last| PAUSE.saturating_sub(now.saturating_duration_since(last)))
    }

    /// Takes bytes as they come; finished lines go to `log`.
    pub fn hear(&mut self, bytes: &[u8], now: Instant, log: &mut impl FnMut(&str)) {
        self.last = Some(now);
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= PERIOD) {
            self.say_left_out(log);
            (self.since, self.lines) = (Some(now), 0);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            let room = LONGEST.saturating_sub(self.unfinished.len());
            self.unfinished.extend_from_slice(text.get(..room).unwrap_or(text));
            if piece.ends_with(b"\n") {
                self.end_line(log);
            }
        }
    }

    /// The end of it all: logs what is unfinished, and how much was left out.
    pub fn finish(&mut self, log: &mut impl FnMut(&str)) {
        self.end_line(log);
        self.say_left_out(log);
    }

    fn end_line(&mut self, log: &mut impl FnMut(&str)) {
        let line = std::mem::take(&mut self.unfinished);
        let text = clean(&String::from_utf8_lossy(&line));
        if text.trim().is_empty() {
            return;
        }
        if self.lines >= MOST {
            self.left_out += 1;
            return;
        }
        self.lines += 1;
        log(&text);
    }

    fn say_left_out(&mut self, log: &mut impl FnMut(&str)) {
        let left_out = std::mem::take(&mut self.left_out);
        if left_out > 0 {
            log(&format!("({left_out} more lines are left out)"));
        }
    }
}

/// A text of the renderer's without characters that do something other than stand there.
pub fn clean(text: &str) -> String {
    phyllome_protocol::text::plain(text, usize::MAX, ' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_cleaned_and_cut() {
        let mut words = OutputLines::default();
        let mut logged = Vec::new();
        let mut log = |line: &str| logged.push(line.to_owned());
        let now = Instant::now();
        words.hear(b"one\n\r\n\n  \ntw", now, &mut log);
        words.hear(b"o\x1b[2J\xff\n", now, &mut log);
        words.hear(&[b'x'; 100_000], now, &mut log);
        words.hear(b"\nlast", now, &mut log);
        words.finish(&mut log);
        assert_eq!(logged, ["one", "two [2J ", &"x".repeat(LONGEST), "last"]);
    }

    #[test]
    fn a_flood_costs_few_lines_little_memory_and_is_read_slowly() {
        let mut words = OutputLines::default();
        let mut logged = Vec::new();
        let mut log = |line: &str| logged.push(line.to_owned());
        let now = Instant::now();
        for _ in 0..10_000 {
            words.hear(b"warning\n", now, &mut log);
        }
        assert_eq!(words.pause(now), PAUSE);
        assert_eq!(words.pause(now + PAUSE), Duration::ZERO);
        words.hear(b"later\n", now + PERIOD, &mut log);
        assert_eq!(words.pause(now + PERIOD), Duration::ZERO);
        assert_eq!(logged.len(), MOST as usize + 2);
        assert_eq!(&logged[MOST as usize..], ["(9940 more lines are left out)", "later"]);
    }
}
