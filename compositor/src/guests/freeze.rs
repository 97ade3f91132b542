//! Stops a guest's processes for certain, whatever they say, and lets them run again.
//!
//! A guest that systemd has given a unit of its own is frozen with that unit's control group. Any other, and what has
//! left that group, is stopped by signal: phyllome-guest first, then all below it, each by a pidfd that was seen to be
//! that process's, so that no stranger is stopped that has got its number. A process that has left both its group and
//! its parents is not found. Either all that is found stands, or the guest is let run again and it is said why: one
//! that stands by half is neither. Whom to freeze is not decided here: one that says that it is paused may be left to
//! run. Reads /proc and writes to the control group's files: for a thread, not for the shell's loop.

use phyllome_protocol::GuestName;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, getpid, pidfd_open, pidfd_send_signal};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the control groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// Most processes of one guest that are stopped by signal.
const MAX_PROCESSES: usize = 256;
/// Most threads of one process that are asked for what they have started.
const MAX_THREADS: usize = 1024;
/// How often they are looked for: one may have been started while the first of them was stopped.
const ROUNDS: usize = 8;
/// How much of a file of /proc is read, in bytes.
const MAX_BYTES: u64 = 64 * 1024;
/// How long a group, or all processes together, may take to stand.
const SETTLING: Duration = Duration::from_millis(500);
/// How often it is looked whether it does.
const LOOK: Duration = Duration::from_millis(2);

/// Stops a process, which has this number.
type Stop<'a> = dyn Fn(&OwnedFd, Pid) -> rustix::io::Result<()> + 'a;

/// What is held, to be let go again.
#[derive(Debug, Default)]
pub struct Held {
    group: Option<PathBuf>,
    stopped: Vec<OwnedFd>,
}

/// Stops the guest that this phyllome-guest runs. The error is why its processes run on, for the middle of a sentence.
pub fn freeze(process: &OwnedFd, pid: Pid, name: &GuestName) -> Result<Held, String> {
    freeze_with(process, pid, name, MAX_PROCESSES, &|process, _| pidfd_send_signal(process, Signal::STOP))
}

/// `most`: how many processes it may have. `stop`: stops one of them.
fn freeze_with(process: &OwnedFd, pid: Pid, name: &GuestName, most: usize, stop: &Stop) -> Result<Held, String> {
    if is_above(pid) {
        return Err("its process is none of its own".to_owned());
    }
    let own = group_of(getpid());
    let group = group_of(pid).filter(|group| is_unit_of(group, name));
    let group = group.filter(|group| own.is_none_or(|own| !own.starts_with(group)));
    // What was read of the number was of that process if it is still there.
    if has_ended(process) {
        return Err("it has ended".to_owned());
    }
    let mut held = Held::default();
    if let Some(group) = group {
        match set_frozen(&group, true) {
            Ok(()) => held.group = Some(group),
            Err(error) => tracing::warn!(guest = %name, "its control group cannot be frozen ({error})"),
        }
    }
    match stop_all(process, pid, &mut held, most, stop) {
        Ok(()) => Ok(held),
        Err(why) => {
            if let Err(error) = thaw(&held) {
                tracing::warn!(guest = %name, "what of it was stopped cannot be let go ({error})");
            }
            Err(why)
        }
    }
}

/// What is held already of a guest that another shell has stopped; `None` if it runs.
pub fn find(process: &OwnedFd, pid: Pid, name: &GuestName) -> Option<Held> {
    let frozen = |group: PathBuf| read(&group.join("cgroup.freeze")).is_some_and(|text| text.trim() == "1");
    let stands = group_of(pid).filter(|group| is_unit_of(group, name)).is_some_and(frozen);
    if !stands && !is_stopped(pid) {
        return None;
    }
    // To stop it once more changes nothing, and finds the rest. One of which not all can be held runs again.
    freeze(process, pid, name).ok()
}

/// Lets it run again. The error is why not.
pub fn thaw(held: &Held) -> io::Result<()> {
    // Those that others wait for run first.
    for process in held.stopped.iter().rev() {
        // One that has ended needs nothing.
        let _ = pidfd_send_signal(process, Signal::CONT);
    }
    held.group.as_deref().map_or(Ok(()), |group| set_frozen(group, false))
}

