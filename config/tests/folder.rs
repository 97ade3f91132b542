//! A whole folder: one bad file hides nothing, and no two guests share a slot or look alike.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use phyllome_config::guest::{LabelColor, Pattern};
use phyllome_config::identity::{ids, keep_id};
use phyllome_config::shell::{ModeRequest, Rotation, Side, Theme};
use phyllome_config::{Loaded, Places, load_all};
use phyllome_protocol::GuestName;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

struct Folder {
    dir: tempfile::TempDir,
}

impl Folder {
    fn new(guests: &[(&str, &str)]) -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        std::fs::create_dir(folder.dir.path().join("guests")).unwrap();
        for (name, text) in guests {
            folder.write(&format!("guests/{name}.toml"), text);
        }
        folder
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.dir.path().join(path), text).unwrap();
    }

    fn load(&self) -> Loaded {
        let dir = self.dir.path();
        load_all(&Places { config: dir.into(), data: dir.into(), state: dir.into(), home: None })
    }
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.guests.iter().map(|guest| guest.name.as_str()).collect()
}

/// Sentences with the folder taken out.
fn problems(folder: &Folder, loaded: &Loaded) -> Vec<String> {
    let dir = format!("{}/", folder.dir.path().display());
    loaded.problems.iter().map(|problem| problem.to_string().replace(&dir, "")).collect()
}

const LINUX: &str = "profile = \"linux\"\n";

fn linux(rest: &str) -> String {
    format!("{LINUX}{rest}\n")
}

#[test]
fn a_missing_folder_is_no_guests_and_no_problem() {
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("nowhere");
    let loaded = load_all(&Places { config: nowhere.clone(), data: nowhere.clone(), state: nowhere, home: None });
    assert_eq!(loaded, Loaded::default());
}

#[test]
fn guests_come_by_slot_then_by_name() {
    let folder = Folder::new(&[("a", LINUX), ("b", &linux("slot = 9")), ("c", &linux("slot = 1")), ("d", LINUX)]);
    let loaded = folder.load();
    assert_eq!(names(&loaded), ["c", "b", "a", "d"]);
    assert_eq!(problems(&folder, &loaded), [""; 0]);
}

#[test]
fn one_bad_file_never_hides_the_others() {
    let folder = Folder::new(&[("a", LINUX), ("b", "profile = 1"), ("c", ""), ("d", LINUX), ("bad name", LINUX)]);
    folder.write("guests/notes.txt", "not a guest");
    folder.write("guests/e.toml~", "a backup");
    folder.write("guests/.hidden.toml", LINUX);
    folder.write("guests/..toml", LINUX);
    folder.write("shell.toml", "theme = \"pink\"");
    std::fs::create_dir(folder.dir.path().join("guests/f.toml")).unwrap();
    let bytes = std::os::unix::ffi::OsStrExt::from_bytes(&b"guests/\xff.toml"[..]);
    std::fs::write(folder.dir.path().join(Path::new::<std::ffi::OsStr>(bytes)), LINUX).unwrap();

    let loaded = folder.load();
    assert_eq!(names(&loaded), ["a", "d"]);
    let problems = problems(&folder, &loaded);
    let about: Vec<_> = problems.iter().map(|p| p.split([',', ':']).next().unwrap()).collect();
    assert_eq!(
        about,
        [
            "guests/..toml",
            "guests/.hidden.toml",
            "guests/bad name.toml",
            "guests/\u{fffd}.toml",
            "shell.toml",
            "guests/b.toml",
            "guests/c.toml",
            "guests/f.toml",
        ]
    );
    assert!(problems[2].starts_with("guests/bad name.toml: the file's name is the guest's: “bad name” is not a guest"));
    assert!(problems[4].contains("line 1, theme: “pink” is not possible; use one of dark, light"), "{}", problems[4]);
}

#[test]
fn the_later_of_two_equal_slots_is_refused_but_its_guest_is_kept() {
    let folder = Folder::new(&[("b", &linux("slot = 1")), ("a", &linux("\nslot = 1")), ("c", &linux("slot = 1"))]);
    let loaded = folder.load();
    let slots: Vec<_> = loaded.guests.iter().map(|g| (g.name.as_str(), g.slot.map(|s| s.number()))).collect();
    assert_eq!(slots, [("a", Some(1)), ("b", None), ("c", None)]);
    let taken = "slot 1 is already that of guests/a.toml; use another of 1 to 9, until then it has none";
    assert_eq!(
        problems(&folder, &loaded),
        [format!("guests/b.toml, line 2, slot: {taken}"), format!("guests/c.toml, line 2, slot: {taken}")]
    );
    assert_eq!(loaded.problems[0].guest().unwrap().as_str(), "b");
}

