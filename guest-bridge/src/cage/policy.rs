//! Which system calls the renderer may make, as data: [`seccomp`](super::seccomp) makes filters of it.
//!
//! [`FORBIDDEN`] is what no driver does and an intruder wants: programs, other processes, sockets, mounts, keys, the
//! kernel's wide interfaces. It is refused from before the library is loaded. [`ALLOWED`] and [`LIMITED`] are all that
//! is left once the library runs: what virglrenderer, EGL and llvmpipe were seen to call while they drew, with the
//! neighbours that another version of them, of the C library or a driver of a GPU calls for the same.
//!
//! Whatever is refused gets EPERM rather than the death of the process: Mesa and the C library try calls that they can
//! do without (scheduling, affinity, newer calls), which differ by version, and each would end 3D for a guest that did
//! nothing wrong; an intruder gains nothing by an error. What the C library replaces by an older call only if it is not
//! there gets ENOSYS ([`ABSENT`]). A call by another processor's conventions ends the process.
//!
//! Memory that is executable stays allowed: llvmpipe makes machine code of shaders, and drivers of GPUs of vertex
//! programs.

use libc::*;

/// What some kinds of contexts need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Venus: virglrenderer starts a program of its own, `virgl_render_server`, which stays in the first stage.
    pub venus: bool,
    /// Native contexts: each opens the render node anew.
    pub native: bool,
}

/// What the second stage depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Late {
    /// What is to work.
    pub needs: Needs,
    /// landlock decides on files; otherwise none can be opened from there on.
    pub confined: bool,
    /// The process's own id.
    pub pid: u32,
}

/// One condition on an argument of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The low 32 bits of the argument of that index, under the mask, are the value.
    Masked(u8, u32, u32),
    /// All 64 bits of the argument of that index are zero.
    Zero(u8),
    /// The low 32 bits of the argument of that index are not zero.
    Some(u8),
}

/// The low 32 bits of an argument are a value.
const fn is(index: u8, value: u32) -> When {
    When::Masked(index, u32::MAX, value)
}

/// A call and the alternatives by which it is meant: one is enough, and all conditions of it must hold. None: always.
pub type Rule = (c_long, Vec<Vec<When>>);

/// Refused in both stages, whatever the guest's contexts are.
pub const FORBIDDEN: &[c_long] = &[
    // Other processes.
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_process_madvise,
    SYS_process_mrelease,
    SYS_pidfd_open,
    SYS_pidfd_getfd,
    SYS_pidfd_send_signal,
    SYS_tkill,
    SYS_rt_sigqueueinfo,
    SYS_rt_tgsigqueueinfo,
    SYS_migrate_pages,
    SYS_move_pages,
    SYS_setpriority,
    SYS_ioprio_set,
    // The group of processes that is ended with the renderer, and with it whatever the library started for Venus. The
    // library tries to give that a group of its own and does without.
    SYS_setpgid,
    SYS_setsid,
    // Sockets.
    SYS_socket,
    SYS_connect,
    SYS_bind,
    SYS_listen,
    SYS_accept,
    SYS_accept4,
    SYS_setsockopt,
    SYS_sendmmsg,
    SYS_recvmmsg,
    // Namespaces and file systems.
    SYS_unshare,
    SYS_setns,
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_open_tree,
    SYS_move_mount,
    SYS_fsopen,
    SYS_fsconfig,
    SYS_fsmount,
    SYS_fspick,
    SYS_mount_setattr,
    SYS_swapon,
    SYS_swapoff,
    SYS_quotactl,
    SYS_quotactl_fd,
    SYS_mknodat,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    SYS_fanotify_mark,
    SYS_fchmodat,
    SYS_fchownat,
    SYS_fchown,
    SYS_setxattr,
    SYS_lsetxattr,
    SYS_fsetxattr,
    // The kernel's wide interfaces.
    SYS_bpf,
    SYS_perf_event_open,
    SYS_io_uring_setup,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_userfaultfd,
    SYS_memfd_secret,
    SYS_splice,
    SYS_vmsplice,
    SYS_tee,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_msgget,
    SYS_semget,
    SYS_shmget,
    SYS_shmat,
    SYS_mq_open,
    SYS_remap_file_pages,
    // Who one is.
    SYS_setuid,
    SYS_setgid,
    SYS_setreuid,
    SYS_setregid,
    SYS_setresuid,
    SYS_setresgid,
    SYS_setfsuid,
    SYS_setfsgid,
    SYS_setgroups,
    SYS_capset,
    SYS_personality,
    // The machine.
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_reboot,
    SYS_syslog,
    SYS_acct,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_sethostname,
    SYS_setdomainname,
    SYS_vhangup,
];

/// As [`FORBIDDEN`], of this processor only.
#[cfg(target_arch = "x86_64")]
pub const FORBIDDEN_HERE: &[c_long] = &[
    SYS_mknod,
    SYS_chmod,
    SYS_chown,
    SYS_lchown,
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS_ustat,
    SYS_sysfs,
    SYS__sysctl,
    SYS_nfsservctl,
    SYS_lookup_dcookie,
];
/// As [`FORBIDDEN`], of this processor only.
#[cfg(not(target_arch = "x86_64"))]
pub const FORBIDDEN_HERE: &[c_long] = &[];

