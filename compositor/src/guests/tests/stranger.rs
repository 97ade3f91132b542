//! Another process of the user listens where a guest should.

use super::{Host, Peer, name};
use crate::guests::process::tests::listening;
use phyllome_protocol::GuestVerb;
use phyllome_protocol::status::GuestState;
use phyllome_trusted::gate::{Asker, Verb};

#[test]
fn tp14_who_answers_in_the_place_of_a_guest_that_was_started_is_not_heard_and_the_guest_is() {
    let mut host = Host::started("exec sleep 100");
    let socket = host.socket("work");
    let mut stranger = listening(&socket);
    host.state.act(Verb::Guest(name("work"), GuestVerb::Start), Asker::Face).unwrap();
    host.wait_state("work", GuestState::Starting);
    let sentence =
        format!("process {} answers in the place of work; end that process, then force work off", stranger.id());
    host.wait("the sentence", |host| host.message("work") == sentence);
    let has_link = |host: &Host| host.state.guests.entries[&name("work")].link.is_some();
    assert!(!has_link(&host));
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    std::fs::remove_file(&socket).unwrap();
    let _work = Peer::of(&mut host, "work");
    assert!(has_link(&host));
}
