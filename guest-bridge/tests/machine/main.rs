//! phyllome-guest with a real QEMU, driven over its control socket: every request, and every way to end.
//!
//! Each test has folders of its own and ends what it started. Nothing here needs a kernel: the guests run firmware
//! only.

mod bridge;
mod generic;
mod leaving;
mod linux;
mod live_resize;
mod refused;

use bridge::{Bridge, alive, eventually};
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::{FromGuest, Report, Request};
use phyllome_protocol::status::GuestState;
use phyllome_test_guests::program;
use phyllome_test_support::process::{SEEN_AS, is_hidden};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::time::Duration;

/// A guest that runs SeaBIOS, which has no display and nothing to do.
const QUIET: &str = "profile = \"bios\"\nmemory = \"64MiB\"\n[machine]\naccel = \"tcg\"\n[network]\nmode = \"none\"\n";

fn uefi(accel: &str) -> String {
    format!(
        "profile = \"uefi\"\nmemory = \"128MiB\"\n[machine]\naccel = \"{accel}\"\nfirmware = \"uefi\"\n[network]\nmode = \"none\"\n"
    )
}

fn running(bridge: &mut Bridge) -> Report {
    bridge.report_until("the guest runs", |report| report.state == GuestState::Running)
}

#[test]
fn requests_change_the_state_and_a_kill_ends_everything() {
    let mut bridge = Bridge::start("work", QUIET);
    let report = running(&mut bridge);
    assert_eq!(report.accel.as_deref(), Some("tcg"));
    assert_eq!(report.pid, bridge.pid());
    let qemu = report.qemu_pid.unwrap();
    for (request, state) in [
        (Request::Verb(GuestVerb::Pause), GuestState::Paused),
        (Request::Verb(GuestVerb::Pause), GuestState::Paused),
        (Request::Verb(GuestVerb::Resume), GuestState::Running),
        (Request::Verb(GuestVerb::Restart), GuestState::Running),
        (Request::Verb(GuestVerb::Shutdown), GuestState::Stopping),
    ] {
        bridge.ask(request.clone()).unwrap();
        assert_eq!(bridge.reported_state(), Some(state), "told before {request:?} was said to be done");
    }
    assert!(bridge.state_folder().join("qemu.log").exists() && bridge.state_folder().join("bridge.log").exists());
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    let last = bridge.last_report();
    assert_eq!((last.state, last.message, last.qemu_pid), (GuestState::Stopped, None, None));
    let (code, stderr) = bridge.wait();
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    assert!(!alive(qemu));
    assert!(!bridge.guest_folder().exists(), "socket, lock and folder are gone");
}

#[test]
fn a_missing_kernel_is_one_sentence_and_the_state_crashed() {
    let text = format!("{QUIET}[boot]\nkernel = \"/nowhere/vmlinuz\"\n");
    let mut bridge = Bridge::start("work", &text);
    let last = bridge.last_report();
    assert_eq!(last.state, GuestState::Crashed);
    let message = last.message.unwrap();
    assert!(message.contains("/nowhere/vmlinuz") && message.contains("does not exist"), "{message}");
    let (code, stderr) = bridge.wait();
    assert_eq!(code, Some(1));
    assert_eq!(stderr.trim_end(), format!("error: {message}"));
}

#[test]
fn while_qemu_does_not_say_what_it_is_the_guest_answers_and_can_be_killed() {
    let programs = tempfile::tempdir().unwrap();
    let qemu = programs.path().join("qemu-system-x86_64");
    program::write(&qemu, "#!/bin/sh\nexec /bin/sleep 1000\n").unwrap();
    let mut bridge = Bridge::start_with("work", QUIET, |command| {
        command.env("PATH", programs.path());
    });
    bridge.report_until("it starts", |report| report.state == GuestState::Starting);
    assert!(bridge.ask(Request::Verb(GuestVerb::Pause)).is_err(), "there is nothing to pause");
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    let last = bridge.last_report();
    assert_eq!((last.state, last.message, last.qemu_pid), (GuestState::Stopped, None, None));
    assert_eq!(bridge.wait(), (Some(0), String::new()));
}

#[test]
fn a_kernel_that_is_none_is_told_in_the_words_of_qemu() {
    let text = format!("{QUIET}[boot]\nkernel = \"/etc/hostname\"\n");
    let mut bridge = Bridge::start("work", &text);
    let last = bridge.last_report();
    assert_eq!(last.state, GuestState::Crashed);
    let message = last.message.unwrap();
    let words = message.strip_prefix("QEMU ended with status 1: ");
    let words = words.and_then(|rest| rest.strip_suffix("; mend that and start the guest again"));
    let words = words.unwrap_or_else(|| panic!("{message}"));
    let log = std::fs::read_to_string(bridge.state_folder().join("qemu.log")).unwrap();
    assert!(words.contains("kernel") && log.contains(words), "{log}");
}

