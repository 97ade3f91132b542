//! Played guests are what the other tests take them for: a real phyllome-guest shows their picture, and they hear their
//! keys.

use anyhow::{Context, Result, ensure};
use phyllome_protocol::control::{Leds, Report, Request, ToGuest};
use phyllome_protocol::framing::send_blocking;
use phyllome_protocol::status::{Area, GuestState, Status};
use phyllome_test_guests::words::color;
use phyllome_test_guests::{Mode, ready_line};
use phyllome_tests::host::{Host, HostOptions};
use phyllome_tests::picture::Picture;
use phyllome_tests::played::options::PLAYED;
use phyllome_tests::played::pattern::Pattern;
use phyllome_tests::played::pointer;
use phyllome_tests::played_guest_file;
use std::cell::RefCell;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::time::{Duration, Instant};

/// Played guests are quick; the machine may be busy.
const SOON: Duration = Duration::from_secs(20);

fn host(guests: &[(String, String)]) -> Result<Host> {
    let guests: Vec<_> = guests.iter().map(|(name, text)| (name.as_str(), text.clone())).collect();
    Host::start_with(HostOptions { played: true, ..HostOptions::default() }, &guests)
}

fn pattern(name: &str, hue: &str, area: Area, counter: Option<u16>) -> Result<Pattern> {
    let color = color(hue).context("a colour")?;
    Ok(Pattern { width: area.width as usize, height: area.height as usize, color, name: name.into(), counter })
}

fn area(status: &Status) -> Result<Area> {
    Ok(status.outputs.first().context("there is no output")?.guest_area)
}

#[test]
fn the_picture_is_exact_and_keys_arrive() -> Result<()> {
    let mut host = host(&[played_guest_file("work", 1, "red", Mode::Evdev, "")])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", &ready_line("work"), SOON)?;
    let status = host.wait_state("work", GuestState::Running, SOON)?;
    let area = area(&status)?;
    let wanted = pattern("work", "red", area, None)?;
    let right = |picture: &Picture| wanted.first_difference(&picture.crop(area)).is_none();
    host.wait_picture("the whole pattern", SOON, right)?;
    host.run(&["input", "tap", "a"])?;
    host.wait_serial("work", "EV key 30 1\nEV key 30 0\n", SOON)?;
    host.run(&["input", "tap", "super+1"])?;
    host.run(&["input", "tap", "b"])?;
    let serial = host.wait_serial("work", "EV key 48 0\n", SOON)?;
    ensure!(!serial.contains("EV key 125") && !serial.contains("EV key 2 "), "a chord reached the guest: {serial}");
    host.run(&["shutdown", "work"])?;
    host.wait_state("work", GuestState::Stopped, SOON)?;
    Ok(())
}

/// Where a picture differs from the guest's own with its pointer over it, by more than rounding: the pointer's top left
/// pixel is at `at`, in the guest's pixels.
fn pointer_differs(shown: &Picture, ground: &Pattern, at: (i64, i64)) -> Option<(u32, u32, [u8; 3], [u8; 3])> {
    let pixels = ground.pixels();
    (0..shown.height).flat_map(|y| (0..shown.width).map(move |x| (x, y))).find_map(|(x, y)| {
        let [_, red, green, blue] = pixels[y as usize * ground.width + x as usize].to_be_bytes();
        let inside = |at: i64| u32::try_from(at).ok().filter(|&at| at < pointer::SIDE);
        let own = inside(i64::from(x) - at.0).zip(inside(i64::from(y) - at.1));
        let wanted = own.map_or([red, green, blue], |(px, py)| pointer::over(px, py, [red, green, blue]));
        let there = shown.at(x, y);
        let close = there.iter().zip(wanted).all(|(there, wanted)| there.abs_diff(wanted) <= 1);
        (!close).then_some((x, y, there, wanted))
    })
}

