//! Command lines as a person would read them, and the refusals.

use super::super::host::FirmwareFiles;
use super::*;
use phyllome_config::guest::{Background, Boot, Gpu, Label, LabelColor, Machine, Pattern, Transport as Wish};
use phyllome_config::{Places, firmware, guest};
use phyllome_protocol::GuestName;

fn host() -> HostFacts {
    let find = |places: &[(&str, &str)]| FirmwareFiles::find(places, |path| path.starts_with("/usr/share/OVMF"));
    HostFacts {
        qemu: "/usr/bin/qemu-system-x86_64".into(),
        qemu_version: QemuVersion::OLDEST,
        uefi: find(firmware::UEFI),
        uefi_secure: find(firmware::UEFI_SECURE),
        vars: "/state/work/vars.fd".into(),
        images: Vec::new(),
        gpu_fd: GPU_FD,
        qmp_fd: QMP_FD,
        dbus_display: true,
        three_d: false,
        generic_device: false,
        serial: SerialSink::File("/state/logs/work/serial.log".into()),
        tpm_socket: None,
        passt_socket: None,
    }
}

fn guest() -> GuestDefinition {
    GuestDefinition {
        name: GuestName::new("work").unwrap(),
        id: None,
        profile: Profile::Linux,
        slot: None,
        autostart: false,
        keep_awake: false,
        memory: 2 << 30,
        cpus: 2,
        label: Label { text: "work".to_owned(), color: LabelColor::Red, pattern: Pattern::Solid },
        machine: Machine { accel: guest::Accel::Auto, firmware: Firmware::Bios, tpm: false },
        boot: None,
        background: Background::Slow,
        gpu: Gpu { mode: GpuMode::Auto, transport: Wish::Auto, scanouts: 1 },
        disks: Vec::new(),
        network: NetworkMode::User,
    }
}

fn disk(path: &str, bus: DiskBus, cdrom: bool) -> Disk {
    Disk { path: path.into(), format: None, backing: Vec::new(), parts: Vec::new(), bus, cdrom }
}

/// A definition as its file gives it, with the profile's defaults.
fn from_file(text: &str) -> GuestDefinition {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("work.toml");
    std::fs::write(&path, text).unwrap();
    let places = Places { config: "/c".into(), data: "/data".into(), state: "/state".into(), home: None };
    phyllome_config::load_guest(&path, &GuestName::new("work").unwrap(), &places).unwrap()
}

/// What `phyllome-guest command-line` prints, folded at the options for a reader.
fn folded(line: &CommandLine) -> String {
    line.to_string().replace(" -", " \\\n  -")
}

fn shown(definition: &GuestDefinition, accel: Accel) -> String {
    folded(&command_line(definition, &host(), accel).unwrap())
}

#[test]
fn words_survive_a_shell() {
    for (word, expected) in [("-m", "-m"), ("", "''"), ("a b", "'a b'"), ("it's", r"'it'\''s'"), ("$x", "'$x'")] {
        assert_eq!(quoted(OsStr::new(word)), expected);
    }
}