#[test]
fn a_missing_qemu_or_disk_is_one_sentence() {
    let disk = format!("{QUIET}[[disk]]\npath = \"/nowhere/disk.qcow2\"\n");
    for (path, text, says) in
        [("/nowhere", QUIET, "qemu-system-x86_64 is not installed"), ("", &disk, "/nowhere/disk.qcow2 does not exist")]
    {
        let mut bridge = Bridge::start_with("work", text, |command| {
            if !path.is_empty() {
                command.env("PATH", path);
            }
        });
        let last = bridge.last_report();
        assert_eq!(last.state, GuestState::Crashed);
        assert!(last.message.as_deref().unwrap().contains(says), "{last:?}");
        assert_eq!(bridge.wait().0, Some(1));
    }
}

#[test]
fn qemu_that_is_killed_is_a_crash() {
    let mut bridge = Bridge::start("work", QUIET);
    let qemu = running(&mut bridge).qemu_pid.unwrap();
    bridge::kill(qemu, rustix::process::Signal::KILL);
    let last = bridge.last_report();
    let says = "QEMU was ended by signal 9; start the guest again, and end another first if memory has run out";
    assert_eq!((last.state, last.message.as_deref()), (GuestState::Crashed, Some(says)));
    assert_eq!(bridge.wait().0, Some(1));
}

#[test]
fn qemu_dies_with_its_supervisor_and_the_guest_can_be_started_again() {
    let mut bridge = Bridge::start("work", QUIET);
    let qemu = running(&mut bridge).qemu_pid.unwrap();
    bridge::kill(bridge.pid(), rustix::process::Signal::KILL);
    eventually("QEMU is gone", || !alive(qemu));
    assert!(bridge.guest_folder().join("control.sock").exists(), "nobody was left to remove it");
    bridge.restart();
    running(&mut bridge);
}

#[test]
fn qemu_that_hangs_up_and_stays_is_ended() {
    // The descriptors' numbers stand in the command line as fd=N.
    let script = "#!/bin/bash\n[ \"$1\" = --version ] && exec echo QEMU emulator version 10.0.2\n\
        [ \"$1\" = -display ] && exec echo dbus\n[ \"$1\" = -device ] && exec echo none\n\
        echo 'qemu-system-x86_64: half awake' >&2\n\
        for word in \"$@\"; do [[ $word =~ fd=([0-9]+) ]] && eval \"exec ${BASH_REMATCH[1]}>&-\"; done\nexec sleep 1000\n";
    let bin = tempfile::tempdir().unwrap();
    let qemu = bin.path().join("qemu-system-x86_64");
    program::write(&qemu, script).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let mut bridge = Bridge::start_with("work", QUIET, |command| {
        command.env("PATH", path);
    });
    let qemu = bridge.report_until("it is started", |report| report.qemu_pid.is_some()).qemu_pid.unwrap();
    let last = bridge.last_report();
    assert_eq!(last.state, GuestState::Crashed);
    assert!(last.message.as_deref().unwrap().starts_with("QEMU hung and was ended: "), "{last:?}");
    assert_eq!(bridge.wait().0, Some(1));
    assert!(!alive(qemu));
}

