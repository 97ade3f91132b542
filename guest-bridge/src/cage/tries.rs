//! What an intruder would try from inside, tried: tests start a renderer with `--try`, which does all of this where the
//! sandbox is to hold and then goes on to draw.
//!
//! Each is one system call with arguments that would do no harm if it were granted, and says what the kernel answered:
//! 0 or the error. Nothing of it runs otherwise.

use super::namespaces::parent_death_signal;
use libc::*;
use std::ffi::CStr;
use std::ptr::{null, null_mut};

/// Where in the start they are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// After the first stage, before the library is loaded.
    Early,
    /// After the second, before the guest is served.
    Late,
    /// As [`Stage::Late`], but a call by the conventions of a 32-bit processor alone, which ends the process.
    Foreign,
}

impl std::str::FromStr for Stage {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "early" => Ok(Self::Early),
            "late" => Ok(Self::Late),
            "foreign" => Ok(Self::Foreign),
            _ => Err(format!("{name} is none of early, late, foreign")),
        }
    }
}

/// One attempt: its name and what it does.
type Try = (&'static str, fn() -> c_long);

/// Tries everything and says on standard error what came of each: `try NAME: ERRNO`, 0 for success.
pub fn run(stage: Stage) {
    if stage == Stage::Foreign {
        foreign();
    }
    eprintln!("try parent-death-signal: {}", parent_death_signal());
    for (name, attempt) in TRIES {
        let errno = if attempt() < 0 { std::io::Error::last_os_error().raw_os_error().unwrap_or(-1) } else { 0 };
        eprintln!("try {name}: {errno}");
    }
    let thread = std::thread::Builder::new().spawn(|| ()).map(std::thread::JoinHandle::join);
    eprintln!("try thread: {}", if matches!(thread, Ok(Ok(()))) { 0 } else { EAGAIN });
    eprintln!("try over: 0");
}

/// A system call with up to six arguments.
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        // SAFETY: every pointer below is null, where the kernel answers EFAULT at most, or of a constant, or of a
        // variable of the caller's that is large enough; no descriptor or memory that anything else uses is touched.
        unsafe { syscall($number $(, $argument)*) }
    };
}

fn open(path: &CStr, flags: c_int) -> c_long {
    let made = call!(SYS_openat, AT_FDCWD, path.as_ptr(), flags | O_CLOEXEC, 0o600);
    if let Ok(fd) = c_int::try_from(made)
        && fd >= 0
    {
        // SAFETY: just made, and nobody else's.
        unsafe { close(fd) };
    }
    made
}

fn socket_of(domain: c_int, kind: c_int) -> c_long {
    call!(SYS_socket, domain, kind | SOCK_CLOEXEC, 0)
}

fn parent() -> c_long {
    // SAFETY: no arguments.
    c_long::from(unsafe { getppid() })
}

/// Connects the descriptor of standard error, which is no socket, to an abstract name; allowed, it is ENOTSOCK.
fn connect_abstract() -> c_long {
    let address: [u8; 6] = [AF_UNIX as u8, 0, 0, b'x', b'y', b'z'];
    call!(SYS_connect, 2, address.as_ptr(), address.len())
}

fn peek_parent() -> c_long {
    let mut byte = 0u8;
    let local = iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = iovec { iov_base: 0x1000 as *mut c_void, iov_len: 1 };
    call!(SYS_process_vm_readv, parent(), &raw const local, 1, &raw const remote, 1, 0)
}

fn fork_with(flags: c_int) -> c_long {
    let made = call!(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);
    if made == 0 {
        // SAFETY: the child of an attempt that should have failed does nothing else.
        unsafe { _exit(0) };
    }
    made
}

