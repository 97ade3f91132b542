//! What cannot start, or not well, is one sentence with the file and the cause; and nothing half-made stays.

use crate::bridge::{self, Bridge};
use crate::{QUIET, running, uefi};
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::Request;
use phyllome_protocol::status::GuestState;
use std::process::Command;
use std::time::Duration;

/// The sentence of a guest that does not start, without the folder's path.
fn refusal(bridge: &mut Bridge) -> String {
    let last = bridge.last_report();
    assert_eq!(last.state, GuestState::Crashed);
    let message = last.message.expect("a sentence");
    assert_eq!(bridge.wait(), (Some(1), format!("error: {message}\n")));
    message.replace(&format!("{}/", bridge.path().display()), "")
}

fn qemu_img(bridge: &Bridge, args: &str) {
    let status = Command::new("qemu-img").args(args.split(' ')).current_dir(bridge.path()).status();
    assert!(status.expect("qemu-img is installed (cargo xtask setup)").success());
}

/// A guest on this disk, which lies in the bridge's folder.
fn on_disk(image: &str, rest: &str) -> Bridge {
    let bridge = Bridge::prepare("work", "");
    let path = bridge.path().join(image);
    bridge.write(&format!("{QUIET}[[disk]]\npath = \"{}\"\n{rest}", path.display()));
    bridge
}

#[test]
fn a_disk_that_another_guest_has_is_said_to_be_in_use() {
    let mut first = on_disk("a.qcow2", "");
    qemu_img(&first, "create -q -f qcow2 a.qcow2 1M");
    first.restart();
    running(&mut first);
    let mut second = Bridge::start("play", &first.text());
    let path = first.path().join("a.qcow2");
    let says = format!("the disk {} is in use by another program or guest; end that one first", path.display());
    assert_eq!(refusal(&mut second), says);
}

#[test]
fn a_damaged_disk_is_said_to_be_damaged() {
    let mut bridge = on_disk("a.qcow2", "");
    qemu_img(&bridge, "create -q -f qcow2 a.qcow2 1M");
    let path = bridge.path().join("a.qcow2");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[79] |= 2;
    std::fs::write(&path, bytes).unwrap();
    bridge.restart();
    let why = refusal(&mut bridge);
    assert!(why.starts_with("the disk a.qcow2 is damaged; copy it, and then let qemu-img check -r all"), "{why}");
}

#[test]
fn an_image_opens_what_the_definition_names_and_its_absence_is_told() {
    let mut bridge = on_disk("top.qcow2", "");
    qemu_img(&bridge, "create -q -f qcow2 base.qcow2 1M");
    qemu_img(&bridge, "create -q -f qcow2 -F qcow2 -b base.qcow2 top.qcow2");
    bridge.restart();
    let why = refusal(&mut bridge);
    assert!(
        why.starts_with("the disk top.qcow2 wants to open “base.qcow2”, which its [[disk]] does not name"),
        "{why}"
    );
    let base = bridge.path().join("base.qcow2");
    bridge.write(&format!("{}backing = \"{}\"\n", bridge.text(), base.display()));
    bridge.restart();
    running(&mut bridge);
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    bridge.wait();
    std::fs::remove_file(base).unwrap();
    bridge.restart();
    let why = refusal(&mut bridge);
    assert_eq!(why, "the backing image base.qcow2 does not exist; mend its path in the guest's definition");
}

#[test]
fn more_memory_than_there_is_and_a_path_that_is_too_long_are_told_before_anything_is_made() {
    let mut bridge = Bridge::start("work", &uefi("tcg").replace("128MiB", "4TiB"));
    let why = refusal(&mut bridge);
    assert!(why.starts_with("the guest wants 4194304 MiB of memory and this computer has "), "{why}");
    assert!(!bridge.path().join("data/phyllome/firmware").exists());

    let bridge = Bridge::prepare("work", QUIET);
    let deep = bridge.path().join("d".repeat(107 - 30 - bridge.path().as_os_str().len()));
    std::fs::create_dir(&deep).unwrap();
    std::fs::set_permissions(&deep, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let output = bridge.command().env("XDG_RUNTIME_DIR", &deep).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("that a socket's path may have; give the guest a shorter name"), "{words}");
    assert!(!deep.join("phyllome/guests/work").exists() && !bridge.state_folder().exists());
}

#[test]
fn a_guest_runs_though_the_disk_of_its_logs_is_full_and_what_it_prints_is_lost() {
    let mut bridge = Bridge::prepare("work", QUIET);
    std::fs::create_dir_all(bridge.state_folder()).unwrap();
    for log in ["bridge.log", "qemu.log", "serial.log"] {
        std::os::unix::fs::symlink("/dev/full", bridge.state_folder().join(log)).unwrap();
    }
    bridge.restart_with(|command| {
        command.stderr(std::fs::File::options().write(true).open("/dev/full").unwrap());
    });
    running(&mut bridge);
    bridge.ask(Request::Verb(GuestVerb::Restart)).unwrap();
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    assert_eq!(bridge.wait().0, Some(0));
}

#[test]
fn a_guest_is_given_an_id_once_and_a_copy_of_its_file_is_refused() {
    let mut bridge = Bridge::start("work", &format!("# mine\n{QUIET}"));
    running(&mut bridge);
    let text = bridge.text();
    let id = text.lines().find_map(|line| line.strip_prefix("id = \"")?.get(..36)).unwrap().to_owned();
    assert!(text.starts_with("# mine\n") && text.ends_with(QUIET), "{text}");
    // The command line is on as many lines of the log as it takes, of whole arguments each.
    let log = std::fs::read_to_string(bridge.state_folder().join("bridge.log")).unwrap();
    assert!(log.contains(" -uuid ") && log.contains(&format!("{id} ")), "{log}");
    std::fs::write(bridge.path().join("config/guests/xcopy.toml"), &text).unwrap();
    let output = bridge.command_for("xcopy").output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("xcopy.toml: ") && words.contains("work.toml has this id too"), "{words}");
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    bridge.wait();
    bridge.restart();
    running(&mut bridge);
    assert_eq!(bridge.text(), text);
}

#[test]
fn a_guest_that_ignores_its_power_button_is_said_to_and_a_late_clock_is_told() {
    // SeaBIOS does not listen to it.
    let reaction = Duration::from_millis(500);
    let mut bridge = Bridge::start_with("work", QUIET, |command| {
        command.env("PHYLLOME_TEST_REACTION_MS", reaction.as_millis().to_string());
    });
    running(&mut bridge);
    let asked = std::time::Instant::now();
    bridge.ask(Request::Verb(GuestVerb::Shutdown)).unwrap();
    let told = bridge.report_until("it runs on", |report| report.state == GuestState::Running);
    assert!(told.unheeded && told.message.unwrap().starts_with("work did not react to its power button"));
    assert!(asked.elapsed() >= reaction);
    bridge.ask(Request::Verb(GuestVerb::Restart)).unwrap();
    bridge.report_until("a reset mends it", |report| !report.unheeded && report.message.is_none());
    bridge.ask(Request::Verb(GuestVerb::Pause)).unwrap();
    std::thread::sleep(Duration::from_millis(2500));
    bridge.ask(Request::Verb(GuestVerb::Resume)).unwrap();
    bridge.report_until("its clock is late", |report| {
        report.message.as_deref().is_some_and(|message| message.starts_with("work’s clock stood still for "))
    });
    assert!(bridge::alive(bridge.pid()));
}
