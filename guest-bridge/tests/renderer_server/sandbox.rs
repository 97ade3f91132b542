//! The renderer's sandbox, from inside: the real program is told to try what an intruder would, each attempt is refused
//! by the layer that is meant to, and it draws all the same; and on kernels that lack a layer the others hold.

use crate::driver::{B8G8R8X8, RAM, RAM_SIZE, Renderer, Said, clear, read, sealed, texture};
use libc::{EACCES, ENOENT, ENOSYS, EPERM};
use phyllome_guest_bridge::renderer::wire::{ReadBack, Region, Request};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Stdio};

/// Refused by landlock in the first stage; in the second too, unless seccomp comes before it.
const FILES: [(&str, i32); 12] = [
    ("read-users", EACCES),
    ("list-homes", EACCES),
    ("list-root", EACCES),
    ("list-everything", EACCES),
    ("list-runtime", EACCES),
    ("read-other-process", EACCES),
    ("open-terminal", EPERM),
    ("create-file", EPERM),
    ("create-unnamed-file", EPERM),
    ("write-own-memory", EPERM),
    ("write-null", EPERM),
    ("make-folder", EPERM),
];
/// Refused by seccomp in both stages.
const CALLS: [(&str, i32); 40] = [
    ("open-how", ENOSYS),
    ("open-by-handle", EPERM),
    ("socket-inet", EPERM),
    ("socket-inet6-datagram", EPERM),
    ("socket-unix", EPERM),
    ("socket-netlink", EPERM),
    ("socket-packet", EPERM),
    ("socket-vsock", EPERM),
    ("connect-abstract", EPERM),
    ("exec", EPERM),
    ("fork", EPERM),
    ("clone3", ENOSYS),
    ("ptrace-parent", EPERM),
    ("read-parent", EPERM),
    ("leave-group", EPERM),
    ("kill-parent", EPERM),
    ("tkill-parent", EPERM),
    ("pidfd-parent", EPERM),
    ("signals-for-parent", EPERM),
    ("limit-parent", EPERM),
    ("mount", EPERM),
    ("umount", EPERM),
    ("chroot", EPERM),
    ("new-mount", EPERM),
    ("new-namespaces", EPERM),
    ("fork-into-namespace", EPERM),
    ("enter-namespace", EPERM),
    ("io-uring", EPERM),
    ("bpf", EPERM),
    ("userfaultfd", EPERM),
    ("perf-events", EPERM),
    ("keys", EPERM),
    ("load-kernel", EPERM),
    ("load-module", EPERM),
    ("type-into-terminal", EPERM),
    ("be-root", EPERM),
    ("personality", EPERM),
    ("exec-by-x32", EPERM),
    ("thread", 0),
    ("machine-code", 0),
];
/// Refused by seccomp in the second stage.
const LATE_CALLS: [(&str, i32); 3] = [("remove-file", EPERM), ("tgkill-parent", EPERM), ("outlive-parent", EPERM)];
/// What drivers read.
const READ: [&str; 2] = ["read-libraries", "read-cpus"];

/// What a renderer says on standard error.
#[derive(Debug, Default)]
struct Told {
    tries: BTreeMap<String, i32>,
    sandbox: Vec<String>,
}

impl Told {
    fn try_of(&self, name: &str) -> i32 {
        *self.tries.get(name).unwrap_or_else(|| panic!("{name} was not tried: {self:?}"))
    }

    fn says(&self, part: &str) -> bool {
        self.sandbox.iter().any(|line| line.contains(part))
    }
}

/// A renderer that tries everything at `stage` and is ready then, and what it told.
fn trying(stage: &str, change: impl FnOnce(&mut Command)) -> (Renderer, Told) {
    let mut renderer = Renderer::started_by(&["--try", stage], |command| {
        command.stderr(Stdio::piped());
        change(command);
    });
    let lines = BufReader::new(renderer.stderr().expect("a pipe")).lines().map_while(Result::ok);
    let reader = std::thread::spawn(move || {
        let mut told = Told::default();
        for line in lines {
            if let Some((name, errno)) = line.strip_prefix("try ").and_then(|line| line.split_once(": ")) {
                told.tries.insert(name.to_owned(), errno.parse().expect("a number"));
            } else if let Some(line) = line.strip_prefix("sandbox: ") {
                told.sandbox.push(line.to_owned());
            }
            let late = told.tries.contains_key("over") && told.says("took");
            if late {
                break;
            }
        }
        told
    });
    // If it dies instead, the pipe ends.
    let renderer = renderer.ready();
    (renderer, reader.join().expect("its words"))
}