/// Ends what was stopped of a guest whose phyllome-guest has ended. What stood with its group has been ended by the
/// kernel, as phyllome-guest has it; another guest of that unit shall not stand for it.
pub fn end(held: &Held) {
    for process in &held.stopped {
        let _ = pidfd_send_signal(process, Signal::KILL);
    }
    if let Some(group) = &held.group {
        // A scope is that one start's alone, and what is left in it would run on without its phyllome-guest.
        if group.extension().is_some_and(|kind| kind == "scope") {
            let _ = std::fs::write(group.join("cgroup.kill"), "1");
        }
        // One that is empty is gone, and so is its file.
        let _ = std::fs::write(group.join("cgroup.freeze"), "0");
    }
}

fn stop_all(process: &OwnedFd, pid: Pid, held: &mut Held, most: usize, stop: &Stop) -> Result<(), String> {
    let until = Instant::now() + SETTLING;
    let mut seen = BTreeSet::new();
    let mut failed = None;
    for _ in 0..ROUNDS {
        let mut waiting = vec![(pid, process.try_clone().map_err(|error| error.to_string())?)];
        let mut stopping = Vec::new();
        let mut looked_at = 0;
        while let Some((pid, process)) = waiting.pop() {
            looked_at += 1;
            let below = children(pid).filter(|_| looked_at <= most).ok_or("it has too many processes")?;
            if seen.insert(pid.as_raw_nonzero()) {
                match stop_one(&process, pid, held, stop) {
                    // The others are stopped all the same.
                    Err(error) => failed = failed.or(Some(error.to_string())),
                    Ok(()) => stopping.push(pid),
                }
            }
            waiting.extend(below);
        }
        if stopping.is_empty() {
            return failed.map_or(Ok(()), Err);
        }
        // Those that stand start no more, so that those below them can be counted.
        wait(until, || stopping.iter().all(|pid| stands(*pid, held)));
    }
    Err(failed.unwrap_or_else(|| "it goes on starting processes".to_owned()))
}

/// Stops one that does not stand with its group.
fn stop_one(process: &OwnedFd, pid: Pid, held: &mut Held, stop: &Stop) -> io::Result<()> {
    if is_in_group(pid, held) {
        return Ok(());
    }
    // Kept before it is stopped: one that cannot be kept could not be let go.
    let kept = process.try_clone()?;
    match stop(process, pid) {
        Ok(()) => held.stopped.push(kept),
        Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

fn is_in_group(pid: Pid, held: &Held) -> bool {
    held.group.as_ref().is_some_and(|held| group_of(pid).is_some_and(|group| group.starts_with(held)))
}

/// Whether it does not run: one that has ended does not either.
fn stands(pid: Pid, held: &Held) -> bool {
    stat(pid).is_none_or(|(state, _)| matches!(state, 'T' | 't' | 'Z' | 'X')) || is_in_group(pid, held)
}

/// The processes that this one has started, each with a pidfd that is its own for certain. `None`: they are too many.
fn children(parent: Pid) -> Option<Vec<(Pid, OwnedFd)>> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{}/task", parent.as_raw_nonzero())) else {
        return Some(Vec::new());
    };
    let tasks: Vec<_> = tasks.flatten().take(MAX_THREADS + 1).collect();
    if tasks.len() > MAX_THREADS {
        return None;
    }
    let lists = tasks.iter().filter_map(|task| read(&task.path().join("children")));
    let pids: Vec<Pid> = lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect::<Vec<_>>())
        .take(MAX_PROCESSES + 1)
        .collect();
    if pids.len() > MAX_PROCESSES {
        return None;
    }
    let owned = |pid| {
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        let is_child = stat(pid)?.1 == parent.as_raw_nonzero().get();
        (is_child && !has_ended(&process)).then_some((pid, process))
    };
    Some(pids.into_iter().filter_map(owned).collect())
}

/// Whether it is this process or one that this one stems from.
fn is_above(pid: Pid) -> bool {
    let mut of = getpid().as_raw_nonzero().get();
    for _ in 0..MAX_PROCESSES {
        if of == pid.as_raw_nonzero().get() {
            return true;
        }
        match Pid::from_raw(of).and_then(stat) {
            Some((_, parent)) => of = parent,
            None => return false,
        }
    }
    true
}

