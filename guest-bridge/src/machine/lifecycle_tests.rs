//! Tables: a life as a sequence of events, and the states, messages and actions that must come of it.

use super::*;
use GuestState::{Crashed, InternalError, Paused, Running, Starting, Stopped, Stopping};

fn started(wish: Wish, kvm: KvmFact) -> Lifecycle {
    Lifecycle::new("work", wish, &kvm).unwrap()
}

fn running(wish: Wish) -> Lifecycle {
    let mut life = started(wish, KvmFact::Offered);
    assert_eq!(life.handle(Event::QmpReady), [Action::QueryStatus]);
    assert_eq!(life.handle(status("running")), []);
    assert_eq!(life.state(), Running);
    life
}

fn status(word: &str) -> Event {
    Event::Status { word: word.into(), pictured: false, age: Duration::from_secs(1), words: None }
}

fn late_status(word: &str) -> Event {
    Event::Status { word: word.into(), pictured: true, age: Duration::from_secs(600), words: None }
}

fn exit(how: Exit, words: Option<&str>) -> Event {
    Event::Exited { how, words: words.map(Into::into), pictured: false }
}

fn shutdown(reason: &str) -> Event {
    Event::Qmp(QmpEvent::Shutdown { guest: reason.starts_with("guest"), reason: reason.into() })
}

#[test]
fn auto_tries_kvm_only_where_it_may_work() {
    for (wish, kvm, accel, says) in [
        (Wish::Auto, KvmFact::Offered, Accel::Kvm, None),
        (Wish::Auto, KvmFact::Closed("no such file".into()), Accel::Tcg, Some("no such file")),
        (
            Wish::Auto,
            KvmFact::Failed("emulation failure".into()),
            Accel::Tcg,
            Some("KVM could not run work, which runs without it, slowly (phyllome doctor says whether KVM works here)"),
        ),
        (Wish::Kvm, KvmFact::Failed("emulation failure".into()), Accel::Kvm, None),
        (Wish::Tcg, KvmFact::Closed("no such file".into()), Accel::Tcg, None),
    ] {
        let life = started(wish, kvm);
        assert_eq!(life.accel(), accel);
        assert_eq!(life.message().is_some(), says.is_some());
        assert!(life.message().unwrap_or_default().contains(says.unwrap_or_default()));
    }
    assert!(
        Lifecycle::new("work", Wish::Kvm, &KvmFact::Closed("permission denied".into())).unwrap_err().contains("auto")
    );
}

#[test]
fn an_internal_error_before_the_first_picture_starts_again_under_tcg() {
    let mut life = running(Wish::Auto);
    assert_eq!(life.handle(Event::Qmp(QmpEvent::Stop)), [Action::QueryStatus]);
    let error = Event::Status {
        word: "internal-error".into(),
        pictured: false,
        age: Duration::from_secs(500),
        words: Some("KVM internal error. Suberror: 1".into()),
    };
    assert_eq!(life.handle(error), [Action::KillNow]);
    assert_eq!(life.state(), Starting);
    let broken = Verdict::Broken("KVM internal error. Suberror: 1".into());
    assert_eq!(life.handle(exit(Exit::Signal(9), None)), [Action::Remember(broken), Action::Start(Accel::Tcg)]);
    assert_eq!((life.accel(), life.state()), (Accel::Tcg, Starting));
    life.handle(Event::QmpReady);
    life.handle(status("running"));
    assert_eq!(life.state(), Running);
    assert_eq!(
        life.message(),
        Some("KVM could not run work, which runs without it, slowly (phyllome doctor says whether KVM works here)")
    );
    // Once only: under TCG the same is an internal error.
    life.handle(status("internal-error"));
    assert_eq!(life.state(), InternalError);
}

#[test]
fn the_picture_of_the_firmware_does_not_count() {
    let soon = |pictured, seconds| Event::Status {
        word: "internal-error".into(),
        pictured,
        age: Duration::from_secs(seconds),
        words: None,
    };
    for (pictured, seconds, state) in [(true, 5, Starting), (false, 500, Starting), (true, 500, InternalError)] {
        let mut life = running(Wish::Auto);
        life.handle(soon(pictured, seconds));
        assert_eq!(life.state(), state, "{pictured} {seconds}");
    }
}

