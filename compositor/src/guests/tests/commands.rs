//! What is asked on the shell's control socket, and who hears the answer.

use super::{Host, Line, PATIENCE, Peer, name, refusal, with_launcher};
use crate::guests::life::tests::report;
use crate::host::News;
use crate::host::notice::{Notice, Sign};
use crate::host::power::{AtEnd, Power};
use crate::ledger;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::{FromGuest, Report, Request};
use phyllome_protocol::framing;
use phyllome_protocol::shell::{CaptureTarget, Command, Event, Reply, TestInput};
use phyllome_protocol::status::{GuestState, Mode};
use phyllome_trusted::gate::{Asker, Verb};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

#[test]
fn an_answer_reaches_the_one_who_asked_and_a_foreign_one_nobody() {
    let mut host = Host::started("exit 9");
    let (mut work, play) = (Peer::of(&mut host, "work"), Peer::of(&mut host, "play"));
    let mut tool = host.tool();
    tool.send(&Command::Guest { verb: GuestVerb::Pause, name: name("work") });
    let asked = work.asked(&mut host);
    assert_eq!(asked.request, Request::Verb(GuestVerb::Pause));
    // Another guest answers in its place.
    play.line.send(&FromGuest::Refused { id: asked.id, reason: "ha".into() });
    work.line.send(&FromGuest::Done { id: asked.id });
    assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done);
    host.wait_state("work", GuestState::Paused);
    assert!(
        refusal(host.ask(Command::Guest { verb: GuestVerb::Pause, name: name("work") })).contains("paused already")
    );
}

#[test]
fn tp20_pause_all_asks_every_guest_even_if_one_refuses() {
    let mut host = Host::started("exit 9");
    let (mut work, mut play) = (Peer::of(&mut host, "work"), Peer::of(&mut host, "play"));
    let mut tool = host.tool();
    tool.send(&Command::PauseAll);
    let (first, second) = (work.asked(&mut host), play.asked(&mut host));
    work.line.send(&FromGuest::Refused { id: first.id, reason: "QEMU does not answer".into() });
    play.line.send(&FromGuest::Done { id: second.id });
    // This test stands for both, and is not to be frozen.
    let says = "work does not pause and cannot be frozen (its process is none of its own); force it off";
    assert_eq!(refusal(tool.next(&mut host).unwrap()), says);
    host.wait_state("play", GuestState::Paused);
}

#[test]
fn status_goes_out_although_a_guest_does_not_tell_its_counters() {
    let mut host = Host::started("exit 9");
    let _mute = Peer::of(&mut host, "work");
    let Reply::Status(status) = host.ask(Command::Status) else { panic!("no status") };
    assert_eq!(status.guests[0].state, GuestState::Running);
    assert_eq!(status.guests[0].qemu_pid, Some(2));
}

#[test]
fn tp20_a_guest_that_never_answers_is_asked_a_bounded_number_of_times() {
    let mut host = Host::started("exit 9");
    let _mute = Peer::of(&mut host, "work");
    let mut play = Peer::of(&mut host, "play");
    for _ in 0..3 {
        assert!(matches!(host.ask(Command::Status), Reply::Status(_)));
    }
    assert_eq!(
        host.state.guests.pending.values().filter(|p| p.name == name("work")).count(),
        1,
        "one question for reports"
    );
    let asked: Vec<_> =
        (0..100).map(|_| host.state.ask_guest(&name("work"), Request::Verb(GuestVerb::Shutdown), None)).collect();
    assert_eq!(asked.iter().filter(|result| result.is_ok()).count(), crate::guests::MAX_PENDING - 1);
    let tool = host.tool();
    tool.send(&Command::Guest { verb: GuestVerb::Shutdown, name: name("play") });
    assert_eq!(play.asked(&mut host).request, Request::Verb(GuestVerb::Shutdown), "other guests are not held up");
}

