//! The trusted shell.
fn main() {}
