//! `guests/NAME.toml`: the document becomes a definition, every default filled in.
//!
//! Pure: a path in the file is made absolute but never looked at; whether disk or kernel exist is asked at the start.

use crate::document::{Source, Table, Value};
use crate::guest::{
    Accel, Background, Boot, Disk, DiskBus, DiskFormat, Firmware, Gpu, GpuMode, GuestDefinition, Label, LabelColor,
    Machine, NetworkMode, Pattern, Profile, Rgb, Transport,
};
use crate::{ConfigError, GuestId, Places, label};
use phyllome_protocol::ids::MAX_SCANOUTS;
use phyllome_protocol::{GuestName, Slot};
use std::path::{Component, Path, PathBuf};

const MIB: u64 = 1024 * 1024;
const GIB: u64 = 1024 * MIB;
/// Least memory of a guest, in bytes.
pub const MIN_MEMORY: u64 = 16 * MIB;
/// Most memory of a guest, in bytes.
pub const MAX_MEMORY: u64 = 4096 * GIB;
/// Most virtual processors of a guest.
pub const MAX_CPUS: u32 = 255;
/// Most disks and images of a guest.
pub const MAX_DISKS: usize = 16;
/// Most of them on SATA: the ports of the q35 machine's controller.
pub const MAX_SATA: usize = 6;
/// Most images that one stands on, and most files that one is made of.
pub const MAX_CHAIN: usize = 16;
/// Longest kernel command line, in bytes (Linux on x86: COMMAND_LINE_SIZE, with its end).
const MAX_CMDLINE: usize = 2047;
/// Longest path, in bytes (Linux: PATH_MAX, with its end).
const MAX_PATH: usize = 4095;

const ROOT: &[&str] = &[
    "id",
    "profile",
    "slot",
    "autostart",
    "keep_awake",
    "memory",
    "cpus",
    "background",
    "label",
    "machine",
    "boot",
    "gpu",
    "disk",
    "network",
];
const PROFILES: &[(&str, Profile)] = &[
    ("linux", Profile::Linux),
    ("windows-11", Profile::Windows11),
    ("windows-10", Profile::Windows10),
    ("uefi", Profile::Uefi),
    ("bios", Profile::Bios),
    ("host-app", Profile::HostApp),
];
const PATTERNS: &[(&str, Pattern)] =
    &[("solid", Pattern::Solid), ("stripes", Pattern::Stripes), ("dots", Pattern::Dots), ("checks", Pattern::Checks)];
const ACCELS: &[(&str, Accel)] = &[("auto", Accel::Auto), ("kvm", Accel::Kvm), ("tcg", Accel::Tcg)];
const FIRMWARES: &[(&str, Firmware)] = &[
    ("uefi", Firmware::Uefi),
    ("uefi-secure", Firmware::UefiSecure),
    ("bios", Firmware::Bios),
    ("none", Firmware::None),
];
const GPU_MODES: &[(&str, GpuMode)] =
    &[("auto", GpuMode::Auto), ("3d", GpuMode::ThreeD), ("2d", GpuMode::TwoD), ("vga", GpuMode::Vga)];
const BACKGROUNDS: &[(&str, Background)] = &[("slow", Background::Slow), ("full", Background::Full)];
const TRANSPORTS: &[(&str, Transport)] =
    &[("auto", Transport::Auto), ("vhost-user-gpu", Transport::VhostUserGpu), ("generic", Transport::Generic)];
const BUSES: &[(&str, DiskBus)] = &[
    ("virtio", DiskBus::Virtio),
    ("sata", DiskBus::Sata),
    ("scsi", DiskBus::Scsi),
    ("nvme", DiskBus::Nvme),
    ("usb", DiskBus::Usb),
];
const NETWORKS: &[(&str, NetworkMode)] =
    &[("user", NetworkMode::User), ("passt", NetworkMode::Passt), ("none", NetworkMode::None)];

/// A definition with what only the loader of a whole folder asks for.
#[derive(Debug)]
pub(crate) struct GuestFile {
    pub(crate) definition: GuestDefinition,
    pub(crate) id_line: Option<usize>,
    pub(crate) slot_line: Option<usize>,
    pub(crate) text_line: Option<usize>,
    pub(crate) color_line: Option<usize>,
    pub(crate) pattern_line: Option<usize>,
}

