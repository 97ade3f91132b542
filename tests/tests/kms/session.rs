//! The login session on a real kernel with real systemd, and on a bare console: it starts the shell, brings it back,
//! and guests outlive it all.

use crate::rig::{SOON, guest, log_in, on_machine};
use crate::sleep::suspend;
use anyhow::{Context, Result, ensure};
use phyllome_protocol::status::{Area, GuestState, GuestStatus, Mode, Status};
use phyllome_test_guests::Mode as Play;
use phyllome_test_machine::picture::{Picture, rgb};
use phyllome_test_machine::{Init, Machine, MachineOptions, Process, Program, wait_for};
use phyllome_test_support::soak;
use std::time::Duration;

/// The colour of the shell's own frame.
const HOST: &str = "#ffffff";
/// The colour of the guest work.
const RED: &str = "#c62828";

/// Units and guest files of a person's computer.
fn furnish(machine: &Machine, play: Play) -> Result<()> {
    let config = phyllome_test_guests::repository().join("config/systemd/user");
    machine.root("mkdir -p /usr/local/share/systemd/user /home/person/.config/phyllome/guests")?;
    for file in std::fs::read_dir(&config)? {
        let file = file?;
        let text = std::fs::read_to_string(file.path())?;
        let text = text.replace("ExecStart=phyllome-guest", "ExecStart=/usr/local/bin/phyllome-guest");
        let name = file.file_name();
        machine.write(&format!("/usr/local/share/systemd/user/{}", name.display()), 0o644, text.as_bytes())?;
    }
    for (name, slot, color) in [("work", 1, "red"), ("my-play", 2, "blue")] {
        let (name, text) = guest(name, slot, color, play);
        machine.write(&format!("/home/person/.config/phyllome/guests/{name}.toml"), 0o644, text.as_bytes())?;
    }
    machine.root("chown -R person: /home/person/.config").map(drop)
}

fn status(machine: &Machine) -> Result<Option<Status>> {
    // A shell that is not up yet is not asked again before it can be.
    let said = machine.sh("phyllome status --json 2>&1 || true")?;
    Ok(serde_json::from_str(&said).ok())
}

fn wait_status(machine: &Machine, what: &str, condition: impl Fn(&Status) -> bool) -> Result<Status> {
    wait_for(what, 3 * SOON, || Ok(status(machine)?.filter(&condition)))
}

fn find(status: &Status, name: &str) -> Result<GuestStatus> {
    status.guests.iter().find(|guest| guest.name.as_str() == name).cloned().context("a guest is missing")
}

fn running(status: &Status, name: &str) -> bool {
    find(status, name).is_ok_and(|guest| guest.state == GuestState::Running)
}

/// The control group of a process.
fn group(machine: &Machine, pid: Option<u32>) -> Result<String> {
    machine.read_text(&format!("/proc/{}/cgroup", pid.context("no process id")?))
}

