//! The real QEMU starts with the command lines that are generated, sandbox included, and sees every path as it was
//! meant.
//!
//! The vhost-user device is left out, because it needs its backend; that QEMU knows its properties is asked for alone.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use phyllome_config::firmware;
use phyllome_config::guest::{
    self, Background, Disk, DiskBus, DiskFormat, Firmware, Gpu, GpuMode, GuestDefinition, Label, LabelColor, Machine,
    NetworkMode, Pattern, Profile, Transport,
};
use phyllome_guest_bridge::machine::command_line::{Accel, CommandLine, GPU_FD, command_line};
use phyllome_guest_bridge::machine::disks::{self, Image};
use phyllome_guest_bridge::machine::host::{FirmwareFiles, HostFacts, QemuVersion, SerialSink};
use phyllome_protocol::GuestName;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const QEMU: &str = "qemu-system-x86_64";
const DEADLINE: Duration = Duration::from_secs(60);

struct Qemu {
    child: Child,
    qmp: BufReader<UnixStream>,
}

impl Drop for Qemu {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Qemu {
    /// Starts QEMU stopped, with the vhost-user device and its socket left out.
    fn start(line: &CommandLine, theirs: UnixStream, ours: UnixStream) -> Self {
        let mut args = line.args.clone();
        for (name, start) in [("-device", "vhost-user-gpu-pci,"), ("-chardev", "socket,id=gpu0,")] {
            let at = args
                .windows(2)
                .position(|pair| pair[0] == name && pair[1].to_string_lossy().starts_with(start))
                .expect("the device is in the line");
            args.drain(at..at + 2);
        }
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        ours.set_read_timeout(Some(DEADLINE)).unwrap();
        let child = Command::new(&line.program)
            .args(args)
            .arg("-S")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("qemu-system-x86_64 is installed (cargo xtask setup)");
        drop(theirs);
        Self { child, qmp: BufReader::new(ours) }
    }

    /// The next message that is no event; QEMU's own words if there is none.
    fn receive(&mut self) -> Value {
        loop {
            let mut line = String::new();
            match self.qmp.read_line(&mut line) {
                Ok(n) if n > 0 => {}
                _ => self.fail(),
            }
            let message: Value = serde_json::from_str(&line).unwrap();
            if message.get("event").is_none() {
                return message;
            }
        }
    }

    fn fail(&mut self) -> ! {
        let _ = self.child.kill();
        let mut words = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        panic!("QEMU said: {words}");
    }

    fn ask(&mut self, command: &str) -> Value {
        let request = json!({"execute": command}).to_string();
        if self.qmp.get_mut().write_all(format!("{request}\n").as_bytes()).is_err() {
            self.fail();
        }
        let mut answer = self.receive();
        answer.get_mut("return").unwrap_or_else(|| panic!("{command}")).take()
    }

    fn quit(mut self) {
        self.ask("quit");
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < DEADLINE, "QEMU did not end");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(self.child.wait().unwrap().success());
    }
}

fn version() -> QemuVersion {
    let output = Command::new(QEMU).arg("--version").output().expect("qemu-system-x86_64 is installed");
    QemuVersion::parse(&String::from_utf8_lossy(&output.stdout)).expect("QEMU says its version")
}

fn definition(profile: Profile, firmware: Firmware) -> GuestDefinition {
    GuestDefinition {
        name: GuestName::new("work").unwrap(),
        id: None,
        profile,
        slot: None,
        autostart: false,
        keep_awake: false,
        memory: 64 << 20,
        cpus: 2,
        label: Label { text: "work".to_owned(), color: LabelColor::Red, pattern: Pattern::Solid },
        machine: Machine { accel: guest::Accel::Tcg, firmware, tpm: false },
        boot: None,
        background: Background::Slow,
        gpu: Gpu { mode: GpuMode::Auto, transport: Transport::Auto, scanouts: 2 },
        disks: Vec::new(),
        network: NetworkMode::User,
    }
}

fn disk(path: PathBuf, bus: DiskBus, cdrom: bool) -> Disk {
    Disk { path, format: None, backing: Vec::new(), parts: Vec::new(), bus, cdrom }
}

/// Starts `definition` with its files in `dir` and hands it on once QMP answers.
fn started(definition: &GuestDefinition, dir: &Path) -> Qemu {
    started_on(definition, dir, disks::look(definition).unwrap())
}

fn started_on(definition: &GuestDefinition, dir: &Path, images: Vec<Image>) -> Qemu {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let find = |places| FirmwareFiles::find(places, Path::exists);
    let host = HostFacts {
        qemu: QEMU.into(),
        qemu_version: version(),
        uefi: find(firmware::UEFI),
        uefi_secure: find(firmware::UEFI_SECURE),
        vars: dir.join("vars.fd"),
        images,
        gpu_fd: GPU_FD,
        dbus_display: true,
        three_d: false,
        generic_device: false,
        qmp_fd: theirs.as_raw_fd(),
        serial: SerialSink::File(dir.join("serial,1.log")),
        tpm_socket: None,
        passt_socket: None,
    };
    if let Some(files) = host.firmware(definition.machine.firmware).expect("OVMF is installed (cargo xtask setup)") {
        std::fs::copy(&files.vars_template, &host.vars).unwrap();
    }
    let line = command_line(definition, &host, Accel::Tcg).unwrap();
    let mut qemu = Qemu::start(&line, theirs, ours);
    assert!(qemu.receive().get("QMP").is_some());
    qemu.ask("qmp_capabilities");
    assert_eq!(qemu.ask("query-status")["status"], "prelaunch");
    qemu
}

