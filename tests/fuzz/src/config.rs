//! Configuration: shell.toml and two guests' files, as one text with lines of dashes between them. Whatever they say,
//! every guest that is taken has a name and looks of its own, and every problem is a sentence about a file.

use crate::new_folder;
use phyllome_config::{Places, are_alike, load_all};
use std::cell::OnceCell;

const BETWEEN: &[u8] = b"\n---\n";

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// Writes the files and loads them.
pub fn run(data: &[u8]) {
    FOLDER.with(|folder| {
        let path = folder.get_or_init(new_folder).path().to_owned();
        let places = Places { config: path.clone(), data: path.clone(), state: path.clone(), home: None };
        std::fs::create_dir_all(places.guests_dir()).expect("a folder");
        let files = [places.shell_file(), places.guests_dir().join("one.toml"), places.guests_dir().join("two.toml")];
        for (file, text) in files.iter().zip(parts(data)) {
            std::fs::write(file, text).expect("a file");
        }
        let loaded = load_all(&places);
        for problem in &loaded.problems {
            let text = problem.to_string();
            assert!(!text.is_empty() && !text.contains('\u{1b}'), "{text:?}");
        }
        if let [one, two] = loaded.guests.as_slice() {
            assert!(one.name != two.name && !are_alike(&one.label, &two.label), "{one:?} and {two:?}");
            assert!(one.slot.is_none() || one.slot != two.slot);
        }
    });
}

fn parts(data: &[u8]) -> [&[u8]; 3] {
    let cut = |text: &'_ [u8]| text.windows(BETWEEN.len()).position(|window| window == BETWEEN);
    let split = |text| match cut(text) {
        Some(at) => (&text[..at], &text[at + BETWEEN.len()..]),
        None => (text, &text[text.len()..]),
    };
    let (shell, rest) = split(data);
    let (one, two) = split(rest);
    [shell, one, two]
}

/// Files with every table.
pub fn seeds() -> Vec<Vec<u8>> {
    let shell = "theme = \"dark\"\nidle_minutes = 5\nstart = \"one\"\n[keyboard]\nlayout = \"de\"\n[chords]\n\
                 host = \"super\"\n[input]\nnew_keyboards = \"ask\"\n[output.HEADLESS-1]\nscale = 1.5\n\
                 position = \"left-of HEADLESS-2\"\n";
    let one = "profile = \"linux\"\nslot = 1\nmemory = \"2GiB\"\ncpus = 2\nbackground = \"slow\"\n[label]\n\
               text = \"work\"\ncolor = \"red\"\npattern = \"stripes\"\n[machine]\naccel = \"auto\"\nfirmware = \"uefi\"\n\
               [boot]\nkernel = \"vmlinuz\"\ncmdline = \"quiet\"\n[gpu]\nmode = \"2d\"\nscanouts = 2\n[[disk]]\n\
               path = \"work.qcow2\"\nbus = \"virtio\"\n[network]\nmode = \"none\"\n";
    let two = "slot = 1\n[label]\ntext = \"w0rk\"\ncolor = \"#c62828\"\n[[disk]]\npath = \"../x.iso\"\ncdrom = true\n";
    vec![[shell, one, two].join("\n---\n").into_bytes(), [shell, two, one].join("\n---\n").into_bytes()]
}
