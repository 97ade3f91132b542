//! What must be right for a person to know which guest they look at and which one gets their keys.
//!
//! Pure: values in, values out. No window system, no drawing library, no file, no clock. It takes text as pixels and
//! alone decides their size, place and clip; it takes key codes and alone decides which are chords. What a guest says
//! never gets here but for the bounded numbers and words that the definitions of the host have.

#![deny(clippy::wildcard_enum_match_arm, reason = "a new verb or message is not to be taken for another")]

pub mod attention;
pub mod chord_keys;
pub mod chords;
pub mod codes;
pub mod deaf;
pub mod focus;
pub mod frame;
pub mod gate;
pub mod held;
pub mod keyboards;
pub mod lights;
pub mod pixels;
pub mod places;
pub mod typed_code;