#[test]
fn linux_by_direct_boot() {
    let text = "profile = \"linux\"\nmemory = \"512MiB\"\ncpus = 1\n[boot]\nkernel = \"/boot/vmlinuz\"\ninitrd = \"i.img\"\n\
                cmdline = \"console=ttyS0,115200 quiet\"\n[network]\nmode = \"none\"\n";
    insta::assert_snapshot!(shown(&from_file(text), Accel::Tcg), @r#"
    /usr/bin/qemu-system-x86_64 \
      -no-user-config \
      -nodefaults \
      -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
      -vga none \
      -display dbus,p2p=yes \
      -machine q35,memory-backend=ram0,dump-guest-core=off \
      -uuid 7058edf6-3668-85c0-8531-ce8851bf62a7 \
      -global ICH9-LPC.disable_s3=1 \
      -accel tcg,thread=multi \
      -cpu max \
      -smp 1,sockets=1,cores=1,threads=1 \
      -m 512M \
      -object memory-backend-memfd,id=ram0,size=512M,share=on,dump=off \
      -rtc base=utc \
      -kernel /boot/vmlinuz \
      -initrd /data/disks/i.img \
      -append 'console=ttyS0,115200 quiet' \
      -chardev socket,id=qmp,fd=11 \
      -mon chardev=qmp,mode=control \
      -chardev file,id=serial0,append=on,path=/state/logs/work/serial.log \
      -device isa-serial,chardev=serial0 \
      -chardev socket,id=gpu0,fd=10 \
      -device vhost-user-gpu-pci,id=gpu,chardev=gpu0,max_outputs=1 \
      -device virtio-keyboard-pci,id=keyboard \
      -device virtio-tablet-pci \
      -object rng-builtin,id=rng0 \
      -device virtio-rng-pci,rng=rng0
    "#);
}

#[test]
fn linux_on_a_disk_with_uefi() {
    let text = "profile = \"linux\"\n[[disk]]\npath = \"work.qcow2\"\n[[disk]]\npath = \"/iso/a.iso\"\ncdrom = true\n";
    insta::assert_snapshot!(shown(&from_file(text), Accel::Kvm), @r#"
    /usr/bin/qemu-system-x86_64 \
      -no-user-config \
      -nodefaults \
      -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
      -vga none \
      -display dbus,p2p=yes \
      -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE_4M.fd"},"node-name":"fw-code","read-only":true}' \
      -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/state/work/vars.fd"},"node-name":"fw-vars"}' \
      -machine q35,memory-backend=ram0,dump-guest-core=off,pflash0=fw-code,pflash1=fw-vars \
      -uuid 7058edf6-3668-85c0-8531-ce8851bf62a7 \
      -global ICH9-LPC.disable_s3=1 \
      -accel kvm \
      -cpu host \
      -smp 2,sockets=1,cores=2,threads=1 \
      -m 2048M \
      -object memory-backend-memfd,id=ram0,size=2048M,share=on,dump=off \
      -rtc base=utc \
      -chardev socket,id=qmp,fd=11 \
      -mon chardev=qmp,mode=control \
      -chardev file,id=serial0,append=on,path=/state/logs/work/serial.log \
      -device isa-serial,chardev=serial0 \
      -chardev socket,id=gpu0,fd=10 \
      -device vhost-user-gpu-pci,id=gpu,chardev=gpu0,max_outputs=1 \
      -device virtio-keyboard-pci,id=keyboard \
      -device virtio-tablet-pci \
      -blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":{"driver":"file","filename":"/data/disks/work.qcow2"},"node-name":"disk0"}' \
      -device virtio-blk-pci,drive=disk0,bootindex=1 \
      -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/iso/a.iso"},"node-name":"disk1","read-only":true}' \
      -device ide-cd,bus=ide.0,drive=disk1,bootindex=2 \
      -netdev user,id=net0 \
      -device virtio-net-pci,netdev=net0,mac=52:54:00:70:58:ed,romfile= \
      -object rng-builtin,id=rng0 \
      -device virtio-rng-pci,rng=rng0
    "#);
}