fn has_ended(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

fn is_stopped(pid: Pid) -> bool {
    stat(pid).is_some_and(|(state, _)| matches!(state, 'T' | 't'))
}

/// The state and the parent of a process.
fn stat(pid: Pid) -> Option<(char, i32)> {
    let text = read(Path::new(&format!("/proc/{}/stat", pid.as_raw_nonzero())))?;
    // Its name, which stands in brackets, is its own choice.
    let mut words = text.rsplit_once(')')?.1.split_whitespace();
    Some((words.next()?.chars().next()?, words.next()?.parse().ok()?))
}

/// The folder of a process's control group.
fn group_of(pid: Pid) -> Option<PathBuf> {
    let text = read(Path::new(&format!("/proc/{}/cgroup", pid.as_raw_nonzero())))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.is_empty() && !path.split('/').any(|part| part == "..")).then(|| Path::new(GROUPS).join(path))
}

/// Whether a control group is the unit of this guest alone, as the shell or systemd names it.
fn is_unit_of(group: &Path, name: &GuestName) -> bool {
    let Some(unit) = group.file_name().and_then(|unit| unit.to_str()) else { return false };
    let scope = unit.strip_prefix(&format!("phyllome-guest-{name}-")).and_then(|rest| rest.strip_suffix(".scope"));
    scope.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || unit == format!("phyllome-guest@{name}.service")
}

fn set_frozen(group: &Path, frozen: bool) -> io::Result<()> {
    let word = if frozen { "1" } else { "0" };
    std::fs::write(group.join("cgroup.freeze"), word)?;
    let told = |line: &str| line.split_once(' ') == Some(("frozen", word));
    let stands = || read(&group.join("cgroup.events")).is_some_and(|text| text.lines().any(told));
    // The kernel goes on with it by itself where this takes longer.
    wait(Instant::now() + SETTLING, stands);
    Ok(())
}

fn wait(until: Instant, done: impl Fn() -> bool) {
    while !done() && Instant::now() < until {
        std::thread::sleep(LOOK);
    }
}