fn assert_all(told: &Told, expected: impl IntoIterator<Item = (&'static str, i32)>) {
    let wrong: Vec<_> = expected.into_iter().filter(|(name, errno)| told.try_of(name) != *errno).collect();
    assert!(wrong.is_empty(), "expected {wrong:?} of {told:?}");
}

/// Draws a colour and reads it back.
fn assert_draws(renderer: &mut Renderer) {
    let (ram, file) = (sealed(RAM_SIZE), sealed(1 << 16));
    assert_eq!(renderer.set_memory(&[Region { address: RAM, length: RAM_SIZE, offset: 0 }], &[&ram]), 0);
    assert_eq!(renderer.target(1, &file, 1 << 16), 0);
    assert_eq!(renderer.context(1, 0), 0);
    renderer.create_backed(1, texture(B8G8R8X8, 64, 64));
    assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource: 1, attach: true }), 0);
    assert_eq!(renderer.submit(1, &clear(5, 1, B8G8R8X8, [1.0, 0.0, 1.0, 1.0])), 0);
    let part = ReadBack { x: 0, y: 0, width: 64, height: 64, stride: 256, offset: 0 };
    assert_eq!(renderer.read_back(1, 1, part), 0);
    assert_eq!(read(&file, 3), [0xff, 0, 0xff]);
}

/// The version of landlock's interface; 0 if there is none.
fn landlock() -> i64 {
    // SAFETY: asks for the version; no memory is passed.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, 0, 0, 1) }.max(0)
}

/// Whether a process here may have namespaces of its own.
fn has_namespaces() -> bool {
    let mut command = Command::new("/bin/true");
    // SAFETY: one system call between fork and exec.
    unsafe {
        command.pre_exec(|| match libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    command.status().is_ok_and(|status| status.success())
}

/// Has the program run on a kernel where `calls` fail with `errno`.
fn without(command: &mut Command, calls: &[i64], errno: i32) {
    let rules = calls.iter().map(|&call| (call, vec![])).collect();
    let here = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno as u32), here).unwrap();
    let filter: BpfProgram = filter.try_into().unwrap();
    // SAFETY: system calls alone between fork and exec; the filter is ready.
    unsafe {
        command.pre_exec(move || seccompiler::apply_filter(&filter).map_err(|_| std::io::ErrorKind::Other.into()));
    }
}

const LANDLOCK: [i64; 3] =
    [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];

#[test]
fn once_it_draws_everything_an_intruder_would_try_is_refused() {
    let (mut renderer, told) = trying("late", |_| {});
    assert_all(&told, CALLS.into_iter().chain(LATE_CALLS));
    let name = "once_it_draws_everything_an_intruder_would_try_is_refused";
    if landlock() == 0 {
        println!("SKIPPED: {name} with files: this kernel has no landlock");
    } else {
        assert_all(&told, FILES.into_iter().chain(READ.map(|name| (name, 0))));
        if Path::new("/dev/mem").exists() {
            assert_all(&told, [("read-memory-device", EACCES)]);
        } else {
            println!("SKIPPED: {name} with /dev/mem: there is none");
        }
    }
    assert_draws(&mut renderer);
}

