//! Stands in for `qemu-system-x86_64`: plays guests whose kernel command line says so, and hands all others to the real
//! QEMU.
//!
//! Put first into `PATH` under QEMU's name. Never used but by tests.

use anyhow::{Context, Result, bail};
use phyllome_tests::played::driver::{Driver, End};
use phyllome_tests::played::options::{Options, VERSION_VARIABLE};
use phyllome_tests::played::{Serial, Wires, display, orders, qmp};
use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("qemu-system-x86_64: the played guest has failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // What phyllome-guest asks before it starts a guest is answered at once; a real QEMU takes its time under
    // emulation.
    match arguments.first().map(String::as_str) {
        Some("--version" | "-version") => {
            println!("QEMU emulator version {} (played)", version());
            return Ok(ExitCode::SUCCESS);
        }
        Some("-device") if arguments.get(1).is_some_and(|word| word == "help") => {
            // Whether it counts depends on the version.
            println!("name \"vhost-user-test-device-pci\", bus PCI");
            return Ok(ExitCode::SUCCESS);
        }
        Some("-display") if arguments.get(1).is_some_and(|word| word == "help") => {
            println!("Available display backend types:\nnone\ndbus");
            return Ok(ExitCode::SUCCESS);
        }
        _ => {}
    }
    match Options::parse(&arguments) {
        Ok(Some(options)) => play(options),
        Ok(None) => {
            let real = real_qemu().context("this guest is not a played one, and there is no QEMU in PATH")?;
            Err(Command::new(&real).args(&arguments).exec()).with_context(|| format!("cannot start {}", real.display()))
        }
        Err(why) => bail!(why),
    }
}

fn play(options: Options) -> Result<ExitCode> {
    let serial = match options.serial {
        Some(fd) => inherited(fd)?.into(),
        None => File::options().write(true).open("/dev/null")?,
    };
    let (gpu, control) = (inherited(options.gpu)?, inherited(options.qmp)?);
    let (news, told) = std::sync::mpsc::channel();
    let (display, orders) = tokio::sync::mpsc::unbounded_channel();
    let serial = Serial::new(serial);
    if options.dbus {
        display::serve(orders, options.scanouts, news.clone())?;
    }
    if let Some(path) = &options.orders {
        orders::serve(path.clone(), news.clone());
    }
    let monitor = qmp::serve(control.into(), Wires { news, display, serial: serial.clone() })?;
    let end = Driver::new(options, gpu.into(), serial, monitor)?.run(&told)?;
    Ok(if end == End::Orphaned { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The QEMU that is played: one that attaches GPUs by its own device alone, unless a test wants a newer one.
fn version() -> String {
    std::env::var(VERSION_VARIABLE).unwrap_or_else(|_| "10.0.2".to_owned())
}

/// A descriptor that the arguments name.
fn inherited(fd: RawFd) -> Result<OwnedFd> {
    // SAFETY: the flags of a number are asked for; nothing is read or written.
    let open = unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0;
    if fd < 3 || !open {
        bail!("descriptor {fd} is not open");
    }
    // SAFETY: the descriptor is open, was inherited for this purpose, and each is taken once.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The first QEMU in `PATH` that is not this program.
fn real_qemu() -> Option<PathBuf> {
    let me = std::env::current_exe().ok()?.canonicalize().ok()?;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join("qemu-system-x86_64"))
        .find(|program| program.canonicalize().is_ok_and(|program| program != me))
}