fn code() -> c_long {
    let (rw, rx) = (PROT_READ | PROT_WRITE, PROT_READ | PROT_EXEC);
    // SAFETY: a new page of the kernel's choice, made executable and given back.
    unsafe {
        let page = mmap(null_mut(), 4096, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if page == MAP_FAILED {
            return -1;
        }
        let done = mprotect(page, 4096, rx);
        munmap(page, 4096);
        c_long::from(done)
    }
}

fn execute() -> c_long {
    let arguments = [c"/bin/true".as_ptr(), null()];
    call!(SYS_execve, c"/bin/true".as_ptr(), arguments.as_ptr(), null::<c_void>())
}

const TRIES: [Try; 57] = [
    // Files.
    ("read-users", || open(c"/etc/passwd", O_RDONLY)),
    ("list-homes", || open(c"/home", O_RDONLY | O_DIRECTORY)),
    ("list-root", || open(c"/root", O_RDONLY | O_DIRECTORY)),
    ("list-everything", || open(c"/", O_RDONLY | O_DIRECTORY)),
    ("list-runtime", || open(c"/run", O_RDONLY | O_DIRECTORY)),
    ("read-other-process", || open(c"/proc/1/status", O_RDONLY)),
    ("read-memory-device", || open(c"/dev/mem", O_RDONLY)),
    ("open-terminal", || open(c"/dev/ptmx", O_RDWR | O_NOCTTY)),
    ("create-file", || open(c"/tmp/phyllome-renderer-was-here", O_WRONLY | O_CREAT)),
    ("create-unnamed-file", || open(c"/tmp", O_WRONLY | O_TMPFILE)),
    ("write-own-memory", || open(c"/proc/self/mem", O_RDWR)),
    ("write-null", || open(c"/dev/null", O_WRONLY)),
    ("make-folder", || call!(SYS_mkdirat, AT_FDCWD, c"/tmp/phyllome-renderer-was-here".as_ptr(), 0o700)),
    ("remove-file", || call!(SYS_unlinkat, AT_FDCWD, c"/tmp/phyllome-renderer-is-not-here".as_ptr(), 0)),
    ("open-how", || call!(SYS_openat2, AT_FDCWD, c"/etc/passwd".as_ptr(), null::<c_void>(), 24)),
    ("open-by-handle", || call!(SYS_open_by_handle_at, AT_FDCWD, null::<c_void>(), O_RDONLY)),
    // Sockets.
    ("socket-inet", || socket_of(AF_INET, SOCK_STREAM)),
    ("socket-inet6-datagram", || socket_of(AF_INET6, SOCK_DGRAM)),
    ("socket-unix", || socket_of(AF_UNIX, SOCK_STREAM)),
    ("socket-netlink", || socket_of(AF_NETLINK, SOCK_RAW)),
    ("socket-packet", || socket_of(AF_PACKET, SOCK_RAW)),
    ("socket-vsock", || socket_of(AF_VSOCK, SOCK_STREAM)),
    ("connect-abstract", connect_abstract),
    // Programs and processes.
    ("exec", execute),
    ("fork", || fork_with(0)),
    ("clone3", || call!(SYS_clone3, null::<c_void>(), 0)),
    ("ptrace-parent", || call!(SYS_ptrace, PTRACE_SEIZE, parent(), 0, 0)),
    ("read-parent", peek_parent),
    ("kill-parent", || call!(SYS_kill, parent(), 0)),
    ("tkill-parent", || call!(SYS_tkill, parent(), 0)),
    ("tgkill-parent", || call!(SYS_tgkill, parent(), parent(), 0)),
    ("pidfd-parent", || call!(SYS_pidfd_open, parent(), 0)),
    ("signals-for-parent", || call!(SYS_fcntl, 2, F_SETOWN, parent())),
    ("limit-parent", || call!(SYS_prlimit64, parent(), RLIMIT_NOFILE, null::<c_void>(), null::<c_void>())),
    ("leave-group", || call!(SYS_setpgid, 0, 0)),
    ("outlive-parent", || call!(SYS_prctl, PR_SET_PDEATHSIG, parent_death_signal(), 0, 0, 0)),
    // Namespaces.
    ("mount", || call!(SYS_mount, c"none".as_ptr(), c"/tmp".as_ptr(), c"tmpfs".as_ptr(), 0, null::<c_void>())),
    ("umount", || call!(SYS_umount2, c"/phyllome-renderer-is-not-here".as_ptr(), 0)),
    ("chroot", || call!(SYS_chroot, c"/phyllome-renderer-is-not-here".as_ptr())),
    ("new-mount", || call!(SYS_fsopen, c"tmpfs".as_ptr(), 0)),
    ("new-namespaces", || call!(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET)),
    ("fork-into-namespace", || fork_with(CLONE_NEWUSER)),
    ("enter-namespace", || call!(SYS_setns, 2, 0)),
    // The kernel's wide interfaces.
    ("io-uring", || call!(SYS_io_uring_setup, 1, null::<c_void>())),
    ("bpf", || call!(SYS_bpf, 0, null::<c_void>(), 0)),
    ("userfaultfd", || call!(SYS_userfaultfd, O_CLOEXEC | 1)),
    ("perf-events", || call!(SYS_perf_event_open, null::<c_void>(), 0, -1, -1, 0)),
    ("keys", || call!(SYS_keyctl, 0, -3, 0, 0, 0)),
    ("load-kernel", || call!(SYS_kexec_load, 0, 0, null::<c_void>(), 0)),
    ("load-module", || call!(SYS_finit_module, 2, c"".as_ptr(), 0)),
    ("type-into-terminal", || call!(SYS_ioctl, 2, TIOCSTI, c"x".as_ptr())),
    ("be-root", || call!(SYS_setuid, 0)),
    ("personality", || call!(SYS_personality, 0x0004_0000)),
    ("exec-by-x32", || call!(0x4000_0000 | 520, null::<c_void>(), null::<c_void>(), null::<c_void>())),
    // What drawing needs.
    ("read-libraries", || open(c"/usr/lib", O_RDONLY | O_DIRECTORY)),
    ("read-cpus", || open(c"/sys/devices/system/cpu/possible", O_RDONLY)),
    ("machine-code", code),
];

/// `getpid` as 32-bit programs call it.
fn foreign() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the call has no arguments and returns a number in a register that is given up; what the kernel does not
    // keep of the others is given up too.
    unsafe {
        std::arch::asm!(
            "int 0x80",
            inlateout("rax") 20_u64 => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    eprintln!("try foreign: 0");
}
