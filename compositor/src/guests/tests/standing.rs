//! What a hostile guest can do so that it runs on when it is to stand still: nothing.

use super::{Host, Line, PATIENCE, Peer, accept, listen, name, process_of};
use crate::State;
use crate::guests::Pausing;
use crate::guests::process::tests::listening;
use crate::guests::said::Whose;
use crate::guests::standing::Ice;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::control::{FromGuest, Request, ToGuest, VERSION};
use phyllome_protocol::shell::{Command, Reply};
use phyllome_protocol::status::GuestState;
use phyllome_trusted::gate::{Asker, Verb};
use rustix::process::{Pid, Signal, kill_process};
use std::time::Duration;

const PAUSE: Request = Request::Verb(GuestVerb::Pause);

/// For a guest that says nothing more.
const SOON: Duration = Duration::from_millis(200);
/// For one that is to be heard before.
const LATER: Duration = Duration::from_secs(2);

/// A shell with a guest “work”, whose process is not the test's, and whose words are.
fn started(within: Duration) -> (Host, Peer, Pid) {
    let mut host = Host::started("exec sleep 1000");
    host.state.guests.options.pausing = Pausing { one: within, all: within };
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
        let (mut host, mut peer, pid) = started(SOON);
        assert_eq!(host.ask(pause), Reply::Done);
        host.wait_state("work", GuestState::Frozen);
        host.wait("it to stand", |_| is_stopped(pid));
        let Reply::Status(status) = host.ask(Command::Status) else { panic!("no status") };
        assert_eq!(status.guests[0].state.word(), "frozen");
        assert_eq!(host.state.guests.pending.len(), 1, "besides the pause it was asked nothing: it cannot answer");
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
        for refuses in [true, false] {
            let (mut host, mut peer, pid) = started(if refuses { LATER } else { SOON });
            peer.report(state);
            host.wait_state("work", state);
            let mut tool = host.tool();
            tool.send(&Command::PauseAll);
            let asked = peer.asked(&mut host);
            assert_eq!(asked.request, PAUSE);
            if refuses {
                peer.line.send(&FromGuest::Refused { id: asked.id, reason: "it is still starting".into() });
            }
            assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done, "{state:?}");
            host.wait_state("work", GuestState::Frozen);
            host.wait("it to stand", |_| is_stopped(pid));
            assert_eq!(host.ask(Command::ResumeAll), Reply::Done);
            host.wait_state("work", state);
            end(&mut host, pid);
        }
    }
}

#[test]
fn tp20_a_guest_that_says_that_it_has_paused_and_runs_is_frozen() {
    let (mut host, mut peer, pid) = started(LATER);
    let mut tool = host.tool();
    tool.send(&Command::PauseAll);
    let asked = peer.asked(&mut host);
    peer.line.send(&FromGuest::Done { id: asked.id });
    assert_eq!(tool.next::<Reply>(&mut host).unwrap(), Reply::Done);
    peer.report(GuestState::Running);
    host.wait_state("work", GuestState::Frozen);
    host.wait("it to stand", |_| is_stopped(pid));
    end(&mut host, pid);
}

#[test]
fn tp20_nothing_that_comes_from_a_frozen_guest_changes_that_it_is() {
    let (mut host, mut peer, pid) = started(SOON);
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
    host.wait("it to stand", |_| is_stopped(pid));
    assert_eq!(host.ask(verb(GuestVerb::Resume)), Reply::Done);
    host.wait_state("work", GuestState::Running);
    assert!(!is_stopped(pid));
    end(&mut host, pid);
}

#[test]
fn a_frozen_guest_is_ended_by_kill() {
    let (mut host, _peer, pid) = started(SOON);
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
    let (mut host, _peer, pid) = started(SOON);
    let shutdown = |host: &mut Host| host.state.ask_guest(&name("work"), Request::Verb(GuestVerb::Shutdown), None);
    while shutdown(&mut host).is_ok() {}
    assert!(shutdown(&mut host).unwrap_err().contains("does not answer"));
    for pending in host.state.guests.pending.values_mut() {
        pending.since -= Duration::from_secs(30);
    }
    shutdown(&mut host).unwrap();
    end(&mut host, pid);
}

/// The same, and the guest has answered and does not greet.
fn silent() -> (Host, Line, Pid) {
    let mut host = Host::started("exec sleep 1000");
    host.state.guests.options.greeting = PATIENCE;
    let listener = listen(&host, "work");
    host.ask_to(GuestVerb::Start);
    let line = accept(&mut host, &listener);
    let pid = process_of(&host, "work");
    (host, line, pid)
}

impl Host {
    fn ask_to(&mut self, verb: GuestVerb) {
        self.state.act(Verb::Guest(name("work"), verb), Asker::Face).unwrap();
    }

    fn ice(&self) -> &Ice {
        &self.state.guests.entries[&name("work")].ice
    }