#[test]
fn every_profile_and_firmware_starts() {
    for (profile, firmware) in [
        (Profile::Linux, Firmware::Uefi),
        (Profile::Uefi, Firmware::UefiSecure),
        (Profile::Windows10, Firmware::Uefi),
        (Profile::Windows11, Firmware::UefiSecure),
        (Profile::Bios, Firmware::Bios),
    ] {
        let dir = tempfile::tempdir().unwrap();
        started(&definition(profile, firmware), dir.path()).quit();
    }
}

#[test]
fn every_bus_takes_its_disks_and_commas_stay_in_their_paths() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("a,readonly=on,b c=d");
    std::fs::create_dir(&dir).unwrap();
    let image = |name: &str| -> PathBuf {
        let path = dir.join(name);
        std::fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
        path
    };
    let mut definition = definition(Profile::Linux, Firmware::Uefi);
    definition.disks = [
        (DiskBus::Virtio, false),
        (DiskBus::Sata, false),
        (DiskBus::Sata, true),
        (DiskBus::Scsi, false),
        (DiskBus::Scsi, true),
        (DiskBus::Nvme, false),
        (DiskBus::Usb, false),
        (DiskBus::Usb, true),
    ]
    .into_iter()
    .enumerate()
    .map(|(index, (bus, cdrom))| disk(image(&format!("{index},x.img")), bus, cdrom))
    .collect();

    let mut qemu = started(&definition, &dir);
    let nodes = qemu.ask("query-named-block-nodes");
    for (index, disk) in definition.disks.iter().enumerate() {
        let node = nodes.as_array().unwrap().iter().find(|node| node["node-name"] == format!("disk{index}")).unwrap();
        assert_eq!(node["image"]["filename"], disk.path.to_str().unwrap());
        assert_eq!((&node["drv"], &node["ro"]), (&json!("raw"), &json!(disk.cdrom)));
    }
    let cdroms =
        qemu.ask("query-block").as_array().unwrap().iter().filter(|device| device["removable"] == true).count();
    assert!(cdroms >= 3, "{cdroms}");
    qemu.quit();
    assert!(dir.join("serial,1.log").exists());
}

#[test]
fn the_most_disks_and_scanouts_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut definition = definition(Profile::Linux, Firmware::Bios);
    definition.disks = (0..16)
        .map(|index| {
            let path = dir.path().join(format!("{index}.img"));
            std::fs::File::create(&path).unwrap().set_len(1 << 20).unwrap();
            disk(path, DiskBus::Virtio, false)
        })
        .collect();
    started(&definition, dir.path()).quit();
}

fn run(program: &str, args: &[&str], dir: &Path) {
    let output = Command::new(program).args(args).current_dir(dir).output().expect("qemu-img is installed");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The files that a process has open.
fn open_files(process: u32) -> Vec<PathBuf> {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect()
}

#[test]
fn qemu_opens_what_the_definition_names_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let secret = dir.join("secret.raw");
    std::fs::write(&secret, [b'x'; 65536]).unwrap();
    run("qemu-img", &["create", "-q", "-f", "qcow2", "base.img", "1M"], dir);
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.img", "mid.qcow2"], dir);
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "mid.qcow2", "top.img"], dir);
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-o", "data_file=data.raw", "split.qcow2", "1M"], dir);
    run("qemu-img", &["create", "-q", "-f", "vmdk", "-o", "subformat=monolithicFlat", "flat.vmdk", "1M"], dir);
    run("qemu-img", &["create", "-q", "-f", "vdi", "a.vdi", "1M"], dir);
    run("qemu-img", &["create", "-q", "-f", "vhdx", "a.vhdx", "8M"], dir);
    let mut definition = definition(Profile::Linux, Firmware::Bios);
    let named = |path: &str, backing: &[&str], parts: &[&str]| Disk {
        backing: backing.iter().map(|name| dir.join(name)).collect(),
        parts: parts.iter().map(|name| dir.join(name)).collect(),
        ..disk(dir.join(path), DiskBus::Virtio, false)
    };
    let top = Disk { format: Some(DiskFormat::Qcow2), ..named("top.img", &["mid.qcow2", "base.img"], &[]) };
    let split = named("split.qcow2", &[], &["data.raw"]);
    let flat = named("flat.vmdk", &[], &["flat-flat.vmdk"]);
    definition.disks = vec![top, split, flat, named("a.vdi", &[], &[]), named("a.vhdx", &[], &[])];
    let qemu = started(&definition, dir);
    let open = open_files(qemu.child.id());
    for file in ["top.img", "mid.qcow2", "base.img", "split.qcow2", "data.raw", "flat.vmdk", "flat-flat.vmdk", "a.vdi"]
    {
        assert!(open.contains(&dir.join(file)), "{file}: {open:?}");
    }
    qemu.quit();

    // What was written into the image since it was looked at is not opened either.
    definition.disks = vec![named("a.qcow2", &[], &[])];
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-F", "raw", "-b", "secret.raw", "a.qcow2"], dir);
    let why = disks::look(&definition).unwrap_err();
    assert!(why.contains("a.qcow2 wants to open “secret.raw”, which its [[disk]] does not name"), "{why}");
    let qemu = started_on(&definition, dir, Vec::new());
    assert!(!open_files(qemu.child.id()).contains(&secret));
    qemu.quit();
}

#[test]
fn qemu_knows_the_properties_of_the_gpu() {
    let output = Command::new(QEMU).args(["-device", "vhost-user-gpu-pci,help"]).output().unwrap();
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for property in ["chardev=", "max_outputs="] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(property)), "{property}\n{help}");
    }
}
