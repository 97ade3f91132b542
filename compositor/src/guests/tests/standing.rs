//! What a hostile guest can do so that it runs on when it is to stand still: nothing.

use super::{Host, Peer, name, process_of};
use crate::guests::Pausing;
use crate::guests::process::tests::listening;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::{FromGuest, Request};
use phyllome_protocol::shell::{Command, Reply};
use phyllome_protocol::status::GuestState;
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const PAUSE: Request = Request::Verb(GuestVerb::Pause);

/// A shell with a guest “work”, whose process is not the test's, and whose words are.
fn started() -> (Host, Peer, Pid) {
    let mut host = Host::started("exec sleep 1000");
    let soon = Duration::from_millis(200);
    host.state.guests.options.pausing = Pausing { one: soon, all: soon };
    let tool = host.tool();
    tool.send(&Command::Guest { verb: GuestVerb::Start, name: name("work") });
    host.wait_state("work", GuestState::Starting);
    let peer = Peer::of(&mut host, "work");
    let pid = process_of(&host, "work");
    (host, peer, pid)
}

fn is_stopped(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn verb(verb: GuestVerb) -> Command {
    Command::Guest { verb, name: name("work") }
}

/// It would take its time to end in order: nobody stands for it who hears that it is to.
fn end(host: &mut Host, pid: Pid) {
    kill_process(pid, Signal::KILL).unwrap();
    host.wait("its end", |host| host.state.guests.entries[&name("work")].process.is_none());
}

#[test]
fn tp20_a_guest_that_never_answers_is_frozen_by_pause_and_by_pause_all_and_let_go_by_resume() {
    for pause in [Command::PauseAll, verb(GuestVerb::Pause)] {
        let (mut host, mut peer, pid) = started();
        assert_eq!(host.ask(pause), Reply::Done);
        host.wait_state("work", GuestState::Frozen);
        assert!(is_stopped(pid));
        let Reply::Status(status) = host.ask(Command::Status) else { panic!("no status") };
        assert_eq!(status.guests[0].state.word(), "frozen");
        assert_eq!(host.ask(verb(GuestVerb::Resume)), Reply::Done);
        assert!(!is_stopped(pid));
        // It finds that it is to pause, and is told at once that it is not.
        let asked = peer.asked(&mut host);
        assert_eq!(asked.request, PAUSE);
        peer.line.send(&FromGuest::Done { id: asked.id });
        assert_eq!(peer.asked(&mut host).request, Request::Verb(GuestVerb::Resume));
        end(&mut host, pid);
    }
}

#[test]
fn tp20_no_state_that_a_guest_reports_lets_it_run_on() {
    for state in [GuestState::Starting, GuestState::Stopping, GuestState::InternalError, GuestState::Stopped] {
        let (mut host, mut peer, pid) = started();
        peer.report(state);
        host.wait_state("work", state);
        let mut tool = host.tool();
        tool.send(&Command::PauseAll);
        let asked = peer.asked(&mut host);
        assert_eq!(asked.request, PAUSE);
        peer.line.send(&FromGuest::Refused { id: asked.id, reason: "it is still starting".into() });
        assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done, "{state:?}");
        host.wait_state("work", GuestState::Frozen);
        assert!(is_stopped(pid));
        assert_eq!(host.ask(Command::ResumeAll), Reply::Done);
        host.wait_state("work", state);
        end(&mut host, pid);
    }
}

#[test]
fn tp20_a_guest_that_says_that_it_has_paused_and_runs_is_frozen() {
    let (mut host, mut peer, pid) = started();
    let mut tool = host.tool();
    tool.send(&Command::PauseAll);
    let asked = peer.asked(&mut host);
    peer.line.send(&FromGuest::Done { id: asked.id });
    assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done);
    peer.report(GuestState::Running);
    host.wait_state("work", GuestState::Frozen);
    assert!(is_stopped(pid));
    end(&mut host, pid);
}

#[test]
fn tp20_nothing_that_comes_from_a_frozen_guest_changes_that_it_is() {
    let (mut host, mut peer, pid) = started();
    assert_eq!(host.ask(Command::PauseAll), Reply::Done);
    host.wait_state("work", GuestState::Frozen);
    let asked = peer.asked(&mut host);
    peer.line.send(&FromGuest::Done { id: asked.id });
    for state in [GuestState::Paused, GuestState::Stopped, GuestState::Frozen, GuestState::Running] {
        peer.report(state);
        peer.line.send(&FromGuest::Refused { id: asked.id, reason: "no".into() });
    }
    let last = |host: &Host| host.state.guests.entries[&name("work")].life.report().and_then(|report| report.uptime_ms);
    let mut said = crate::guests::life::tests::report(GuestState::Running);
    said.uptime_ms = Some(123_456);
    peer.line.send(&FromGuest::Report(said));
    host.wait("all to be heard", |host| last(host) == Some(123_456));
    assert_eq!(host.state.shell.guest(&name("work")).unwrap().state, GuestState::Frozen);
    assert!(is_stopped(pid));
    assert_eq!(host.ask(verb(GuestVerb::Resume)), Reply::Done);
    host.wait_state("work", GuestState::Running);
    assert!(!is_stopped(pid));
    end(&mut host, pid);
}

#[test]
fn a_frozen_guest_is_ended_by_kill() {
    let (mut host, _peer, pid) = started();
    assert_eq!(host.ask(Command::PauseAll), Reply::Done);
    host.wait_state("work", GuestState::Frozen);
    assert_eq!(host.ask(verb(GuestVerb::Kill)), Reply::Done);
    host.wait_state("work", GuestState::Stopped);
    assert!(!std::path::Path::new(&format!("/proc/{}", pid.as_raw_nonzero())).exists());
    assert!(host.state.guests.pending.is_empty());
}

#[test]
fn a_guest_that_was_frozen_when_the_shell_ended_is_found_so_by_the_next() {
    let mut host = Host::new("exit 9");
    let mut child = listening(&host.socket("work"));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::STOP).unwrap();
    host.start();
    host.wait_state("work", GuestState::Frozen);
    assert_eq!(host.ask(verb(GuestVerb::Resume)), Reply::Done);
    assert!(!is_stopped(pid));
    host.wait_state("work", GuestState::Starting);
    assert_eq!(host.ask(verb(GuestVerb::Kill)), Reply::Done);
    child.wait().unwrap();
}

#[test]
fn tp20_requests_that_are_never_answered_do_not_keep_later_ones_from_a_guest() {
    let (mut host, _peer, pid) = started();
    let shutdown = |host: &mut Host| host.state.ask_guest(&name("work"), Request::Verb(GuestVerb::Shutdown), None);
    while shutdown(&mut host).is_ok() {}
    assert!(shutdown(&mut host).unwrap_err().contains("does not answer"));
    for pending in host.state.guests.pending.values_mut() {
        pending.since -= Duration::from_secs(30);
    }
    shutdown(&mut host).unwrap();
    end(&mut host, pid);
}