/// Programs and processes: refused in the first stage but for Venus, and in the second always.
pub const SPAWNING: &[c_long] = &[SYS_execve, SYS_execveat, SYS_kill, SYS_socketpair];
/// As [`SPAWNING`], of this processor only.
#[cfg(target_arch = "x86_64")]
pub const SPAWNING_HERE: &[c_long] = &[SYS_fork, SYS_vfork];
/// As [`SPAWNING`], of this processor only.
#[cfg(not(target_arch = "x86_64"))]
pub const SPAWNING_HERE: &[c_long] = &[];

/// Said not to exist, in both stages: the arguments cannot be looked at, and there is an older call for which they can.
pub const ABSENT: &[c_long] = &[SYS_clone3, SYS_openat2];

/// Allowed in the second stage.
pub const ALLOWED: &[c_long] = &[
    // Descriptors that are there, and files' attributes.
    SYS_read,
    SYS_write,
    SYS_readv,
    SYS_writev,
    SYS_pread64,
    SYS_pwrite64,
    SYS_lseek,
    SYS_close,
    SYS_close_range,
    SYS_dup,
    SYS_dup3,
    SYS_fstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_readlinkat,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_getdents64,
    SYS_getcwd,
    SYS_ftruncate,
    SYS_fallocate,
    // Waiting and waking.
    SYS_ppoll,
    SYS_pselect6,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_epoll_pwait,
    SYS_epoll_pwait2,
    SYS_eventfd2,
    SYS_pipe2,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_timerfd_gettime,
    SYS_sendmsg,
    SYS_recvmsg,
    SYS_sendto,
    SYS_recvfrom,
    SYS_getsockopt,
    SYS_shutdown,
    // Memory.
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_msync,
    SYS_mincore,
    SYS_brk,
    SYS_memfd_create,
    SYS_membarrier,
    SYS_mseal,
    // Threads and signals of its own.
    SYS_futex,
    SYS_futex_waitv,
    SYS_set_robust_list,
    SYS_set_tid_address,
    SYS_rseq,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_gettid,
    SYS_getpid,
    SYS_getppid,
    SYS_exit,
    SYS_exit_group,
    SYS_restart_syscall,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_rt_sigpending,
    SYS_rt_sigtimedwait,
    SYS_sigaltstack,
    // Time and facts.
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_clock_nanosleep,
    SYS_nanosleep,
    SYS_gettimeofday,
    SYS_times,
    SYS_getrandom,
    SYS_getcpu,
    SYS_getrusage,
    SYS_uname,
    SYS_sysinfo,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
];

/// As [`ALLOWED`], of this processor only: older forms of the same.
#[cfg(target_arch = "x86_64")]
pub const ALLOWED_HERE: &[c_long] = &[
    SYS_stat,
    SYS_lstat,
    SYS_access,
    SYS_readlink,
    SYS_poll,
    SYS_select,
    SYS_epoll_create,
    SYS_epoll_wait,
    SYS_eventfd,
    SYS_pipe,
    SYS_dup2,
    SYS_time,
];
/// As [`ALLOWED`], of this processor only: older forms of the same.
#[cfg(not(target_arch = "x86_64"))]
pub const ALLOWED_HERE: &[c_long] = &[];

/// The calls of [`limited`].
pub const LIMITED: &[c_long] =
    &[SYS_openat, SYS_clone, SYS_ioctl, SYS_fcntl, SYS_prctl, SYS_prlimit64, SYS_tgkill, SYS_kcmp];

/// A new namespace in `clone`'s flags; CLONE_NEWTIME cannot be asked for by it.
const NEW_NAMESPACES: [c_int; 7] =
    [CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET];
/// Kinds of commands to devices, by their second byte: DRM, dmabufs, fences, udmabuf. None of them is a terminal's or a
/// socket's.
const COMMANDS: [u8; 4] = [b'd', b'b', b'>', b'u'];
/// Commands to descriptors of any kind: whether it is a terminal, blocking, closing on exec, bytes to read.
const PLAIN_COMMANDS: [u32; 5] = [0x5401, 0x5421, 0x5450, 0x5451, 0x541b];
/// `F_DUPFD_QUERY`: whether two descriptors are one file.
const F_DUPFD_QUERY: c_int = 1027;
/// What may be asked of a descriptor. Not who gets its signals: that reaches other processes of the user.
const FCNTLS: [c_int; 9] =
    [F_DUPFD, F_DUPFD_CLOEXEC, F_DUPFD_QUERY, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GET_SEALS, F_ADD_SEALS];
