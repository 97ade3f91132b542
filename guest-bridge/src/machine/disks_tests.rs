//! Which images are taken, and the sentence for every other; with images as qemu-img makes them.

use super::*;
use phyllome_config::guest::DiskBus;
use std::process::Command;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn qemu_img(&self, args: &str) {
        let output = Command::new("qemu-img").args(args.split(' ')).current_dir(self.0.path()).output();
        let output = output.expect("qemu-img is installed (cargo xtask setup)");
        assert!(output.status.success(), "{args}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn disk(&self, name: &str) -> Disk {
        let path = self.path(name);
        Disk { path, format: None, backing: Vec::new(), parts: Vec::new(), bus: DiskBus::Virtio, cdrom: false }
    }

    /// The refusal without the folder's name.
    fn refusal(&self, disk: &Disk) -> String {
        let sentence = Image::look(disk).unwrap_err();
        assert!(!sentence.contains('\n'), "{sentence}");
        sentence.replace(&format!("{}/", self.0.path().display()), "")
    }
}

#[test]
fn an_image_whose_name_hides_its_format_is_not_attached_as_another() {
    let folder = Folder::new();
    for name in ["noble.img", "noble", "noble.qcow2.snap1", "noble.bak", "noble.iso"] {
        folder.qemu_img(&format!("create -q -f qcow2 {name} 1M"));
        let disk = folder.disk(name);
        assert_eq!(
            folder.refusal(&disk),
            format!(
                "the disk {name} holds a qcow2 image, but its name says that it is raw; write format = \"qcow2\" in its \
                 [[disk]], or “raw” if it was its guest that put that image there"
            )
        );
        for format in [DiskFormat::Qcow2, DiskFormat::Raw] {
            let image = Image::look(&Disk { format: Some(format), ..disk.clone() }).unwrap();
            assert_eq!(image.top.format, format, "both ways out lead somewhere");
        }
    }
    folder.qemu_img("create -q -f qcow2 LARGE.QCOW2 1M");
    assert_eq!(Image::look(&folder.disk("LARGE.QCOW2")).unwrap().top.format, DiskFormat::Qcow2);
}

#[test]
fn what_is_not_what_it_is_said_to_be_is_refused() {
    let folder = Folder::new();
    folder.qemu_img("create -q -f vdi a.vdi 1M");
    std::fs::write(folder.path("raw.qcow2"), [0; 4096]).unwrap();
    std::fs::write(folder.path("a.img.xz"), b"\xfd7zXZ\0\0\x04").unwrap();
    let vdi = Disk { format: Some(DiskFormat::Qcow2), ..folder.disk("a.vdi") };
    assert!(folder.refusal(&vdi).starts_with("the disk a.vdi is a vdi image and not a qcow2; write format = \"vdi\""));
    let raw = folder.refusal(&folder.disk("raw.qcow2"));
    assert!(raw.starts_with("the disk raw.qcow2 does not begin like a qcow2; write format = \"raw\""), "{raw}");
    let packed = folder.refusal(&folder.disk("a.img.xz"));
    assert!(packed.starts_with("the disk a.img.xz is a file packed by xz; unpack it"), "{packed}");
    Image::look(&Disk { format: Some(DiskFormat::Raw), ..folder.disk("a.img.xz") }).unwrap();
}

