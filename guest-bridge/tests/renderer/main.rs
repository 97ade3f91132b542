//! phyllome-guest's end of a renderer against stand-ins that do all that a renderer must not: whatever they do, the
//! worst is that they are ended, once, with one sentence, and no descriptor stays.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod asking;
mod files;
mod hello;
mod processes;
mod random;
mod silence;
mod stage;
mod starts;
