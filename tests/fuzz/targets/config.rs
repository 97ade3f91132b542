//! The target “config” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("config"), |data: &[u8]| phyllome_fuzz::config::run(data));
