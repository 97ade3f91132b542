//! Lists that do not contradict each other, and what the conditions of calls let through.

use super::*;
use std::collections::BTreeSet;

const LATE: Late = Late { needs: Needs { venus: false, native: false }, confined: true, pid: 42 };

fn set(lists: &[&[c_long]]) -> BTreeSet<c_long> {
    lists.iter().flat_map(|list| list.iter().copied()).collect()
}

/// What a list of rules says of a call.
fn says(rules: &[Rule], call: c_long, arguments: [u64; 6]) -> bool {
    let holds = |when: &When| match *when {
        When::Masked(index, mask, value) => arguments[usize::from(index)] as u32 & mask == value,
        When::Zero(index) => arguments[usize::from(index)] == 0,
        When::Some(index) => arguments[usize::from(index)] as u32 != 0,
    };
    rules
        .iter()
        .filter(|rule| rule.0 == call)
        .any(|(_, any)| any.is_empty() || any.iter().any(|all| all.iter().all(holds)))
}

#[test]
fn nothing_is_in_two_lists() {
    let forbidden = set(&[FORBIDDEN, FORBIDDEN_HERE, SPAWNING, SPAWNING_HERE]);
    let allowed = set(&[ALLOWED, ALLOWED_HERE, LIMITED]);
    assert_eq!(forbidden.len(), FORBIDDEN.len() + FORBIDDEN_HERE.len() + SPAWNING.len() + SPAWNING_HERE.len());
    assert_eq!(allowed.len(), ALLOWED.len() + ALLOWED_HERE.len() + LIMITED.len());
    assert_eq!(forbidden.intersection(&allowed).collect::<Vec<_>>(), Vec::<&c_long>::new());
    assert!(ABSENT.iter().all(|call| !forbidden.contains(call) && !allowed.contains(call)));
}

#[test]
fn whatever_the_contexts_need_nothing_forbidden_is_allowed_in_the_end() {
    for (venus, native, confined) in [(false, false, true), (true, true, true), (true, true, false)] {
        let rules = allowed(Late { needs: Needs { venus, native }, confined, pid: 42 });
        for &call in FORBIDDEN.iter().chain(FORBIDDEN_HERE).chain(SPAWNING).chain(SPAWNING_HERE) {
            assert!(rules.iter().all(|rule| rule.0 != call), "{call}");
        }
    }
}

#[test]
fn the_first_stage_refuses_programs_unless_venus_needs_one() {
    let execve = [0; 6];
    assert!(says(&refused(Needs::default()), SYS_execve, execve));
    assert!(says(&refused(Needs::default()), SYS_clone, [SIGCHLD as u64, 0, 0, 0, 0, 0]));
    let venus = refused(Needs { venus: true, native: false });
    assert!(!says(&venus, SYS_execve, execve) && says(&venus, SYS_socket, execve));
    assert!(says(&venus, SYS_clone, [(SIGCHLD | CLONE_NEWUSER) as u64, 0, 0, 0, 0, 0]));
    assert!(!says(&venus, SYS_clone, [SIGCHLD as u64, 0, 0, 0, 0, 0]));
}

#[test]
fn even_the_first_stage_keeps_signals_and_limits_from_other_processes() {
    let venus = refused(Needs { venus: true, native: true });
    assert!(says(&venus, SYS_fcntl, [2, F_SETOWN as u64, 1, 0, 0, 0]));
    assert!(!says(&venus, SYS_fcntl, [2, F_GETFD as u64, 0, 0, 0, 0]));
    assert!(says(&venus, SYS_prlimit64, [1, 0, 0, 0, 0, 0]) && !says(&venus, SYS_prlimit64, [0; 6]));
    assert!(says(&venus, SYS_ioctl, [0, u64::from(SIOCSPGRP), 0, 0, 0, 0]));
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_x32_convention_is_no_way_round() {
    let rules = refused(Needs::default());
    for call in [520, 521, 545, 539, SYS_socket, SYS_mount] {
        assert!(says(&rules, call | X32, [0; 6]), "{call}");
    }
}

#[test]
fn files_are_only_read_and_only_where_landlock_says_which() {
    let open = |late: Late, flags: c_int| says(&allowed(late), SYS_openat, [0, 0, flags as u64, 0, 0, 0]);
    assert!(open(LATE, O_RDONLY | O_CLOEXEC) && open(LATE, O_RDONLY | O_DIRECTORY));
    for flags in [O_RDWR, O_WRONLY, O_CREAT, O_TRUNC, O_TMPFILE, O_WRONLY | O_APPEND] {
        assert!(!open(LATE, flags), "{flags:#o}");
    }
    assert!(!open(Late { confined: false, ..LATE }, O_RDONLY));
    let native = Late { needs: Needs { native: true, venus: false }, confined: false, ..LATE };
    assert!(open(native, O_RDWR) && !open(native, O_RDWR | O_CREAT));
}

#[test]
fn arguments_that_reach_other_processes_are_refused() {
    let rules = allowed(LATE);
    let fcntl = |command: c_int| says(&rules, SYS_fcntl, [3, command as u64, 1, 0, 0, 0]);
    assert!(fcntl(F_GETFD) && fcntl(F_ADD_SEALS));
    assert!([F_SETOWN, F_SETSIG, F_SETOWN_EX, F_SETLEASE, F_NOTIFY].into_iter().all(|command| !fcntl(command)));
    assert!(says(&rules, SYS_tgkill, [42, 43, 6, 0, 0, 0]) && !says(&rules, SYS_tgkill, [41, 41, 9, 0, 0, 0]));
    assert!(says(&rules, SYS_prlimit64, [0, 7, 0, 1 << 40, 0, 0]));
    assert!(!says(&rules, SYS_prlimit64, [0, 7, 1 << 40, 0, 0, 0]) && !says(&rules, SYS_prlimit64, [1, 7, 0, 0, 0, 0]));
    assert!(!says(&rules, SYS_kcmp, [42, 1, 0, 0, 0, 0]) && says(&rules, SYS_kcmp, [42, 42, 0, 3, 4, 0]));
    let thread = CLONE_VM | CLONE_THREAD | CLONE_SIGHAND;
    assert!(says(&rules, SYS_clone, [thread as u64, 0, 0, 0, 0, 0]));
    assert!(!says(&rules, SYS_clone, [(thread | CLONE_NEWUSER) as u64, 0, 0, 0, 0, 0]));
    let ioctl = |command: u32| says(&rules, SYS_ioctl, [3, u64::from(command), 0, 0, 0, 0]);
    assert!(ioctl(0xc010_6409) && ioctl(0x4008_6200) && ioctl(0x5421));
    assert!(!ioctl(TIOCSTI as u32) && !ioctl(TIOCLINUX) && !ioctl(0x8901) && !ioctl(0x8912));
    let prctl = |option: c_int| says(&rules, SYS_prctl, [option as u64, 0, 0, 0, 0, 0]);
    assert!(prctl(PR_SET_NAME) && !prctl(PR_SET_PDEATHSIG) && !prctl(PR_SET_DUMPABLE) && !prctl(PR_SET_SECCOMP));
}