#[test]
fn an_internal_error_where_kvm_was_ordered_stays_one() {
    let mut life = running(Wish::Kvm);
    assert_eq!(life.handle(status("internal-error")), []);
    assert_eq!(life.state(), InternalError);
    assert!(life.message().unwrap().contains("accel = \"tcg\""));
    assert_eq!(life.request(GuestVerb::Restart), Ok(Carry::Qmp(&["system_reset", "cont"])));
    assert!(life.request(GuestVerb::Shutdown).is_err());
    life.handle(status("running"));
    assert_eq!((life.state(), life.message()), (Running, None));
}

#[test]
fn qemu_that_cannot_open_kvm_starts_again_under_tcg() {
    let words = "Could not access KVM kernel module: Permission denied";
    let mut life = started(Wish::Auto, KvmFact::Offered);
    assert_eq!(life.handle(Event::DeviceHungUp), [Action::KillSoon]);
    let actions = life.handle(exit(Exit::Code(1), Some(words)));
    assert_eq!(actions, [Action::Remember(Verdict::Broken(words.into())), Action::Start(Accel::Tcg)]);
    // The second failure is final, and its own words are said.
    assert_eq!(life.handle(exit(Exit::Code(1), Some("no kvm either"))), [Action::Finish]);
    assert_eq!(
        (life.state(), life.message()),
        (Crashed, Some("QEMU ended with status 1: no kvm either; mend that and start the guest again"))
    );
}

#[test]
fn qemu_that_fails_for_another_reason_is_a_crash() {
    let mut life = started(Wish::Auto, KvmFact::Offered);
    let actions = life.handle(exit(Exit::Code(1), Some("could not load kernel 'x'")));
    assert_eq!(actions, [Action::Finish]);
    assert_eq!(
        life.message(),
        Some("QEMU ended with status 1: could not load kernel 'x'; mend that and start the guest again")
    );
}

#[test]
fn no_line_of_qemus_source_is_shown_where_kvm_breaks() {
    let line = "target/i386/kvm/kvm.c:3849: kvm_buf_set_msrs: Assertion `ret == cpu->kvm_msr_buf->nmsrs' failed.";
    let mut life = started(Wish::Auto, KvmFact::Offered);
    let broken = Verdict::Broken(line.into());
    let actions = life.handle(exit(Exit::Signal(6), Some(line)));
    assert_eq!(actions, [Action::Remember(broken), Action::Start(Accel::Tcg)]);
    assert_eq!(
        life.message(),
        Some("KVM could not run work, which runs without it, slowly (phyllome doctor says whether KVM works here)")
    );
    let mut life = started(Wish::Kvm, KvmFact::Offered);
    assert_eq!(life.handle(exit(Exit::Signal(6), Some(line))), [Action::Finish]);
    let says = "KVM could not run work; set accel = \"auto\" to run it without, slowly";
    assert_eq!(life.message(), Some(says));
}

#[test]
fn a_disk_of_that_name_is_not_kvm() {
    let why = "the disk /kvm/a.qcow2 is in use by another program or guest; end that one first";
    let mut life = started(Wish::Auto, KvmFact::Offered);
    let words = Some(Words { text: why.into(), whole: true });
    assert_eq!(life.handle(Event::Exited { how: Exit::Code(1), words, pictured: false }), [Action::Finish]);
    assert_eq!((life.state(), life.message()), (Crashed, Some(why)));
}

