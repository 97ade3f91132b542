//! The machine itself is what the other tests take it for: it has a display, input devices, a seat and monitors that
//! come and go, with somebody else's compositor on it.

use crate::rig::{SOON, on_machine};
use anyhow::{Result, ensure};
use phyllome_test_machine::{Init, Machine, MachineOptions, Program, wait_for};
use std::time::Duration;

/// GL by software takes its time to start on an emulated processor.
const COMPOSITOR: Duration = Duration::from_secs(90);

#[test]
fn a_person_has_display_seat_and_shared_memory() -> Result<()> {
    on_machine("a_person_has_display_seat_and_shared_memory", MachineOptions::default(), |machine| {
        println!("up after {:.1} s", machine.boot_time().as_secs_f64());
        ensure!(machine.sh("id -un; id -u")? == "person\n1000\n");
        ensure!(machine.sh("stat -c %a:%u $XDG_RUNTIME_DIR")? == "700:1000\n");
        // Opened, not looked at: that is what a program does.
        machine.sh("exec 3<>/dev/dri/card0 4<>/dev/dri/renderD128 5<>/dev/udmabuf")?;
        machine.sh("test -S /run/seatd.sock && test -w /run/seatd.sock")?;
        ensure!(machine.run(&Program::script("exec 3</dev/input/event0"))?.status != 0, "keys are the seat's alone");
        ensure!(machine.read_text("/sys/class/drm/card0-Virtual-1/status")? == "connected");
        ensure!(machine.read_text("/sys/class/drm/card0-Virtual-2/status")? == "disconnected");
        let console = machine.screendump(0)?;
        ensure!((console.width, console.height) == (1280, 800), "{}x{}", console.width, console.height);
        Ok(())
    })
}

#[test]
fn programs_are_started_signalled_and_waited_for() -> Result<()> {
    on_machine("programs_are_started_signalled_and_waited_for", MachineOptions::default(), |machine| {
        let output = machine.run(&Program::script("echo $WORD; echo wrong >&2; exit 7").env("WORD", "a b"))?;
        ensure!(
            (output.status, output.stdout.as_str(), output.stderr.as_str()) == (7, "a b\n", "wrong\n"),
            "{output:?}"
        );
        let sleeper =
            machine.spawn("sleeper", &Program::script("echo $$; trap 'echo caught; exit 3' USR1; sleep 100 & wait"))?;
        sleeper.wait_output(&format!("{}\n", sleeper.pid()), SOON)?;
        ensure!(sleeper.ended()?.is_none());
        sleeper.signal(10)?;
        ensure!(sleeper.wait(SOON)? == 3 && sleeper.output().contains("caught"));
        let killed = machine.spawn("killed", &Program::new("sleep", &["100"]))?;
        killed.kill()?;
        ensure!(killed.wait(SOON)? == 128 + 9);
        machine.write("/tmp/file", 0o640, b"text\n")?;
        ensure!(machine.read_text("/tmp/file")? == "text" && machine.root("stat -c %a /tmp/file")? == "640\n");
        ensure!(machine.run(&Program::new("no-such-program", &[])).is_err());
        Ok(())
    })
}

#[test]
fn a_compositor_on_the_seat_is_seen_from_outside() -> Result<()> {
    on_machine("a_compositor_on_the_seat_is_seen_from_outside", MachineOptions::default(), |machine| {
        let console = machine.screendump(0)?;
        let weston = machine.spawn("weston", &Program::new("weston", &["--backend=drm", "--renderer=pixman"]))?;
        let seen = machine
            .wait_picture("weston's desktop", 0, COMPOSITOR, |picture| *picture != console && picture.colours() > 64);
        ensure!(seen.is_ok(), "{:?}; weston said: {}", seen.err(), weston.output());
        ensure!(weston.output().contains("Seat opened with backend 'seatd'"), "{}", weston.output());
        let before = machine.screendump(0)?;
        machine.root("chvt 2")?;
        machine.wait_picture("another terminal", 0, SOON, |picture| picture.colours() < 16)?;
        machine.root("chvt 1")?;
        machine.wait_picture("the desktop again", 0, SOON, |picture| picture.colours() + 64 > before.colours())?;
        weston.signal(15)?;
        ensure!(weston.wait(SOON)? == 0);
        Ok(())
    })
}

