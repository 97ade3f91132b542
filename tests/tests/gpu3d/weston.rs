//! A real Wayland desktop: weston's own shell, drawn with GL, and over two heads on a guest without 3D.
//!
//! Its ground has one colour and its pointer is one that the test has made, so that what is right is known of every
//! pixel. What its clients hear is said by `weston-eventdemo`, whose window fills the desktop. On this guest weston
//! draws its pointer itself: Linux shows it no cursor plane whose hot spot it could not tell.

use crate::names::values;
use crate::pointing::{Head, click, heads, wait_for};
use crate::xorg::two_heads;
use crate::{on_shared_guest, on_shared_guest_of, renderer_name};
use anyhow::{Context, Result, anyhow, ensure};
use phyllome_test_machine::{Program, RemoteProcess};
use phyllome_tests::gl_guest::cursor::{KnownCursor, Wanted};
use phyllome_tests::gl_guest::{GL, GlGuest, NAME};
use phyllome_tests::picture::Picture;

/// The height of weston's panel, in pixels.
const PANEL: u32 = 32;
const WHITE: [u8; 3] = [255; 3];
const POINTER: KnownCursor = KnownCursor { size: (24, 21), hot: (5, 7), shadow: true };
/// Where a theme's pointer is that all clients of weston use, its shell too.
const THEME: &str = "/usr/share/icons/known/cursors";
/// The rule of the guest's udev that the README has, which spreads the tablet over more than one display.
const RULE: &str = "/etc/udev/rules.d/90-two-heads.rules";

/// Starts weston by a user, with the seat's devices from seatd, as on any machine. `shell` is lines of its `[shell]`.
fn start(guest: &GlGuest, arguments: &[&str], shell: &str) -> Result<RemoteProcess> {
    guest.run(&format!("mkdir -p {THEME}; mkdir -p -m 1777 /tmp/.X11-unix"))?.ok()?;
    guest.remote().write(&format!("{THEME}/left_ptr"), 0o644, &POINTER.xcursor())?;
    let size = POINTER.size.0;
    let configuration = format!(
        "[shell]\nbackground-color=0xffffffff\ncursor-theme=known\ncursor-size={size}\nlocking=false\n\
         animation=none\nstartup-animation=none\nclose-animation=none\n{shell}\n"
    );
    guest.remote().write("/tmp/weston.ini", 0o644, configuration.as_bytes())?;
    let always = ["--backend=drm", "--idle-time=0", "--config=/tmp/weston.ini"];
    let weston = guest.remote().spawn("weston", &Program::new("weston", &[&always, arguments].concat()))?;
    // Its socket and its input devices are there before its shell.
    weston.wait_output("launching '/usr/libexec/weston-desktop-shell'", GL)?;
    Ok(weston)
}

fn end(guest: &mut GlGuest, weston: &RemoteProcess) -> Result<()> {
    weston.signal(15)?;
    ensure!(weston.wait(GL)? == 0, "{}", weston.output()?);
    guest.wait_console().map(drop)
}

/// Points at a pixel of the head and waits until it is white with the pointer there, below so many rows.
fn point_and_see(guest: &GlGuest, head: &Head, at: (u32, u32), skipped: u32) -> Result<()> {
    let wanted = Wanted { ground: WHITE, pointer: Some((POINTER, at)), rounding: 2, skipped };
    head.point_until_seen(guest, "the pointer of weston", at, &wanted)
}

/// A client whose window fills the desktop below the panel, and which says what it hears.
struct Client<'a> {
    guest: &'a GlGuest,
    process: RemoteProcess,
}

impl<'a> Client<'a> {
    fn start(guest: &'a GlGuest, (width, height): (u32, u32)) -> Result<Self> {
        let command = format!(
            "exec stdbuf -oL weston-eventdemo --no-border --width={width} --height={height} --log-focus --log-key \
             --log-button --log-axis"
        );
        let program = Program::script(&command).env("WAYLAND_DISPLAY", "wayland-1");
        let process = guest.remote().spawn("eventdemo", &program)?;
        // It is under the pointer as soon as it is there.
        process.wait_output("focus x:", GL)?;
        Ok(Self { guest, process })
    }

    /// The lines of this kind so far.
    fn lines(&self, kind: &str) -> Result<Vec<String>> {
        let said = self.process.output()?;
        Ok(said.lines().filter(|line| line.starts_with(kind)).map(str::to_owned).collect())
    }

    /// Waits until there are so many of them.
    fn wait_lines(&self, kind: &str, count: usize) -> Result<Vec<String>> {
        wait_for(&format!("{kind} number {count}"), || self.lines(kind), |lines| lines.len() >= count)
    }

    /// Clicks at a pixel of a head, and gives where in the window it was heard.
    fn click(&self, head: &Head, at: (u32, u32)) -> Result<(u32, u32)> {
        let before = self.lines("button ")?.len();
        head.point(self.guest, at)?;
        click(self.guest, "left")?;
        let lines = self.wait_lines("button ", before + 2)?;
        let last = lines.last().context("no line")?;
        let (_, place) = last.split_once(", x: ").with_context(|| format!("no place: {last}"))?;
        let (x, y) = place.split_once(", y: ").with_context(|| format!("no place: {last}"))?;
        ensure!(last.contains("button: 272, state: released"), "not the left button: {last}");
        Ok((x.parse()?, y.parse()?))
    }

