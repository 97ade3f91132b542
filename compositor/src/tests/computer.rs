//! Keys of the computer are the shell's, and what it has to say stands in the bar, wherever a guest fills the screen.

use super::client::Keyboard;
use super::fixture::Fixture;
use super::show::shown;
use crate::host::keys::HostKey;
use crate::host::leaving::Leave;
use crate::host::notice::{Notice, Sign};
use crate::host::power::Power;
use crate::host::{Host, News};
use std::io::Read;

const GREEN: u32 = 0x00_ff_00;
const MIC_MUTE: u32 = 248;
const VOLUME_UP: u32 = 115;
const WLAN: u32 = 238;
const A: u32 = 30;

#[test]
fn keys_of_the_computer_reach_no_guest_where_the_shell_heeds_them() {
    let mut shell = Fixture::new();
    let (mut red, _window, _pool) = shown!(shell, "red", GREEN);
    red.seat().get_keyboard(&red.handle, ());
    shell.roundtrip(&mut red);
    let (host, pressed) = Host::fake();
    shell.state.host = host;
    for code in [MIC_MUTE, VOLUME_UP, WLAN, A] {
        shell.state.handle_key(code, true, 1);
        shell.state.handle_key(code, false, 2);
    }
    shell.roundtrip(&mut red);
    let keys: Vec<_> = red.events.keyboard.iter().filter(|event| matches!(event, Keyboard::Key(..))).collect();
    assert_eq!(keys, [&Keyboard::Key(A, true), &Keyboard::Key(A, false)]);
    assert_eq!(pressed.take(), [HostKey::Microphone, HostKey::Volume { up: true }, HostKey::Radio]);
}

#[test]
fn volume_that_is_held_goes_on_until_it_is_released_and_mute_does_not() {
    let mut shell = Fixture::new();
    let (host, pressed) = Host::fake();
    shell.state.host = host;
    let up = HostKey::Volume { up: true };
    shell.state.handle_key(VOLUME_UP, true, 1);
    assert_eq!(pressed.take(), [up], "at once");
    for _ in 0..3 {
        shell.wait("the next step", |_| pressed.take() == [up]);
    }
    assert_eq!(shell.state.held_host_key(), Some(up));
    shell.state.handle_key(VOLUME_UP, false, 2);
    assert_eq!(shell.state.held_host_key(), None);
    shell.state.handle_key(MIC_MUTE, true, 3);
    assert_eq!((shell.state.held_host_key(), pressed.take()), (None, vec![HostKey::Microphone]));
}

fn battery() -> News {
    News::Power(Power { notice: Some(Notice::new(Sign::Battery, "Battery at 14 %")), ..Power::default() })
}

fn text(shell: &Fixture) -> Option<String> {
    shell.state.shell.notice(0).map(|notice| notice.text)
}

#[test]
fn what_came_of_a_key_is_seen_for_a_moment_and_a_low_battery_as_long_as_it_is() {
    let mut shell = Fixture::new();
    let (_red, _window, _pool) = shown!(shell, "red", GREEN);
    shell.settle();
    let quiet = shell.shot("computer-quiet");
    shell.state.hear_of_computer(battery());
    shell.settle();
    let low = shell.shot("computer-battery");
    let area = shell.area();
    assert!(low.differs_outside(&area, &quiet).is_some());
    shell.state.hear_of_computer(News::Done(Notice::level(Sign::Sound, 45)));
    shell.settle();
    let volume = shell.shot("computer-volume");
    assert!(volume.differs_outside(&area, &low).is_some());
    assert_eq!(text(&shell).as_deref(), Some("45 %"));
    shell.wait("the moment to pass", |shell| text(shell).as_deref() == Some("Battery at 14 %"));
    shell.state.hear_of_computer(News::Power(Power::default()));
    assert_eq!(text(&shell), None);
}

#[test]
fn that_the_computer_goes_to_sleep_is_said_before_all_else_and_sleep_waits_until_it_is_shown() {
    let mut shell = Fixture::new();
    let (_red, _window, _pool) = shown!(shell, "red", GREEN);
    shell.state.hear_of_computer(battery());
    shell.settle();
    let before = shell.shot("computer-before-sleep");
    let (mut held_up, held) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&held_up, true).unwrap();
    shell.state.hear_of_computer(News::Leaving(Some(Leave::Sleep), Some(held.into())));
    assert!(held_up.read(&mut [0]).is_err(), "nobody has seen it yet");
    shell.state.hear_of_computer(News::Done(Notice::level(Sign::Sound, 45)));
    let said = "The computer goes to sleep. Its power button wakes it up";
    assert_eq!(text(&shell).as_deref(), Some(said));
    shell.settle();
    assert_eq!(held_up.read(&mut [0]).unwrap(), 0, "it is shown");
    assert!(shell.shot("computer-sleep").differs_outside(&shell.area(), &before).is_some());
    shell.state.hear_of_computer(News::Leaving(None, None));
    assert_ne!(text(&shell).as_deref(), Some(said));
}

#[test]
fn a_planned_shutdown_stands_before_what_else_is_said_and_after_the_last_percents_of_a_battery() {
    let mut shell = Fixture::new();
    let soon = Leave::Soon { restart: false, minutes: 5 };
    shell.state.hear_of_computer(News::Leaving(Some(soon), None));
    shell.state.hear_of_computer(battery());
    let said = "The computer shuts down in 5 minutes. Super+Escape: end guests first; Battery at 14 %";
    assert_eq!(text(&shell).as_deref(), Some(said));
    shell.settle();
    shell.shot("computer-both");
    let last = Notice::new(Sign::Battery, "Battery at 5 %: plug it in now");
    shell.state.hear_of_computer(News::Power(Power { notice: Some(last), urgent: true, end: None }));
    let said = "Battery at 5 %: plug it in now; The computer shuts down in 5 minutes. Super+Escape: end guests first";
    assert_eq!(text(&shell).as_deref(), Some(said), "it is not what is cut off");
}
