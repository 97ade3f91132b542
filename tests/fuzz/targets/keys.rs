//! The target “keys” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("keys"), |data: &[u8]| phyllome_fuzz::keys::run(data));
