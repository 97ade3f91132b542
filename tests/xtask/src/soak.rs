//! `cargo xtask test soak PART`: the tests whose worth is in repetition, with large numbers.
//!
//! They are tests of the normal run, there with small numbers ([`VARIABLE`] tells them which), and those that are
//! marked `#[ignore = "soak PART: why"]`, which the normal run leaves out. A part takes at most [`LIMIT`]. A part that
//! has passed is noted with the commit that it passed at, so that all of them can be run in several goes.

use crate::outcome::Outcome;
use phyllome_test_guests::repository;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// Tells tests that they soak; `phyllome_test_support::soak` reads it.
pub const VARIABLE: &str = "PHYLLOME_SOAK";

/// The longest that a part may take.
pub const LIMIT: Duration = Duration::from_secs(20 * 60);

/// Some tests of one executable.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Its word on the command line.
    pub name: &'static str,
    /// What it repeats.
    pub about: &'static str,
    /// The executable's title.
    pub title: &'static str,
    /// Its tests, by their whole names.
    pub tests: &'static [&'static str],
}

/// All parts, in the order in which `soak` alone runs them.
pub const PARTS: &[Part] = &[
    Part {
        name: "floods",
        about: "long floods and hoards of a hostile guest",
        title: "hostile_gpu",
        tests: &[
            "limits::a_flood_of_flushes_is_answered_and_bounded",
            "limits::rounds_of_all_kinds_grow_nothing",
            "three_d::floods::rounds_of_3d_grow_nothing",
        ],
    },
    Part {
        name: "pixels",
        about: "thousands of guests that do anything in any order, seen pixel by pixel",
        title: "guest-bridge (screen)",
        tests: &["random::whatever_a_guest_does_no_stale_or_foreign_pixel_is_seen_and_none_outside"],
    },
    Part {
        name: "kills",
        about: "twenty deaths of the shell under drawing load",
        title: "kms",
        tests: &["session::a_shell_that_is_killed_again_and_again_under_drawing_load_is_back_each_time"],
    },
    Part {
        name: "deaths",
        about: "fifty deaths of a renderer",
        title: "gpu3d",
        tests: &["deaths::gpu3d_deaths_of_the_renderer_leave_the_guest_up"],
    },
    Part {
        name: "abuse-requests",
        about: "ten minutes of each abuse by requests: chords are timed meanwhile, and the shell's memory is measured",
        title: "compositor (phyllome_compositor)",
        tests: &[
            "tests::abuse::tp20_configures_that_nobody_acknowledges",
            "tests::abuse::tp20_long_turns_that_are_paced",
        ],
    },
    Part {
        name: "abuse-pointers",
        about: "the same, by more pointers than are served",
        title: "compositor (phyllome_compositor)",
        tests: &["tests::abuse::tp20_all_pointers_that_may_be", "tests::abuse::tp20_more_pointers_than_may_be"],
    },
    Part {
        name: "abuse-pictures",
        about: "the same, by pictures that are too large, or larger than a frame's share",
        title: "compositor (phyllome_compositor)",
        tests: &["tests::abuse::tp20_pictures_of_16384_by_16384_pixels", "tests::abuse::tp20_uploads_of_64_mib"],
    },
    Part {
        name: "nested",
        about: "a real guest in a QEMU inside the KMS machine",
        title: "kms",
        tests: &["nested::a_real_guest_is_seen_and_hears_real_keys"],
    },
];

/// The part of this name.
pub fn part(name: &str) -> Option<&'static Part> {
    PARTS.iter().find(|part| part.name == name)
}

/// The parts' names, for a sentence.
pub fn names() -> String {
    PARTS.iter().map(|part| part.name).collect::<Vec<_>>().join(", ")
}

/// The commit that the tree is at; nothing where it has changes, or no git is.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(repository()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty().then(|| git(&["rev-parse", "HEAD"]))?
}

fn note_of(part: &Part) -> PathBuf {
    crate::cargo::target_dir().join("soak").join(part.name)
}

/// Whether the part has passed at this commit.
pub fn has_passed(part: &Part, commit: Option<&str>) -> bool {
    let note = std::fs::read_to_string(note_of(part)).unwrap_or_default();
    commit.is_some_and(|commit| note.lines().next() == Some(commit))
}

/// Notes that the part has passed, or that it has not.
pub fn note(part: &Part, commit: Option<&str>, outcome: &Outcome) {
    let path = note_of(part);
    let whole = outcome.failed.is_empty() && outcome.skipped.is_empty() && outcome.passed == part.tests.len();
    // A note that cannot be written costs a repetition.
    let _ = match commit.filter(|_| whole) {
        Some(commit) => std::fs::create_dir_all(crate::cargo::target_dir().join("soak"))
            .and_then(|()| std::fs::write(&path, format!("{commit}\n{outcome}\n"))),
        None => std::fs::remove_file(&path),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_name_of_its_own() {
        for (place, part) in PARTS.iter().enumerate() {
            assert!(PARTS.iter().skip(place + 1).all(|other| other.name != part.name), "{}", part.name);
            assert!(!part.tests.is_empty() && !part.about.is_empty());
        }
        assert_eq!(super::part("kills").map(|part| part.title), Some("kms"));
        assert_eq!(super::part("everything"), None);
    }

    /// The files of the end-to-end tests, below `folder`.
    fn files(folder: &std::path::Path) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] });
        files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
    }

    #[test]
    fn every_test_that_the_run_leaves_to_soak_is_in_its_part() {
        let mut found = 0;
        for path in files(&repository().join("tests/tests")) {
            let text = std::fs::read_to_string(&path).unwrap();
            for (_, rest) in text.match_indices("#[ignore = \"soak ").map(|(at, mark)| (at, &text[at + mark.len()..])) {
                let (name, rest) = rest.split_once(':').unwrap();
                let test = rest.split_once("fn ").unwrap().1.split('(').next().unwrap();
                let part = super::part(name).unwrap_or_else(|| panic!("{}: no part {name}", path.display()));
                assert!(
                    part.tests.iter().any(|whole| whole.ends_with(&format!("::{test}"))),
                    "{test} is not in {name}"
                );
                found += 1;
            }
        }
        assert!(found > 0);
    }
}