#[test]
fn events_tell_of_focus_mode_and_states() {
    let mut host = Host::started("exit 9");
    let mut tool = host.tool();
    tool.send(&Command::Events);
    assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done);
    let peer = Peer::of(&mut host, "work");
    host.ask(Command::Switch { name: name("work") });
    host.ask(Command::Panel { show: true });
    peer.report(GuestState::Stopping);
    let mut seen: Vec<Event> = Vec::new();
    let wanted = Event::State { name: name("work"), state: GuestState::Stopping, message: None };
    while !seen.contains(&wanted) {
        seen.push(tool.next(&mut host).unwrap());
    }
    assert!(seen.contains(&Event::Focus { name: Some(name("work")) }), "{seen:?}");
    assert!(seen.contains(&Event::Mode { mode: Mode::Panel }), "{seen:?}");
    assert!(seen.contains(&Event::Focus { name: None }), "{seen:?}");
}

#[test]
fn several_commands_on_one_connection_are_answered_in_order() {
    let mut host = Host::started("exit 9");
    let _mute = Peer::of(&mut host, "work");
    let mut tool = host.tool();
    tool.send(&Command::Status);
    tool.send(&Command::Guest { verb: GuestVerb::Kill, name: name("play") });
    tool.send(&Command::Panel { show: true });
    assert!(matches!(tool.next(&mut host).unwrap(), Reply::Status(_)));
    let nothing = "play is not running, so there is nothing to end; phyllome status shows all guests";
    assert_eq!(refusal(tool.next(&mut host).unwrap()), nothing);
    assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done);
}

#[test]
fn tp20_many_commands_at_once_are_one_command_in_a_turn() {
    const MANY: usize = 150;
    let mut host = Host::started("exit 9");
    let mut tool = host.tool();
    let target = CaptureTarget::Default;
    let bytes = framing::encode(&Command::Screenshot { target }).unwrap().repeat(MANY);
    (&tool.stream).write_all(&bytes).unwrap();
    let mut other = host.tool();
    other.send(&Command::Panel { show: true });
    assert_eq!(other.next::<Reply>(&mut host).unwrap(), Reply::Done);
    let mut answered = 0;
    let mut count = |tool: &mut Line| {
        while tool.decoder.receive(&tool.stream).unwrap() {
            while let Some(reply) = tool.decoder.next_message::<Reply>().unwrap() {
                assert!(matches!(reply, Reply::Screenshot { .. }), "{reply:?}");
                assert!(tool.decoder.take_fd().is_some());
                answered += 1;
            }
        }
        answered
    };
    assert!(count(&mut tool) < MANY / 2, "the other one did not wait for all of them");
    host.wait("all answers", |_| count(&mut tool) == MANY);
}

#[test]
fn a_hundred_idle_connections_keep_nobody_out() {
    let mut host = Host::started("exit 9");
    let idle: Vec<_> = (0..100).map(|_| (host.tool(), host.turn())).collect();
    assert!(matches!(host.ask(Command::Status), Reply::Status(_)));
    assert_eq!(idle.len(), 100);
    assert!(host.state.control.client_count() <= 32);
}

#[test]
fn tp20_who_connects_over_and_over_is_let_in_at_a_bounded_rate() {
    let mut host = Host::started("exit 9");
    let path = host.state.guests.options.runtime.shell_socket();
    let started = Instant::now();
    let connects = std::thread::spawn(move || (0..400).for_each(|_| drop(UnixStream::connect(&path).unwrap())));
    host.wait("all to be let in", |host| {
        let arrived = host.state.control.arrived();
        assert!(arrived as f64 <= 201.0 + 100.0 * started.elapsed().as_secs_f64(), "{arrived} at once");
        arrived == 400
    });
    connects.join().unwrap();
    assert!(matches!(host.ask(Command::Status), Reply::Status(_)));
}

