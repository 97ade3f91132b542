//! Guests' files that come, change and go while the shell runs.

use super::*;
use phyllome_config::guest::LabelColor;
use phyllome_protocol::Slot;

impl Host {
    fn write(&self, guest: &str, rest: &str) {
        let text = format!("profile = \"linux\"\n{rest}");
        std::fs::write(self.folder.path().join(format!("guests/{guest}.toml")), text).unwrap();
    }

    fn slot(&self, guest: &str) -> Option<Slot> {
        self.state.shell.guest(&name(guest))?.slot
    }

    fn color(&self, guest: &str) -> Option<LabelColor> {
        Some(self.state.shell.guest(&name(guest))?.label.color)
    }
}

#[test]
fn a_file_that_comes_is_a_guest_at_once_and_one_that_goes_is_none() {
    let mut host = Host::started("exit 9");
    host.write("new", "slot = 5\n");
    host.wait("the new guest", |host| host.slot("new") == Slot::new(5));
    host.write("new", "slot = 6\n");
    host.wait("its other slot", |host| host.slot("new") == Slot::new(6));
    host.write("new", "slot = 60\n");
    host.wait("the sentence about it", |host| {
        host.state.guests.problems().iter().any(|p| p.contains("new.toml, line 2"))
    });
    assert!(host.state.shell.guest(&name("new")).is_none());
    let on_screen = host.state.guests.problems();
    assert!(on_screen.iter().all(|problem| problem.starts_with("guests/new.toml, line 2, slot: ")), "{on_screen:?}");
    std::fs::remove_file(host.folder.path().join("guests/new.toml")).unwrap();
    host.wait("the sentence to go", |host| host.state.guests.problems().is_empty());
    assert_eq!(host.slot("work"), Slot::new(1));
}

#[test]
fn what_a_link_in_the_folder_leads_to_is_taken_up_like_a_file() {
    let mut host = Host::started("exit 9");
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("guest");
    let write = |slot| std::fs::write(&file, format!("profile = \"linux\"\nslot = {slot}\n")).unwrap();
    write(5);
    std::os::unix::fs::symlink(&file, host.folder.path().join("guests/new.toml")).unwrap();
    host.wait("the new guest", |host| host.slot("new") == Slot::new(5));
    write(6);
    host.wait("its other slot", |host| host.slot("new") == Slot::new(6));
    std::fs::remove_file(&file).unwrap();
    host.wait("its end", |host| host.state.shell.guest(&name("new")).is_none());
    write(7);
    host.wait("the guest again", |host| host.slot("new") == Slot::new(7));
}

#[test]
fn the_folder_itself_may_come_and_go() {
    let mut host = Host::started("exit 9");
    let guests = host.folder.path().join("guests");
    std::fs::rename(&guests, host.folder.path().join("away")).unwrap();
    host.wait("no guest", |host| host.state.guests.views().is_empty());
    std::fs::rename(host.folder.path().join("away"), &guests).unwrap();
    host.wait("both again", |host| host.state.guests.views().len() == 2);
}

#[test]
fn a_guest_that_runs_keeps_what_it_has_until_it_has_ended() {
    let mut host = Host::started("while [ -e \"${0%/*}/runs\" ]; do sleep 0.02; done");
    let runs = host.folder.path().join("runs");
    std::fs::write(&runs, "").unwrap();
    let listener = listen(&host, "work");
    host.state.act(Verb::Guest(name("work"), GuestVerb::Start), Asker::Shell).unwrap();
    let peer = Peer::answer(&mut host, &listener, "work");
    host.write("work", "slot = 3\n[label]\ncolor = \"green\"\n");
    host.wait("the sentence", |host| {
        host.message("work") == "its file has changed; shut it down and start it again to use it"
    });
    assert_eq!((host.slot("work"), host.color("work")), (Slot::new(1), Some(LabelColor::Red)));
    // What it says of itself as long as it runs does not hide that.
    let mut slow = crate::guests::life::tests::report(GuestState::Running);
    slow.message = Some("KVM does not work".into());
    peer.line.send(&FromGuest::Report(slow));
    host.wait("both sentences", |host| host.message("work").ends_with("to use it; KVM does not work"));
    // What it has nobody else gets meanwhile, and what it is to have is not taken either.
    host.write("play", "slot = 1\n[label]\ncolor = \"red\"\n");
    host.write("other", "slot = 4\n");
    host.wait("another guest", |host| host.slot("other").is_some());
    assert_eq!((host.slot("play"), host.color("play")), (Slot::new(2), Some(LabelColor::Blue)));
    // Nor do two have what it had, that waits for that.
    host.write("other", "slot = 2\n[label]\ncolor = \"blue\"\n");
    host.wait("the other guest's look", |host| host.slot("other") == Slot::new(2));
    assert!(host.state.shell.guest(&name("play")).is_none());
    peer.report(GuestState::Stopped);
    drop((peer, listener));
    std::fs::remove_file(runs).unwrap();
    host.wait("its end", |host| host.slot("work") == Slot::new(3));
    assert_eq!((host.slot("play"), host.color("play")), (Slot::new(1), Some(LabelColor::Red)));
    assert_eq!(host.message("work"), "");
}

#[test]
fn an_id_that_is_written_into_the_file_of_a_guest_that_runs_is_no_change() {
    let mut host = Host::new("exit 9");
    let listener = listen(&host, "work");
    host.start();
    let _peer = Peer::answer(&mut host, &listener, "work");
    let id = "id = \"6f0c2a5e-0001-4bcd-8eff-0123456789ab\"\n";
    host.write("work", &format!("slot = 1\n{id}[label]\ncolor = \"red\"\n"));
    host.write("other", "slot = 4\n");
    host.wait("another guest", |host| host.slot("other").is_some());
    assert_eq!(host.message("work"), "");
    std::fs::remove_file(host.folder.path().join("guests/work.toml")).unwrap();
    host.wait("the sentence", |host| host.message("work").starts_with("its file is gone"));
    assert_eq!(host.slot("work"), Slot::new(1));
}
