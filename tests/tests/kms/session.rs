//! The login session on a real kernel with real systemd, and on a bare console: it starts the shell, brings it back, and guests outlive
//! it all.

use crate::rig::{SOON, guest, log_in, on_machine};
use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::status::{GuestState, GuestStatus, Mode, Status};
use phyllome_test_guests::Mode as Play;
use phyllome_test_machine::{Init, Machine, MachineOptions, wait_for};
use std::time::Duration;

/// Units and guest files of a person's computer.
fn furnish(machine: &Machine) -> Result<()> {
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
        let (name, text) = guest(name, slot, color, Play::Prompt);
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
    wait_for(what, SOON, || Ok(status(machine)?.filter(&condition)))
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
fn guests_outlive_the_shell_and_the_session_in_scopes_of_their_own() -> Result<()> {
    let test = "guests_outlive_the_shell_and_the_session_in_scopes_of_their_own";
    on_machine(test, with_systemd()?, |machine| {
        furnish(machine)?;
        machine.root("loginctl enable-linger person")?;
        log_in(machine, "phyllome-session --backend headless")?;
        wait_status(machine, "the shell", |_| true)?;
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
        let _shell = machine
            .spawn("again", &phyllome_test_machine::Program::new("phyllome-shell", &["--backend", "headless"]))?;
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
        furnish(machine)?;
        let text = machine.screendump(0)?;
        let before = console(machine)?;
        let program = phyllome_test_machine::Program::new("phyllome-session", &[]).terminal("/dev/tty1");
        let session = machine.spawn("session", &program)?;
        let up = |machine: &Machine, mode: Mode| {
            if let Some(code) = session.ended()? {
                bail!("the session ended with {code}: {}", session.output());
            }
            wait_status(machine, "the shell on the display", |status| status.backend == "kms" && status.mode == mode)
        };
        up(machine, Mode::Guest)?;
        machine.sh("phyllome start work")?;
        let pid = find(&wait_status(machine, "work", |status| running(status, "work"))?, "work")?.pid;
        let mut longest = Duration::ZERO;
        for crash in 1..=3 {
            longest = longest.max(kill_shell(machine)?);
            let mode = if crash < 3 { Mode::Guest } else { Mode::Panel };
            up(machine, mode)?;
            wait_status(machine, "the same guest", |status| find(status, "work").is_ok_and(|guest| guest.pid == pid))?;
        }
        println!("longest time away: {longest:?}");
        machine.sh("kill -9 $(pidof phyllome-shell)")?;
        ensure!(session.wait(SOON)? == 4, "{}", session.output());
        let said = session.output();
        ensure!(said.contains("the shell stopped 4 times in a minute, at last by signal 9"), "{said}");
        wait_for("the console", SOON, || Ok((console(machine)? == before).then_some(())))?;
        machine.wait_picture("text again", 0, SOON, |picture| picture.colours() <= text.colours().max(16))?;
        ensure!(!group(machine, pid)?.is_empty(), "the guest still runs");
        Ok(())
    })
}

#[test]
fn a_session_without_a_seat_says_so_and_ends() -> Result<()> {
    let options = MachineOptions { seatd: false, ..MachineOptions::with_shell()? };
    on_machine("a_session_without_a_seat_says_so_and_ends", options, |machine| {
        let output =
            machine.run(&phyllome_test_machine::Program::new("phyllome-session", &[]).terminal("/dev/tty1"))?;
        ensure!(output.status == 1, "{output:?}");
        let sentences: Vec<_> = output.stderr.lines().filter(|line| line.starts_with("phyllome-s")).collect();
        ensure!(sentences.len() == 1 && sentences[0].contains("seat"), "{output:?}");
        Ok(())
    })
}