#[test]
fn every_end_has_its_state() {
    for (events, state, says) in [
        (vec![shutdown("guest-shutdown"), exit(Exit::Code(0), None)], Stopped, None),
        (vec![shutdown("host-qmp-quit"), exit(Exit::Code(0), None)], Stopped, None),
        (vec![shutdown("guest-panic"), exit(Exit::Code(0), None)], Crashed, Some("panicked")),
        (vec![shutdown("host-signal"), exit(Exit::Code(0), None)], Crashed, Some("from outside")),
        (vec![exit(Exit::Code(0), None)], Crashed, Some("by itself")),
        (vec![exit(Exit::Signal(11), None)], Crashed, Some("signal 11")),
        (vec![Event::QmpLost("it hung".into()), exit(Exit::Overdue, None)], Crashed, Some("it hung")),
        (vec![Event::DeviceHungUp, exit(Exit::Signal(6), Some("assert"))], Crashed, Some("signal 6: assert")),
        (vec![Event::DeviceFailed("bad".into()), exit(Exit::Signal(9), None)], Crashed, Some("display device")),
        (vec![Event::Terminate, shutdown("guest-shutdown"), exit(Exit::Code(0), None)], Stopped, None),
        (vec![Event::Terminate, Event::TimeIsUp, exit(Exit::Code(0), None)], Stopped, Some("in time")),
        (vec![Event::Terminate, Event::TimeIsUp, exit(Exit::Overdue, None)], Stopped, Some("in time")),
        (vec![Event::Terminate, Event::Terminate, exit(Exit::Code(0), None)], Stopped, None),
        (vec![Event::Terminate, exit(Exit::Signal(11), None)], Crashed, Some("signal 11")),
        (vec![Event::DeviceHungUp, shutdown("guest-shutdown"), exit(Exit::Code(0), None)], Stopped, None),
        (vec![Event::CannotStart("qemu is missing".into())], Crashed, Some("qemu is missing")),
    ] {
        let shown = format!("{events:?}");
        let mut life = running(Wish::Tcg);
        let last = events.into_iter().map(|event| life.handle(event)).last();
        assert_eq!((life.state(), last), (state, Some(vec![Action::Finish])), "{shown}");
        assert_eq!(life.message().is_some(), says.is_some(), "{shown}");
        assert!(life.message().unwrap_or_default().contains(says.unwrap_or_default()), "{shown}");
    }
}

#[test]
fn requests_depend_on_the_state() {
    let mut life = started(Wish::Tcg, KvmFact::Offered);
    assert!(life.request(GuestVerb::Pause).unwrap_err().contains("starting"));
    let mut life = running(Wish::Tcg);
    assert_eq!(life.request(GuestVerb::Resume), Ok(Carry::Nothing));
    assert_eq!(life.request(GuestVerb::Pause), Ok(Carry::Qmp(&["stop"])));
    assert_eq!(life.state(), Running, "not before QEMU says so");
    assert_eq!(life.handle(Event::Qmp(QmpEvent::Stop)), [Action::QueryStatus]);
    life.handle(late_status("paused"));
    assert_eq!(life.state(), Paused);
    assert_eq!(life.request(GuestVerb::Pause), Ok(Carry::Nothing));
    assert_eq!(life.request(GuestVerb::Resume), Ok(Carry::Qmp(&["cont"])));
    assert_eq!(life.request(GuestVerb::Shutdown), Ok(Carry::Press(&["cont", "system_powerdown"])));
    life.handle(late_status("running"));
    assert_eq!(life.state(), Stopping, "a guest that shuts down still runs");
    assert_eq!(life.request(GuestVerb::Shutdown), Ok(Carry::Press(&["system_powerdown"])));
    assert_eq!(life.request(GuestVerb::Kill), Ok(Carry::Act(vec![Action::End])));
    assert_eq!(life.handle(exit(Exit::Signal(9), None)), [Action::Finish]);
    assert_eq!((life.state(), life.message()), (Stopped, None));
    assert!(life.request(GuestVerb::Kill).is_err());
}

#[test]
fn a_kill_during_the_fall_back_is_a_kill() {
    let mut life = running(Wish::Auto);
    assert_eq!(life.handle(status("internal-error")), [Action::KillNow]);
    assert_eq!(life.request(GuestVerb::Kill), Ok(Carry::Act(vec![Action::End])));
    assert_eq!(life.handle(exit(Exit::Signal(9), None)), [Action::Finish]);
    assert_eq!(life.state(), Stopped);
}

#[test]
fn a_full_disk_pauses_and_says_so() {
    let mut life = running(Wish::Tcg);
    life.handle(late_status("io-error"));
    assert_eq!(life.state(), Paused);
    assert!(life.message().unwrap().contains("disk"));
}

