//! How often a test repeats what it is about: a few times in the run of all tests, often in `cargo xtask test soak`.

/// Set by `cargo xtask test soak`.
pub const VARIABLE: &str = "PHYLLOME_SOAK";

/// Whether tests are to repeat as often as they can.
pub fn is_asked() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// `few` in the run of all tests, `many` where repetition is asked for.
pub fn times<T>(few: T, many: T) -> T {
    if is_asked() { many } else { few }
}
