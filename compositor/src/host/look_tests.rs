//! The thread that looks at the battery, with files and a logind that are played.

use super::*;
use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::TryRecvError;

const FAST: Pace = Pace {
    battery: Duration::from_millis(2),
    rest: Duration::from_millis(2),
    recent: Duration::from_millis(1),
    doubt: Duration::from_millis(4),
    refused: Duration::from_millis(10),
    accepted: Duration::from_secs(600),
};

fn wait<T>(what: &str, mut until: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(come) = until() {
            return come;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Plays a battery that falls from 4 to 3 %, and a logind that says that it can sleep and then takes the wish or not.
/// What was told, and what logind was asked for.
fn play(accepts: bool, wanted: &[(&str, Option<AtEnd>)]) -> Vec<String> {
    let root = tempfile::tempdir().unwrap();
    let battery = root.path().join("class/power_supply/BAT0");
    std::fs::create_dir_all(&battery).unwrap();
    // As the kernel's files, never half.
    let write = |file: &str, text: &str| {
        std::fs::write(root.path().join("new"), text).unwrap();
        std::fs::rename(root.path().join("new"), battery.join(file)).unwrap();
    };
    for (file, text) in [("status", "Discharging"), ("capacity", "4"), ("type", "Battery")] {
        write(file, text);
    }
    let places = Places { sys: root.path().to_owned(), disks: root.path().to_owned() };
    let (sender, news) = channel::channel();
    let (host, wishes) = Host::fake();
    let readings = Arc::new(AtomicUsize::new(0));
    let counted = readings.clone();
    let thread = std::thread::spawn(move || {
        let asked = RefCell::new(Vec::new());
        let logind = |what: &[&str]| {
            asked.borrow_mut().push(what.join(" "));
            (accepts || what == ["CanSuspend"]).then(|| "s \"yes\"\n".to_owned())
        };
        let slept = || {
            counted.fetch_add(1, Ordering::Relaxed);
            Duration::ZERO
        };
        look(&places, &sender, &wishes, &FAST, slept, logind);
        asked.into_inner()
    });
    for (text, end) in wanted {
        let power = wait(text, || match news.try_recv() {
            Ok(News::Power(power)) => Some(power),
            Err(TryRecvError::Empty) => None,
            other => panic!("{other:?}"),
        });
        assert_eq!((power.notice.unwrap().text.as_str(), &power.end), (*text, end));
        if text.starts_with("Battery at 4 %") {
            write("capacity", "3");
        }
    }
    let before = readings.load(Ordering::Relaxed);
    wait("more readings", || (readings.load(Ordering::Relaxed) > before + 10).then_some(()));
    drop(host);
    let asked = thread.join().unwrap();
    assert!(matches!(news.try_recv(), Err(TryRecvError::Disconnected)), "told once");
    asked
}

#[test]
fn what_the_kernel_says_is_told_once_and_logind_is_asked_once_at_the_end_of_a_battery() {
    let wanted = [
        ("Battery at 4 %: plug it in now", None),
        ("Battery at 3 %: plug it in now", None),
        ("Battery at 3 %: the computer goes to sleep. Plug it in", Some(AtEnd::Suspend)),
    ];
    assert_eq!(play(true, &wanted), ["CanSuspend", "Suspend b false"]);
}

#[test]
fn guests_get_their_power_button_once_where_logind_does_not_take_the_wish_for_sleep() {
    let wanted = [
        ("Battery at 4 %: plug it in now", None),
        ("Battery at 3 %: plug it in now", None),
        ("Battery at 3 %: the computer goes to sleep. Plug it in", Some(AtEnd::Suspend)),
        ("Battery at 3 %: guests are shut down. Plug it in", Some(AtEnd::Shutdown)),
    ];
    assert_eq!(play(false, &wanted), ["CanSuspend", "Suspend b false"]);
}
