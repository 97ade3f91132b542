//! What a process of a guest may see and do: each process's cage has its place here.
//!
//! Today there is one, phyllome-renderer's: what it takes from itself, so that whoever takes it over through the C
//! libraries has next to nothing. Two stages. [`enter`], before any C library is loaded and while there is one thread:
//! limits ([`limits`]), no new privileges, namespaces of its own without a network and without a capability
//! ([`namespaces`]), no file but what drivers read ([`landlock`]), no system call that no driver makes ([`seccomp`]).
//! [`Entered::tighten`], once the library runs and before any byte of the guest's is read: only the system calls that
//! drawing makes, in every thread. What a kernel lacks is a line for the log and the renderer goes on with the other
//! layers, as each stands for itself; without `no_new_privs` or seccomp, which every kernel of today has, there is no
//! 3D. Nothing here can be taken back.

pub mod landlock;
pub mod limits;
pub mod namespaces;
pub mod policy;
pub mod seccomp;
#[cfg(feature = "test-doors")]
pub mod tries;

pub use limits::Limits;
pub use policy::Needs;

use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

/// What the renderer is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The GPU, which is already open; its node may be opened again.
    pub node: Option<BorrowedFd<'a>>,
    /// The library, if it is named by a path: it can then lie anywhere.
    pub library: Option<&'a Path>,
    /// What some kinds of contexts need.
    pub needs: Needs,
    /// Limits.
    pub limits: Limits,
}

/// Why there can be no sandbox that deserves the name.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Failed {
    #[error("3D cannot start: its process cannot give up new privileges ({0}); see what restricts prctl here")]
    Privileges(#[source] io::Error),
    #[error("3D cannot start: its system calls cannot be filtered ({0}); use a kernel with CONFIG_SECCOMP_FILTER")]
    Filter(#[from] seccomp::Failed),
}

/// The first stage is in force.
#[derive(Debug)]
#[must_use = "the second stage is still to come"]
pub struct Entered {
    /// What could not be done here: a sentence each, for the log.
    pub missing: Vec<String>,
    needs: Needs,
    confined: bool,
}

/// The first stage. To be called while the process has a single thread, with its socket and its render node open and
/// nothing else done.
pub fn enter(plan: Plan<'_>) -> Result<Entered, Failed> {
    let mut missing = limits::apply(plan.limits);
    // SAFETY: no memory is involved.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(Failed::Privileges(io::Error::last_os_error()));
    }
    missing.extend(namespaces::leave());
    let files = landlock::restrict(plan);
    let confined = files.confined;
    missing.extend(files.missing);
    seccomp::early(plan.needs)?;
    Ok(Entered { missing, needs: plan.needs, confined })
}

impl Entered {
    /// The second stage, for all threads; `needs` may be less than was planned for. The error is a sentence.
    pub fn tighten(&self, needs: Needs) -> Result<(), Failed> {
        let needs = Needs { venus: needs.venus && self.needs.venus, native: needs.native && self.needs.native };
        Ok(seccomp::late(policy::Late { needs, confined: self.confined, pid: std::process::id() })?)
    }
}