/// What a profile chooses where the file says nothing.
struct Defaults {
    memory: u64,
    cpus: u32,
    firmware: Firmware,
    tpm: bool,
    bus: DiskBus,
}

impl Profile {
    fn defaults(self) -> Defaults {
        let (memory, cpus, firmware, tpm, bus) = match self {
            Self::Linux => (2 * GIB, 2, Firmware::Uefi, false, DiskBus::Virtio),
            Self::Windows11 => (4 * GIB, 4, Firmware::UefiSecure, true, DiskBus::Sata),
            Self::Windows10 => (4 * GIB, 4, Firmware::Uefi, false, DiskBus::Sata),
            Self::Uefi => (2 * GIB, 2, Firmware::Uefi, false, DiskBus::Sata),
            Self::Bios => (GIB, 1, Firmware::Bios, false, DiskBus::Sata),
            Self::HostApp => (GIB, 2, Firmware::None, false, DiskBus::Virtio),
        };
        Defaults { memory, cpus, firmware, tpm, bus }
    }
}

/// Decodes the text of guest `name`'s file.
pub(crate) fn decode(text: &str, path: &Path, name: &GuestName, places: &Places) -> Result<GuestFile, ConfigError> {
    let source = Source { path, guest: Some(name), text };
    let document = source.parse()?;
    let root = source.root(&document, ROOT)?;

    let profile = root.need("profile", "one of linux, windows-11, windows-10, uefi, bios, host-app")?.word(PROFILES)?;
    let defaults = profile.defaults();
    let id_value = root.get("id");
    let id = id_value.as_ref().map(id).transpose()?;
    let slot_value = root.get("slot");
    let slot = slot_value.as_ref().map(|v| v.integer(1..=9)).transpose()?.and_then(|n| Slot::new(i64::from(n)));
    let autostart = root.get("autostart").map(|v| v.boolean()).transpose()?.unwrap_or(false);
    let keep_awake = root.get("keep_awake").map(|v| v.boolean()).transpose()?.unwrap_or(false);
    let memory = root.get("memory").map(|v| memory(&v)).transpose()?.unwrap_or(defaults.memory);
    let cpus = root.get("cpus").map(|v| v.integer(1..=MAX_CPUS)).transpose()?.unwrap_or(defaults.cpus);

    let background = root.get("background").map(|v| v.word(BACKGROUNDS)).transpose()?.unwrap_or_default();

    let table = root.table("label", &["text", "color", "pattern"])?;
    let get = |key| table.as_ref().and_then(|table| table.get(key));
    let (text, color, pattern) = (get("text"), get("color"), get("pattern"));
    let label = Label {
        text: text.as_ref().map(label_text).transpose()?.unwrap_or_else(|| default_text(name)),
        color: color.as_ref().map(label_color).transpose()?.unwrap_or_else(|| default_color(name)),
        pattern: pattern.as_ref().map(|v| v.word(PATTERNS)).transpose()?.unwrap_or(Pattern::Solid),
    };

    let boot = root.table("boot", &["kernel", "initrd", "cmdline"])?.map(|t| boot(&t, places)).transpose()?;
    let machine = machine(&root, &defaults, boot.is_some())?;
    let gpu = gpu(&root)?;
    let disks = disks(&root, defaults.bus, places)?;
    let network = match root.table("network", &["mode"])?.and_then(|t| t.get("mode")) {
        Some(mode) => mode.word(NETWORKS)?,
        None => NetworkMode::User,
    };

    let definition = GuestDefinition {
        name: name.clone(),
        id,
        profile,
        slot,
        autostart,
        keep_awake,
        memory,
        cpus,
        label,
        machine,
        boot,
        background,
        gpu,
        disks,
        network,
    };
    let line = |value: Option<Value>| value.map(|v| v.line());
    Ok(GuestFile {
        definition,
        id_line: line(id_value),
        slot_line: line(slot_value),
        text_line: line(text),
        color_line: line(color),
        pattern_line: line(pattern),
    })
}

fn id(value: &Value) -> Result<GuestId, ConfigError> {
    const ALLOWED: &str = "a UUID, or leave it out and it is made at the first start";
    let text = value.string(ALLOWED)?;
    text.parse().map_err(|()| value.unknown_word(text, ALLOWED))
}