#[test]
fn tp04_a_text_is_used_once() {
    let folder =
        Folder::new(&[("a", &linux("label.text = \"work\"")), ("b", &linux("label.text = \"WORK\"")), ("work", LINUX)]);
    let loaded = folder.load();
    let texts: Vec<_> = loaded.guests.iter().map(|guest| guest.label.text.as_str()).collect();
    assert_eq!(texts, ["work (a)", "WORK (b)", "work"]);
    assert_eq!(
        problems(&folder, &loaded)[0],
        "guests/a.toml, line 2, label.text: the text reads like that of guests/work.toml; use another, until then it is \
         “work (a)”"
    );
}

#[test]
fn tp04_told_apart_texts_stay_bounded_and_apart() {
    let long = "ü".repeat(64);
    let text = linux(&format!("label.text = \"{long}\""));
    let folder = Folder::new(&[
        ("a", &text),
        ("b", &text),
        ("c", &linux("label.text = \"x\"")),
        ("d", &linux("label.text = \"x (e)\"")),
        ("e", &linux("label.text = \"x\"")),
    ]);
    let loaded = folder.load();
    let texts: Vec<_> = loaded.guests.iter().map(|guest| guest.label.text.as_str()).collect();
    assert_eq!(texts, [&long, &format!("{} (b)", "ü".repeat(62)), "x", "x (e)", "e #2"]);
    assert!(texts.iter().all(|text| text.len() <= 128));
}

#[test]
fn tp04_colour_and_pattern_are_used_once() {
    let red = linux("label.color = \"red\"");
    let folder = Folder::new(&[
        ("a", &red),
        ("b", &red),
        ("c", &linux("[label]\ncolor = \"#c52929\"")),
        ("d", &red),
        ("e", &red),
    ]);
    let loaded = folder.load();
    let looks: Vec<_> = loaded.guests.iter().map(|g| (g.label.color.name(), g.label.pattern)).collect();
    let red = |pattern| ("red".to_owned(), pattern);
    assert_eq!(
        looks,
        [
            red(Pattern::Solid),
            red(Pattern::Stripes),
            ("#c52929".to_owned(), Pattern::Dots),
            red(Pattern::Checks),
            ("orange".to_owned(), Pattern::Solid),
        ]
    );
    assert_eq!(
        problems(&folder, &loaded)[1],
        "guests/c.toml, line 3, label.color: colour and pattern look like those of guests/a.toml; use others, until then \
         it is #c52929 with dots"
    );
}

#[test]
fn tp04_guests_that_name_no_colour_get_free_ones_without_a_word() {
    let names: Vec<String> = (b'a'..=b'h').map(|c| char::from(c).to_string()).collect();
    let guests: Vec<_> = names.iter().map(|name| (name.as_str(), LINUX)).collect();
    let folder = Folder::new(&guests);
    let loaded = folder.load();
    assert_eq!(problems(&folder, &loaded), [""; 0]);
    for color in LabelColor::NAMED {
        assert_eq!(loaded.guests.iter().filter(|g| g.label.color == color).count(), 1, "{color:?}");
    }
    // More than there are colours get other patterns, for which they have not asked either.
    let names: Vec<String> = (0..32).map(|n| format!("guest{n:02}")).collect();
    let guests: Vec<_> = names.iter().map(|name| (name.as_str(), LINUX)).collect();
    let folder = Folder::new(&guests);
    let loaded = folder.load();
    assert_eq!(problems(&folder, &loaded), [""; 0]);
    let looks: std::collections::HashSet<_> =
        loaded.guests.iter().map(|g| (g.label.color.name(), g.label.pattern)).collect();
    assert_eq!(looks.len(), 32);
}

#[test]
fn tp04_holds_for_more_guests_than_looks() {
    let names: Vec<String> = (0..40).map(|n| format!("guest{n:02}")).collect();
    let text = linux("[label]\ntext = \"same\"\ncolor = \"red\"");
    let guests: Vec<_> = names.iter().map(|name| (name.as_str(), text.as_str())).collect();
    let loaded = Folder::new(&guests).load();
    assert_eq!(loaded.guests.len(), 40);
    let mut texts: Vec<_> = loaded.guests.iter().map(|g| g.label.text.clone()).collect();
    texts.sort();
    texts.dedup();
    assert_eq!(texts.len(), 40);
    let looks: std::collections::HashSet<_> =
        loaded.guests.iter().map(|g| (g.label.color.name(), g.label.pattern)).collect();
    assert_eq!(looks.len(), 32);
    assert!(loaded.problems.iter().any(|p| p.message().starts_with("all 32 looks are taken")));
}

