//! The target “control” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("control"), |data: &[u8]| phyllome_fuzz::control::run(data));
