//! The target “renderer-requests” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("renderer-requests"), |data: &[u8]| phyllome_fuzz::renderer_requests::run(data));