#[test]
fn test_input_needs_its_flag_and_goes_the_way_of_a_device() {
    let tap = |keys: [&str; 2]| {
        let keys = keys.map(str::to_owned).to_vec();
        Command::Input { input: TestInput::Tap { keys } }
    };
    let mut host = Host::with("exit 9", false);
    host.start();
    assert!(refusal(host.ask(tap(["super", "escape"]))).contains("--allow-test-input"));
    let mut host = Host::started("exit 9");
    assert_eq!(host.ask(tap(["super", "escape"])), Reply::Done);
    assert_eq!(host.state.shell.mode(), Mode::Panel);
    assert_eq!(host.ask(tap(["super", "2"])), Reply::Done);
    assert_eq!((host.shown().as_deref(), host.state.shell.mode()), (Some("play"), Mode::Guest));
    assert!(refusal(host.ask(tap(["super", "nokey"]))).contains("nokey"));
    let text = "Ab\n".to_owned();
    assert_eq!(host.ask(Command::Input { input: TestInput::Type { text } }), Reply::Done);
}

#[test]
fn the_sockets_mode_keeps_others_out_and_it_goes_when_the_shell_ends() {
    let mut host = Host::started("exit 9");
    let path = host.state.guests.options.runtime.shell_socket();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    host.state.stop_control();
    assert!(!path.exists() && host.folder.path().exists());
}

#[test]
fn a_guest_that_ignores_its_power_button_is_silent_after_a_while_and_again_after_a_person_waits_longer() {
    let mut host = Host::new("exit 9");
    host.start();
    let mut work = Peer::of(&mut host, "work");
    let silent = |host: &mut Host| host.state.shell.guest(&name("work")).unwrap().silent;
    for state in [GuestState::Stopping, GuestState::Running] {
        let shutdown = Verb::Guest(name("work"), GuestVerb::Shutdown);
        host.state.act(shutdown, Asker::Face).unwrap();
        assert!(!silent(&mut host), "not at once");
        let asked = work.asked(&mut host);
        work.line.send(&FromGuest::Done { id: asked.id });
        // As phyllome-guest says it of one that runs on.
        let report = Report { unheeded: state == GuestState::Running, ..report(state) };
        work.line.send(&FromGuest::Report(report));
        host.wait_state("work", state);
        host.wait("the shell to notice", silent);
        host.state.act(Verb::WaitLonger(name("work")), Asker::Face).unwrap();
        assert!(!silent(&mut host));
        host.wait("the shell to notice again", silent);
    }
}

#[test]
fn a_battery_at_its_end_presses_every_guests_power_button_under_a_lock_too_and_a_low_one_presses_none() {
    let mut host = Host::new("exit 9");
    host.start();
    let mut guests = ["work", "play"].map(|guest| Peer::of(&mut host, guest));
    let battery = |percent: u32, end| {
        News::Power(Power { notice: Some(Notice::new(Sign::Battery, format!("{percent} %"))), urgent: true, end })
    };
    host.state.hear_of_computer(battery(4, None));
    host.state.act(Verb::All(GuestVerb::Pause), Asker::Tool).unwrap();
    host.state.shell.set_locked(true);
    host.state.hear_of_computer(battery(3, Some(AtEnd::Shutdown)));
    for guest in &mut guests {
        let asked = [(); 2].map(|()| guest.asked(&mut host).request);
        assert_eq!(asked, [GuestVerb::Pause, GuestVerb::Shutdown].map(Request::Verb));
    }
}

#[test]
fn a_guest_that_has_begun_anew_is_asked_about_no_more() {
    let mut host = Host::new("exit 9");
    host.start();
    let mut work = Peer::of(&mut host, "work");
    host.state.act(Verb::Guest(name("work"), GuestVerb::Shutdown), Asker::Face).unwrap();
    let asked = work.asked(&mut host);
    work.line.send(&FromGuest::Done { id: asked.id });
    let entry = |host: &Host| {
        let entry = &host.state.guests.entries[&name("work")];
        (entry.life.is_asked(), entry.answer.is_some())
    };
    for (state, left) in [(GuestState::Stopping, (true, true)), (GuestState::Running, (false, false))] {
        work.report(state);
        host.wait_state("work", state);
        assert_eq!(entry(&host), left);
    }
}

