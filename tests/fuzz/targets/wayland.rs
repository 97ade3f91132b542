//! The target “wayland” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("wayland"), |data: &[u8]| phyllome_fuzz::wayland::run(data));