#[test]
fn shell_toml_is_read_with_defaults() {
    let folder = Folder::new(&[]);
    folder.write(
        "shell.toml",
        "theme = \"light\"\nreduce_motion = true\nidle_minutes = 10\n[keyboard]\nlayout = \"de,us\"\noptions = \
         \"ctrl:nocaps\"\n[output.HDMI-A-1]\nscale = 1.5\n[output.DP-1]\nscale = 2\n",
    );
    let loaded = folder.load();
    assert_eq!(problems(&folder, &loaded), [""; 0]);
    let shell = loaded.shell;
    assert_eq!((shell.theme, shell.reduce_motion, shell.idle_minutes), (Theme::Light, true, Some(10)));
    assert_eq!((shell.keyboard.layout.as_deref(), shell.keyboard.variant), (Some("de,us"), None));
    assert_eq!(shell.keyboard.options.as_deref(), Some("ctrl:nocaps"));
    assert_eq!((shell.outputs["HDMI-A-1"].scale, shell.outputs["DP-1"].scale), (Some(1.5), Some(2.0)));
}

#[test]
fn a_bad_shell_toml_is_one_sentence_and_all_defaults() {
    for (text, wanted) in [
        (
            "them = 1",
            "line 1, them: this key is unknown; allowed here: theme, reduce_motion, idle_minutes, language, start, chords, keyboard, input, lock, frame, pointer, touchpad, tablet, touch, output",
        ),
        ("idle_minutes = 1441", "line 1, idle_minutes: 1441 is not possible; use 0 to 1440"),
        (
            "[keyboard]\nlayout = \"\"",
            "line 2, keyboard.layout: an empty layout has no keys; use a layout of XKB, such as \"us\"",
        ),
        (
            "[keyboard]\nlayout = \"../x\"",
            "line 2, keyboard.layout: “../x” is not possible; use names of XKB joined by commas, such as \"us,de\" or \"ctrl:nocaps\"",
        ),
        (
            "[output.A]\nsize = 1",
            "line 2, output.A.size: this key is unknown; allowed here: enabled, mode, rotation, scale, position, guest",
        ),
        ("[output.A]\nenabled = 1", "line 2, output.A.enabled: this is an integer; use true or false"),
        (
            "[output.A]\nmode = \"1080p\"",
            "line 2, output.A.mode: “1080p” is not possible; use WIDTHxHEIGHT or WIDTHxHEIGHT@HERTZ, such as \
             \"1920x1080\" or \"1920x1080@59.94\"",
        ),
        ("[output.A]\nrotation = 45", "line 2, output.A.rotation: 45 is not possible; use one of 0, 90, 180, 270"),
        ("[output.A]\nrotation = \"90\"", "line 2, output.A.rotation: this is a string; use one of 0, 90, 180, 270"),
        (
            "[output.A]\nguest = \"../x\"",
            "line 2, output.A.guest: “../x” is not a guest name; use 1 to 48 letters, digits, “.”, “_” or “-”, beginning with a letter or digit",
        ),
        ("[output.A]\nscale = 1.1", "line 2, output.A.scale: 1.1 is not possible; use 0.5 to 4 in steps of 0.25"),
        ("[output.A]\nscale = nan", "line 2, output.A.scale: NaN is not possible; use 0.5 to 4 in steps of 0.25"),
        (
            "[output.\"a  b\"]\nscale = 1",
            "line 1, output.a  b: this is no display's name; use a connector, such as HDMI-A-1, or maker, model and serial, \
             such as \"DEL DELL U2720Q 5X4KB13\", as `phyllome status` shows them",
        ),
        (
            "[output.A]\nposition = \"beside B\"",
            "line 2, output.A.position: “beside B” is not possible; use left-of, right-of, above or below and a display, such \
             as \"left-of HDMI-A-1\"",
        ),
        (
            "start = \"../x\"",
            "line 1, start: “../x” is not a guest name; use 1 to 48 letters, digits, “.”, “_” or “-”, beginning with a letter or digit",
        ),
    ] {
        let folder = Folder::new(&[]);
        folder.write("shell.toml", text);
        let loaded = folder.load();
        assert_eq!(problems(&folder, &loaded), [format!("shell.toml, {wanted}")]);
        assert_eq!(loaded.shell, phyllome_config::ShellConfig::default());
    }
}

