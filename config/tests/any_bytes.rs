//! No bytes in any file make the loader panic, and no error breaks out of its line.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use phyllome_config::{Places, load_all};
use phyllome_protocol::text::is_hidden;
use proptest::prelude::*;

/// Files made of pieces of real ones, so that the schema's own code is reached.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "profile = \"linux\"\n",
            "slot = 1\n",
            "slot = 99999999999999999999\n",
            "memory = \"2GiB\"\n",
            "cpus = 0x7f\n",
            "[label]\n",
            "text = \"a\"\n",
            "text = \"\"\n",
            "color = \"#00ff0\"\n",
            "color = \"#€€\"\n",
            "pattern = 1979-05-27\n",
            "[boot]\n",
            "kernel = \"~\"\n",
            "kernel = \"\\u0000\"\n",
            "[[disk]]\n",
            "path = \"~user/x\"\n",
            "bus = \"usb\"\n",
            "cdrom = true\n",
            "[gpu]\n",
            "scanouts = -1\n",
            "[output]\n",
            "[output.\"\"]\n",
            "scale = -inf\n",
            "[keyboard]\n",
            "layout = ','\n",
            "[[[",
            "\"",
            "'''",
            "\\",
            "\r",
            "\u{feff}",
            "idle_minutes = 0b1\n",
        ])
        .prop_map(|text: &str| text.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(guest in pieces(), other in prop::collection::vec(any::<u8>(), 0..200), shell in pieces()) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("guests")).unwrap();
        std::fs::write(dir.path().join("guests/a.toml"), &guest).unwrap();
        std::fs::write(dir.path().join("guests/b.toml"), &other).unwrap();
        std::fs::write(dir.path().join("guests/good.toml"), "profile = \"linux\"").unwrap();
        std::fs::write(dir.path().join("shell.toml"), &shell).unwrap();
        let folder = dir.path().to_owned();
        let loaded = load_all(&Places { config: folder.clone(), data: folder.clone(), state: folder, home: None });
        prop_assert!(loaded.guests.iter().any(|guest| guest.name.as_str() == "good"));
        for problem in &loaded.problems {
            let sentence = problem.to_string();
            prop_assert!(!sentence.chars().any(is_hidden), "{sentence:?}");
            prop_assert!(sentence.len() < 2000);
        }
    }
}