    fn keys_repeat_while_they_are_held(&self) -> Result<()> {
        let key = |arguments: &[&str]| self.guest.host.run(&[&["input"], arguments].concat());
        key(&["key", "a", "press"])?;
        self.wait_lines("key key: 30, unicode: 97, state: pressed", 4)?;
        key(&["key", "a", "release"])?;
        self.wait_lines("key key: 30, unicode: 97, state: released", 1)?;
        key(&["tap", "b"])?;
        self.wait_lines("key key: 48, unicode: 98, state: released", 1)?;
        let lines = self.lines("key ")?;
        let after = lines.iter().rev().take(3).map(|line| (line.contains("key: 30,"), line.contains("pressed")));
        let ends = after.eq([(false, false), (false, true), (true, false)]);
        ensure!(ends, "the key went on after its release: {lines:?}");
        Ok(())
    }

    fn every_notch_of_the_wheel_is_one(&self) -> Result<()> {
        self.guest.host.run(&["input", "wheel", "2"])?;
        self.guest.host.run(&["input", "wheel", "-3"])?;
        let lines = self.wait_lines("axis discrete ", 5)?;
        let notches: Vec<_> =
            lines.iter().filter_map(|line| line.strip_prefix("axis discrete axis: 0 value: ")).collect();
        ensure!(notches == ["1", "1", "-1", "-1", "-1"], "2 notches down and 3 up are {lines:?}");
        Ok(())
    }
}

#[test]
fn gpu3d_weston_shows_its_desktop_and_pointer_with_gl_and_its_clients_hear_keys_and_wheel() -> Result<()> {
    let name = "gpu3d_weston_shows_its_desktop_and_pointer_with_gl_and_its_clients_hear_keys_and_wheel";
    on_shared_guest(name, |guest| {
        guest.host.run(&["switch", NAME])?;
        let heads = heads(guest)?;
        let [head] = heads.as_slice() else { return Err(anyhow!("not one head: {heads:?}")) };
        let weston = start(guest, &["--renderer=gl", "--xwayland"], "")?;
        let said = weston.wait_output("GL renderer:", GL)?;
        let renderer = said.lines().find(|line| line.contains("GL renderer:")).unwrap_or_default();
        ensure!(renderer.contains(renderer_name()), "weston says {said}");
        // Its panel is a bar over the whole width; below it is the ground.
        let place = (head.size().0 / 3, head.size().1 / 2);
        let seen = point_and_see(guest, head, place, PANEL);
        seen.with_context(|| format!("weston said: {:?}", weston.output()))?;
        let panel = |picture: &Picture| picture.at(picture.width / 2, 4) != WHITE && picture.colours() > 16;
        guest.wait_picture("weston's panel", panel)?;
        let (width, height) = head.size();
        for at in [(0, PANEL), (width - 1, height - 1)] {
            point_and_see(guest, head, at, PANEL)?;
        }

        let client = Client::start(guest, (width, height - PANEL))?;
        for at in [(0, PANEL), (width - 1, height - 1), place] {
            let heard = client.click(head, at)?;
            ensure!(heard == (at.0, at.1 - PANEL), "a click at {at:?} is heard at {heard:?} below the panel");
        }
        client.keys_repeat_while_they_are_held()?;
        client.every_notch_of_the_wheel_is_one()?;

        // An X program, in an X server that draws with GL as well.
        weston.wait_output("xserver listening on display :0", GL)?;
        let said = guest.remote().run_within(&Program::script("DISPLAY=:0 exec glxinfo -B"), GL)?.ok()?;
        let renderers = values(&said, "OpenGL renderer string");
        ensure!(renderers.len() == 1 && renderers[0].contains(renderer_name()), "glxinfo says {said}");
        end(guest, &weston)
    })
}

#[test]
fn gpu3d_weston_with_two_heads_has_its_pointer_and_clicks_on_both_by_a_rule_of_udev() -> Result<()> {
    let name = "gpu3d_weston_with_two_heads_has_its_pointer_and_clicks_on_both_by_a_rule_of_udev";
    on_shared_guest_of(two_heads(), name, |guest| {
        guest.host.run(&["switch", NAME])?;
        let heads: [Head; 2] = heads(guest)?.try_into().map_err(|heads| anyhow!("not two heads: {heads:?}"))?;
        let [(first, height), (second, lower)] = [heads[0].size(), heads[1].size()];
        let (across, down) =
            (f64::from(first + second) / f64::from(first), f64::from(height.max(lower)) / f64::from(height));
        let rule = format!(
            "KERNEL==\"event*\", ATTRS{{name}}==\"QEMU Virtio Tablet\", \
             ENV{{LIBINPUT_CALIBRATION_MATRIX}}=\"{across:.7} 0 0 0 {down:.7} 0\"\n"
        );
        guest.remote().write(RULE, 0o644, rule.as_bytes())?;
        renew_devices(guest)?;
        let weston = start(guest, &["--renderer=pixman"], "panel-position=none")?;
        for at in [(0, 0), (300, 200), (second - 1, lower - 1)] {
            point_and_see(guest, &heads[1], at, 0)?;
        }
        // Last on the first head, so that a window is put there.
        point_and_see(guest, &heads[0], (700, 500), 0)?;
        let client = Client::start(guest, (first + second, height.max(lower)))?;
        for (head, left, at) in [(0, 0, (600, 300)), (1, first, (0, 0)), (1, first, (second - 1, lower - 1))] {
            let heard = client.click(&heads[head], at)?;
            ensure!(heard == (left + at.0, at.1), "a click at {at:?} of {:?} is at {heard:?}", heads[head]);
        }
        end(guest, &weston)?;
        guest.run(&format!("rm {RULE}"))?.ok()?;
        renew_devices(guest)
    })
}

/// Has the guest's udev look at the input devices by its rules.
fn renew_devices(guest: &GlGuest) -> Result<()> {
    let script = "udevadm control --reload && udevadm trigger --settle --action=change --subsystem-match=input";
    guest.run(script)?.ok().map(drop)
}