fn read(file: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(file).ok()?.take(MAX_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn name() -> GuestName {
        GuestName::new("work").unwrap()
    }

    fn started(script: &str) -> (Child, Pid, OwnedFd) {
        let child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap();
        let pid = Pid::from_child(&child);
        (child, pid, pidfd_open(pid, PidfdFlags::empty()).unwrap())
    }

    fn eventually(what: &str, condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain for {what}");
            std::thread::sleep(LOOK);
        }
    }

    fn below(pid: Pid) -> Vec<Pid> {
        let mut all = vec![pid];
        let mut at = 0;
        while let Some(parent) = all.get(at).copied() {
            all.extend(children(parent).unwrap().into_iter().map(|(pid, _)| pid));
            at += 1;
        }
        all
    }

    #[test]
    fn a_guest_and_all_below_it_stand_and_run_again() {
        // A process with a child that has a child.
        let (mut child, pid, process) = started("sh -c 'sleep 1000 & wait' & wait");
        eventually("its processes", || below(pid).len() == 3);
        let all = below(pid);
        assert!(find(&process, pid, &name()).is_none());
        let held = freeze(&process, pid, &name()).unwrap();
        eventually("all to stand", || all.iter().all(|pid| is_stopped(*pid)));
        // Another shell finds it so.
        let found = find(&process, pid, &name()).unwrap();
        assert_eq!(found.stopped.len(), 3);
        thaw(&held).unwrap();
        eventually("all to run", || !all.iter().any(|pid| is_stopped(*pid)));
        let held = freeze(&process, pid, &name()).unwrap();
        end(&held);
        child.wait().unwrap();
        eventually("all to be gone", || all.iter().all(|pid| stat(*pid).is_none_or(|(state, _)| state == 'Z')));
    }

    #[test]
    fn a_guest_of_which_one_process_cannot_be_stopped_is_stopped_by_no_half() {
        let (mut child, pid, process) = started("sh -c 'sleep 1000 & wait' & wait");
        eventually("its processes", || below(pid).len() == 3);
        let all = below(pid);
        let tried = std::cell::RefCell::new(BTreeSet::new());
        let stop = |process: &OwnedFd, of: Pid| {
            tried.borrow_mut().insert(of.as_raw_nonzero());
            // The one that stands between the two others.
            if of == all[1] { Err(rustix::io::Errno::PERM) } else { pidfd_send_signal(process, Signal::STOP) }
        };
        let why = freeze_with(&process, pid, &name(), MAX_PROCESSES, &stop).unwrap_err();
        assert_eq!(why, io::Error::from(rustix::io::Errno::PERM).to_string());
        assert_eq!(tried.borrow().len(), 3, "the others are tried all the same");
        eventually("all to run", || !all.iter().any(|pid| is_stopped(*pid)));
        end(&freeze(&process, pid, &name()).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn a_guest_with_more_processes_than_can_be_counted_is_not_said_to_stand() {
        let (mut child, pid, process) = started("sleep 1000 & sleep 1000 & sleep 1000 & wait");
        eventually("its processes", || below(pid).len() == 4);
        let all = below(pid);
        let stop = |process: &OwnedFd, _: Pid| pidfd_send_signal(process, Signal::STOP);
        assert_eq!(freeze_with(&process, pid, &name(), 3, &stop).unwrap_err(), "it has too many processes");
        eventually("all to run", || !all.iter().any(|pid| is_stopped(*pid)));
        end(&freeze_with(&process, pid, &name(), 4, &stop).unwrap());
        child.wait().unwrap();
    }

    #[test]
    fn neither_this_process_nor_its_parents_nor_what_has_ended_is_stopped() {
        // The first process of a container has no parent that it sees.
        for pid in [Some(getpid()), rustix::process::getppid()].into_iter().flatten() {
            let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
            assert!(freeze(&process, pid, &name()).unwrap_err().contains("none of its own"));
        }
        let (mut child, pid, process) = started("exit 0");
        child.wait().unwrap();
        assert_eq!(freeze(&process, pid, &name()).unwrap_err(), "it has ended");
    }

    #[test]
    fn a_control_group_is_frozen_only_if_it_is_that_guests_own() {
        for (group, own) in [
            ("/sys/fs/cgroup/app.slice/phyllome-guest-work-1f00c.scope", true),
            ("/sys/fs/cgroup/app.slice/phyllome-guest@work.service", true),
            ("/sys/fs/cgroup/app.slice/phyllome-guest-work-2-1f00c.scope", false),
            ("/sys/fs/cgroup/app.slice/phyllome-guest-work-.scope", false),
            ("/sys/fs/cgroup/app.slice/phyllome-guest-play-1f00c.scope", false),
            ("/sys/fs/cgroup/phyllome-guest-work-1f00c.scope/sub", false),
            ("/sys/fs/cgroup/user.slice/session-1.scope", false),
        ] {
            assert_eq!(is_unit_of(Path::new(group), &name()), own, "{group}");
        }
    }

    #[test]
    fn a_group_is_told_to_freeze_and_to_thaw() {
        // Files in the place of the kernel's.
        let group = tempfile::tempdir().unwrap();
        std::fs::write(group.path().join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        set_frozen(group.path(), true).unwrap();
        let told = || std::fs::read_to_string(group.path().join("cgroup.freeze")).unwrap();
        assert_eq!(told(), "1");
        std::fs::write(group.path().join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        thaw(&Held { group: Some(group.path().to_owned()), stopped: Vec::new() }).unwrap();
        assert_eq!(told(), "0");
    }

    #[test]
    fn what_is_left_in_the_scope_of_a_guest_that_has_ended_is_ended_before_it_is_let_go() {
        for (unit, killed) in [("phyllome-guest-work-1.scope", true), ("phyllome-guest@work.service", false)] {
            let folder = tempfile::tempdir().unwrap();
            let group = folder.path().join(unit);
            std::fs::create_dir(&group).unwrap();
            end(&Held { group: Some(group.clone()), stopped: Vec::new() });
            let told = |file: &str| std::fs::metadata(group.join(file)).and_then(|file| file.modified()).ok();
            let (kill, freeze) = (told("cgroup.kill"), told("cgroup.freeze"));
            assert_eq!(kill.is_some(), killed, "{unit}");
            assert!(kill <= freeze && freeze.is_some(), "{unit}");
        }
    }
}