/// Names of threads and of anonymous memory.
const PRCTLS: [c_int; 3] = [PR_SET_NAME, PR_GET_NAME, 0x5356_4d41];
/// `KCMP_FILE`.
const KCMP_FILE: u32 = 0;
/// What makes or changes a file, as flags of open.
const CHANGES: c_int = O_CREAT | O_TRUNC | (O_TMPFILE & !O_DIRECTORY) | O_APPEND;

/// Calls that are allowed in the second stage for some arguments. Numbers that other processes could be meant by are
/// checked to be the process's own.
pub fn limited(late: Late) -> Vec<Rule> {
    let any =
        |index: u8, values: &[c_int]| values.iter().map(|&value| vec![is(index, value as u32)]).collect::<Vec<_>>();
    let threads = NEW_NAMESPACES.iter().fold(CLONE_THREAD, |all, flag| all | flag) as u32;
    let mut commands: Vec<Vec<When>> =
        COMMANDS.iter().map(|&kind| vec![When::Masked(1, 0xff00, u32::from(kind) << 8)]).collect();
    commands.extend(PLAIN_COMMANDS.iter().map(|&command| vec![is(1, command)]));
    let mut rules = vec![
        (SYS_clone, vec![vec![When::Masked(0, threads, CLONE_THREAD as u32)]]),
        (SYS_ioctl, commands),
        (SYS_fcntl, any(1, &FCNTLS)),
        (SYS_prctl, any(0, &PRCTLS)),
        (SYS_prlimit64, vec![vec![is(0, 0), When::Zero(2)]]),
        (SYS_tgkill, vec![vec![is(0, late.pid)]]),
        (SYS_kcmp, vec![vec![is(0, late.pid), is(1, late.pid), is(2, KCMP_FILE)]]),
    ];
    let changes = if late.needs.native { CHANGES } else { CHANGES | O_ACCMODE };
    let opens = |flags: u8| vec![vec![When::Masked(flags, changes as u32, 0)]];
    if late.confined || late.needs.native {
        rules.push((SYS_openat, opens(2)));
        #[cfg(target_arch = "x86_64")]
        rules.push((SYS_open, opens(1)));
    }
    rules
}

/// All that the first stage refuses.
pub fn refused(needs: Needs) -> Vec<Rule> {
    let all = FORBIDDEN.iter().chain(FORBIDDEN_HERE);
    let spawning = SPAWNING.iter().chain(SPAWNING_HERE).filter(|_| !needs.venus);
    let mut rules: Vec<Rule> =
        all.chain(spawning).flat_map(|&call| with_x32(call)).map(|call| (call, vec![])).collect();
    let namespaces = NEW_NAMESPACES.iter().map(|&flag| vec![When::Masked(0, flag as u32, flag as u32)]);
    let processes = Some(vec![When::Masked(0, CLONE_THREAD as u32, 0)]).filter(|_| !needs.venus);
    rules.push((SYS_clone, namespaces.chain(processes).collect()));
    // Characters that a terminal takes for typed, and signals and limits for other processes.
    let commands = [TIOCSTI as u32, TIOCLINUX, FIOSETOWN, SIOCSPGRP];
    rules.push((SYS_ioctl, commands.into_iter().map(|command| vec![is(1, command)]).collect()));
    let owners = [F_SETOWN, F_SETOWN_EX, F_SETSIG];
    rules.push((SYS_fcntl, owners.into_iter().map(|command| vec![is(1, command as u32)]).collect()));
    rules.push((SYS_prlimit64, vec![vec![When::Some(0)]]));
    rules.extend(x32_only());
    rules
}

/// All that the second stage allows, and what the first has answered already by [`ABSENT`].
pub fn allowed(late: Late) -> Vec<Rule> {
    let plain = ALLOWED.iter().chain(ALLOWED_HERE).chain(ABSENT).map(|&call| (call, vec![]));
    let venus: &[c_long] = if late.needs.venus { &[SYS_wait4, SYS_waitid] } else { &[] };
    plain.chain(venus.iter().map(|&call| (call, vec![]))).chain(limited(late)).collect()
}

/// A call and its number by the x32 convention, which shares the processor's name.
fn with_x32(call: c_long) -> impl Iterator<Item = c_long> {
    let x32 = cfg!(target_arch = "x86_64").then_some(call | X32);
    std::iter::once(call).chain(x32)
}

/// What x32 has numbers of its own for, all of it, and what makes processes.
fn x32_only() -> impl Iterator<Item = Rule> {
    let all = if cfg!(target_arch = "x86_64") { 512..548 } else { 0..0 };
    let common = [SYS_clone, SYS_clone3].into_iter().filter(|_| cfg!(target_arch = "x86_64"));
    all.chain(common).map(|call: c_long| (call | X32, vec![]))
}

const X32: c_long = 0x4000_0000;
/// `TIOCLINUX`, `FIOSETOWN`, `SIOCSPGRP`.
const TIOCLINUX: u32 = 0x541c;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
/// `F_SETSIG`, `F_SETOWN_EX`.
const F_SETSIG: c_int = 10;
const F_SETOWN_EX: c_int = 15;

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
