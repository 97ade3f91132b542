//! The target “shell-lines” for libFuzzer.

#![no_main]

libfuzzer_sys::fuzz_target!(init: phyllome_fuzz::write_seeds("shell-lines"), |data: &[u8]| phyllome_fuzz::shell_lines::run(data));
