//! Process 1 of the tiny guests: loads the modules that are in the image, shows the guest's name, and does what the
//! kernel's command line asks (`phyllome.mode=`). Says on the serial line, in lines that tests read, what happens.
//!
//! It trusts the image that it is in and the machine that it runs on. It never runs outside a virtual machine.

mod animate;
mod console;
mod drm;
mod font;
mod hotplug;
mod input;
mod options;
mod sys;
mod words;

use options::Options;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;
use words::Mode;

/// Writes one line to the serial line.
pub fn serial(line: &str) {
    if let Ok(mut port) = OpenOptions::new().write(true).open("/dev/ttyS0") {
        let _ = port.write_all(format!("{line}\n").as_bytes());
    }
}

fn main() {
    if !sys::is_process_one() {
        eprintln!("this is the first process of a virtual machine and does nothing elsewhere");
        std::process::exit(2);
    }
    for (kind, target) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        let _ = fs::create_dir_all(target);
        if let Err(error) = sys::mount_kernel_fs(kind, target) {
            serial(&format!("cannot mount {target}: {error}"));
        }
    }
    let options = Options::parse(&fs::read_to_string("/proc/cmdline").unwrap_or_default());
    load_modules();
    report_displays();

    show_name(&options);
    let drawn = matches!(options.mode, Mode::Animate | Mode::Flip);
    let (changes, changed) = mpsc::channel();
    std::thread::spawn(move || {
        let changed = || match drawn {
            // Who draws looks at the monitors himself.
            true => drop(changes.send(())),
            false => {
                hotplug::look_again();
                report_displays();
            }
        };
        if let Err(error) = hotplug::watch(changed) {
            serial(&format!("monitors are not watched: {error}"));
        }
    });
    let watcher = watch_input(options.mode == Mode::Evdev);
    let ready = || serial(&format!("PHYLLOME-GUEST-READY {}", options.name));
    match options.mode {
        Mode::Prompt => {
            ready();
            prompt(&options)
        }
        Mode::Animate | Mode::Flip => {
            let name = options.clone();
            std::thread::spawn(move || prompt(&name));
            if let Err(error) = animate::run(&options.name, options.color, options.mode == Mode::Flip, ready, &changed)
            {
                serial(&format!("the animation has ended: {error}"));
            }
        }
        Mode::Quiet => ready(),
        Mode::Evdev => {
            // The console would show the same on both of two screens; a desktop does not.
            match animate::stills(&options.name, options.color) {
                Ok(stills) => std::mem::forget(stills),
                Err(error) => serial(&format!("no picture of its own: {error}")),
            }
            ready();
        }
        Mode::Reboot => {
            ready();
            std::thread::sleep(Duration::from_secs(2));
            serial(&format!("cannot restart: {}", sys::end_machine(true)));
        }
    }
    let _ = watcher.join();
    loop {
        std::thread::park();
    }
}

/// Watches the input devices on a thread of its own, which listens when this returns. With `print`, another prints
/// every event.
fn watch_input(print: bool) -> std::thread::JoinHandle<()> {
    let (lines, printed) = mpsc::channel::<String>();
    if print {
        std::thread::spawn(move || {
            while let Ok(first) = printed.recv() {
                let lines: Vec<_> = std::iter::once(first).chain(printed.try_iter()).collect();
                let text = lines.join("\n");
                serial(&text);
                print_tty(&format!("{text}\n"));
            }
        });
    }
    let (listens, listening) = mpsc::channel();
    let watcher = std::thread::spawn(move || {
        let watching = move || {
            let _ = listens.send(());
        };
        if let Err(error) = input::watch(print.then_some(lines), watching) {
            serial(&format!("input devices are not watched: {error}"));
        }
    });
    let _ = listening.recv();
    watcher
}