#[test]
fn windows_11_with_secure_boot_and_tpm() {
    let definition = from_file("profile = \"windows-11\"\n[[disk]]\npath = \"w.qcow2\"\n");
    let host = HostFacts { tpm_socket: Some("/run/tpm.sock".into()), ..host() };
    insta::assert_snapshot!(folded(&command_line(&definition, &host, Accel::Kvm).unwrap()), @r#"
    /usr/bin/qemu-system-x86_64 \
      -no-user-config \
      -nodefaults \
      -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny \
      -vga none \
      -display dbus,p2p=yes \
      -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"},"node-name":"fw-code","read-only":true}' \
      -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/state/work/vars.fd"},"node-name":"fw-vars"}' \
      -global driver=cfi.pflash01,property=secure,value=on \
      -machine q35,memory-backend=ram0,dump-guest-core=off,pflash0=fw-code,pflash1=fw-vars,smm=on \
      -uuid 7058edf6-3668-85c0-8531-ce8851bf62a7 \
      -global ICH9-LPC.disable_s3=1 \
      -accel kvm \
      -cpu host,hv-relaxed,hv-vapic,hv-spinlocks=0x1fff,hv-vpindex,hv-runtime,hv-synic,hv-stimer,hv-reset,hv-frequencies,hv-tlbflush,hv-ipi \
      -smp 4,sockets=1,cores=4,threads=1 \
      -m 4096M \
      -object memory-backend-memfd,id=ram0,size=4096M,share=on,dump=off \
      -rtc base=localtime \
      -chardev socket,id=qmp,fd=11 \
      -mon chardev=qmp,mode=control \
      -chardev file,id=serial0,append=on,path=/state/logs/work/serial.log \
      -device isa-serial,chardev=serial0 \
      -chardev socket,id=gpu0,fd=10 \
      -device vhost-user-gpu-pci,id=gpu,chardev=gpu0,max_outputs=1 \
      -device qemu-xhci,id=xhci,p2=15,p3=15 \
      -device usb-tablet,bus=xhci.0 \
      -blockdev '{"backing":null,"discard":"unmap","driver":"qcow2","file":{"driver":"file","filename":"/data/disks/w.qcow2"},"node-name":"disk0"}' \
      -device ide-hd,bus=ide.0,drive=disk0,bootindex=1 \
      -netdev user,id=net0 \
      -device e1000e,netdev=net0,mac=52:54:00:70:58:ed,romfile= \
      -object rng-builtin,id=rng0 \
      -device virtio-rng-pci,rng=rng0 \
      -chardev socket,id=tpm0,path=/run/tpm.sock \
      -tpmdev emulator,id=tpm,chardev=tpm0 \
      -device tpm-crb,tpmdev=tpm
    "#);
}

#[test]
fn every_scanout_is_an_output_of_the_device() {
    let mut definition = guest();
    definition.gpu.scanouts = 2;
    let line = shown(&definition, Accel::Tcg);
    let device = line.lines().find(|line| line.contains("vhost-user-gpu-pci")).unwrap();
    let device = device.trim_matches([' ', '\\']);
    insta::assert_snapshot!(device, @"-device vhost-user-gpu-pci,id=gpu,chardev=gpu0,max_outputs=2");
}

#[test]
fn a_comma_in_a_path_starts_no_option() {
    let mut definition = guest();
    definition.disks = vec![disk("/d/a,readonly=on,b c.img", DiskBus::Virtio, false)];
    definition.boot =
        Some(Boot { kernel: "/k,1".into(), initrd: Some("/i,2".into()), cmdline: "a=b,c 'd'".to_owned() });
    definition.machine.firmware = Firmware::Uefi;
    let host = HostFacts { vars: "/s,1/vars.fd".into(), serial: SerialSink::File("/s,1/serial.log".into()), ..host() };
    let line = folded(&command_line(&definition, &host, Accel::Tcg).unwrap());
    let lines: Vec<_> = line
        .lines()
        .filter(|line| line.contains("/s,") || line.contains('\'') || line.contains("/k") || line.contains("/i,"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/usr/share/OVMF/OVMF_CODE_4M.fd"},"node-name":"fw-code","read-only":true}' \
    -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/s,1/vars.fd"},"node-name":"fw-vars"}' \
    -kernel /k,1 \
    -initrd /i,2 \
    -append 'a=b,c '\''d'\''' \
    -chardev file,id=serial0,append=on,path=/s,,1/serial.log \
    -blockdev '{"discard":"unmap","driver":"raw","file":{"driver":"file","filename":"/d/a,readonly=on,b c.img"},"node-name":"disk0"}' \
    "#);
}