#[test]
fn outputs_are_read() {
    let folder = Folder::new(&[("mail", LINUX)]);
    folder.write(
        "shell.toml",
        "[output.DP-1]\nmode = \"1920x1080@59.94\"\nrotation = 90\nguest = \"mail\"\n[output.DP-2]\nenabled = \
         false\nmode = \"640x480\"\nrotation = 0\n",
    );
    let loaded = folder.load();
    assert_eq!(problems(&folder, &loaded), [""; 0]);
    let (one, two) = (&loaded.shell.outputs["DP-1"], &loaded.shell.outputs["DP-2"]);
    let asked = ModeRequest { width: 1920, height: 1080, refresh_mhz: Some(59_940) };
    assert_eq!((one.mode, one.rotation, one.disabled), (Some(asked), Rotation::Quarter, false));
    assert_eq!(one.guest.as_ref().unwrap().as_str(), "mail");
    let asked = ModeRequest { width: 640, height: 480, refresh_mhz: None };
    assert_eq!((two.mode, two.rotation, two.disabled), (Some(asked), Rotation::Normal, true));
}

#[test]
fn displays_have_names_of_their_own_and_places_beside_others() {
    let folder = Folder::new(&[]);
    folder.write("shell.toml", "[output.\"DEL DELL U2720Q 5X4\"]\nposition = \"left-of GSM LG 27UK 0x1\"\nscale = 2");
    let loaded = folder.load();
    assert_eq!(problems(&folder, &loaded), [""; 0]);
    let position = loaded.shell.outputs["DEL DELL U2720Q 5X4"].position.as_ref().unwrap();
    assert_eq!((position.side, position.of.as_str()), (Side::LeftOf, "GSM LG 27UK 0x1"));
}

#[test]
fn the_guest_to_start_with_that_there_is_not_is_said_and_the_rest_counts() {
    let folder = Folder::new(&[("work", LINUX)]);
    folder.write("shell.toml", "reduce_motion = true\nstart = \"work\"");
    let loaded = folder.load();
    assert_eq!((problems(&folder, &loaded).len(), loaded.shell.start.unwrap().as_str()), (0, "work"));
    folder.write("shell.toml", "reduce_motion = true\nstart = \"wrok\"");
    let loaded = folder.load();
    assert_eq!(
        problems(&folder, &loaded),
        [
            "shell.toml, line 2, start: there is no guest “wrok”; use the name of a file in guests/, until then the guest is shown \
          that is started first"
        ]
    );
    assert!(loaded.shell.reduce_motion);
}

#[test]
fn modes_that_no_display_can_have_are_refused() {
    for mode in
        ["", "x", "0x1", "1x0", "16385x1", "+1x1", "1x1@", "1x1@0", "1x1@1.2345", "1x1@60Hz", "1x1@1001", "1x1x1"]
    {
        let folder = Folder::new(&[]);
        folder.write("shell.toml", &format!("[output.A]\nmode = \"{mode}\""));
        let loaded = folder.load();
        assert!(problems(&folder, &loaded)[0].contains("is not possible; use WIDTHxHEIGHT"), "{mode}");
    }
}

#[test]
fn an_output_for_a_guest_that_there_is_not_is_said_and_the_rest_counts() {
    let folder = Folder::new(&[("bad", "profile = 1")]);
    folder.write("shell.toml", "[output.A]\nguest = \"bad\"\n[output.B]\nrotation = 180\nguest = \"mail\"");
    let loaded = folder.load();
    let problems = problems(&folder, &loaded);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert_eq!(
        problems[1],
        "shell.toml, line 5, output.B.guest: there is no guest “mail”; use the name of a file in guests/, until then this \
         display shows the guest that was switched to"
    );
    assert_eq!(loaded.shell.outputs["B"].rotation, Rotation::Half);
}

#[test]
fn the_shipped_examples_load_without_a_problem() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("guests")).unwrap();
    for name in ["linux", "windows-11", "installer"] {
        std::fs::copy(examples.join(format!("{name}.toml")), dir.path().join(format!("guests/{name}.toml"))).unwrap();
    }
    std::fs::copy(examples.join("shell.toml"), dir.path().join("shell.toml")).unwrap();
    let home = Some("/home/a".into());
    let loaded = load_all(&Places { config: dir.path().into(), data: "/d".into(), state: "/s".into(), home });
    assert_eq!(loaded.problems, []);
    assert_eq!(names(&loaded), ["linux", "windows-11", "installer"]);
    assert_eq!(loaded.shell, phyllome_config::ShellConfig::default());
}