fn memory(value: &Value) -> Result<u64, ConfigError> {
    const ALLOWED: &str = "16MiB to 4TiB, such as \"2GiB\"";
    let text = value.string(ALLOWED)?;
    let number_end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_end);
    let unit = match unit.trim_start_matches(' ') {
        "MiB" => Some(MIB),
        "GiB" => Some(GIB),
        "TiB" => Some(1024 * GIB),
        _ => None,
    };
    number
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit))
        .filter(|bytes| (MIN_MEMORY..=MAX_MEMORY).contains(bytes))
        .ok_or_else(|| value.unknown_word(text, ALLOWED))
}

fn label_text(value: &Value) -> Result<String, ConfigError> {
    let text = value.string("1 to 128 bytes of printable text")?;
    label::check(text).map_err(|message| value.bad(message))?;
    Ok(text.to_owned())
}

/// A guest's name is printable by itself, but may be a word that the shell keeps.
fn default_text(name: &GuestName) -> String {
    match label::check(name.as_str()) {
        Ok(()) => name.to_string(),
        Err(_) => format!("guest {name}"),
    }
}

fn label_color(value: &Value) -> Result<LabelColor, ConfigError> {
    const ALLOWED: &str = "one of red, orange, yellow, green, blue, purple, gray, black, or \"#rrggbb\"";
    let text = value.string(ALLOWED)?;
    let named = LabelColor::NAMED.into_iter().find(|color| color.name() == text);
    let color =
        named.or_else(|| hex_color(text).map(LabelColor::Custom)).ok_or_else(|| value.unknown_word(text, ALLOWED))?;
    if color.looks_like_the_host() {
        return Err(value.bad(format!("{text} is too near the white of the shell's own frame; use a darker colour")));
    }
    Ok(color)
}

fn hex_color(text: &str) -> Option<Rgb> {
    let digits = text.strip_prefix('#').filter(|d| d.len() == 6 && d.bytes().all(|b| b.is_ascii_hexdigit()))?;
    let [_, r, g, b] = u32::from_str_radix(digits, 16).ok()?.to_be_bytes();
    Some(Rgb(r, g, b))
}

/// A colour for a guest whose file names none: always the same for the same name.
fn default_color(name: &GuestName) -> LabelColor {
    let hash = name
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The last two, gray and black, are for those who ask for them: they are the least seen.
    match (hash >> 32) % 6 {
        0 => LabelColor::Red,
        1 => LabelColor::Orange,
        2 => LabelColor::Yellow,
        3 => LabelColor::Green,
        4 => LabelColor::Blue,
        _ => LabelColor::Purple,
    }
}

fn machine(root: &Table, defaults: &Defaults, direct_boot: bool) -> Result<Machine, ConfigError> {
    let table = root.table("machine", &["accel", "firmware", "tpm"])?;
    let get = |key| table.as_ref().and_then(|table| table.get(key));
    let accel = get("accel").map(|v| v.word(ACCELS)).transpose()?.unwrap_or(Accel::Auto);
    let tpm = get("tpm").map(|v| v.boolean()).transpose()?.unwrap_or(defaults.tpm);
    let default = if direct_boot { Firmware::None } else { defaults.firmware };
    let firmware = match get("firmware") {
        Some(value) => match value.word(FIRMWARES)? {
            Firmware::None if !direct_boot => {
                return Err(value.bad("“none” starts nothing without [boot]; use uefi, uefi-secure or bios"));
            }
            firmware => firmware,
        },
        None => default,
    };
    Ok(Machine { accel, firmware, tpm })
}

fn boot(table: &Table, places: &Places) -> Result<Boot, ConfigError> {
    let kernel = path(&table.need("kernel", "the path of a kernel image")?, places)?;
    let initrd = table.get("initrd").map(|v| path(&v, places)).transpose()?;
    let cmdline = match table.get("cmdline") {
        Some(value) => {
            const ALLOWED: &str = "one line of at most 2047 bytes";
            let text = value.string(ALLOWED)?;
            if text.len() > MAX_CMDLINE || text.chars().any(char::is_control) {
                return Err(value.bad(format!("the kernel cannot be given this; use {ALLOWED}")));
            }
            text.to_owned()
        }
        None => String::new(),
    };
    Ok(Boot { kernel, initrd, cmdline })
}