#[test]
fn every_bus_has_its_device() {
    let mut definition = guest();
    definition.disks = vec![
        disk("/0.img", DiskBus::Virtio, false),
        disk("/1.vmdk", DiskBus::Sata, false),
        disk("/2.iso", DiskBus::Sata, true),
        disk("/3.vdi", DiskBus::Scsi, false),
        disk("/4.iso", DiskBus::Scsi, true),
        disk("/5.vhdx", DiskBus::Nvme, false),
        disk("/6.raw", DiskBus::Usb, false),
        disk("/7.iso", DiskBus::Usb, true),
    ];
    let line = shown(&definition, Accel::Tcg);
    let wanted = ["disk", "xhci", "scsi"];
    let lines: Vec<_> = line.lines().filter(|line| wanted.iter().any(|word| line.contains(word))).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    -device qemu-xhci,id=xhci,p2=15,p3=15 \
    -device virtio-scsi-pci,id=scsi \
    -blockdev '{"discard":"unmap","driver":"raw","file":{"driver":"file","filename":"/0.img"},"node-name":"disk0"}' \
    -device virtio-blk-pci,drive=disk0,bootindex=1 \
    -blockdev '{"backing":null,"discard":"unmap","driver":"vmdk","file":{"driver":"file","filename":"/1.vmdk"},"node-name":"disk1"}' \
    -device ide-hd,bus=ide.0,drive=disk1,bootindex=2 \
    -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/2.iso"},"node-name":"disk2","read-only":true}' \
    -device ide-cd,bus=ide.1,drive=disk2,bootindex=3 \
    -blockdev '{"discard":"unmap","driver":"vdi","file":{"driver":"file","filename":"/3.vdi"},"node-name":"disk3"}' \
    -device scsi-hd,bus=scsi.0,drive=disk3,bootindex=4 \
    -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/4.iso"},"node-name":"disk4","read-only":true}' \
    -device scsi-cd,bus=scsi.0,drive=disk4,bootindex=5 \
    -blockdev '{"discard":"unmap","driver":"vhdx","file":{"driver":"file","filename":"/5.vhdx"},"node-name":"disk5"}' \
    -device nvme,serial=disk5,drive=disk5,bootindex=6 \
    -blockdev '{"discard":"unmap","driver":"raw","file":{"driver":"file","filename":"/6.raw"},"node-name":"disk6"}' \
    -device usb-storage,bus=xhci.0,removable=on,drive=disk6,bootindex=7 \
    -blockdev '{"driver":"raw","file":{"driver":"file","filename":"/7.iso"},"node-name":"disk7","read-only":true}' \
    -device usb-bot,id=usb7,bus=xhci.0 \
    -device scsi-cd,bus=usb7.0,drive=disk7,bootindex=8 \
    "#);
}

