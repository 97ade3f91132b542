//! A real X11 desktop: Debian's Xorg with the modesetting driver on dumb buffers, over two heads of different sizes.
//!
//! What is right is known of every pixel: the root window has one colour, and the pointer is one that the test has made.
//! Where the pointer is and what is pressed is asked of the X server.

use crate::on_shared_guest_of;
use crate::pointing::{Head, click, heads, wait_for};
use anyhow::{Context, Result, anyhow, ensure};
use phyllome_test_machine::RemoteProcess;
use phyllome_tests::gl_guest::cursor::{KnownCursor, Wanted};
use phyllome_tests::gl_guest::{GL, GlGuest, GlOptions, NAME};
use phyllome_tests::host::HostOptions;

const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];
/// One that the guest's driver hands to the device as a hardware cursor.
const SMALL: (u32, u32) = (19, 21);
/// One that is larger than a hardware cursor: the X server draws it itself.
const LARGE: (u32, u32) = (75, 70);

const CONFIGURATION: &str = "Section \"Device\"\n    Identifier \"gpu\"\n    Driver \"modesetting\"\n\
    Option \"AccelMethod\" \"none\"\nEndSection\n";

/// A guest without 3D with two heads.
pub fn two_heads() -> GlOptions {
    let host = HostOptions { sizes: vec!["1280x800".into(), "1024x600".into()], ..HostOptions::default() };
    GlOptions { mode: "2d", scanouts: 2, host, ..GlOptions::default() }
}

/// The desktop's layouts: what xrandr is told of the second head, and where both begin, of heads of these sizes.
fn layouts([(w, _), (v, h)]: [(u32, u32); 2]) -> [(&'static str, [(u32, u32); 2]); 3] {
    [("--right-of", [(0, 0), (w, 0)]), ("--left-of", [(v, 0), (0, 0)]), ("--above", [(0, h), (0, 0)])]
}

/// An X server with nothing but its root window, and the program that says what happens to that.
struct Xorg<'a> {
    guest: &'a GlGuest,
    server: RemoteProcess,
    events: RemoteProcess,
}

impl<'a> Xorg<'a> {
    fn start(guest: &'a GlGuest) -> Result<Self> {
        guest.remote().write("/tmp/xorg.conf", 0o644, CONFIGURATION.as_bytes())?;
        let command =
            "exec Xorg :0 vt2 -noreset -keeptty -s 0 -dpms -displayfd 1 -config /tmp/xorg.conf -logfile /tmp/xorg.log";
        let server = guest.spawn("xorg", &format!("{command} 2> /tmp/xorg.errors"))?;
        let up = server.wait_output("0\n", GL);
        up.with_context(|| format!("{:?}", guest.run("tail -n 30 /tmp/xorg.errors /tmp/xorg.log")))?;
        let events = guest.spawn("xev", "DISPLAY=:0 exec stdbuf -oL xev -root -event keyboard -event button")?;
        let xorg = Self { guest, server, events };
        // It does not say when it begins to listen.
        let press = || xorg.run("xdotool key c").and_then(|_| xorg.events("KeyPress"));
        wait_for("xev's first event", press, |events| !events.is_empty())?;
        Ok(xorg)
    }

    /// Runs a script with this display.
    fn run(&self, script: &str) -> Result<String> {
        self.guest.run(&format!("export DISPLAY=:0; {script}"))?.ok()
    }

    /// Gives the root window a pointer.
    fn show(&self, pointer: &KnownCursor) -> Result<()> {
        let remote = self.guest.remote();
        if pointer.shadow {
            remote.write("/tmp/pointer", 0o644, &pointer.xcursor())?;
            return self.run(&format!("xsetroot -xcf /tmp/pointer {}", pointer.size.0)).map(drop);
        }
        let [dark, any] = pointer.xbm();
        remote.write("/tmp/dark.xbm", 0o644, dark.as_bytes())?;
        remote.write("/tmp/any.xbm", 0o644, any.as_bytes())?;
        self.run(&format!("xsetroot -cursor /tmp/dark.xbm /tmp/any.xbm {}", KnownCursor::xbm_colours())).map(drop)
    }

    /// Points at a pixel of a head and waits until the X server has its pointer at this very pixel of the desktop: the
    /// device sends the middle of it, so that no rounding leads to another.
    fn point(&self, head: &Head, at: (u32, u32), place: (u32, u32)) -> Result<()> {
        let wanted = format!("x:{} y:{} ", place.0, place.1);
        let pointed = || head.point(self.guest, at).and_then(|()| self.run("xdotool getmouselocation"));
        wait_for(&wanted, pointed, |said| said.starts_with(&wanted)).map(drop)
    }

    /// The events of this kind so far, each told to its end.
    fn events(&self, kind: &str) -> Result<Vec<String>> {
        let said = self.events.output()?;
        let events = said.split("\n\n").map(|event| event.replace('\n', " ").trim().to_owned());
        Ok(events.filter(|event| event.starts_with(kind) && event.contains("same_screen")).collect())
    }

    /// Waits until there are so many of them.
    fn wait_events(&self, kind: &str, count: usize) -> Result<Vec<String>> {
        wait_for(&format!("{kind} number {count}"), || self.events(kind), |events| events.len() >= count)
    }

    /// Clicks, and expects that the root window is clicked at a place.
    fn click_at(&self, (x, y): (u32, u32)) -> Result<()> {
        let before = self.events("ButtonPress")?.len();
        click(self.guest, "left")?;
        let events = self.wait_events("ButtonPress", before + 1)?;
        let last = events.last().map(String::as_str).unwrap_or_default();
        ensure!(last.contains(&format!("root:({x},{y})")) && last.contains("button 1,"), "not at {x}, {y}: {last}");
        ensure!(events.len() == before + 1, "one click is {:?}", events.get(before..));
        Ok(())
    }