#[test]
fn what_the_shell_has_words_for_is_named_beside_the_sentence() {
    let known = |word: &str| {
        let mut life = running(Wish::Tcg);
        life.handle(late_status(word));
        (life.known(), life.message().is_some())
    };
    assert_eq!(known("io-error"), (Some(Known::DiskFailed), true));
    assert_eq!(known("guest-panicked"), (Some(Known::Panicked), true));
    assert_eq!(known("internal-error"), (Some(Known::InternalError), true));
    assert_eq!(known("paused"), (None, false));
    let slow = started(Wish::Auto, KvmFact::Failed("emulation failure".into()));
    assert_eq!(slow.known(), Some(Known::Slow));
    let mut life = running(Wish::Tcg);
    life.handle(Event::Terminate);
    assert_eq!(life.known(), Some(Known::Leaving));
    life.handle(exit(Exit::Code(1), Some("anything")));
    assert_eq!(life.known(), None, "these are QEMU's words");
}

#[test]
fn a_guest_that_runs_well_under_kvm_is_remembered_at_once_and_may_fail_later() {
    let mut life = running(Wish::Auto);
    assert_eq!(life.handle(Event::RunsWell), [Action::Remember(Verdict::Works)]);
    assert_eq!(life.handle(Event::RunsWell), [], "once");
    // What it does to KVM from now on is its own.
    assert_eq!(life.handle(status("internal-error")), []);
    assert_eq!(life.state(), InternalError);
    assert_eq!(life.handle(exit(Exit::Signal(9), None)), [Action::Finish]);
    let mut slow = running(Wish::Tcg);
    assert_eq!(slow.handle(Event::RunsWell), []);
}

#[test]
fn a_guest_that_ran_under_kvm_and_ended_in_order_is_remembered() {
    let mut life = running(Wish::Auto);
    life.handle(shutdown("guest-shutdown"));
    let actions = life.handle(Event::Exited { how: Exit::Code(0), words: None, pictured: true });
    assert_eq!(actions, [Action::Remember(Verdict::Works), Action::Finish]);
}

#[test]
fn a_guest_has_time_to_power_off_when_its_process_is_asked_to_end() {
    let button = Action::PowerOff(&["cont", "system_powerdown"]);
    for before in ["running", "paused"] {
        let mut life = running(Wish::Tcg);
        life.handle(late_status(before));
        assert_eq!(life.handle(Event::Terminate), [button.clone(), Action::EndLater], "{before}");
        assert!(life.state() == Stopping && life.message().unwrap().contains("second signal"));
        // Older answers of QEMU do not undo it.
        for word in ["paused", "running"] {
            assert_eq!((life.handle(late_status(word)), life.state()), (vec![], Stopping));
        }
        assert!(life.request(GuestVerb::Pause).is_err());
        assert_eq!(life.request(GuestVerb::Resume), Ok(Carry::Nothing));
        assert_eq!(life.handle(Event::Terminate), [Action::End], "asked again");
    }
    let mut life = running(Wish::Tcg);
    life.request(GuestVerb::Shutdown).unwrap();
    assert_eq!(life.handle(Event::Terminate), [button, Action::EndLater], "it may not have listened the first time");
}

#[test]
fn what_cannot_power_off_is_ended_at_once() {
    let mut starting = started(Wish::Tcg, KvmFact::Offered);
    assert_eq!(starting.handle(Event::Terminate), [Action::End]);
    let mut failed = running(Wish::Tcg);
    failed.handle(late_status("internal-error"));
    assert_eq!(failed.handle(Event::Terminate), [Action::End]);
    for word in ["internal-error", "guest-panicked", "io-error"] {
        let mut life = running(Wish::Tcg);
        life.handle(Event::Terminate);
        assert_eq!(life.handle(late_status(word)), [Action::End], "{word}");
    }
    let mut killed = running(Wish::Tcg);
    killed.request(GuestVerb::Kill).unwrap();
    assert_eq!(killed.handle(Event::Terminate), [Action::End]);
}