/// Kills the shell and waits until another answers; how long nobody did.
fn kill_shell(machine: &Machine) -> Result<Duration> {
    // Measured inside, since commands take their time to get there.
    let script = "old=$(pidof phyllome-shell); start=$(date +%s%N); kill -9 $old; tries=0
        until new=$(pidof phyllome-shell) && [ \"$new\" != \"$old\" ] && phyllome list > /dev/null 2>&1; do
            tries=$((tries + 1)); [ $tries -lt 500 ] || exit 1; sleep 0.02
        done
        echo $((($(date +%s%N) - start) / 1000))";
    let microseconds: u64 = machine.sh(script)?.trim().parse()?;
    Ok(Duration::from_micros(microseconds))
}

fn with_systemd() -> Result<MachineOptions> {
    Ok(MachineOptions { init: Init::Systemd, ..MachineOptions::with_shell()? })
}

#[test]
fn a_login_by_greetd_ends_in_the_panel_and_guests_outlive_shell_and_session() -> Result<()> {
    let test = "a_login_by_greetd_ends_in_the_panel_and_guests_outlive_shell_and_session";
    on_machine(test, with_systemd()?, |machine| {
        furnish(machine, Play::Prompt)?;
        machine.root("loginctl enable-linger person")?;
        log_in(machine, "phyllome-session 2> /share/out/session.log")?;
        wait_status(machine, "the shell on the display", |status| status.backend == "kms")?;
        machine.press(&["super", "esc"])?;
        wait_status(machine, "the panel", |status| status.mode == Mode::Panel)?;
        machine.wait_picture("the shell's own frame", 0, SOON, |picture| {
            picture.edge().iter().all(|pixel| *pixel == rgb(HOST)) && picture.colours() > 8
        })?;
        machine.press(&["super", "esc"])?;
        // One started by the shell, one by its unit.
        machine.sh("phyllome start work && systemctl --user start phyllome-guest@my-play")?;
        let before = wait_status(machine, "both guests", |s| running(s, "work") && running(s, "my-play"))?;
        let (work, play) = (find(&before, "work")?, find(&before, "my-play")?);
        for (guest, unit) in [(&work, "phyllome-guest-work-"), (&play, "phyllome-guest@my-play.service")] {
            for pid in [guest.pid, guest.qemu_pid] {
                let group = group(machine, pid)?;
                ensure!(group.contains("/app.slice/app-phyllome.slice/") && group.contains(unit), "{group}");
            }
        }
        let told =
            machine.sh("systemctl --user show-environment; systemctl --user is-active phyllome-session.target")?;
        ensure!(told.contains("XDG_CURRENT_DESKTOP=Phyllome\n") && told.ends_with("\nactive\n"), "{told}");

        println!("away after a crash: {:?}", kill_shell(machine)?);
        let same = |status: &Status| {
            let pid =
                |name: &str| find(status, name).ok().filter(|g| g.state == GuestState::Running).and_then(|g| g.pid);
            pid("work") == work.pid && pid("my-play") == play.pid
        };
        wait_status(machine, "the same guests", same)?;

        let sessions = machine.root("loginctl list-sessions --no-legend")?;
        let session = sessions.lines().find(|line| line.contains("seat0")).context("no session")?;
        let session = session.split_whitespace().next().context("no session")?.to_owned();
        machine.root(&format!("loginctl terminate-session {session}"))?;
        wait_for("the end of the session", SOON, || {
            let left = machine.root("pidof phyllome-shell phyllome-session || true")?;
            let target = machine.sh("systemctl --user is-active phyllome-session.target || true")?;
            Ok((left.trim().is_empty() && target == "inactive\n").then_some(()))
        })?;
        let _shell = machine.spawn("again", &Program::new("phyllome-shell", &["--backend", "headless"]))?;
        wait_status(machine, "the same guests after the session", same)?;

        // Whoever stops them, QEMU ends with phyllome-guest.
        machine.sh("systemctl --user stop app-phyllome.slice")?;
        let ended = |status: &Status| status.guests.iter().all(|guest| !guest.state.is_alive());
        wait_status(machine, "the end of both guests", ended)?;
        for pid in [work.qemu_pid, play.qemu_pid] {
            ensure!(group(machine, pid).is_err(), "QEMU is still there");
        }
        Ok(())
    })
}

/// Whether the first console shows text and has its keyboard.
fn console(machine: &Machine) -> Result<String> {
    machine.root("kbd_mode -C /dev/tty1; fgconsole").map(|said| said.trim().to_owned())
}

#[test]
fn a_session_on_a_bare_console_comes_back_and_gives_the_console_back() -> Result<()> {
    let test = "a_session_on_a_bare_console_comes_back_and_gives_the_console_back";
    on_machine(test, MachineOptions::with_shell()?, |machine| {
        furnish(machine, Play::Prompt)?;
        let text = machine.screendump(0)?;
        let before = console(machine)?;
        // Two crashes instead of three, since an emulated machine may need most of the minute to start once.
        let session = start(machine, &["--restart-limit", "2"])?;
        machine.sh("phyllome start work")?;
        let pid = find(&wait_status(machine, "work", |status| running(status, "work"))?, "work")?.pid;
        println!("away after a crash: {:?}", kill_shell(machine)?);
        kill_shell(machine).with_context(|| session.output())?;
        let status = wait_status(machine, "the panel", |status| status.mode == Mode::Panel && running(status, "work"))?;
        ensure!(find(&status, "work")?.pid == pid, "it is another guest");
        machine.sh("kill -9 $(pidof phyllome-shell)")?;
        ensure!(session.wait(SOON)? == 4, "{}", session.output());
        let said = session.output();
        ensure!(said.contains("the shell stopped 3 times in a minute, at last by signal 9"), "{said}");
        wait_for("the console", SOON, || Ok((console(machine)? == before).then_some(())))?;
        machine.wait_picture("text again", 0, SOON, |picture| picture.colours() <= text.colours().max(16))?;
        ensure!(!group(machine, pid)?.is_empty(), "the guest still runs");
        Ok(())
    })
}

/// A session on the first console whose shell answers.
fn start(machine: &Machine, arguments: &[&str]) -> Result<Process> {
    let session = machine.spawn("session", &Program::new("phyllome-session", arguments).terminal("/dev/tty1"))?;
    let up = wait_status(machine, "the shell on the display", |status| status.backend == "kms");
    up.with_context(|| session.output())?;
    Ok(session)
}

/// Three deaths show that the third is like the first; `cargo xtask test soak kills` has twenty.
#[test]
fn a_shell_that_is_killed_again_and_again_under_drawing_load_is_back_each_time() -> Result<()> {
    let test = "a_shell_that_is_killed_again_and_again_under_drawing_load_is_back_each_time";
    let kills = soak::times(3, 20);
    on_machine(test, MachineOptions::with_shell()?, |machine| {
        furnish(machine, Play::Animate)?;
        let session = start(machine, &["--restart-limit", "100"])?;
        machine.sh("phyllome start work && phyllome start my-play && phyllome switch work")?;
        let both = |status: &Status| running(status, "work") && running(status, "my-play");
        let before = wait_status(machine, "both guests", both)?;
        let pids = [find(&before, "work")?.pid, find(&before, "my-play")?.pid];
        let framed = |machine: &Machine| {
            machine.wait_picture("the guest's frame and its moving picture", 0, SOON, |picture| {
                picture.edge().iter().all(|pixel| *pixel == rgb(RED)) && picture.colours() > 8
            })
        };
        framed(machine)?;
        let mut longest = Duration::ZERO;
        for kill in 1..=kills {
            longest = longest.max(kill_shell(machine).with_context(|| format!("kill {kill}: {}", session.output()))?);
            wait_status(machine, "the same guests", |status| {
                let pid =
                    |name: &str| find(status, name).ok().filter(|_| running(status, name)).and_then(|guest| guest.pid);
                [pid("work"), pid("my-play")] == pids
                    && status.focus.as_ref().is_some_and(|name| name.as_str() == "work")
            })?;
            framed(machine).with_context(|| format!("kill {kill}"))?;
        }
        println!("longest time without a shell, of {kills}: {longest:?}");
        ensure!(session.ended()?.is_none());
        session.signal(15)?;
        ensure!(session.wait(SOON)? == 0, "{}", session.output());
        Ok(())
    })
}

#[test]
fn displays_go_off_when_nobody_is_there_and_a_key_that_no_guest_gets_wakes_them() -> Result<()> {
    let test = "displays_go_off_when_nobody_is_there_and_a_key_that_no_guest_gets_wakes_them";
    on_machine(test, MachineOptions::with_shell()?, |machine| {
        furnish(machine, Play::Prompt)?;
        machine.write("/home/person/.config/phyllome/shell.toml", 0o644, b"idle_minutes = 1\n")?;
        let session = start(machine, &[])?;
        machine.sh("phyllome start work")?;
        wait_status(machine, "work", |status| running(status, "work"))?;
        let lit = |machine: &Machine| machine.read_text("/sys/class/drm/card0-Virtual-1/dpms");
        let framed = |machine: &Machine| {
            let whole = |picture: &Picture| picture.edge().iter().all(|pixel| *pixel == rgb(RED));
            machine.wait_picture("the guest's frame", 0, SOON, whole)
        };
        framed(machine)?;
        let typed = |machine: &Machine| machine.sh("cat ~/.local/state/phyllome/logs/work/serial.log");
        machine.type_text("before\n")?;
        wait_for("what was typed", SOON, || Ok(typed(machine)?.contains("TYPED: before").then_some(())))?;
        ensure!(lit(machine)? == "On");
        wait_for("the display to go off", Duration::from_secs(120), || Ok((lit(machine)? == "Off").then_some(())))?;
        // The first key only wakes; what is typed then is the guest's.
        machine.type_text("x")?;
        wait_for("the display to go on", SOON, || Ok((lit(machine)? == "On").then_some(())))?;
        machine.type_text("after\n")?;
        wait_for("what was typed", SOON, || Ok(typed(machine)?.contains("TYPED: after").then_some(())))?;
        framed(machine)?;
        session.signal(15)?;
        ensure!(session.wait(SOON)? == 0);
        Ok(())
    })
}

/// Whether the bar of the guest work says anything at its right end.
fn says_something(picture: &Picture) -> bool {
    let bar = picture.crop(Area { x: 500, y: 6, width: picture.width - 504, height: 16 });
    bar.count(rgb("#ffffff")) > 50
}

/// Waits until it does, or does not.
fn wait_line(machine: &Machine, says: bool) -> Result<()> {
    let what = if says { "a line in the bar" } else { "a bar without a line" };
    let framed = |picture: &Picture| picture.edge().iter().all(|pixel| *pixel == rgb(RED));
    let seen = machine.wait_picture(what, 0, SOON, |picture| framed(picture) && says_something(picture) == says)?;
    // For those who look at it.
    if let Some(folder) = std::env::var_os("PHYLLOME_SHOTS").filter(|_| says) {
        seen.write(&std::path::Path::new(&folder).join("computer-on-the-display.png"))?;
    }
    Ok(())
}

/// A shutdown that is planned is said while a guest fills the screen, until it is called off.
fn a_planned_shutdown_is_said(machine: &Machine) -> Result<()> {
    wait_line(machine, false)?;
    machine.root("shutdown --no-wall +5")?;
    wait_line(machine, true)?;
    machine.root("shutdown -c --no-wall")?;
    wait_line(machine, false)
}

/// So is that the computer goes to sleep, as long as something keeps it from it.
fn sleep_is_said(machine: &Machine) -> Result<()> {
    let hold = "exec systemd-inhibit --what=sleep --mode=delay --who=test sleep 1000";
    machine.spawn("hold", &Program::script(hold).user("root"))?;
    let held = || machine.root("systemd-inhibit --list --no-legend | grep -c '^test ' || true");
    wait_for("sleep to be held up", SOON, || Ok((held()?.trim() == "1").then_some(())))?;
    machine.root("systemctl suspend")?;
    wait_line(machine, true)
}

#[test]
fn a_suspend_by_systemd_leaves_session_and_guests_as_they_were() -> Result<()> {
    let test = "a_suspend_by_systemd_leaves_session_and_guests_as_they_were";
    let mut options = MachineOptions { suspends: true, ..with_systemd()? };
    options.qemu.extend(["-set", "device.gpu0.x-pcie-pm-no-soft-reset=on"].map(str::to_owned));
    on_machine(test, options, |machine| {
        furnish(machine, Play::Prompt)?;
        // The button is to wake the computer, and to do nothing if it comes too early.
        let settings = b"[Login]\nHandlePowerKey=ignore\nHandlePowerKeyLongPress=ignore\nInhibitDelayMaxSec=60\n";
        machine.root("mkdir -p /etc/systemd/logind.conf.d")?;
        machine.write("/etc/systemd/logind.conf.d/button.conf", 0o644, settings)?;
        machine.root("systemctl restart systemd-logind && echo s2idle > /sys/power/mem_sleep")?;
        log_in(machine, "phyllome-session 2> /share/out/session.log")?;
        wait_status(machine, "the shell on the display", |status| status.backend == "kms")?;
        machine.sh("phyllome start work && phyllome switch work")?;
        let pid = find(&wait_status(machine, "work", |status| running(status, "work"))?, "work")?.pid;
        let shell = machine.sh("pidof phyllome-shell")?;
        let framed = |picture: &Picture| picture.edge().iter().all(|pixel| *pixel == rgb(RED));
        machine.wait_picture("the guest's frame", 0, SOON, framed)?;
        let can = machine.sh(
            "busctl --system call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager CanSuspend",
        )?;
        ensure!(can.starts_with("s \"") && can.trim().ends_with('"'), "{can}");
        let holds = || machine.root("systemd-inhibit --list --no-legend | grep -c '^Phyllome Shell .*delay' || true");
        wait_for("the shell to hold sleep up", SOON, || Ok((holds()?.trim() == "1").then_some(())))?;
        a_planned_shutdown_is_said(machine)?;
        sleep_is_said(machine)?;
        suspend(machine, "kill $(pidof systemd-inhibit) || systemctl suspend", || Ok(()))?;
        machine.wait_picture("the guest's frame again", 0, SOON, framed)?;
        wait_line(machine, false)?;
        wait_status(machine, "work", |status| {
            running(status, "work") && find(status, "work").is_ok_and(|w| w.pid == pid)
        })?;
        ensure!(machine.sh("pidof phyllome-shell")? == shell, "it is another shell");
        machine.type_text("after\n")?;
        let typed = || machine.sh("cat ~/.local/state/phyllome/logs/work/serial.log");
        wait_for("what was typed", SOON, || Ok(typed()?.contains("TYPED: after").then_some(())))
    })
}

#[test]
fn a_session_without_a_seat_says_so_and_ends() -> Result<()> {
    let options = MachineOptions { seatd: false, ..MachineOptions::with_shell()? };
    on_machine("a_session_without_a_seat_says_so_and_ends", options, |machine| {
        let output = machine.run(&Program::new("phyllome-session", &[]).terminal("/dev/tty1"))?;
        ensure!(output.status == 1, "{output:?}");
        let sentences: Vec<_> = output.stderr.lines().filter(|line| line.starts_with("phyllome-s")).collect();
        ensure!(sentences.len() == 1 && sentences[0].contains("seat"), "{output:?}");
        Ok(())
    })
}