#[test]
fn before_the_library_is_loaded_most_is_refused_already() {
    let name = "before_the_library_is_loaded_most_is_refused_already";
    let (mut renderer, told) = trying("early", |_| {});
    assert_all(&told, CALLS);
    if landlock() == 0 {
        println!("SKIPPED: {name} with files: this kernel has no landlock");
    } else {
        assert_all(&told, FILES.map(|(name, _)| (name, EACCES)).into_iter().chain(READ.map(|name| (name, 0))));
        assert_all(&told, [("remove-file", ENOENT)]);
    }
    if landlock() < 6 {
        println!("SKIPPED: {name} with signals: this kernel's landlock is of ABI {}, below 6", landlock());
    } else {
        assert_all(&told, [("tgkill-parent", EPERM)]);
    }
    assert_draws(&mut renderer);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn calls_by_the_conventions_of_a_32_bit_processor_end_it() {
    let mut renderer = Renderer::bare(&["--try", "foreign"], &[]);
    assert!(renderer.next().is_none());
    // Where the kernel has no such convention, it is no call.
    assert!(matches!(renderer.exit().signal(), Some(libc::SIGSYS | libc::SIGSEGV)));
}

#[test]
fn for_venus_only_its_own_program_can_be_started_and_in_the_end_none() {
    let name = "for_venus_only_its_own_program_can_be_started_and_in_the_end_none";
    let venus = |command: &mut Command| {
        command.arg("--venus");
    };
    let (mut renderer, told) = trying("late", venus);
    assert_all(&told, CALLS.into_iter().chain(LATE_CALLS));
    assert_draws(&mut renderer);
    if landlock() < 6 {
        println!("SKIPPED: {name} before the library is loaded: this kernel's landlock is of ABI {}", landlock());
        return;
    }
    let (mut renderer, told) = trying("early", venus);
    assert_all(&told, [("exec", EACCES), ("kill-parent", EPERM), ("fork-into-namespace", EPERM), ("fork", 0)]);
    assert_all(&told, CALLS.into_iter().filter(|(name, _)| !["exec", "fork"].contains(name)));
    assert_draws(&mut renderer);
}

#[test]
fn every_thread_is_filtered_and_nobody_has_capabilities() {
    let mut renderer = Renderer::start();
    assert_draws(&mut renderer);
    let tasks: Vec<_> = std::fs::read_dir(format!("/proc/{}/task", renderer.pid())).unwrap().flatten().collect();
    assert!(tasks.len() > 1, "llvmpipe draws with threads");
    for task in tasks {
        let status = std::fs::read_to_string(task.path().join("status")).unwrap();
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
        assert_eq!([field("NoNewPrivs:"), field("Seccomp:"), field("Seccomp_filters:")], ["1", "2", "3"], "{status}");
        for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
            assert_eq!(field(set), "0000000000000000", "{set}");
        }
    }
}

#[test]
fn it_has_limits_and_goes_first_when_memory_runs_out() {
    let renderer = Renderer::start_with(&["--memory", "1024"], &[]);
    let file = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", renderer.pid())).unwrap();
    let limits = file("limits");
    let limit = |name: &str| limits.lines().find_map(|line| line.strip_prefix(name)).unwrap().split_whitespace().next();
    assert_eq!(limit("Max core file size"), Some("0"));
    assert_eq!(limit("Max data size"), Some("1073741824"));
    assert_eq!(limit("Max file size"), Some("1073741824"));
    assert!(limit("Max open files").unwrap().parse::<u64>().unwrap() <= 4096);
    assert_eq!(file("coredump_filter").trim(), "00000000");
    assert!(file("oom_score_adj").trim().parse::<i32>().unwrap() >= 800);
}

#[test]
fn it_has_no_network_and_still_ends_with_its_parent() {
    let name = "it_has_no_network_and_still_ends_with_its_parent";
    let (renderer, told) = trying("early", |command| {
        // SAFETY: one system call between fork and exec. The thread lives until the renderer is dropped.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM, 0, 0, 0) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            })
        };
    });
    assert_eq!(told.try_of("parent-death-signal"), libc::SIGTERM);
    if !has_namespaces() {
        assert!(told.says("no namespaces of its own"), "{told:?}");
        println!("SKIPPED: {name} with namespaces: this host allows a process none of its own");
        return;
    }
    assert!(!told.says("namespaces"), "{told:?}");
    for namespace in ["user", "net", "ipc", "uts"] {
        let of = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/{namespace}")).unwrap();
        assert_ne!(of(&renderer.pid().to_string()), of("self"), "{namespace}");
    }
}

#[test]
fn without_landlock_and_namespaces_it_says_so_and_seccomp_holds() {
    let calls: Vec<i64> = LANDLOCK.into_iter().chain([libc::SYS_unshare]).collect();
    let (mut renderer, told) = trying("late", |command| without(command, &calls, ENOSYS));
    assert!(told.says("no namespaces of its own") && told.says("no landlock"), "{told:?}");
    let files = FILES.map(|(name, _)| (name, EPERM)).into_iter().chain(READ.map(|name| (name, EPERM)));
    // The filter that plays the kernel answers for its own call.
    let calls = CALLS.into_iter().filter(|(name, _)| *name != "new-namespaces");
    assert_all(&told, files.chain(calls).chain(LATE_CALLS));
    assert_ne!(told.try_of("new-namespaces"), 0);
    assert_draws(&mut renderer);
}

#[test]
fn without_seccomp_there_is_no_3d() {
    let mut renderer = Renderer::started_by(&[], |command| without(command, &[libc::SYS_seccomp], ENOSYS));
    let Some(Said::Unable(why)) = renderer.next() else { panic!("it draws without seccomp") };
    assert!(why.contains("seccomp") || why.contains("SECCOMP"), "{why}");
    assert!(renderer.next().is_none());
    assert_eq!(renderer.exit().code(), Some(1));
}
