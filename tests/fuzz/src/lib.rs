//! What hostile bytes can reach, one module per fuzz target: each has `run`, which must neither panic nor break what it
//! asserts whatever it is given, and `seeds`, inputs from which a fuzzer finds its way.
//!
//! `cargo xtask fuzz TARGET` runs one under libFuzzer. The same targets run as plain tests over seeds, what the folder
//! `corpus` keeps, and mutations of both: always the same ones, so that a failure is found again.

pub mod chains;
pub mod config;
pub mod control;
pub mod gpu;
pub mod images;
#[cfg(feature = "shell")]
pub mod keys;
pub mod mutation;
pub mod renderer_events;
pub mod renderer_requests;
#[cfg(feature = "shell")]
mod shell;
pub mod shell_lines;
#[cfg(feature = "shell")]
pub mod wayland;

use std::path::{Path, PathBuf};

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// As `cargo xtask fuzz` calls it.
    pub name: &'static str,
    /// Takes one input.
    pub run: fn(&[u8]),
    /// Inputs that lead far.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How many mutations a run of the tests takes: some seconds' worth.
    pub mutations: u64,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "chains", run: chains::run, seeds: chains::seeds, mutations: 20_000 },
    Target { name: "config", run: config::run, seeds: config::seeds, mutations: 4_000 },
    Target { name: "control", run: control::run, seeds: control::seeds, mutations: 750_000 },
    Target { name: "gpu", run: gpu::run, seeds: gpu::seeds, mutations: 30_000 },
    Target { name: "images", run: images::run, seeds: images::seeds, mutations: 15_000 },
    #[cfg(feature = "shell")]
    Target { name: "keys", run: keys::run, seeds: keys::seeds, mutations: 8_000 },
    Target { name: "renderer-events", run: renderer_events::run, seeds: renderer_events::seeds, mutations: 300_000 },
    Target {
        name: "renderer-requests",
        run: renderer_requests::run,
        seeds: renderer_requests::seeds,
        mutations: 400_000,
    },
    Target { name: "shell-lines", run: shell_lines::run, seeds: shell_lines::seeds, mutations: 1_000_000 },
    #[cfg(feature = "shell")]
    Target { name: "wayland", run: wayland::run, seeds: wayland::seeds, mutations: 5_000 },
];

impl Target {
    /// Its seeds and what its folder of `corpus` keeps, in order of the files' names.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let kept = in_order(&corpora().join(self.name)).into_iter().filter_map(|file| std::fs::read(file).ok());
        (self.seeds)().into_iter().chain(kept).collect()
    }
}

/// The folder of the folders that keep inputs, one for each target that has some.
pub fn corpora() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

/// What lies in a folder, if it is there, in order of the names.
pub fn in_order(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Writes the seeds of a target into the folder that `PHYLLOME_FUZZ_SEEDS` names, if it names one, where its fuzzer then
/// finds them.
pub fn write_seeds(target: &str) {
    let Some(folder) = std::env::var_os("PHYLLOME_FUZZ_SEEDS").map(PathBuf::from) else { return };
    let seeds = TARGETS.iter().filter(|known| known.name == target).flat_map(|known| (known.seeds)());
    for (seed, number) in seeds.zip(0..) {
        std::fs::write(folder.join(format!("seed-{number}")), seed).expect("a folder for seeds");
    }
}

/// A new folder, in memory where the host has a place for that: what is written for each input waits for no disk.
pub(crate) fn new_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
}

/// Takes an input apart, from its front to its end; what is not there any more is 0.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// All of `data` is left.
    pub fn new(data: &'a [u8]) -> Self {
        Self(data)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn u8(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().map_or((0, self.0), |(first, rest)| (*first, rest));
        self.0 = rest;
        first
    }

    /// The next two, little-endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    /// The next four, little-endian.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes([self.u8(), self.u8(), self.u8(), self.u8()])
    }

    /// So many, or as many as are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }
}