#[test]
fn qemu_sees_none_of_the_persons_variables_and_no_memory_is_left_behind() {
    let script = "#!/bin/bash\ncat /proc/$$/environ > $0.seen$1\n[ \"$1\" = --version ] && exec echo QEMU emulator version 10.0.2\n\
        [ \"$1\" = -display ] && exec echo dbus\n[ \"$1\" = -device ] && exec echo none\n\
        touch $0.ready\nexec sleep 1000\n";
    let bin = tempfile::tempdir().unwrap();
    let qemu = bin.path().join("qemu-system-x86_64");
    program::write(&qemu, script).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let mut bridge = Bridge::start_with("work", QUIET, |command| {
        command.env("PATH", &path).env("TZ", "UTC").env("SSH_AUTH_SOCK", "/run/agent").env("LANG", "de_DE.UTF-8");
        if rustix::process::geteuid().is_root() {
            command.gid(SEEN_AS);
        }
    });
    let qemu = bridge.report_until("it is started", |report| report.qemu_pid.is_some()).qemu_pid.unwrap();
    let seen = |file: &str| std::fs::read_to_string(bin.path().join(format!("qemu-system-x86_64.{file}")));
    eventually("QEMU has looked around", || seen("ready").is_ok());
    for asked in ["seen--version", "seen-display", "seen-no-user-config"] {
        let variables = seen(asked).unwrap();
        let mut variables: Vec<_> = variables.split_terminator('\0').collect();
        variables.sort_unstable();
        let path = format!("PATH={path}");
        assert_eq!(variables, ["HOME=/nonexistent", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", &path, "TZ=UTC"], "{asked}");
    }
    for pid in [bridge.pid(), qemu] {
        let file = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let limits = file("limits");
        let core = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
        assert_eq!(core.split_whitespace().collect::<Vec<_>>(), ["0", "0", "bytes"]);
    }
    let filter = std::fs::read_to_string(format!("/proc/{qemu}/coredump_filter")).unwrap();
    assert_eq!(filter.trim().trim_start_matches('0'), "", "what a program takes by a pipe has no limit");
    assert!(is_hidden(bridge.pid()).unwrap() && !is_hidden(qemu).unwrap());
}

#[test]
fn a_second_process_for_the_same_guest_is_refused() {
    let mut bridge = Bridge::start("work", QUIET);
    running(&mut bridge);
    let output = bridge.command().output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("work is running already") && stderr.lines().count() == 1, "{stderr}");
    bridge.ask(Request::Report).unwrap();
}

#[test]
fn what_makes_no_sense_is_refused_and_harms_nobody() {
    let mut bridge = Bridge::start("work", QUIET);
    running(&mut bridge);
    let keys = |names: &[&str]| Request::SendKeys { keys: names.iter().map(|name| (*name).to_owned()).collect() };
    for (request, says) in [
        (keys(&["ctrl", "nokey"]), "no key “nokey”"),
        (keys(&[]), "1 to 16"),
        (keys(&["a"; 17]), "1 to 16"),
        (keys(&["fn"]), "QEMU has no key"),
        (Request::AttachScreen { width: 1, height: 1 }, "no Wayland connection"),
    ] {
        let reason = bridge.ask(request).unwrap_err();
        assert!(reason.contains(says), "{reason}");
    }
    bridge.ask(keys(&["ctrl", "alt", "delete"])).unwrap();
    let (end, other) = UnixStream::pair().unwrap();
    let attach = Request::AttachScreen { width: 0, height: 5 };
    assert!(bridge.ask_with(attach, &[end.as_fd()]).unwrap_err().contains("without an area"));
    // A compositor that hangs up at once is no compositor, and no harm.
    drop(other);
    bridge.ask_with(Request::AttachScreen { width: 640, height: 480 }, &[end.as_fd()]).unwrap();
    bridge.ask(Request::Report).unwrap();
}

#[test]
fn silent_listeners_give_way_and_all_others_hear_the_end() {
    let mut bridge = Bridge::start("work", QUIET);
    running(&mut bridge);
    bridge.ask(Request::Report).unwrap();
    let mut others: Vec<_> = (0..20).map(|_| bridge.connect()).collect();
    for other in &mut others {
        assert!(matches!(other.next(), Some(FromGuest::Hello { version: 1, .. })), "each newest one finds a place");
        assert!(matches!(other.next(), Some(FromGuest::Report(_))));
    }
    // Eight have places: the one that asked, and of the silent ones the six that were there first and the newest.
    for other in &mut others[6..19] {
        while other.next().is_some() {}
    }
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    let newest = others.remove(19);
    others.truncate(6);
    for other in others.iter_mut().chain([&mut { newest }]) {
        let mut last = None;
        while let Some(FromGuest::Report(report)) = other.next() {
            last = Some(report.state);
        }
        assert_eq!(last, Some(GuestState::Stopped));
    }
}

#[test]
fn firmware_draws_on_our_device_and_survives_a_reset() {
    if !bridge::has_uefi() {
        println!("SKIPPED: firmware_draws_on_our_device_and_survives_a_reset: OVMF is not installed");
        return;
    }
    let mut bridge = Bridge::start("work", &uefi("tcg"));
    let report = bridge.report_until("a scanout is on", |report| !report.scanouts.is_empty());
    assert_eq!(report.gpu.transport, "vhost-user-gpu");
    bridge.ask(Request::Verb(GuestVerb::Restart)).unwrap();
    bridge.report_until("it is off after the reset", |report| report.scanouts.is_empty());
    bridge.report_until("it is on again", |report| !report.scanouts.is_empty());
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    assert_eq!(bridge.wait().0, Some(0));
}

#[test]
fn a_guest_that_kvm_cannot_run_falls_back_to_a_picture() {
    if !bridge::has_uefi() {
        println!("SKIPPED: a_guest_that_kvm_cannot_run_falls_back_to_a_picture: OVMF is not installed");
        return;
    }
    if let Some(why) = bridge::kvm_works_or_is_absent() {
        println!("SKIPPED: a_guest_that_kvm_cannot_run_falls_back_to_a_picture: {why}");
        return;
    }
    let mut bridge = Bridge::start("work", &uefi("auto"));
    let kvm = bridge.report_until("QEMU is started", |report| report.qemu_pid.is_some());
    assert_eq!(kvm.accel.as_deref(), Some("kvm"));
    let tcg = bridge.report_until("TCG runs it", |report| {
        report.state == GuestState::Running && report.accel.as_deref() == Some("tcg")
    });
    assert_eq!(
        tcg.message.as_deref(),
        Some("KVM could not run work, which runs without it, slowly (phyllome doctor says whether KVM works here)")
    );
    assert_ne!(tcg.qemu_pid, kvm.qemu_pid);
    bridge.report_until("its picture comes", |report| !report.scanouts.is_empty());
    bridge.ask(Request::Verb(GuestVerb::Kill)).unwrap();
}

#[test]
fn a_guest_that_kvm_cannot_run_takes_kvm_from_no_other() {
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        println!("SKIPPED: a_guest_that_kvm_cannot_run_takes_kvm_from_no_other: /dev/kvm does not open: {error}");
        return;
    }
    // It cannot use KVM, and with TCG says nothing.
    let script = "#!/bin/bash\n[ \"$1\" = --version ] && exec echo QEMU emulator version 10.0.2\n\
        [ \"$1\" = -display ] && exec echo dbus\n[ \"$1\" = -device ] && exec echo none\n\
        [[ \" $* \" = *\" -accel kvm \"* ]] || exec sleep 1000\n\
        echo x >> $0.tried; echo 'qemu-system-x86_64: KVM internal error' >&2; exit 1\n";
    let bin = tempfile::tempdir().unwrap();
    program::write(&bin.path().join("qemu-system-x86_64"), script).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.path().display());
    let tries_after_start = |bridge: &mut Bridge| {
        bridge.restart_with(|command| {
            command.env("PATH", &path);
        });
        bridge
            .report_until("TCG runs it", |report| report.qemu_pid.is_some() && report.accel.as_deref() == Some("tcg"));
        std::fs::read_to_string(bin.path().join("qemu-system-x86_64.tried")).unwrap().lines().count()
    };
    let auto = QUIET.replace("tcg", "auto");
    let mut work = Bridge::prepare("work", &auto);
    assert_eq!(tries_after_start(&mut work), 1);
    work.ask(Request::Verb(GuestVerb::Kill)).unwrap();
    work.wait();
    assert_eq!(tries_after_start(&mut work), 1, "it does not try again so soon");
    // Another guest with what is in the same runtime folder.
    let mut play = Bridge::prepare("play", &auto);
    let folder = |bridge: &Bridge| bridge.path().join("run/phyllome");
    std::fs::create_dir(folder(&play)).unwrap();
    std::fs::set_permissions(folder(&play), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for entry in std::fs::read_dir(folder(&work)).unwrap().flatten() {
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), folder(&play).join(entry.file_name())).unwrap();
        }
    }
    assert_eq!(tries_after_start(&mut play), 2, "it tries for itself");
}

