//! A machine that one test has used is made as it was after its start, so that another test can have it: a start takes
//! a quarter of a minute, this takes a second or two.
//!
//! Programs are ended, what they wrote is deleted, monitors, keys and pointers are back where they were. Then the
//! machine is looked at: one that differs in anything that [`STATE`] shows is thrown away, and so are those of failed
//! tests and those that are never shared (another first process, a machine that sleeps). What is not looked at (files
//! deleted from /etc, /var, keyboards' locks) tests must leave as it was.

use crate::machine::{Machine, wait_for};
use crate::options::{Init, MachineOptions};
use crate::program::Program;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Machines that nobody uses: they stand still, and keep their memory.
static IDLE: Mutex<Vec<Machine>> = Mutex::new(Vec::new());

/// So many are kept at most; the one that was given back first goes first.
const KEPT: usize = 3;
/// None is kept while the computer has less memory left than this, in KiB: what is booted next needs 2 or 3 GiB.
const SPARE: u64 = 4 << 20;

/// What is compared.
const STATE: &str = "ls /dev/dri /dev/input 2>&1
    stat -c '%a %U:%G %n' /dev/dri/* /dev/udmabuf /dev/input/event* /run/user/1000 /tmp 2>&1
    fgconsole; kbd_mode -C /dev/tty1
    for connector in /sys/class/drm/card*-*; do
        state=$(cat $connector/status); echo $connector $state
        [ $state != connected ] || echo $(cat $connector/dpms; head -n 1 $connector/modes)
    done
    find /etc -xdev -type f -newer /run/machine/mark
    [ $(pidof seatd | wc -w) = SEATD ] || echo no seatd";

/// Ends whatever was started since, the seat daemon last so that it can give the terminal back, and starts that again.
const TIDY: &str = "is_old() {
        case $(readlink /proc/$1/exe) in ''|/run/machine/agent*|*/udevadm|*/systemd-udevd|*/seatd) return 0 ;; esac
        [ $1 = $$ ]
    }
    tries=0
    while [ $tries -lt 100 ]; do
        found=
        for folder in /proc/[0-9]*; do pid=${folder#/proc/}; is_old $pid || { found=1; kill -9 $pid 2> /dev/null; }; done
        [ -n \"$found\" ] || break
        tries=$((tries + 1)); sleep 0.02
    done
    tries=0
    while pidof seatd > /dev/null && [ $tries -lt 100 ]; do
        if [ $tries -lt 90 ]; then pkill -TERM -x seatd; else pkill -KILL -x seatd; fi
        tries=$((tries + 1)); sleep 0.02
    done
    rm -f /run/seatd.sock
    find /tmp /dev/shm /run/user/1000 -xdev -mindepth 1 -delete
    find /run -maxdepth 1 -newer /run/machine/mark ! -type d -delete
    rm -rf /home/person/.config /home/person/.local /home/person/.cache /usr/local/share/systemd
    for edid in /sys/kernel/debug/dri/*/Virtual-*/edid_override; do [ ! -e $edid ] || echo reset > $edid; done
    lsmod | cut -d ' ' -f 1 | grep -vxFf /run/machine/modules | while read -r module; do modprobe -qr $module; done
    . /run/machine/modes
    udevadm settle --timeout=10
    timeout 5 chvt 1
    [ SEATD = 0 ] || { setsid seatd -g video > /run/machine/seatd.log 2>&1 < /dev/null & }
    tries=0
    while [ SEATD = 1 ] && [ ! -S /run/seatd.sock ] && [ $tries -lt 100 ]; do tries=$((tries + 1)); sleep 0.02; done";

/// Notes what a machine is like after its start.
const NOTE: &str = "lsmod | cut -d ' ' -f 1 > /run/machine/modules
    stat -c 'chmod %a %n' /dev/dri/* /dev/udmabuf > /run/machine/modes 2> /dev/null
    touch /run/machine/mark; sleep 0.01";

/// What a machine is like.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Noted {
    inside: String,
    devices: Value,
}

/// A machine with these options: one that was given back, or a new one.
pub fn take(options: MachineOptions) -> Result<Machine> {
    while let Some(mut machine) = find(&options) {
        match machine.again(&options) {
            Ok(()) => return Ok(machine),
            Err(error) => eprintln!("another machine is started, since the last one is not as it was: {error:#}"),
        }
    }
    let shared = is_shared(&options);
    let mut machine = Machine::boot(options)?;
    if shared {
        machine.note()?;
    }
    Ok(machine)
}

/// Gives a machine back that a test has used and that nothing is wrong with.
pub fn give_back(machine: Machine) {
    // It need not stand still: that only costs.
    let _ = machine.qmp("stop", json!({}));
    if machine.noted.is_some() {
        let mut idle = idle();
        idle.push(machine);
        while idle.len() > KEPT || (!idle.is_empty() && memory_left() < SPARE) {
            idle.remove(0);
        }
    }
}

fn idle() -> MutexGuard<'static, Vec<Machine>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn find(options: &MachineOptions) -> Option<Machine> {
    let mut idle = idle();
    let fits = |machine: &Machine| {
        let has_files = options.files.iter().all(|file| machine.options.files.contains(file));
        has_files && hardware(&machine.options) == hardware(options)
    };
    let at = idle.iter().position(fits)?;
    Some(idle.remove(at))
}

/// `MemAvailable` of this computer in KiB; 0 where it cannot be read.
fn memory_left() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok()).unwrap_or(0)
}

fn is_shared(options: &MachineOptions) -> bool {
    options.init == Init::Agent && !options.suspends
}

/// The options but for what can be put in later.
fn hardware(options: &MachineOptions) -> String {
    format!("{:?}", MachineOptions { programs: Vec::new(), files: Vec::new(), seatd: true, ..options.clone() })
}

impl Machine {
    fn script(&self, text: &str) -> Result<String> {
        let text = text.replace("SEATD", if self.options.seatd { "1" } else { "0" });
        Ok(self.run_within(&Program::script(&text).user("root"), Duration::from_secs(60))?.stdout)
    }

    fn look(&self) -> Result<Noted> {
        Ok(Noted {
            inside: self.script(STATE)?,
            devices: self.qmp("qom-list", json!({ "path": "/machine/peripheral" }))?,
        })
    }

    fn note(&mut self) -> Result<()> {
        self.script(NOTE)?;
        self.noted = Some(self.look()?);
        Ok(())
    }

    /// Makes the machine as it was after its start, with the programs, the files and the seat daemon of these options,
    /// if it can.
    fn again(&mut self, options: &MachineOptions) -> Result<()> {
        self.qmp("cont", json!({}))?;
        self.options.seatd = options.seatd;
        self.release_all()?;
        self.script(TIDY)?;
        self.outputs_as_before()?;
        if self.options.tablet {
            // A place that no test goes to: the kernel says nothing of a pointer that is moved to where it is.
            self.move_pointer_abs(0x7ffe, 3)?;
        }
        for entry in fs::read_dir(self.share().join("out"))?.flatten() {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
                .with_context(|| format!("cannot delete {}", path.display()))?;
        }
        self.put_in(options)?;
        let before = self.noted.take().context("nobody has looked at it before")?;
        let mut now = None;
        let same = wait_for("the machine as it was", Duration::from_secs(5), || {
            Ok((*now.insert(self.look()?) == before).then_some(()))
        });
        same.with_context(|| format!("it was {before:?} and is {now:?}"))?;
        self.noted = Some(before);
        Ok(())
    }

    /// Puts programs and files in that are not there yet.
    fn put_in(&mut self, options: &MachineOptions) -> Result<()> {
        for program in &options.programs {
            if self.options.programs.contains(program) {
                continue;
            }
            let name = program.file_name().context("a program without a name")?.to_string_lossy().into_owned();
            crate::machine::strip(program, &self.share().join("bin"))?;
            self.root(&format!("cp /share/bin/{name} /usr/local/bin/"))?;
            if name == "played-guest" {
                self.root("ln -sf played-guest /usr/local/bin/qemu-system-x86_64")?;
            }
            self.options.programs.push(program.clone());
        }
        debug_assert!(
            options.files.iter().all(|file| self.options.files.contains(file)),
            "who looked for it saw to that"
        );
        Ok(())
    }
}
