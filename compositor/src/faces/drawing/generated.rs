//! What `build.rs` makes of `ui-assets/`: Slint's components, and the icons' path data.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::todo,
    clippy::undocumented_unsafe_blocks,
    clippy::unwrap_used,
    reason = "generated code"
)]

slint::include_modules!();

/// Path data of the icons on their 24 × 24 grid.
pub mod icons {
    include!(concat!(env!("OUT_DIR"), "/icons.rs"));
}