#[test]
fn a_guest_that_does_nothing_wakes_nobody() {
    let mut bridge = Bridge::start("work", QUIET);
    running(&mut bridge);
    // SeaBIOS has looked for something to boot when the count has stood still for a while.
    let mut before = bridge.wake_ups();
    eventually("phyllome-guest comes to rest", || {
        std::thread::sleep(Duration::from_millis(500));
        before == std::mem::replace(&mut before, bridge.wake_ups())
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(bridge.wake_ups(), before);
}

#[test]
fn names_and_files_that_are_wrong_are_one_sentence() {
    for (guest, text, says) in [
        ("../x", QUIET, "not a guest name"),
        ("none", QUIET, "none"),
        ("work", "profile = \"linux\"\ncolour = 1\n", "colour"),
    ] {
        let bridge = Bridge::prepare("work", text);
        let output = bridge.command_for(guest).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{guest}");
        assert!(stderr.contains(says) && stderr.lines().count() == 1, "{stderr}");
    }
}

#[test]
fn the_command_line_is_printed_and_nothing_is_started() {
    let bridge = Bridge::prepare("work", QUIET);
    let output = bridge.program(&["command-line", "work"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("-accel tcg") && text.contains("vhost-user-gpu-pci"), "{text}");
    assert!(!bridge.guest_folder().exists());
    // A file is as good as a name.
    let file = bridge.path().join("other.toml");
    std::fs::write(&file, QUIET).unwrap();
    let output = bridge.program(&["command-line", file.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success());
}
