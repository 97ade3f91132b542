//! What the command-line tool and the session are made of: nothing that draws, and nothing that speaks to a display.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What no program of this crate may contain.
const FORBIDDEN: [&str; 8] =
    ["phyllome-compositor", "smithay", "slint", "i-slint-core", "wayland-backend", "winit", "input", "drm"];

/// Each package of the lock file and the names of those that it uses, for tests or in earnest.
fn packages(lock: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut packages: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.lines().find_map(|line| line.strip_prefix("name = ")).unwrap().trim_matches('"');
        let uses = package.lines().filter_map(|line| line.strip_prefix(" \"")?.split(['"', ' ']).next());
        packages.entry(name).or_default().extend(uses);
    }
    packages
}

#[test]
fn neither_program_links_the_compositor_or_what_it_draws_with() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock");
    let lock = std::fs::read_to_string(file).unwrap();
    let packages = packages(&lock);
    assert!(packages["phyllome-compositor"].contains("smithay"), "the lock file is not read as it is written");
    let (mut seen, mut next) = (BTreeSet::new(), vec!["phyllome-tool"]);
    while let Some(package) = next.pop() {
        if seen.insert(package) {
            next.extend(&packages[package]);
        }
    }
    assert!(seen.contains("phyllome-protocol"));
    let found: Vec<_> = FORBIDDEN.into_iter().filter(|name| seen.contains(name)).collect();
    assert!(found.is_empty(), "the tool uses {found:?}");
}