/// A shipped example with everything that it shows in comments.
fn example_in_full(name: &str) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name);
    let text = std::fs::read_to_string(example).unwrap();
    let shown =
        |line: &&str| line.starts_with("# [") || line.split_once(" = ").is_some_and(|(key, _)| key.starts_with("# "));
    assert!(text.lines().filter(shown).count() > 3);
    let used: Vec<_> = text.lines().map(|line| if shown(&line) { &line[2..] } else { line }).collect();
    used.join("\n")
}

#[test]
fn what_the_shipped_examples_show_in_comments_can_be_used() {
    let folder = Folder::new(&[("mail", LINUX)]);
    folder.write("shell.toml", &example_in_full("shell.toml"));
    folder.write("guests/work.toml", &example_in_full("linux.toml"));
    assert_eq!(problems(&folder, &folder.load()), [""; 0]);
}

const ID: &str = "6f0c2a5e-0001-4bcd-8eff-0123456789ab";

#[test]
fn of_two_files_with_one_id_the_copy_is_refused_and_both_are_named() {
    for (original, copy) in [("play", "work"), ("work", "play")] {
        let folder = Folder::new(&[]);
        let made = |name: &str| {
            let file = format!("guests/{name}.toml");
            folder.write(&file, &format!("# of {original}\nid = \"{ID}\"\nprofile = \"linux\"\n"));
            let metadata = std::fs::metadata(folder.dir.path().join(file)).unwrap();
            metadata.created().or_else(|_| metadata.modified()).unwrap()
        };
        let first = made(original);
        // The clock of a file system is coarse.
        let end = Instant::now() + Duration::from_secs(10);
        while made(copy) <= first {
            assert!(Instant::now() < end, "the clock of the file system stands still");
            std::fs::remove_file(folder.dir.path().join(format!("guests/{copy}.toml"))).unwrap();
        }
        let loaded = folder.load();
        assert_eq!(names(&loaded), [original]);
        let told = problems(&folder, &loaded);
        assert_eq!(told.len(), 1);
        let wanted = [format!("guests/{copy}.toml, line 2, id: "), format!("{original}.toml has this id too")];
        assert!(wanted.iter().all(|part| told[0].contains(part)), "{told:?}");
    }
}

#[test]
fn an_id_is_kept_in_the_file_and_nothing_else_changes() {
    let folder = Folder::new(&[]);
    let dir = folder.dir.path().to_owned();
    let places = Places { config: dir.clone(), data: dir.clone(), state: dir.clone(), home: None };
    let (name, id) = (GuestName::new("work").unwrap(), ID.parse().unwrap());
    for (start, rest, end) in [
        ("# mine\n\n", "profile = \"linux\" # what it is\n[label]\ncolor = \"red\"\n", "\n"),
        ("", "slot   = 1\r\nprofile = \"linux\"\r\n", "\r\n"),
        ("memory = \"\"\"1GiB\"\"\"\n", "profile = 'linux'", "\n"),
    ] {
        let (before, profile) = rest.split_at(rest.find("profile").unwrap());
        let start = format!("{start}{before}");
        folder.write("guests/work.toml", &format!("{start}{profile}"));
        let path = dir.join("guests/work.toml");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        keep_id(&path, &name, &places, id).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let added = text.strip_prefix(&start).unwrap().strip_suffix(profile).unwrap();
        assert!(added.starts_with(&format!("id = \"{ID}\"  # ")) && added.ends_with(end), "{added:?}");
        assert_eq!(added.lines().count(), 1);
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(folder.load().guests[0].id, Some(id));
        assert_eq!(std::fs::read_dir(dir.join("guests")).unwrap().count(), 1, "nothing is left beside it");
    }
    // A link, as those have who keep their files elsewhere, stays one.
    folder.write("real.toml", "profile = \"linux\"\n");
    let link = dir.join("guests/play.toml");
    std::os::unix::fs::symlink(dir.join("real.toml"), &link).unwrap();
    let other = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    keep_id(&link, &GuestName::new("play").unwrap(), &places, other).unwrap();
    assert!(link.symlink_metadata().unwrap().is_symlink());
    assert!(std::fs::read_to_string(dir.join("real.toml")).unwrap().contains("-000000000001\""));
    let ids = ids(&places);
    assert_eq!(
        ids.iter().map(|(name, _, id)| (name.as_str(), *id)).collect::<Vec<_>>(),
        [("play", other), ("work", id)]
    );
}
