//! The agent inside the KMS test machine: does what the test outside asks over a virtio port: start a program as some
//! user, signal it, wait for it, read and write files.
//!
//! As process 1 it first settles the machine (`start.sh`) and collects orphans; below another process 1 it only serves.
//! It trusts whoever holds the other end of the port, and never runs outside a virtual machine.

mod serve;
mod sys;
mod users;
mod wire;

use std::process::{Command, Stdio};

/// What settles the machine where the agent is process 1.
const START: &str = "/run/machine/start.sh";

fn main() {
    let asked_to_serve = std::env::args().nth(1).as_deref() == Some("serve");
    if sys::is_process_one() {
        first_process();
    } else if asked_to_serve {
        if let Err(error) = serve::run() {
            eprintln!("machine-agent: {error}");
            std::process::exit(1);
        }
    } else {
        eprintln!("this runs in a virtual machine of the tests and does nothing elsewhere");
        std::process::exit(2);
    }
}

/// Settles the machine, starts the serving agent, and then only collects processes that lost their parents.
fn first_process() -> ! {
    // SAFETY of the environment: no other thread runs yet; children get it as it is.
    let settled = Command::new("/bin/sh").arg(START).stdin(Stdio::null()).status();
    if !settled.as_ref().is_ok_and(|status| status.success()) {
        eprintln!("machine-agent: {START} failed: {settled:?}");
    }
    match Command::new("/proc/self/exe").arg("serve").stdin(Stdio::null()).spawn() {
        Ok(_) => {}
        Err(error) => eprintln!("machine-agent: cannot serve: {error}"),
    }
    loop {
        if !sys::collect_child() {
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}
