//! The target “chains” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("chains"), |data: &[u8]| phyllome_fuzz::chains::run(data));
