//! How much of what a guest and its QEMU say goes to disk: a burst, and then so much a second. Pure: time is passed in.
//!
//! A log's length is bounded elsewhere; this bounds how often a guest that prints without end has it written anew. What
//! is left out is read all the same, so that nobody waits for a disk, and the last of it, which says how it ended, is
//! kept and written when there is no more.

use std::collections::VecDeque;
use std::time::Instant;

/// Bytes that may come at once: a start of a machine has fewer.
const BURST: u64 = 1 << 20;
/// Bytes in a second after that.
const PER_SECOND: u64 = 16 << 10;
/// Most bytes that are kept of what is left out.
const LAST: usize = 16 << 10;

/// The pace of one log.
#[derive(Debug, Default)]
pub struct LogRate {
    used: u64,
    since: Option<Instant>,
    left_out: u64,
    /// The last of what is left out.
    last: VecDeque<u8>,
}

impl LogRate {
    /// Of bytes that came, those that are to be written, and before them how many were left out, if it is time to say.
    pub fn take<'a>(&mut self, bytes: &'a [u8], now: Instant) -> (Option<String>, &'a [u8]) {
        let since = *self.since.get_or_insert(now);
        let millis = u64::try_from(now.saturating_duration_since(since).as_millis()).unwrap_or(u64::MAX);
        let given_back = millis.saturating_mul(PER_SECOND) / 1000;
        if given_back > 0 {
            self.used = self.used.saturating_sub(given_back);
            self.since = Some(now);
        }
        let left = BURST.saturating_sub(self.used);
        // Not a few bytes of each line.
        let waits = self.left_out > 0 && left < PER_SECOND;
        let count = if waits { 0 } else { bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX)) };
        let left_out = if waits { None } else { self.said() };
        self.used = self.used.saturating_add(count as u64);
        let (written, left) = bytes.split_at_checked(count).unwrap_or((bytes, &[]));
        self.leave_out(left);
        (left_out, written)
    }

    fn leave_out(&mut self, bytes: &[u8]) {
        self.left_out = self.left_out.saturating_add(bytes.len() as u64);
        let kept = bytes.get(bytes.len().saturating_sub(LAST)..).unwrap_or(bytes);
        let too_many = (self.last.len() + kept.len()).saturating_sub(LAST);
        self.last.drain(..too_many.min(self.last.len()));
        self.last.extend(kept);
    }

    /// How many bytes were left out since that was last said.
    fn said(&mut self) -> Option<String> {
        let left_out = std::mem::take(&mut self.left_out);
        self.last.clear();
        (left_out > 0).then(|| format!("\n({left_out} bytes are left out)\n"))
    }

    /// Nothing more comes: what is to be written of what was left out, with its last bytes.
    pub fn end(&mut self) -> Option<Vec<u8>> {
        let last = Vec::from(std::mem::take(&mut self.last));
        self.left_out = self.left_out.saturating_sub(last.len() as u64);
        let note = self.said();
        (note.is_some() || !last.is_empty()).then(|| [note.unwrap_or_default().into_bytes(), last].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn who_prints_without_end_has_a_burst_and_then_a_trickle_written() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        let (mut written, mut notes) = (0, 0);
        // A gigabyte in a minute, in pieces of 4 KiB.
        for piece in 0..262_144u32 {
            let (note, part) = rate.take(&[b'x'; 4096], start + Duration::from_micros(229) * piece);
            written += part.len() as u64;
            notes += u64::from(note.is_some());
        }
        let most = BURST + 60 * PER_SECOND + 4096;
        assert!((BURST..=most).contains(&written), "{written} bytes");
        assert!((1..=61).contains(&notes), "{notes} notes");
        assert!(rate.end().is_some() && rate.end().is_none());
    }

    #[test]
    fn the_last_words_of_who_prints_without_end_are_written() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        for piece in 0..400u32 {
            rate.take(&[b'x'; 4096], start + Duration::from_micros(229) * piece);
        }
        rate.take(&[b'y'; 100_000], start + Duration::from_millis(92));
        assert_eq!(rate.take(b"Kernel panic\n", start + Duration::from_millis(93)), (None, &b""[..]));
        assert_eq!(rate.last.len(), LAST, "and no more than so many are kept");
        let end = String::from_utf8(rate.end().unwrap()).unwrap();
        let (note, last) = end.trim_start().split_once('\n').unwrap();
        assert!(note.ends_with(" bytes are left out)"), "{note}");
        assert!(last.len() == LAST && last.ends_with("yyyKernel panic\n"));
        assert_eq!(rate.end(), None);
        let mut rate = LogRate::default();
        rate.take(&vec![b'x'; 1 << 20], start);
        rate.take(b"more", start);
        assert_eq!(rate.end().as_deref(), Some(&b"more"[..]), "nothing was lost, so there is no note");
    }

    #[test]
    fn who_prints_little_has_all_of_it_written() {
        let (mut rate, start) = (LogRate::default(), Instant::now());
        for second in 0..10_000 {
            let line = [b'x'; 8192];
            assert_eq!(rate.take(&line, start + Duration::from_secs(second)), (None, &line[..]));
        }
        assert_eq!(rate.take(b"a clock that goes back", start).1.len(), 22);
    }
}