#[test]
fn an_image_stands_on_what_its_definition_names_and_on_nothing_else() {
    let folder = Folder::new();
    folder.qemu_img("create -q -f qcow2 base.img 1M");
    folder.qemu_img("create -q -f qcow2 -F qcow2 -b base.img top.qcow2");
    folder.qemu_img("create -q -f qcow2 other.qcow2 1M");
    let alone = folder.disk("top.qcow2");
    let why = folder.refusal(&alone);
    assert!(why.starts_with("the disk top.qcow2 wants to open “base.img”, which its [[disk]] does not name"), "{why}");
    let named = Disk { backing: vec![folder.path("base.img")], ..alone.clone() };
    let image = Image::look(&named).unwrap();
    assert_eq!(image.below[0].format, DiskFormat::Qcow2, "as the image on it says, whatever its name");
    let other = Disk { backing: vec![folder.path("other.qcow2")], ..alone };
    assert!(folder.refusal(&other).contains("stands on “base.img” and not on other.qcow2"));
    let extra = Disk { backing: vec![folder.path("base.img")], ..folder.disk("other.qcow2") };
    assert!(folder.refusal(&extra).contains("stands on no other image, and not on base.img"));
    std::fs::remove_file(folder.path("base.img")).unwrap();
    assert!(folder.refusal(&named).starts_with("the backing image base.img does not exist"));
    // A base that stands on something itself.
    folder.qemu_img("create -q -f qcow2 -F qcow2 -b other.qcow2 base.img");
    assert!(folder.refusal(&named).starts_with("the backing image base.img wants to open “other.qcow2”"));
}

#[test]
fn data_in_another_file_is_only_read_where_it_is_named() {
    let folder = Folder::new();
    folder.qemu_img("create -q -f qcow2 -o data_file=data.raw split.qcow2 1M");
    folder.qemu_img("create -q -f vmdk -o subformat=monolithicFlat flat.vmdk 1M");
    for (image, part) in [("split.qcow2", "data.raw"), ("flat.vmdk", "flat-flat.vmdk")] {
        let alone = folder.disk(image);
        let why = folder.refusal(&alone);
        assert!(why.contains(&format!("wants to open “{part}”")), "{why}");
        Image::look(&Disk { parts: vec![folder.path(part)], ..alone.clone() }).unwrap();
        let extra = Disk { parts: vec![folder.path(part), folder.path("split.qcow2")], ..alone };
        assert!(folder.refusal(&extra).contains("is not made of split.qcow2"));
    }
    let raw = folder.disk("data.raw");
    assert!(folder.refusal(&Disk { parts: vec![folder.path("flat.vmdk")], ..raw }).contains("is not made of"));
}

#[test]
fn a_part_that_is_an_image_names_no_files_itself() {
    let folder = Folder::new();
    folder.qemu_img("create -q -f vmdk -o subformat=twoGbMaxExtentSparse split.vmdk 1M");
    let split = Disk { parts: vec![folder.path("split-s001.vmdk")], ..folder.disk("split.vmdk") };
    Image::look(&split).unwrap();
    // The same without data of its own, and so with a description that counts.
    let mut bytes = std::fs::read(folder.path("split-s001.vmdk")).unwrap();
    bytes[12..20].fill(0);
    bytes[28..36].copy_from_slice(&1u64.to_le_bytes());
    bytes[512..].fill(0);
    let description = b"# Disk DescriptorFile\nRW 2048 FLAT \"/etc/shadow\" 0\n";
    bytes[512..512 + description.len()].copy_from_slice(description);
    std::fs::write(folder.path("split-s001.vmdk"), bytes).unwrap();
    assert!(folder.refusal(&split).contains("names other files itself"));
}

#[test]
fn names_that_are_no_files_match_nothing() {
    for name in ["nbd://host/x.qcow2", "json:{\"driver\":\"file\",\"filename\":\"x.qcow2\"}", "ssh:x.qcow2", "", ".."] {
        assert_eq!(file_name(name), None, "{name}");
    }
    assert_eq!(file_name("file:/a/x.qcow2"), Some("x.qcow2".as_ref()));
}

#[test]
fn a_pipe_hangs_nobody_and_variables_that_name_a_file_are_refused() {
    let folder = Folder::new();
    let pipe = folder.path("pipe.qcow2");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    assert!(folder.refusal(&folder.disk("pipe.qcow2")).contains("is not a file"));
    folder.qemu_img("create -q -f qcow2 base.qcow2 1M");
    folder.qemu_img("create -q -f qcow2 -F qcow2 -b base.qcow2 vars.qcow2");
    assert!(
        look_alone("firmware's variables", &folder.path("vars.qcow2"), true).unwrap_err().contains("names another")
    );
    look_alone("firmware's variables", &folder.path("base.qcow2"), true).unwrap();
}
