//! One guest's file: what is taken, which defaults fill it, and the sentence for everything else.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use phyllome_config::guest::{
    Accel, Background, DiskBus, DiskFormat, Firmware, GpuMode, GuestDefinition, LabelColor, NetworkMode, Pattern,
    Profile, Rgb, Transport,
};
use phyllome_config::{ConfigError, Places, load_guest};
use phyllome_protocol::GuestName;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn places(dir: &Path) -> Places {
    Places { config: dir.join("c"), data: "/data".into(), state: "/state".into(), home: Some("/home/a".into()) }
}

fn load_bytes(bytes: &[u8]) -> Result<GuestDefinition, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("work.toml");
    std::fs::write(&path, bytes).unwrap();
    load_guest(&path, &GuestName::new("work").unwrap(), &places(dir.path()))
}

fn load(text: &str) -> GuestDefinition {
    load_bytes(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The error's sentence from the file's name on.
fn refusal(text: impl AsRef<[u8]>) -> String {
    let text = text.as_ref();
    let error = load_bytes(text).expect_err(&String::from_utf8_lossy(text));
    let sentence = error.to_string();
    assert!(!sentence.contains('\n') && sentence.len() < 700, "{sentence}");
    sentence[sentence.find("work.toml").expect("the file is named")..].to_owned()
}

#[test]
fn every_key_is_taken() {
    let guest = load(
        r##"
        id = "6F0C2A5E-0001-4bcd-8eff-0123456789ab"
        profile = "uefi"
        slot = 9
        autostart = true
        keep_awake = true
        memory = "512MiB"
        cpus = 3
        [label]
        text = "Büro"
        color = "#10A0f0"
        pattern = "checks"
        [machine]
        accel = "tcg"
        firmware = "uefi-secure"
        tpm = true
        [boot]
        kernel = "/boot/vmlinuz"
        initrd = "initrd.img"
        cmdline = "console=ttyS0, quiet"
        [gpu]
        mode = "2d"
        transport = "vhost-user-gpu"
        scanouts = 16
        [[disk]]
        path = "~/a,b.img"
        format = "qcow2"
        backing = ["mid.qcow2", "/b/base.img"]
        parts = "a.raw"
        bus = "nvme"
        [[disk]]
        path = "c.iso"
        cdrom = true
        [network]
        mode = "none"
        "##,
    );
    assert_eq!((guest.name.as_str(), guest.profile), ("work", Profile::Uefi));
    assert_eq!(guest.id.unwrap().to_string(), "6f0c2a5e-0001-4bcd-8eff-0123456789ab");
    assert_eq!((guest.slot.unwrap().number(), guest.autostart, guest.memory, guest.cpus), (9, true, 512 << 20, 3));
    assert!(guest.keep_awake);
    assert_eq!((guest.label.text.as_str(), guest.label.pattern), ("Büro", Pattern::Checks));
    assert_eq!(guest.label.color, LabelColor::Custom(Rgb(0x10, 0xa0, 0xf0)));
    assert_eq!(guest.machine.accel, Accel::Tcg);
    assert_eq!((guest.machine.firmware, guest.machine.tpm), (Firmware::UefiSecure, true));
    let boot = guest.boot.unwrap();
    assert_eq!((boot.kernel, boot.initrd), ("/boot/vmlinuz".into(), Some("/data/disks/initrd.img".into())));
    assert_eq!(boot.cmdline, "console=ttyS0, quiet");
    assert_eq!((guest.gpu.mode, guest.gpu.transport, guest.gpu.scanouts), (GpuMode::TwoD, Transport::VhostUserGpu, 16));
    let disks: Vec<_> = guest.disks.iter().map(|d| (d.path.to_str().unwrap(), d.bus, d.cdrom)).collect();
    assert_eq!(disks, [("/home/a/a,b.img", DiskBus::Nvme, false), ("/data/disks/c.iso", DiskBus::Sata, true)]);
    let first = &guest.disks[0];
    assert_eq!(first.format, Some(DiskFormat::Qcow2));
    assert_eq!(first.backing, [PathBuf::from("/data/disks/mid.qcow2"), "/b/base.img".into()]);
    assert_eq!(first.parts, [PathBuf::from("/data/disks/a.raw")]);
    assert_eq!(guest.network, NetworkMode::None);
}

#[test]
fn a_profile_alone_is_a_whole_definition() {
    let guest = load("profile = \"linux\"");
    assert_eq!((guest.slot, guest.autostart, guest.memory, guest.cpus), (None, false, 2 << 30, 2));
    assert!(!guest.keep_awake);
    assert_eq!((guest.label.text.as_str(), guest.label.pattern), ("work", Pattern::Solid));
    assert_eq!(
        (guest.machine.accel, guest.gpu.mode, guest.gpu.transport),
        (Accel::Auto, GpuMode::Auto, Transport::Auto)
    );
    assert_eq!((guest.gpu.scanouts, guest.network, guest.boot), (1, NetworkMode::User, None));
    for (profile, firmware, tpm) in [
        ("linux", Firmware::Uefi, false),
        ("windows-11", Firmware::UefiSecure, true),
        ("windows-10", Firmware::Uefi, false),
        ("uefi", Firmware::Uefi, false),
        ("bios", Firmware::Bios, false),
        ("host-app", Firmware::None, false),
    ] {
        let machine = load(&format!("profile = \"{profile}\"")).machine;
        assert_eq!((machine.firmware, machine.tpm), (firmware, tpm), "{profile}");
    }
}

#[test]
fn direct_boot_needs_no_firmware_unless_asked_for() {
    let boot = "[boot]\nkernel = \"/k\"\n";
    assert_eq!(load(&format!("profile = \"linux\"\n{boot}")).machine.firmware, Firmware::None);
    let asked = load(&format!("profile = \"linux\"\n[machine]\nfirmware = \"uefi\"\n{boot}"));
    assert_eq!(asked.machine.firmware, Firmware::Uefi);
}

#[test]
fn disks_hang_on_what_the_profile_has_drivers_for() {
    let disk = |profile: &str, more: &str| {
        load(&format!("profile = \"{profile}\"\n[[disk]]\npath = \"/d\"\n{more}")).disks[0].bus
    };
    assert_eq!(disk("linux", ""), DiskBus::Virtio);
    assert_eq!(disk("windows-11", ""), DiskBus::Sata);
    assert_eq!(disk("linux", "cdrom = true"), DiskBus::Sata);
    assert_eq!(disk("windows-11", "bus = \"scsi\""), DiskBus::Scsi);
}

#[test]
fn sizes_of_memory() {
    let memory = |size: &str| load(&format!("profile = \"linux\"\nmemory = \"{size}\"")).memory;
    assert_eq!((memory("16MiB"), memory("3 GiB"), memory("4TiB")), (16 << 20, 3 << 30, 4 << 40));
    for bad in ["", "2", "2GB", "2gib", "-1GiB", "1.5GiB", "15MiB", "5TiB", "99999999999999999999GiB", "GiB", "0GiB"] {
        let sentence = refusal(format!("profile = \"linux\"\nmemory = \"{bad}\""));
        let wanted = "work.toml, line 2, memory: “BAD” is not possible; use 16MiB to 4TiB, such as \"2GiB\"";
        assert_eq!(sentence, wanted.replace("BAD", bad));
    }
}

#[test]
fn an_error_names_file_line_key_and_what_is_allowed() {
    let linux = |rest: &str| refusal(format!("profile = \"linux\"\n{rest}"));
    let profiles = "one of linux, windows-11, windows-10, uefi, bios, host-app";
    assert_eq!(refusal(""), format!("work.toml, line 1, profile: missing; use {profiles}"));
    assert_eq!(
        refusal("\n\nprofile = \"mac\""),
        format!("work.toml, line 3, profile: “mac” is not possible; use {profiles}")
    );
    assert_eq!(refusal("profile = 3"), format!("work.toml, line 1, profile: this is an integer; use {profiles}"));
    for (rest, wanted) in [
        (
            "memroy = 1",
            "line 2, memroy: this key is unknown; allowed here: id, profile, slot, autostart, keep_awake, memory, cpus, background, label, machine, boot, gpu, disk, network",
        ),
        (
            "[label]\n\ncolour = \"red\"",
            "line 4, label.colour: this key is unknown; allowed here: text, color, pattern",
        ),
        ("memory = 2048", "line 2, memory: this is an integer; use 16MiB to 4TiB, such as \"2GiB\""),
        ("slot = 0", "line 2, slot: 0 is not possible; use 1 to 9"),
        ("slot = 10", "line 2, slot: 10 is not possible; use 1 to 9"),
        ("slot = \"1\"", "line 2, slot: this is a string; use 1 to 9"),
        ("cpus = 0", "line 2, cpus: 0 is not possible; use 1 to 255"),
        ("cpus = -9223372036854775808", "line 2, cpus: -9223372036854775808 is not possible; use 1 to 255"),
        ("cpus = 0x1_0000_0001", "line 2, cpus: 100000001 is not possible; use 1 to 255"),
        ("cpus = 1.5", "line 2, cpus: this is a number with a fraction; use 1 to 255"),
        ("autostart = \"yes\"", "line 2, autostart: this is a string; use true or false"),
        ("keep_awake = 1", "line 2, keep_awake: this is an integer; use true or false"),
        ("label = \"x\"", "line 2, label: this is a string; use [label]"),
        ("[gpu]\nscanouts = 17", "line 3, gpu.scanouts: 17 is not possible; use 1 to 16"),
        ("[gpu]\nscanouts = 0", "line 3, gpu.scanouts: 0 is not possible; use 1 to 16"),
        ("[gpu]\nmode = \"4d\"", "line 3, gpu.mode: “4d” is not possible; use one of auto, 3d, 2d, vga"),
        (
            "[gpu]\ntransport = true",
            "line 3, gpu.transport: this is a boolean; use one of auto, vhost-user-gpu, generic",
        ),
        ("[machine]\naccel = \"hvf\"", "line 3, machine.accel: “hvf” is not possible; use one of auto, kvm, tcg"),
        (
            "[machine]\nfirmware = \"none\"",
            "line 3, machine.firmware: “none” starts nothing without [boot]; use uefi, uefi-secure or bios",
        ),
        ("[network]\nmode = \"tap\"", "line 3, network.mode: “tap” is not possible; use one of user, passt, none"),
        ("[boot]\ninitrd = \"/i\"", "line 2, boot.kernel: missing; use the path of a kernel image"),
        (
            "[boot]\nkernel = \"/k\"\ncmdline = \"a\\nb\"",
            "line 4, boot.cmdline: the kernel cannot be given this; use one line of at most 2047 bytes",
        ),
        (
            "id = \"work\"",
            "line 2, id: “work” is not possible; use a UUID, or leave it out and it is made at the first start",
        ),
        ("disk = 1", "line 2, disk: this is an integer; use [[disk]]"),
        ("disk = [1]", "line 2, disk[1]: this is an integer; use [disk[1]]"),
        ("[[disk]]\nbus = \"virtio\"", "line 2, disk[1].path: missing; use the path of a disk or an ISO image"),
        (
            "[[disk]]\npath = \"/a\"\n[[disk]]\npath = \"/a\"",
            "line 5, disk[2].path: an earlier [[disk]] has this path; use each image once",
        ),
        (
            "[[disk]]\npath = \"/a\"\ncdrom = true\nbus = \"virtio\"",
            "line 5, disk[1].bus: this bus has no CD-ROMs; use sata, scsi or usb",
        ),
        (
            "[[disk]]\npath = \"/a\"\nformat = \"qcow\"",
            "line 4, disk[1].format: “qcow” is not possible; use one of qcow2, raw, vmdk, vdi, vhdx",
        ),
        (
            "[[disk]]\npath = \"/a\"\nbacking = [\"/b\", 3]",
            "line 4, disk[1].backing: this is an integer; use the path of an image, or a list of at most 16",
        ),
        (
            "[[disk]]\npath = \"/a\"\nbacking = \"/a\"",
            "line 4, disk[1].backing: this image is named twice; name each of the images once",
        ),
        (
            "[[disk]]\npath = \"../../x\"",
            "line 3, disk[1].path: “..” would leave the disks folder; use an absolute path, ~/… or a path below the disks folder",
        ),
        (
            "[[disk]]\npath = \"a\\u0000b\"",
            "line 3, disk[1].path: this is not a path of a file; use an absolute path, ~/… or a path below the disks folder",
        ),
        (
            "[label]\ncolor = \"pink\"",
            "line 3, label.color: “pink” is not possible; use one of red, orange, yellow, green, blue, purple, gray, black, or \"#rrggbb\"",
        ),
        (
            "[label]\ncolor = \"#ffffff\"",
            "line 3, label.color: #ffffff is too near the white of the shell's own frame; use a darker colour",
        ),
        (
            "[label]\npattern = \"plaid\"",
            "line 3, label.pattern: “plaid” is not possible; use one of solid, stripes, dots, checks",
        ),
        (
            "[label]\ntext = \"a\\u202Eb\"",
            "line 3, label.text: the text has the invisible or reordering character U+202E; use 1 to 128 bytes of printable text",
        ),
        ("[label]\ntext = \"HOST\"", "line 3, label.text: “Host” is how the shell marks itself; choose another text"),
        ("slot = 1\nslot = 2", "line 3: this is not TOML: duplicate key; write lines such as key = \"value\""),
    ] {
        assert_eq!(linux(rest), format!("work.toml, {wanted}"), "{rest}");
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    for (text, line) in
        [("profile = \"linux\"\nnonsense\n", 2), ("profile = \"linux", 1), ("\n\n[label", 3), ("\0\0", 1)]
    {
        let sentence = refusal(text);
        assert!(sentence.starts_with(&format!("work.toml, line {line}: this is not TOML: ")), "{sentence}");
    }
    let binary = refusal(b"profile = \"linux\"\n\xff\xfe\x00");
    assert_eq!(binary, "work.toml, line 2: this is not UTF-8 text; write the file in a text editor");
}

#[test]
fn hostile_text_cannot_reach_the_terminal_through_an_error() {
    let sentence = refusal("\"\\u001b]0;x\\u0007\\u202e\" = 1");
    assert!(!sentence.chars().any(|c| c.is_control() || c == '\u{202e}'), "{sentence:?}");
    assert!(refusal(format!("\"{}\" = 1", "x".repeat(100_000))).len() < 500);
    assert!(refusal(format!("profile = \"{}\"", "x".repeat(100_000))).len() < 500);
}

#[test]
fn seven_sata_disks_are_one_too_many() {
    let disks = |n: usize, bus: &str| -> String {
        (0..n).map(|i| format!("[[disk]]\npath = \"/{bus}{i}\"\nbus = \"{bus}\"\n")).collect()
    };
    load(&format!("profile = \"linux\"\n{}{}", disks(6, "sata"), disks(10, "virtio")));
    let sentence = refusal(format!("profile = \"linux\"\n{}", disks(7, "sata")));
    assert!(sentence.starts_with("work.toml, line 20, disk[7]: the machine has 6 SATA ports"), "{sentence}");
    let sentence = refusal(format!("profile = \"linux\"\n{}", disks(17, "virtio")));
    assert!(sentence.ends_with("disk: there are 17; use at most 16"), "{sentence}");
}

#[test]
fn a_guest_named_host_is_not_labelled_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("host.toml");
    std::fs::write(&path, "profile = \"linux\"").unwrap();
    let guest = load_guest(&path, &GuestName::new("host").unwrap(), &places(dir.path())).unwrap();
    assert_eq!(guest.label.text, "guest host");
}

/// Refuses `path` within a second, whatever it is.
fn refused_file(path: PathBuf) -> String {
    let start = Instant::now();
    let error = load_guest(&path, &GuestName::new("work").unwrap(), &places(Path::new("/"))).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!(error.guest().unwrap().as_str(), "work");
    error.to_string()
}

#[test]
fn pipes_devices_folders_and_giants_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let regular = "this is not a regular file; put a text file here";

    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RWXU).unwrap();
    std::fs::create_dir(at("folder")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("zero")).unwrap();
    std::os::unix::fs::symlink("loop", at("loop")).unwrap();
    for name in ["pipe", "folder", "zero"] {
        assert!(refused_file(at(name)).ends_with(regular), "{name}");
    }
    assert!(refused_file(at("loop")).contains("cannot be read"));
    assert!(refused_file(at("missing")).ends_with("there is no such file; make it, or choose another guest"));

    let giant = std::fs::File::create(at("giant")).unwrap();
    giant.set_len(100 << 20).unwrap();
    assert!(
        refused_file(at("giant")).ends_with("the file has 104857600 bytes and at most 1 MiB is read; make it shorter")
    );
}

#[test]
fn the_largest_nested_file_is_refused_without_harm() {
    let start = Instant::now();
    for unit in ["[", "a.", "{a=", "[[a]]\n", "\"", "#", "a=1\n", "'''"] {
        let text = unit.repeat((1 << 20) / unit.len());
        refusal(&text);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_hidden_guest_is_slow_unless_it_is_to_draw_on() {
    assert_eq!(load("profile = \"linux\"").background, Background::Slow);
    for (word, background) in [("slow", Background::Slow), ("full", Background::Full)] {
        assert_eq!(load(&format!("profile = \"linux\"\nbackground = \"{word}\"")).background, background);
        assert_eq!(background.word(), word);
    }
}

#[test]
fn the_name_of_an_image_tells_its_format_in_small_letters_or_large() {
    for (name, format) in [
        ("a.qcow2", DiskFormat::Qcow2),
        ("a.QCOW2", DiskFormat::Qcow2),
        ("a.Vmdk", DiskFormat::Vmdk),
        ("a.img", DiskFormat::Raw),
        ("qcow2", DiskFormat::Raw),
        ("a.qcow2.bak", DiskFormat::Raw),
    ] {
        assert_eq!(DiskFormat::of_name(Path::new(name)), format, "{name}");
    }
}