#[test]
fn no_timer_of_a_guest_outlives_what_it_was_set_for() {
    let launcher = "while [ \"$1\" != -- ]; do shift; done; shift; exec \"$@\"";
    let mut host = with_launcher("exec sleep 100", launcher, PATIENCE);
    // None goes because its time is over.
    host.state.guests.options.answer = Duration::from_secs(600);
    let timers = |host: &Host| {
        let entry = &host.state.guests.entries[&name("work")];
        [entry.launching.is_some(), entry.answer.is_some(), entry.escalation.is_some()]
    };
    let act = |host: &mut Host, verb| drop(host.state.act(Verb::Guest(name("work"), verb), Asker::Face).unwrap());
    act(&mut host, GuestVerb::Start);
    assert_eq!(timers(&host), [true, false, false]);
    let work = Peer::of(&mut host, "work");
    assert_eq!(timers(&host), [false; 3], "it is no launcher any more");
    host.state.await_end(&name("work"));
    assert_eq!(timers(&host), [false, true, false]);
    act(&mut host, GuestVerb::Kill);
    assert_eq!(timers(&host), [false, false, true], "nobody waits for it to power off");
    host.wait_state("work", GuestState::Stopped);
    assert_eq!(timers(&host), [false; 3]);
    drop(work);
    std::fs::remove_file(host.socket("work")).unwrap();
    // One that ends by itself after it was asked to power off.
    act(&mut host, GuestVerb::Start);
    let _work = Peer::of(&mut host, "work");
    host.state.await_end(&name("work"));
    let (process, _) = host.state.guests.entries[&name("work")].process.as_ref().unwrap();
    process.kill().unwrap();
    host.wait("its end", |host| host.state.guests.entries[&name("work")].process.is_none());
    assert_eq!(timers(&host), [false; 3]);
    // One that is ended before it is more than its launcher.
    act(&mut host, GuestVerb::Start);
    assert_eq!(timers(&host), [true, false, false]);
    act(&mut host, GuestVerb::Kill);
    host.wait("its end", |host| host.state.guests.entries[&name("work")].process.is_none());
    assert_eq!(timers(&host), [false; 3]);
}

#[test]
fn a_guest_whose_folder_appears_is_waited_for_with_one_timer() {
    let mut host = Host::started("exec sleep 100");
    let timer = |host: &Host| {
        let entry = &host.state.guests.entries[&name("work")];
        entry.dial.as_ref().and_then(|dial| dial.timer)
    };
    host.state.act(Verb::Guest(name("work"), GuestVerb::Start), Asker::Face).unwrap();
    let first = timer(&host).unwrap();
    host.state.guests.options.runtime.make_guest_dir(&name("work")).unwrap();
    host.wait("the folder to be seen", |host| timer(host) != Some(first));
    let second = timer(&host).unwrap();
    assert!(host.state.loop_handle.enable(&first).is_err(), "the first one runs on");
    let _work = Peer::of(&mut host, "work");
    assert!(host.state.loop_handle.enable(&second).is_err(), "the second one runs on");
}

#[test]
fn tp20_what_a_guests_lines_cost_is_on_its_account() {
    let mut host = Host::started("exit 9");
    let peer = Peer::of(&mut host, "work");
    let account = host.state.protocols.ledger.account(&name("work"), Instant::now());
    // Nothing is shown: no request of its screen's costs anything.
    let before = ledger::of(&account).total;
    peer.report(GuestState::Running);
    host.wait("its report to be on its account", |_| ledger::of(&account).total > before);
}
