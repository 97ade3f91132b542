//! The display itself: what is truly scanned out is what the shell says, on every output, whatever draws it; monitors,
//! terminals and seat daemons come and go under it, and what keeps it from starting is one sentence.

use crate::rig::{Rig, RigOptions, SOON, on_machine, on_rig};
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::{Mode, Status};
use phyllome_test_machine::picture::{Picture, rgb};
use phyllome_test_machine::{MachineOptions, Program, wait_for};
use std::time::Duration;

/// The colour of the shell's own frame, in which nothing of a guest is, while it has the keys.
const HOST: &str = "#ffffff";
/// The colour of the frame of an output that shows nobody.
const NOBODY: &str = "#202225";

fn outputs(status: &Status) -> Vec<(&str, u32, u32)> {
    status.outputs.iter().map(|output| (output.name.as_str(), output.width, output.height)).collect()
}

/// Waits until the output shows exactly what the shell says that it shows, with the frame on its outermost ring; gives
/// that.
pub fn wait_same(rig: &Rig, head: u32, output: &str) -> Result<Picture> {
    let mut last = String::new();
    let same = wait_for(&format!("{output} to show what the shell says"), SOON, || {
        let (said, shown) = (rig.screenshot(&["--output", output])?, rig.scanned_out(head)?);
        last = format!("{}x{} was said, {}x{} is shown", said.width, said.height, shown.width, shown.height);
        Ok((said == shown).then_some(shown))
    });
    let shown = same.context(last)?;
    let status = rig.status()?;
    let own = status.outputs.iter().find(|other| other.name == output).context("the output is gone")?;
    ensure!(is_framed(&shown), "the frame of {output} is not whole");
    ensure!((shown.width, shown.height) == (own.width, own.height), "{output} has another size");
    ensure!(shown.colours() > 8, "{output} shows no message");
    Ok(shown)
}

/// Whether a frame that is no guest's is on every pixel of the outermost ring.
fn is_framed(picture: &Picture) -> bool {
    let edge = picture.edge();
    [HOST, NOBODY].iter().any(|colour| edge.iter().all(|pixel| *pixel == rgb(colour)))
}

#[test]
fn what_is_scanned_out_is_what_the_shell_says() -> Result<()> {
    let name = "what_is_scanned_out_is_what_the_shell_says";
    on_rig(name, RigOptions::new(&[])?, |rig| {
        let status = rig.status()?;
        ensure!((status.backend.as_str(), status.renderer.as_str()) == ("kms", "pixman"), "{status:?}");
        ensure!(outputs(&status) == [("Virtual-1", 1280, 800)], "{status:?}");
        wait_same(rig, 0, "Virtual-1")?;

        // The keyboard is the shell's, and the panel is drawn.
        let message = rig.scanned_out(0)?;
        rig.machine.press(&["super", "esc"])?;
        rig.machine.wait_picture("the panel", 0, SOON, |picture| *picture != message)?;
        wait_same(rig, 0, "Virtual-1")?;
        rig.machine.press(&["super", "esc"])?;
        rig.machine.wait_picture("the message again", 0, SOON, |picture| *picture == message)?;

        // Nothing happens, nothing is done.
        wait_for("a shell at rest", SOON, || Ok((rig.wake_ups(2)? == 0).then_some(())))?;
        ensure!(rig.wake_ups(10)? == 0, "a shell at rest woke up");
        Ok(())
    })
}

#[test]
fn gles_draws_the_same_and_turns_it() -> Result<()> {
    let mut options = RigOptions::new(&[])?.shell(&["--renderer", "gles"]);
    let turned = "[output.Virtual-1]\nrotation = 90\nmode = \"1024x768\"\n[output.Virtual-2]\nmode = \"5x5\"\n[output.DP-9]\nscale = 2.0\n";
    options.config = Some(turned.to_owned());
    on_rig("gles_draws_the_same_and_turns_it", options, |rig| {
        let status = rig.status()?;
        ensure!(status.renderer == "gles", "{status:?}");
        ensure!(outputs(&status) == [("Virtual-1", 768, 1024)], "{status:?}");
        let (said, shown) = (rig.screenshot(&[])?, rig.scanned_out(0)?);
        ensure!((shown.width, shown.height) == (1024, 768));
        // A display that hangs a quarter further clockwise has the picture's upper edge at its own left one.
        let differs = (0..said.height)
            .flat_map(|y| (0..said.width).map(move |x| (x, y)))
            .find(|(x, y)| said.at(*x, *y) != shown.at(*y, said.width - 1 - x));
        ensure!(differs.is_none(), "the picture is not turned: {differs:?}");
        let log = rig.shell()?.output();
        ensure!(log.contains("there is no connector “DP-9”; there are Virtual-1, Virtual-2"), "{log}");

        // An impossible mode is said, and another one used.
        rig.machine.set_output(1, Some((800, 600)))?;
        rig.wait("a second output", SOON, |status| status.outputs.len() == 2)?;
        wait_same(rig, 1, "Virtual-2")?;
        let log = rig.shell()?.output();
        ensure!(log.contains("Virtual-2 has no mode 5x5; 800x600"), "{log}");
        Ok(())
    })
}