    fn set_ice(&mut self, ice: Ice) {
        self.state.guests.entries.get_mut(&name("work")).unwrap().ice = ice;
    }

    fn has_link(&self) -> bool {
        self.state.guests.entries[&name("work")].link.is_some()
    }
}

#[test]
fn tp20_a_guest_that_has_not_greeted_when_it_is_frozen_is_neither_ended_nor_cut_off_but_later_if_it_stays_silent() {
    let (mut host, _line, pid) = silent();
    host.state.guests.options.greeting = Duration::from_millis(300);
    host.state.stand(&name("work"), true);
    host.wait("a thread to freeze it", |host| !matches!(host.ice(), Ice::None));
    // As its greeting's timer does, which may ring now.
    host.state.find_frozen(&name("work"), State::did_not_greet);
    host.wait_state("work", GuestState::Frozen);
    host.wait("it to stand", |_| is_stopped(pid));
    host.state.find_frozen(&name("work"), State::did_not_greet);
    assert!(matches!(host.ice(), Ice::Frozen(_)) && host.has_link());
    host.ask_to(GuestVerb::Resume);
    host.wait("its time to greet to be over", |host| host.message("work").contains("did not greet"));
    assert!(!is_stopped(pid) && !host.has_link());
    end(&mut host, pid);
}

#[test]
fn tp20_a_guest_that_is_looked_at_when_its_time_to_pause_is_over_is_frozen_and_one_that_greets_meanwhile_is_kept() {
    let (mut host, _peer, pid) = started(Duration::ZERO);
    host.state.find_frozen(&name("work"), State::did_not_greet);
    host.wait("the look to be over", |host| matches!(host.ice(), Ice::None));
    assert!(host.has_link());
    // One that lasts until that time is over.
    host.set_ice(Ice::Freezing(0));
    host.state.stand(&name("work"), true);
    (0..20).for_each(|_| host.turn());
    assert!(matches!(host.ice(), Ice::Freezing(0)) && !is_stopped(pid));
    host.set_ice(Ice::None);
    host.state.find_frozen(&name("work"), State::did_not_greet);
    host.wait_state("work", GuestState::Frozen);
    host.wait("it to stand", |_| is_stopped(pid));
    end(&mut host, pid);
}

#[test]
fn tp20_a_guest_that_is_to_stand_while_it_is_let_go_stands() {
    let (mut host, mut peer, pid) = started(SOON);
    assert_eq!(host.ask(Command::PauseAll), Reply::Done);
    host.wait_state("work", GuestState::Frozen);
    host.ask_to(GuestVerb::Resume);
    assert!(matches!(host.ice(), Ice::Thawing(_)) && host.state.guests.entries[&name("work")].may_run());
    host.state.stand(&name("work"), true);
    // What it was asked before it was frozen, and what it was asked since.
    for _ in 0..2 {
        let asked = peer.asked(&mut host);
        assert_eq!(asked.request, PAUSE);
    }
    host.wait_state("work", GuestState::Frozen);
    host.wait("it to stand", |_| is_stopped(pid));
    host.wait("its wait to be over", |host| host.state.guests.entries[&name("work")].standing.is_none());
    assert!(matches!(host.ice(), Ice::Frozen(_)));
    end(&mut host, pid);
}

#[test]
fn tp20_what_a_guest_says_when_it_refuses_to_pause_stands_as_its_own_words() {
    let (mut host, mut peer, pid) = started(PATIENCE);
    host.ask_to(GuestVerb::Pause);
    let asked = peer.asked(&mut host);
    peer.line.send(&FromGuest::Refused { id: asked.id, reason: "press K, then Y".into() });
    host.wait("its words", |host| host.message("work").contains("press K"));
    assert_eq!(host.state.shell.guest(&name("work")).unwrap().whose, Whose::Process);
    end(&mut host, pid);
}

#[test]
fn a_guest_that_a_former_shell_asked_to_pause_and_froze_runs_again_though_it_hears_that_only_then() {
    let (mut host, mut line, pid) = silent();
    kill_process(pid, Signal::STOP).unwrap();
    host.wait("it to stand", |_| is_stopped(pid));
    host.state.find_frozen(&name("work"), State::did_not_greet);
    host.wait_state("work", GuestState::Frozen);
    host.ask_to(GuestVerb::Resume);
    host.wait_state("work", GuestState::Starting);
    line.send(&FromGuest::Hello { version: VERSION, name: name("work") });
    line.send(&FromGuest::Report(crate::guests::life::tests::report(GuestState::Paused)));
    let attach: ToGuest = line.next(&mut host).unwrap();
    assert!(matches!(attach.request, Request::AttachScreen { .. }));
    let resume: ToGuest = line.next(&mut host).unwrap();
    assert_eq!(resume.request, Request::Verb(GuestVerb::Resume));
    end(&mut host, pid);
}