/// Loads what the image's list names, in its order; a line may begin with a PCI class or id without which it is passed
/// over.
fn load_modules() {
    let mut devices = String::new();
    for entry in fs::read_dir("/sys/bus/pci/devices").into_iter().flatten().flatten() {
        for file in ["class", "vendor", "device"] {
            devices.push_str(
                fs::read_to_string(entry.path().join(file)).unwrap_or_default().trim_start_matches("0x").trim(),
            );
            devices.push(' ');
        }
    }
    for line in fs::read_to_string("/modules/list").unwrap_or_default().lines() {
        let (only_with, module) = line.split_once(' ').unwrap_or(("", line));
        if only_with.is_empty() || devices.split_whitespace().any(|id| id == only_with) {
            match sys::load_module(&Path::new("/modules").join(module)) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    serial(&format!("cannot load {module}: {error}"));
                }
                _ => {}
            }
        }
    }
}

/// `PHYLLOME-GUEST-DISPLAY card0-Virtual-1 connected 1272x768`: the connector and its first mode. And what its EDID
/// says of
/// its size: `PHYLLOME-GUEST-MONITOR card0-Virtual-1 340x210 mm`.
pub fn report_displays() {
    let mut names: Vec<_> = fs::read_dir("/sys/class/drm").into_iter().flatten().flatten().map(|e| e.path()).collect();
    names.sort();
    for path in names {
        let (Ok(status), Some(name)) = (fs::read_to_string(path.join("status")), path.file_name()) else { continue };
        let modes = fs::read_to_string(path.join("modes")).unwrap_or_default();
        let first = modes.lines().next().unwrap_or("-");
        serial(&format!("PHYLLOME-GUEST-DISPLAY {} {} {first}", name.to_string_lossy(), status.trim()));
        if let Some((width, height)) = hotplug::millimetres(&fs::read(path.join("edid")).unwrap_or_default()) {
            serial(&format!("PHYLLOME-GUEST-MONITOR {} {width}x{height} mm", name.to_string_lossy()));
        }
    }
}

fn print_tty(text: &str) {
    if let Ok(mut tty) = OpenOptions::new().write(true).open("/dev/tty1") {
        let _ = tty.write_all(text.as_bytes());
    }
}

fn show_name(options: &Options) {
    #[repr(C)]
    #[derive(Default)]
    struct WinSize {
        rows: u16,
        columns: u16,
        pixels: [u16; 2],
    }
    const TIOCGWINSZ: std::ffi::c_ulong = 0x5413;
    let mut size = WinSize::default();
    if let Ok(tty) = File::open("/dev/tty1") {
        // SAFETY: TIOCGWINSZ writes a `struct winsize`, whose four 16-bit fields are those of `WinSize`.
        let _ = unsafe { sys::ioctl_with(&tty, TIOCGWINSZ, &mut size) };
    }
    let mut version = String::new();
    let _ = File::open("/proc/sys/kernel/osrelease").and_then(|mut file| file.read_to_string(&mut version));
    let what = match options.mode {
        Mode::Prompt => "type a command",
        Mode::Animate | Mode::Flip => "an animation",
        Mode::Quiet => "nothing moves here",
        Mode::Reboot => "restarts in two seconds",
        Mode::Evdev => "shows every key",
    };
    let note = format!("Linux {}  -  {what}", version.trim());
    let size = console::Size { columns: size.columns.into(), rows: size.rows.into() };
    print_tty(&console::banner(&options.name, &note, options.color, size));
    if matches!(options.mode, Mode::Quiet | Mode::Evdev | Mode::Reboot) {
        print_tty("\x1b[?25l"); // a cursor would blink
    }
}

/// Runs the shell on the first console, again whenever it ends.
fn prompt(options: &Options) {
    loop {
        let Ok(tty) = OpenOptions::new().read(true).write(true).open("/dev/tty1") else { return };
        let fd = tty.as_raw_fd();
        let (Ok(input), Ok(output)) = (tty.try_clone(), tty.try_clone()) else { return };
        let mut shell = Command::new("/bin/sh");
        shell.arg("/prompt").env_clear().env("PATH", "/bin").env("HOME", "/").env("TERM", "linux");
        shell.env("NAME", &options.name).stdin(input).stdout(output).stderr(tty);
        // SAFETY: between fork and exec only system calls are made, on a descriptor that the parent holds open.
        unsafe { shell.pre_exec(move || sys::take_terminal(fd)) };
        match shell.spawn() {
            Ok(child) => sys::wait_for_child(child.id()),
            Err(error) => {
                serial(&format!("no shell: {error}"));
                return;
            }
        }
    }
}
