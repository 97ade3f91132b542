//! The target “gpu” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("gpu"), |data: &[u8]| phyllome_fuzz::gpu::run(data));