#[test]
fn what_is_not_served_is_refused_in_one_sentence() {
    let refusal = |change: &dyn Fn(&mut GuestDefinition, &mut HostFacts)| {
        let (mut definition, mut host) = (guest(), host());
        change(&mut definition, &mut host);
        command_line(&definition, &host, Accel::Tcg).unwrap_err().to_string()
    };
    let vga = refusal(&|guest, _| guest.gpu.mode = GpuMode::Vga);
    assert_eq!(vga, "gpu.mode = \"vga\" is not supported yet; use auto, 3d or 2d");
    let generic = refusal(&|guest, host| {
        guest.gpu.transport = Wish::Generic;
        host.qemu_version = QemuVersion { major: 10, minor: 2, micro: 3 };
        host.generic_device = true;
    });
    assert_eq!(
        generic,
        "gpu.transport = \"generic\" needs QEMU 11.0.0 or newer with its vhost-user-test-device-pci, and this is QEMU 10.2.3; \
         use auto"
    );
    let passt = refusal(&|guest, _| guest.network = NetworkMode::Passt);
    assert_eq!(passt, "network.mode = \"passt\" is not supported yet; use user or none");
    let app = refusal(&|guest, _| guest.profile = Profile::HostApp);
    assert_eq!(app, "profile = \"host-app\" is not supported yet; use linux, windows-11, windows-10, uefi or bios");
    let tpm = refusal(&|guest, _| guest.machine.tpm = true);
    assert_eq!(tpm, "machine.tpm is not supported yet; set machine.tpm = false");
    let ovmf = refusal(&|guest, host| {
        guest.machine.firmware = Firmware::UefiSecure;
        host.uefi_secure = None;
    });
    assert_eq!(
        ovmf,
        "machine.firmware = \"uefi-secure\" needs OVMF, which this host does not have; install the ovmf package \
         (edk2-ovmf on Fedora)"
    );
    let old = refusal(&|_, host| host.qemu_version = QemuVersion { major: 7, minor: 2, micro: 19 });
    assert_eq!(old, "QEMU 7.2.19 is too old; install 10.0.0 or newer");
}

#[test]
fn a_socket_of_passt_is_used_where_it_runs() {
    let mut definition = guest();
    definition.network = NetworkMode::Passt;
    let host = HostFacts { passt_socket: Some("/run/a,b.sock".into()), ..host() };
    let line = command_line(&definition, &host, Accel::Tcg).unwrap().to_string();
    assert!(line.contains("-netdev stream,id=net0,server=off,addr.type=unix,addr.path=/run/a,,b.sock"), "{line}");
}

#[test]
fn a_version_is_read_from_what_qemu_prints() {
    let version = |text| QemuVersion::parse(text).map(|v| v.to_string());
    assert_eq!(version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright").as_deref(), Some("10.0.2"));
    assert_eq!(version("QEMU emulator version 11.1.50").as_deref(), Some("11.1.50"));
    assert_eq!(version("QEMU emulator version 11.0").as_deref(), Some("11.0.0"));
    assert_eq!((version(""), version("QEMU"), version("x version ten")), (None, None, None));
}

#[test]
fn without_its_dbus_display_or_with_3d_qemu_gets_none() {
    for host in [HostFacts { dbus_display: false, ..host() }, HostFacts { three_d: true, ..host() }] {
        let line = command_line(&guest(), &host, Accel::Tcg).unwrap().to_string();
        assert!(line.contains("-display none "), "{line}");
    }
}

#[test]
fn the_generic_device_is_taken_for_3d_or_by_name_where_qemu_has_it() {
    let old = QemuVersion { major: 10, minor: 2, micro: 0 };
    let new = QemuVersion { major: 11, minor: 1, micro: 3 };
    for (wish, three_d, generic_device, qemu_version, expected) in [
        (Wish::Auto, true, true, new, Some(true)),
        (Wish::Auto, false, true, new, Some(false)),
        (Wish::Auto, true, false, new, Some(false)),
        (Wish::Auto, true, true, old, Some(false)),
        (Wish::VhostUserGpu, true, true, new, Some(false)),
        (Wish::Generic, false, true, new, Some(true)),
        (Wish::Generic, true, false, new, None),
        (Wish::Generic, true, true, old, None),
    ] {
        let host = HostFacts { three_d, generic_device, qemu_version, ..host() };
        let mut definition = guest();
        definition.gpu = Gpu { transport: wish, scanouts: 3, ..definition.gpu };
        let line = command_line(&definition, &host, Accel::Tcg).map(|line| line.to_string()).ok();
        let device =
            "-device vhost-user-test-device-pci,id=gpu,chardev=gpu0,virtio-id=16,num_vqs=2,vq_size=256,config_size=20 ";
        let generic = line.map(|line| line.contains(device) && line.contains("-display none "));
        assert_eq!(generic, expected, "{wish:?}, {three_d}, {generic_device}, {qemu_version}");
    }
}
