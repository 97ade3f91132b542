//! The target “images” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("images"), |data: &[u8]| phyllome_fuzz::images::run(data));