    fn end(self) -> Result<()> {
        self.server.signal(15)?;
        ensure!(self.server.wait(GL)? == 0, "Xorg: {:?}", self.guest.run("tail -n 30 /tmp/xorg.errors"));
        self.events.wait(GL)?;
        Ok(())
    }
}

/// Each pointer on each head is what it should be, over light and over dark, and nothing of it is on the other head.
fn pointers_are_right(xorg: &Xorg, heads: &[Head; 2], origins: [(u32, u32); 2]) -> Result<()> {
    let small = KnownCursor::at_corners(SMALL);
    let [.., large] = KnownCursor::at_corners(LARGE);
    let shadow = KnownCursor { size: SMALL, hot: (3, 5), shadow: true };
    let all: Vec<_> = small.into_iter().chain([large, shadow]).collect();
    let [first, ..] = small;
    for (ground, name, pointers) in [(WHITE, "white", all), (BLACK, "black", vec![first, large, shadow])] {
        xorg.run(&format!("xsetroot -solid {name}"))?;
        for (pointer, number) in pointers.into_iter().zip(0..) {
            xorg.show(&pointer)?;
            let at = (97 + 40 * number, 113 + 31 * number);
            let wanted = Wanted { ground, pointer: Some((pointer, at)), rounding: 1, skipped: 0 };
            for (head, origin) in heads.iter().zip(origins) {
                xorg.point(head, at, (origin.0 + at.0, origin.1 + at.1))?;
                head.wait_seen(xorg.guest, "the pointer of X", &wanted)?;
            }
            let nothing = Wanted { pointer: None, ..wanted };
            heads[0].wait_seen(xorg.guest, "the head without the pointer of X", &nothing)?;
        }
    }
    Ok(())
}

#[test]
fn gpu3d_xorg_with_two_heads_has_its_pointer_clicks_keys_and_wheel_where_they_are_made() -> Result<()> {
    let name = "gpu3d_xorg_with_two_heads_has_its_pointer_clicks_keys_and_wheel_where_they_are_made";
    on_shared_guest_of(two_heads(), name, |guest| {
        guest.host.run(&["switch", NAME])?;
        let heads: [Head; 2] = heads(guest)?.try_into().map_err(|heads| anyhow!("not two heads: {heads:?}"))?;
        let xorg = Xorg::start(guest)?;
        for (place, origins) in layouts([heads[0].size(), heads[1].size()]) {
            xorg.run(&format!("xrandr --output Virtual-1 --auto --output Virtual-2 --auto {place} Virtual-1"))?;
            for (head, origin) in heads.iter().zip(origins) {
                let (width, height) = head.size();
                for at in [(width - 1, height - 1), (width / 3, height / 2)] {
                    let place = (origin.0 + at.0, origin.1 + at.1);
                    xorg.point(head, at, place)?;
                    xorg.click_at(place)?;
                }
            }
            if place == "--right-of" {
                pointers_are_right(&xorg, &heads, origins)?;
            }
        }
        a_scaled_head_is_clicked_where_it_is(&xorg, &heads)?;
        keys_repeat_while_they_are_held(&xorg)?;
        every_notch_is_one_click_of_the_wheel(&xorg)?;
        xorg.end()?;
        guest.wait_console().map(drop)
    })
}

/// Xorg gives a head that it scales a framebuffer of its own.
fn a_scaled_head_is_clicked_where_it_is(xorg: &Xorg, heads: &[Head; 2]) -> Result<()> {
    xorg.run("xrandr --output Virtual-2 --scale 1.5x1.5 --right-of Virtual-1")?;
    let left = heads[0].size().0;
    for (head, at, place) in [(0, (600, 300), (600, 300)), (1, (0, 0), (left, 0)), (1, (800, 400), (left + 1200, 600))]
    {
        xorg.point(&heads[head], at, place)?;
        xorg.click_at(place)?;
    }
    Ok(())
}

fn keys_repeat_while_they_are_held(xorg: &Xorg) -> Result<()> {
    let is = |letter: &str| format!("keysym 0x{:x}, {letter})", letter.as_bytes()[0]);
    xorg.run("xset r rate 200 30")?;
    let before = xorg.events("KeyPress")?.len();
    xorg.guest.host.run(&["input", "key", "a", "press"])?;
    xorg.wait_events("KeyPress", before + 4)?;
    xorg.guest.host.run(&["input", "key", "a", "release"])?;
    xorg.guest.host.run(&["input", "tap", "b"])?;
    let is_b = |events: &Vec<String>| events.last().is_some_and(|last| last.contains(&is("b")));
    let events = wait_for("the key after it", || xorg.events("KeyPress"), is_b)?;
    let (last, held) = events.get(before..).and_then(<[_]>::split_last).context("no key")?;
    ensure!(held.iter().all(|event| event.contains(&is("a"))), "{held:?}, then {last}");
    Ok(())
}

fn every_notch_is_one_click_of_the_wheel(xorg: &Xorg) -> Result<()> {
    let before = xorg.events("ButtonPress")?.len();
    xorg.guest.host.run(&["input", "wheel", "2"])?;
    xorg.guest.host.run(&["input", "wheel", "-3"])?;
    click(xorg.guest, "right")?;
    let events = xorg.wait_events("ButtonPress", before + 6)?;
    let buttons = events.get(before..).unwrap_or_default().iter();
    let buttons: Vec<_> = buttons.filter_map(|event| event.split("button ").nth(1)?.split(',').next()).collect();
    ensure!(buttons == ["5", "5", "4", "4", "4", "3"], "2 notches down, 3 up and a click are {buttons:?}");
    Ok(())
}
