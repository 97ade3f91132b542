//! Namespaces of its own: no network (nor the abstract sockets that belong to one), no System V objects, and a user
//! namespace that maps nobody, in which it then gives up every capability.
//!
//! The kernel of a container, or a security module (Ubuntu's AppArmor), may refuse all of it: then no socket can be
//! made all the same (seccomp). There is no namespace of processes: one cannot enter one oneself, and threads could not
//! be made after trying. None of mounts either: landlock decides on files, and refuses every mount.

use std::io;

const OWN: libc::c_int = libc::CLONE_NEWUSER | libc::CLONE_NEWNET | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

/// Leaves the namespaces of whoever started it and gives up all capabilities; a sentence for each that could not be
/// done. The process must have one thread.
pub fn leave() -> Vec<String> {
    let mut missing = Vec::new();
    let death_signal = parent_death_signal();
    let parent = rustix::process::getppid();
    // SAFETY: the call takes no memory, and does not part descriptors.
    if unsafe { libc::unshare(OWN) } != 0 {
        let error = io::Error::last_os_error();
        missing.push(format!("no namespaces of its own, so the network is kept away by seccomp alone: {error}"));
    }
    if let Err(error) = drop_capabilities() {
        missing.push(format!("its capabilities stay: {error}"));
    }
    // The kernel forgets the signal at some changes of credentials.
    if death_signal != parent_death_signal() {
        // SAFETY: the call takes no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, death_signal, 0, 0, 0) };
        if rustix::process::getppid() != parent {
            std::process::exit(1);
        }
    }
    missing
}

/// The signal that comes when the parent ends; 0 for none.
pub fn parent_death_signal() -> libc::c_int {
    let mut signal: libc::c_int = 0;
    // SAFETY: a place for one int.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal, 0, 0, 0) };
    signal
}

/// `struct __user_cap_header_struct`.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: libc::c_int,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two words of each set.
const VERSION_3: u32 = 0x2008_0522;

fn drop_capabilities() -> io::Result<()> {
    let header = CapabilityHeader { version: VERSION_3, pid: 0 };
    let none = [0u32; 6];
    // SAFETY: a header of version 3 and the six words that belong to it.
    match unsafe { libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
