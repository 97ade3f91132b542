//! Sentences on standard error that nobody may be there to take: its disk is full, its reader has gone.
//!
//! `eprintln!` ends the program then, in the middle of what the sentence is about, and `tracing_subscriber` does unless
//! it is told not to. What cannot be said is left unsaid here, and the program goes on.

use std::fmt::Display;
use std::io::Write;

/// Writes one line to standard error, in one write.
pub fn complain(sentence: impl Display) {
    let _ = std::io::stderr().write_all(format!("{sentence}\n").as_bytes());
}