#[test]
fn keys_and_pointers_arrive_as_events() -> Result<()> {
    let options = MachineOptions { mouse: true, touch: true, ..MachineOptions::default() };
    on_machine("keys_and_pointers_arrive_as_events", options, |machine| {
        let names = machine.sh("cat /sys/class/input/event*/device/name")?;
        for kind in ["Keyboard", "Tablet", "Mouse", "MultiTouch"] {
            ensure!(names.contains(kind), "no {kind} among {names}");
        }
        let watch = |kind: &str| {
            let find = format!("grep -l '{kind}' /sys/class/input/event*/device/name | cut -d/ -f5");
            let script = format!("exec evtest /dev/input/$({find})");
            machine.spawn(&format!("events-{kind}"), &Program::script(&script).user("root"))
        };
        let (keyboard, tablet) = (watch("Keyboard")?, watch("Tablet")?);
        for process in [&keyboard, &tablet] {
            process.wait_output("Testing ...", SOON)?;
        }
        machine.press(&["super", "2"])?;
        machine.type_text("A")?;
        let seen = keyboard.wait_output("(KEY_A), value 0", SOON)?;
        for event in ["(KEY_LEFTMETA), value 1", "(KEY_2), value 1", "(KEY_2), value 0", "(KEY_LEFTMETA), value 0"] {
            ensure!(seen.contains(event), "no {event} in {seen}");
        }
        ensure!(seen.contains("(KEY_LEFTSHIFT), value 1"), "{seen}");
        machine.move_pointer((640, 200), (1280, 800))?;
        let seen = tablet.wait_output("(ABS_Y), value", SOON)?;
        ensure!(seen.contains("(ABS_X), value 16396") && seen.contains("(ABS_Y), value 8212"), "{seen}");
        Ok(())
    })
}

/// Lets the kernel look at a connector again, as a program that asks for its modes does.
fn first_mode(machine: &Machine, connector: &str) -> Result<String> {
    let folder = format!("/sys/class/drm/card0-{connector}");
    Ok(machine.root(&format!("echo detect > {folder}/status; head -n 1 {folder}/modes"))?.trim().to_owned())
}

#[test]
fn monitors_come_change_and_go() -> Result<()> {
    on_machine("monitors_come_change_and_go", MachineOptions::default(), |machine| {
        // Whoever listens to udev hears of each change.
        let script = "exec udevadm monitor --kernel --subsystem-match=drm --property";
        let events = machine.spawn("udev", &Program::script(script).user("root"))?;
        events.wait_output("KERNEL", SOON)?;
        let status = |text: &str| {
            wait_for(&format!("the second output is {text}"), SOON, || {
                Ok((machine.read_text("/sys/class/drm/card0-Virtual-2/status")? == text).then_some(()))
            })
        };
        status("disconnected")?;
        machine.set_output(1, Some((1024, 768)))?;
        status("connected")?;
        ensure!(first_mode(machine, "Virtual-2")? == "1024x768");
        events.wait_output("HOTPLUG=1", SOON)?;
        machine.set_output(1, Some((1440, 900)))?;
        wait_for("the second output's new mode", SOON, || {
            Ok((first_mode(machine, "Virtual-2")? == "1440x900").then_some(()))
        })?;
        machine.set_output(0, Some((1600, 1000)))?;
        wait_for("the first output's new mode", SOON, || {
            Ok((first_mode(machine, "Virtual-1")? == "1600x1000").then_some(()))
        })?;
        machine.set_output(1, None)?;
        status("disconnected")
    })
}

#[test]
fn a_machine_may_lack_display_and_seat() -> Result<()> {
    let options = MachineOptions { gpus: Vec::new(), seatd: false, ..MachineOptions::default() };
    on_machine("a_machine_may_lack_display_and_seat", options, |machine| {
        machine.sh("test ! -e /dev/dri && test ! -e /run/seatd.sock")?;
        ensure!(machine.screendump(0).is_err());
        Ok(())
    })
}

#[test]
fn systemd_and_logind_may_be_the_first() -> Result<()> {
    let options = MachineOptions { init: Init::Systemd, ..MachineOptions::default() };
    on_machine("systemd_and_logind_may_be_the_first", options, |machine| {
        println!("up after {:.1} s", machine.boot_time().as_secs_f64());
        ensure!(machine.read_text("/proc/1/comm")? == "systemd");
        wait_for("logind's seat", SOON, || {
            let seats = machine.run(&Program::new("loginctl", &["list-seats", "--no-legend"]))?;
            Ok((seats.stdout.trim() == "seat0").then_some(()))
        })?;
        wait_for("the display", SOON, || {
            Ok((machine.run(&Program::new("test", &["-w", "/dev/dri/card0"]))?.status == 0).then_some(()))
        })?;
        for program in ["greetd", "agreety", "cage", "weston", "qemu-system-x86_64"] {
            machine.root(&format!("command -v {program}"))?;
        }
        Ok(())
    })
}