#[test]
fn without_atomic_mode_setting_it_shows_the_same() -> Result<()> {
    for renderer in ["pixman", "gles"] {
        let mut options = RigOptions::new(&[])?.shell(&["--renderer", renderer]);
        options.variables = vec![("SMITHAY_USE_LEGACY", "1")];
        on_rig("without_atomic_mode_setting_it_shows_the_same", options, |rig| {
            let log = rig.shell()?.output();
            let said =
                log.lines().filter(|line| line.contains("the older way of mode setting is used, without planes"));
            ensure!(said.count() == 1, "{log}");
            ensure!(rig.status()?.renderer == renderer);
            wait_same(rig, 0, "Virtual-1")?;

            rig.machine.set_output(1, Some((800, 600)))?;
            rig.wait("a second output", SOON, |status| outputs(status).last() == Some(&("Virtual-2", 800, 600)))?;
            wait_same(rig, 1, "Virtual-2")?;
            rig.machine.set_output(0, Some((1152, 720)))?;
            rig.wait("another mode", SOON, |status| outputs(status).first() == Some(&("Virtual-1", 1152, 720)))?;
            let message = wait_same(rig, 0, "Virtual-1")?;
            wait_same(rig, 1, "Virtual-2")?;
            rig.machine.press(&["super", "esc"])?;
            rig.machine.wait_picture("the panel", 0, SOON, |picture| *picture != message)?;
            let panel = wait_same(rig, 0, "Virtual-1")?;

            rig.machine.vt_switch(2)?;
            rig.machine.wait_picture("another terminal", 0, SOON, |seen| !is_framed(seen))?;
            rig.machine.vt_switch(1)?;
            rig.machine.wait_picture("the shell again", 0, SOON, |seen| *seen == panel)?;
            wait_same(rig, 1, "Virtual-2")?;
            rig.machine.set_output(1, None)?;
            rig.wait("one output", SOON, |status| status.outputs.len() == 1)?;
            wait_same(rig, 0, "Virtual-1")?;
            ensure!(rig.shell()?.ended()?.is_none());
            Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_frame_that_never_comes_onto_the_display_is_not_waited_for_for_ever() -> Result<()> {
    let name = "a_frame_that_never_comes_onto_the_display_is_not_waited_for_for_ever";
    on_rig(name, RigOptions::new(&[])?, |rig| {
        let message = wait_same(rig, 0, "Virtual-1")?;
        let toggle = |what: &str, done: &dyn Fn(&Picture) -> bool| {
            rig.machine.press(&["super", "esc"])?;
            rig.machine.wait_picture(what, 0, SOON, done)
        };
        // All buffers are there after this.
        let panel = toggle("the panel", &|seen| *seen != message)?;
        toggle("the message", &|seen| *seen == message)?;

        // The kernel takes the next frame, as it says, and never tells of it.
        let pid = rig.shell()?.pid();
        let script = format!("exec strace -f -p {pid} -P /dev/dri/card0 -e trace=ioctl -e inject=ioctl:retval=0");
        let strace = rig.machine.spawn("strace", &Program::script(&script).user("root"))?;
        strace.wait_output("attached", SOON)?;
        rig.machine.press(&["super", "esc"])?;
        strace.wait_output("DRM_IOCTL_MODE_ATOMIC", SOON)?;
        ensure!(rig.scanned_out(0)? == message, "the frame was shown");
        strace.signal(2)?;
        strace.wait(SOON)?;
        rig.machine.wait_picture("the panel all the same", 0, SOON, |seen| *seen == panel)?;
        wait_same(rig, 0, "Virtual-1")?;
        let log = rig.shell()?.output();
        let said = log.lines().filter(|line| line.contains("Virtual-1 has not shown a frame in time"));
        ensure!(said.count() == 1, "{log}");
        // It is as lively as before, and as quiet.
        toggle("the message again", &|seen| *seen == message)?;
        wait_for("a shell at rest", SOON, || Ok((rig.wake_ups(2)? == 0).then_some(())))?;
        ensure!(rig.shell()?.ended()?.is_none());
        Ok(())
    })
}

#[test]
fn monitors_and_graphics_devices_come_go_and_change() -> Result<()> {
    on_rig("monitors_and_graphics_devices_come_go_and_change", RigOptions::new(&[])?, |rig| {
        rig.machine.set_output(1, Some((1024, 768)))?;
        let two = |status: &Status| outputs(status) == [("Virtual-1", 1280, 800), ("Virtual-2", 1024, 768)];
        rig.wait("a second output", SOON, two)?;
        wait_same(rig, 1, "Virtual-2")?;
        wait_same(rig, 0, "Virtual-1")?;

        rig.machine.set_output(0, Some((1152, 720)))?;
        rig.wait("another mode", SOON, |status| outputs(status).first() == Some(&("Virtual-1", 1152, 720)))?;
        wait_same(rig, 0, "Virtual-1")?;

        rig.machine.set_output(1, None)?;
        rig.wait("one output", SOON, |status| outputs(status) == [("Virtual-1", 1152, 720)])?;
        rig.machine.set_output(0, None)?;
        rig.wait("no output", SOON, |status| status.outputs.is_empty())?;
        ensure!(rig.tool(&["screenshot", "/tmp/none.png"])?.status == 1, "there was something to see");

        rig.machine.set_output(1, Some((800, 600)))?;
        rig.wait("the second output alone", SOON, |status| outputs(status) == [("Virtual-2", 800, 600)])?;
        rig.machine.set_output(0, Some((1280, 800)))?;
        let both = |status: &Status| outputs(status) == [("Virtual-1", 1280, 800), ("Virtual-2", 800, 600)];
        rig.wait("both outputs in their order", SOON, both)?;
        wait_same(rig, 1, "Virtual-2")?;
        wait_same(rig, 0, "Virtual-1")?;

        // The graphics device itself goes and comes back.
        rig.machine.root("echo 1 > /sys/class/drm/card0/device/remove")?;
        rig.wait("no device", SOON, |status| status.outputs.is_empty())?;
        rig.machine.root("echo 1 > /sys/bus/pci/rescan")?;
        rig.wait("the device again", SOON, |status| !status.outputs.is_empty())?;
        wait_same(rig, 0, "Virtual-1")?;
        ensure!(rig.shell()?.ended()?.is_none());
        Ok(())
    })
}

#[test]
fn terminals_are_switched_and_the_seat_daemon_restarts() -> Result<()> {
    let mut options = RigOptions::new(&[])?;
    options.config = Some("idle_minutes = 1\n".to_owned());
    on_rig("terminals_are_switched_and_the_seat_daemon_restarts", options, |rig| {
        let picture = wait_same(rig, 0, "Virtual-1")?;
        let pid = rig.shell()?.pid();
        for _ in 0..3 {
            rig.machine.vt_switch(2)?;
            rig.machine.wait_picture("another terminal", 0, SOON, |seen| !is_framed(seen))?;
            ensure!(rig.machine.read_text("/sys/class/tty/tty0/active")? == "tty2");
            rig.machine.vt_switch(1)?;
            rig.machine.wait_picture("the shell again", 0, SOON, |seen| *seen == picture)?;
        }
        // A monitor that is changed meanwhile is found changed.
        rig.machine.vt_switch(2)?;
        rig.machine.wait_picture("another terminal", 0, SOON, |seen| !is_framed(seen))?;
        rig.machine.set_output(0, Some((1024, 768)))?;
        rig.machine.vt_switch(1)?;
        rig.wait("another mode", SOON, |status| outputs(status) == [("Virtual-1", 1024, 768)])?;
        let picture = wait_same(rig, 0, "Virtual-1")?;

        let mut options = rig.machine.root("pidof seatd")?;
        options.truncate(options.trim_end().len());
        rig.machine.root(&format!("kill -9 {options}"))?;
        rig.shell()?.wait_output("the seat daemon is gone", SOON)?;
        ensure!(rig.status()?.outputs.len() == 1, "outputs stay");
        let waits = rig.wake_ups(5)?;
        ensure!(waits < 100, "while it waits for a seat daemon the shell woke up {waits} times in 5 s");
        rig.machine.spawn("seatd-again", &Program::new("seatd", &["-g", "video"]).user("root"))?;
        rig.shell()?.wait_output("the seat is back", SOON)?;
        wait_same(rig, 0, "Virtual-1")?;
        rig.machine.press(&["super", "esc"])?;
        rig.machine.wait_picture("the panel by the keyboard", 0, SOON, |seen| *seen != picture)?;
        ensure!(rig.shell()?.pid() == pid && rig.shell()?.ended()?.is_none(), "it was another shell");

        // Nobody is there for a minute: the display goes off, and a key switches it on and does nothing else.
        let panel = wait_same(rig, 0, "Virtual-1")?;
        let power = || rig.machine.read_text("/sys/class/drm/card0-Virtual-1/dpms");
        wait_for("the display to be switched off", 4 * SOON, || Ok((power()? == "Off").then_some(())))?;
        rig.machine.press(&["shift"])?;
        rig.machine.wait_picture("the panel as it was", 0, SOON, |seen| *seen == panel)?;
        ensure!(power()? == "On" && rig.status()?.mode == Mode::Panel);
        Ok(())
    })
}

/// Runs the shell to its end: exit code and standard error.
fn refused(rig: &Rig, user: &str) -> Result<(i32, String)> {
    let script = "export XDG_RUNTIME_DIR=$(mktemp -d); timeout 30 phyllome-shell --backend kms";
    let output = rig.machine.run(&Program::script(script).user(user).folder("/").env("RUST_BACKTRACE", "0"))?;
    Ok((output.status, output.stderr))
}

fn ensure_sentence(what: &str, (code, said): (i32, String), words: &[&str]) -> Result<()> {
    let last = said.lines().last().unwrap_or_default();
    ensure!(code == 1, "{what}: exit code {code}: {said}");
    ensure!(last.starts_with("phyllome-shell: ") && !said.contains("panicked"), "{what}: {said}");
    for word in words {
        ensure!(last.contains(word), "{what}: “{word}” is not in: {said}");
    }
    Ok(())
}

#[test]
fn what_keeps_it_from_starting_is_one_sentence() -> Result<()> {
    let mut options = RigOptions::new(&[])?;
    options.start = false;
    on_rig("what_keeps_it_from_starting_is_one_sentence", options, |rig| {
        // Whoever opens the device first is its master.
        let holder =
            rig.machine.spawn("holder", &Program::script("exec 3<>/dev/dri/card0; echo held; exec sleep 1000"))?;
        holder.wait_output("held", SOON)?;
        ensure_sentence("in use", refused(rig, "person")?, &["/dev/dri/card0 is in use by another program"])?;
        holder.kill()?;
        holder.wait(SOON)?;

        ensure_sentence("no right", refused(rig, "nobody")?, &["may not talk to seatd", "group"])?;
        ensure_sentence("sizes", sized(rig)?, &["--size is for --backend headless and nested"])?;

        rig.start_shell()?;
        ensure_sentence("another session", refused(rig, "person")?, &["no seat can be used", "another session"])?;
        wait_same(rig, 0, "Virtual-1")?;
        rig.kill_shell()?;

        rig.machine.root("pkill seatd")?;
        let gone = || Ok((rig.machine.run(&Program::new("pidof", &["seatd"]))?.status != 0).then_some(()));
        wait_for("no seat daemon", SOON, gone)?;
        ensure_sentence("no seat", refused(rig, "person")?, &["no seat can be used", "start seatd"])
    })
}

fn sized(rig: &Rig) -> Result<(i32, String)> {
    let program = Program::new("phyllome-shell", &["--backend", "kms", "--size", "1x1"]);
    let output = rig.machine.run(&program)?;
    Ok((output.status, output.stderr))
}

#[test]
fn without_a_graphics_device_it_says_so() -> Result<()> {
    let options = MachineOptions { gpus: Vec::new(), ..MachineOptions::with_shell()? };
    on_machine("without_a_graphics_device_it_says_so", options, |machine| {
        for backend in ["kms", "auto"] {
            let arguments = ["30", "phyllome-shell", "--backend", backend];
            let output = machine.run_within(&Program::new("timeout", &arguments), Duration::from_secs(60))?;
            ensure!(output.status == 1, "{output:?}");
            ensure!(output.stderr.contains("has no graphics device that drives a display"), "{output:?}");
        }
        Ok(())
    })
}