#[test]
fn a_guest_that_would_start_again_without_kvm_does_not_when_its_process_is_to_end() {
    let mut life = running(Wish::Auto);
    assert_eq!(life.handle(status("internal-error")), [Action::KillNow]);
    assert_eq!(life.handle(Event::Terminate), [Action::End]);
    assert_eq!(life.handle(exit(Exit::Signal(9), None)), [Action::Finish]);
    assert_eq!(life.state(), Stopped);
}

#[test]
fn a_guest_that_was_started_is_not_started_again() {
    let mut life = running(Wish::Tcg);
    assert!(life.request(GuestVerb::Start).unwrap_err().contains("already"));
    life.handle(exit(Exit::Code(1), None));
    assert!(life.request(GuestVerb::Start).is_err(), "what has ended starts as another process");
}

#[test]
fn a_guest_that_ignores_its_power_button_runs_on_and_says_so() {
    let mut life = running(Wish::Tcg);
    life.request(GuestVerb::Shutdown).unwrap();
    assert_eq!(life.handle(status("running")), []);
    assert_eq!((life.state(), life.unheeded()), (Stopping, false));
    assert_eq!(life.handle(Event::Look), []);
    let says = "work did not react to its power button; try again, or force it off (K in the list of guests)";
    assert_eq!((life.state(), life.message(), life.unheeded()), (Running, Some(says), true));
    life.handle(status("running"));
    assert_eq!(life.message(), Some(says), "QEMU's answers do not take it back");
    // It may only have been slow.
    life.handle(shutdown("guest-shutdown"));
    assert_eq!((life.state(), life.message(), life.unheeded()), (Stopping, None, false));
    assert_eq!(life.handle(exit(Exit::Code(0), None)), [Action::Finish]);
    assert_eq!(life.state(), Stopped);
}

#[test]
fn a_reset_and_a_pause_end_the_wish_that_a_guest_powers_off() {
    let wished = |unheeded| {
        let mut life = running(Wish::Tcg);
        life.request(GuestVerb::Shutdown).unwrap();
        if unheeded {
            life.handle(Event::Look);
        }
        life
    };
    for unheeded in [false, true] {
        let mut life = wished(unheeded);
        assert_eq!(life.request(GuestVerb::Restart), Ok(Carry::Qmp(&["system_reset"])));
        assert_eq!((life.state(), life.message(), life.unheeded()), (Running, None, false));
        let mut life = wished(unheeded);
        assert_eq!(life.handle(Event::Qmp(QmpEvent::Reset { guest: true })), [Action::QueryStatus]);
        assert_eq!((life.state(), life.message()), (Running, None));
        let mut life = wished(unheeded);
        assert_eq!(life.request(GuestVerb::Pause), Ok(Carry::Qmp(&["stop"])));
        life.handle(late_status("paused"));
        life.handle(Event::Look);
        assert_eq!((life.state(), life.unheeded()), (Paused, false));
        life.handle(late_status("running"));
        assert_eq!((life.state(), life.message()), (Running, None));
    }
    // One that has to go because its process goes is not kept by a reset, nor by looking too early.
    let mut life = wished(false);
    life.handle(Event::Terminate);
    life.handle(Event::Qmp(QmpEvent::Reset { guest: true }));
    life.handle(Event::Look);
    assert_eq!(life.state(), Stopping);
}

#[test]
fn a_clock_that_stood_still_is_told_for_a_while() {
    let forget = Action::ForgetTicks("rtc-reset-reinjection");
    let mut life = running(Wish::Tcg);
    assert_eq!(life.handle(Event::StoodStill(Duration::from_millis(900))), std::slice::from_ref(&forget));
    assert_eq!(life.message(), None);
    let actions = life.handle(Event::StoodStill(Duration::from_secs(23)));
    assert_eq!(actions, [forget, Action::LookLater(CLOCK_TOLD)]);
    let says = "work’s clock stood still for 23 s, and is late until it asks the network for the time; set the clock in the guest if it has no network";
    assert_eq!(life.message(), Some(says));
    life.handle(status("running"));
    assert_eq!(life.message(), Some(says));
    life.handle(Event::Look);
    assert_eq!((life.state(), life.message(), life.unheeded()), (Running, None, false));
}
