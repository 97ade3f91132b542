//! The target “renderer-events” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("renderer-events"), |data: &[u8]| phyllome_fuzz::renderer_events::run(data));