fn gpu(root: &Table) -> Result<Gpu, ConfigError> {
    let table = root.table("gpu", &["mode", "transport", "scanouts"])?;
    let get = |key| table.as_ref().and_then(|table| table.get(key));
    Ok(Gpu {
        mode: get("mode").map(|v| v.word(GPU_MODES)).transpose()?.unwrap_or(GpuMode::Auto),
        transport: get("transport").map(|v| v.word(TRANSPORTS)).transpose()?.unwrap_or(Transport::Auto),
        scanouts: get("scanouts").map(|v| v.integer(1..=MAX_SCANOUTS)).transpose()?.unwrap_or(1),
    })
}

fn disks(root: &Table, default_bus: DiskBus, places: &Places) -> Result<Vec<Disk>, ConfigError> {
    let mut disks: Vec<Disk> = Vec::new();
    for table in root.tables("disk", &["path", "format", "backing", "parts", "bus", "cdrom"], MAX_DISKS)? {
        let path_value = table.need("path", "the path of a disk or an ISO image")?;
        let path = path(&path_value, places)?;
        if disks.iter().any(|other| other.path == path) {
            return Err(path_value.bad("an earlier [[disk]] has this path; use each image once"));
        }
        let format_value = table.get("format");
        let format = format_value.as_ref().map(|v| v.word(DiskFormat::ALL)).transpose()?;
        let backing = paths(table.get("backing"), &path, places)?;
        let parts = paths(table.get("parts"), &path, places)?;
        let cdrom = table.get("cdrom").map(|v| v.boolean()).transpose()?.unwrap_or(false);
        let default = if cdrom { DiskBus::Sata } else { default_bus };
        let bus_value = table.get("bus");
        let bus = bus_value.as_ref().map(|v| v.word(BUSES)).transpose()?.unwrap_or(default);
        if let (true, DiskBus::Virtio | DiskBus::Nvme, Some(value)) = (cdrom, bus, &bus_value) {
            return Err(value.bad("this bus has no CD-ROMs; use sata, scsi or usb"));
        }
        disks.push(Disk { path, format, backing, parts, bus, cdrom });
        if disks.iter().filter(|disk| disk.bus == DiskBus::Sata).count() > MAX_SATA {
            return Err(
                table.bad("the machine has 6 SATA ports; use bus = \"virtio\", \"scsi\" or \"usb\" for the others")
            );
        }
    }
    Ok(disks)
}

/// The files beside the image `of`, each once.
fn paths(value: Option<Value>, of: &Path, places: &Places) -> Result<Vec<PathBuf>, ConfigError> {
    const ALLOWED: &str = "the path of an image, or a list of at most 16";
    let mut found: Vec<PathBuf> = Vec::new();
    let values = value.map(|value| value.one_or_more(MAX_CHAIN, ALLOWED)).transpose()?;
    for value in values.unwrap_or_default() {
        let path = path(&value, places)?;
        if path == of || found.contains(&path) {
            return Err(value.bad("this image is named twice; name each of the images once"));
        }
        found.push(path);
    }
    Ok(found)
}

/// A path made absolute: `~/` is the home folder, anything else that is relative stands below the disks folder.
fn path(value: &Value, places: &Places) -> Result<PathBuf, ConfigError> {
    const ALLOWED: &str = "an absolute path, ~/… or a path below the disks folder";
    let text = value.string(ALLOWED)?;
    if text.is_empty() || text.len() > MAX_PATH || text.chars().any(char::is_control) {
        return Err(value.bad(format!("this is not a path of a file; use {ALLOWED}")));
    }
    let written = Path::new(text);
    if written.is_absolute() {
        return Ok(written.to_owned());
    }
    if written.components().any(|part| part == Component::ParentDir) {
        return Err(value.bad(format!("“..” would leave the disks folder; use {ALLOWED}")));
    }
    if let Ok(below_home) = written.strip_prefix("~") {
        let home = places.home.as_ref();
        return home
            .map(|home| home.join(below_home))
            .ok_or_else(|| value.bad("HOME is not set, so that “~” stands for nothing; use an absolute path"));
    }
    Ok(places.disks_dir().join(written))
}