#[test]
fn a_guest_s_pointer_lets_light_and_dark_through_and_points_with_its_hot_spot() -> Result<()> {
    // The ground's colour and the hot spot: all four corners of the pointer, and beyond its edge.
    for (hue, hot) in [("#101010", (0, 0)), ("yellow", (63, 63)), ("yellow", (0, 63)), ("#101010", (90, 0))] {
        let (name, text) = played_guest_file("work", 1, hue, Mode::Quiet, "");
        let text = text.replace(PLAYED, &format!("{PLAYED} phyllome.pointer={},{}", hot.0, hot.1));
        let mut host = host(&[(name, text)])?;
        host.run(&["start", "work"])?;
        host.wait_serial("work", &ready_line("work"), SOON)?;
        let area = area(&host.wait_state("work", GuestState::Running, SOON)?)?;
        let ground = pattern("work", hue, area, None)?;
        let name_at = (area.width / 2, area.height / 4 + 10);
        // Over the ground, over the name (white on black), and cut off at the edges of the guest's area.
        for (x, y) in [(200, 500), name_at, (0, 0), (area.width - 1, area.height - 1)] {
            host.run(&["input", "move", &(area.x + x).to_string(), &(area.y + y).to_string()])?;
            let at = (i64::from(x) - i64::from(hot.0.min(63u32)), i64::from(y) - i64::from(hot.1.min(63u32)));
            let right = |picture: &Picture| pointer_differs(&picture.crop(area), &ground, at).is_none();
            let waited = host.wait_picture("the pointer as the guest drew it", SOON, right);
            waited.with_context(|| {
                let differs = host.screenshot().map(|shot| pointer_differs(&shot.crop(area), &ground, at));
                format!("ground {hue}, hot spot {hot:?}, pointing at {x}, {y}: {differs:?}")
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_second_monitor_is_plugged_in_while_there_is_a_display_for_it() -> Result<()> {
    let mut host = host(&[played_guest_file("work", 1, "red", Mode::Quiet, "[gpu]\nscanouts = 2\n")])?;
    let size = |area: Area| format!("connected {}x{}", area.width, area.height);
    let first = |host: &mut Host| -> Result<Area> { area(&host.wait_state("work", GuestState::Running, SOON)?) };
    host.run(&["start", "work"])?;
    host.wait_serial("work", &ready_line("work"), SOON)?;
    let one = first(&mut host)?;
    let said = host.wait_serial("work", &format!("Virtual-1 {}", size(one)), SOON)?;
    ensure!(!said.contains("Virtual-2"), "there is one display: {said}");
    // Another shell finds the guest running, each time with other displays.
    for _ in 0..2 {
        host.kill_shell()?;
        host.set_sizes(&["1280x800", "1024x600"]);
        host.start_shell()?;
        let status = host.wait_state("work", GuestState::Running, SOON)?;
        let two = status.outputs.get(1).context("there is one output")?.guest_area;
        let wanted = Pattern { name: "work 1".into(), ..pattern("work", "red", two, None)? };
        let right = |picture: &Picture| wanted.first_difference(&picture.crop(two)).is_none();
        host.wait_capture("the second picture", &["--output", "HEADLESS-2"], SOON, right)?;
        ensure!(host.serial("work").contains(&format!("Virtual-2 {}", size(two))));
        host.kill_shell()?;
        host.set_sizes(&["1280x800"]);
        host.start_shell()?;
        let said = host.wait_serial("work", "Virtual-2 off", SOON)?;
        ensure!(!said.contains("Virtual-1 off"), "the first is there, whoever looks: {said}");
    }
    Ok(())
}

#[test]
fn what_moves_is_presented_frame_by_frame_until_it_is_paused() -> Result<()> {
    for mode in [Mode::Animate, Mode::Flip] {
        let mut host = host(&[played_guest_file("play", 1, "blue", mode, "")])?;
        host.run(&["start", "play"])?;
        host.wait_serial("play", &ready_line("play"), SOON)?;
        let presented = |status: &Status| status.guests.iter().flat_map(|g| &g.scanouts).any(|s| s.presented >= 20);
        let status = host.wait("twenty pictures", SOON, presented)?;
        let area = area(&status)?;
        host.run(&["pause", "play"])?;
        host.wait_state("play", GuestState::Paused, SOON)?;
        // What stands still now is exactly the picture of some moment.
        let whole = |picture: &Picture| {
            let shown = picture.crop(area);
            let counter = Pattern::counter_of(&shown).filter(|counter| *counter >= 10);
            counter.is_some_and(|counter| {
                pattern("play", "blue", area, Some(counter)).is_ok_and(|p| p.first_difference(&shown).is_none())
            })
        };
        host.wait_picture("a picture of one moment", SOON, whole)?;
    }
    Ok(())
}

#[test]
fn the_shell_begins_with_the_guest_that_its_file_names_and_heeds_the_chords_that_it_sets() -> Result<()> {
    let options = HostOptions { played: true, ..HostOptions::default() };
    let guests = [("one", 1), ("two", 2)].map(|(name, slot)| played_guest_file(name, slot, "red", Mode::Evdev, ""));
    let guests = guests.each_ref().map(|(name, text)| (name.as_str(), text.clone()));
    let mut host = Host::prepare(options, &guests)?;
    std::fs::write(host.config().join("shell.toml"), "start = \"two\"\n[chords]\nhost = \"rightctrl\"\n")?;
    host.start_shell()?;
    host.wait_serial("two", &ready_line("two"), SOON)?;
    let status = host.wait_state("two", GuestState::Running, SOON)?;
    ensure!(status.focus.as_ref().is_some_and(|focus| focus.as_str() == "two"), "{:?}", status.focus);
    ensure!(status.guests.first().is_some_and(|one| one.state == GuestState::Stopped), "{:?}", status.guests);
    host.run(&["input", "tap", "super+esc"])?;
    host.wait_serial("two", "EV key 1 0", SOON)?;
    host.run(&["input", "tap", "rightctrl+esc"])?;
    host.wait("the list of guests", SOON, |status| status.mode == phyllome_protocol::status::Mode::Panel)?;
    ensure!(!host.serial("two").contains("EV key 97"), "a chord reached the guest");
    Ok(())
}

#[test]
fn a_hidden_guest_draws_on_at_its_display_s_rate_where_its_file_says_so_and_slowly_where_not() -> Result<()> {
    let (name, text) = played_guest_file("fast", 2, "blue", Mode::Animate, "");
    let fast = (name, format!("background = \"full\"\n{text}"));
    let slow = played_guest_file("slow", 3, "green", Mode::Animate, "");
    let mut host = host(&[played_guest_file("front", 1, "red", Mode::Quiet, ""), fast, slow])?;
    let started = Instant::now();
    for guest in ["front", "fast", "slow"] {
        host.run(&["start", guest])?;
        host.wait_serial(guest, &ready_line(guest), SOON)?;
    }
    let flushes = |status: &Status, name: &str| {
        let guest = status.guests.iter().find(|guest| guest.name.as_str() == name);
        guest.into_iter().flat_map(|guest| &guest.scanouts).map(|scanout| scanout.flushes).sum::<u64>()
    };
    let status = host.wait("both draw", SOON, |s| ["fast", "slow"].iter().all(|name| flushes(s, name) > 0))?;
    let words: Vec<_> = status.guests.iter().map(|guest| guest.background.as_str()).collect();
    ensure!(words == ["slow", "full", "slow"], "{words:?}");
    // Slowly is ten a second. A busy machine makes that fewer and counts it late, but never makes it as many as this.
    let beyond_slow = |time: Duration| 20 + time.as_millis() as u64 / 100;
    let counts = RefCell::new(vec![(Instant::now(), flushes(&status, "fast"))]);
    let status = host.wait("what nobody sees at its display's rate", 3 * SOON, |status| {
        let (now, fast) = (Instant::now(), flushes(status, "fast"));
        let mut counts = counts.borrow_mut();
        counts.push((now, fast));
        counts.iter().any(|(then, count)| fast - count >= beyond_slow(now.duration_since(*then)))
    })?;
    let slow = flushes(&status, "slow");
    ensure!(slow < beyond_slow(started.elapsed()), "{slow} pictures that nobody sees in {:?}", started.elapsed());
    Ok(())
}

#[test]
fn a_reset_brings_the_picture_back() -> Result<()> {
    let mut host = host(&[played_guest_file("work", 1, "green", Mode::Quiet, "")])?;
    host.run(&["start", "work"])?;
    host.wait_serial("work", &ready_line("work"), SOON)?;
    host.run(&["restart", "work"])?;
    let twice = format!("{0}\nPHYLLOME-GUEST-DISPLAY", ready_line("work"));
    host.wait_serial("work", &twice, SOON)?;
    let status = host.wait_state("work", GuestState::Running, SOON)?;
    let area = area(&status)?;
    let wanted = pattern("work", "green", area, None)?;
    host.wait_picture("the pattern again", SOON, |p| wanted.first_difference(&p.crop(area)).is_none())?;
    Ok(())
}

#[test]
fn a_played_guest_follows_the_size_of_its_screen_and_tells_its_lights() -> Result<()> {
    let options = HostOptions { played: true, ..HostOptions::default() };
    let (name, text) = played_guest_file("work", 1, "purple", Mode::Animate, "");
    let host = Host::prepare(options, &[(&name, text)])?;
    let mut guest = Running(
        host.command("phyllome-guest")?
            .args(["run", "work", "--control-only", "--config"])
            .arg(host.config())
            .spawn()?,
    );
    let socket = host.runtime().join("phyllome/guests/work/control.sock");
    let soon = |what: &str, condition: &mut dyn FnMut() -> Result<bool>| -> Result<()> {
        let end = Instant::now() + SOON;
        while !condition()? {
            ensure!(Instant::now() < end, "in vain: {what}; it said {}", host.serial("work"));
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    };
    soon("ready", &mut || Ok(host.serial("work").contains(&ready_line("work"))))?;
    let control = UnixStream::connect(&socket)?;
    for (width, height) in [(1912, 1048), (800, 600)] {
        let (screen, _compositor) = UnixStream::pair()?;
        let request = Request::AttachScreen { width, height };
        send_blocking(&control, &ToGuest { id: 1, request }, &[screen.as_fd()])?;
        let line = format!("PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected {width}x{height}");
        soon(&line, &mut || Ok(host.serial("work").contains(&line)))?;
    }
    send_blocking(&control, &ToGuest { id: 2, request: Request::SendKeys { keys: vec!["numlock".into()] } }, &[])?;
    let lights = |report: &Report| report.leds == Some(Leds { num: true, ..Leds::default() });
    soon("Num Lock's light", &mut || Ok(lights(&phyllome_tests::control::report(&socket)?)))?;
    ensure!(guest.0.try_wait()?.is_none(), "phyllome-guest has ended");
    Ok(())
}

/// Ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
