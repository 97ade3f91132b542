//! The arguments of a played guest: those of QEMU, of which it takes what concerns it and passes over the rest.
//!
//! Pure. A guest is played when its kernel's command line says `phyllome.played=1`; the other words are the tiny
//! guests' own.

use phyllome_test_guests::{Mode, words};
use std::collections::BTreeMap;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::time::Duration;

/// The word that makes a guest a played one.
pub const PLAYED: &str = "phyllome.played=1";

/// Names the version of the QEMU that is played; from 11.0.0 on it has the generic device.
pub const VERSION_VARIABLE: &str = "PHYLLOME_PLAYED_QEMU";

/// What a guest's pictures are made of: `phyllome.memory=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// A classic 2D resource, whose pixels are transferred.
    #[default]
    Classic,
    /// `blob`: a blob of guest memory in many pieces that are in no order, with rows that are longer than the picture
    /// is wide, and a
    /// first pixel that is not at the beginning.
    Blob,
    /// `3d`: a texture. Its pixels are transferred, after it was cleared by a context.
    Texture {
        /// `3d-bottom-up`: kept upside down by the renderer (VIRTIO_GPU_RESOURCE_FLAG_Y_0_TOP), which nobody may see.
        bottom_up: bool,
    },
}

impl Memory {
    fn from_word(word: &str) -> Option<Self> {
        match word {
            "blob" => Some(Self::Blob),
            "3d" => Some(Self::Texture { bottom_up: false }),
            "3d-bottom-up" => Some(Self::Texture { bottom_up: true }),
            _ => None,
        }
    }
}

/// All that matters of the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Drawn large.
    pub name: String,
    /// The ground of the picture.
    pub color: [u8; 3],
    /// What it does, of what the tiny guests do; for the others the picture stands still. [`Mode::Flip`]: each picture
    /// is flushed as soon as the one before is presented.
    pub mode: Mode,
    /// Time between two pictures of [`Mode::Animate`]: `phyllome.pace=` in milliseconds.
    pub pace: Duration,
    /// What its pictures are made of.
    pub memory: Memory,
    /// The FIFO of [`super::orders`]: `phyllome.orders=`.
    pub orders: Option<PathBuf>,
    /// The pixel that points of the pointer of [`super::pointer`] that each scanout has: `phyllome.pointer=X,Y`.
    pub pointer: Option<(u32, u32)>,
    /// Number of scanouts.
    pub scanouts: u32,
    /// Whether there is a D-Bus display.
    pub dbus: bool,
    /// The inherited vhost-user socket.
    pub gpu: RawFd,
    /// The inherited QMP socket.
    pub qmp: RawFd,
    /// The inherited end of the serial port.
    pub serial: Option<RawFd>,
}

impl Options {
    /// Reads QEMU's arguments. `Ok(None)`: this guest is not to be played. The error is one sentence.
    pub fn parse(arguments: &[String]) -> Result<Option<Self>, String> {
        let after = |option: &str| {
            let at = arguments.iter().position(|word| word == option)?;
            arguments.get(at + 1).map(String::as_str)
        };
        let words: Vec<&str> = after("-append").unwrap_or_default().split_whitespace().collect();
        if !words.contains(&PLAYED) {
            return Ok(None);
        }
        let word = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
        let sockets: BTreeMap<&str, RawFd> = pairs(arguments, "-chardev").filter_map(socket).collect();
        let socket = |id: &str| sockets.get(id).copied();
        let missing = |what: &str| format!("a played guest needs -chardev socket,id={what},fd=N");
        let device = pairs(arguments, "-device").find(|value| value.starts_with("vhost-user-gpu-pci"));
        let outputs = device.and_then(|device| field(device, "max_outputs")).and_then(|text| text.parse().ok());
        Ok(Some(Self {
            name: word("phyllome.name").unwrap_or("guest").to_owned(),
            color: word("phyllome.color").and_then(words::color).unwrap_or([0x75; 3]),
            mode: word("phyllome.mode").and_then(Mode::from_word).unwrap_or(Mode::Prompt),
            pace: Duration::from_millis(word("phyllome.pace").and_then(|ms| ms.parse().ok()).unwrap_or(33)),
            memory: word("phyllome.memory").and_then(Memory::from_word).unwrap_or_default(),
            orders: word("phyllome.orders").map(PathBuf::from),
            pointer: word("phyllome.pointer")
                .and_then(|hot| hot.split_once(','))
                .and_then(|(x, y)| Some((x.parse().ok()?, y.parse().ok()?))),
            scanouts: outputs.unwrap_or(1).clamp(1, 16),
            dbus: after("-display").is_some_and(|display| display.starts_with("dbus")),
            gpu: socket("gpu0").ok_or_else(|| missing("gpu0"))?,
            qmp: socket("qmp").ok_or_else(|| missing("qmp"))?,
            serial: socket("serial0"),
        }))
    }
}

fn pairs<'a>(arguments: &'a [String], option: &'a str) -> impl Iterator<Item = &'a str> {
    arguments.windows(2).filter(move |pair| pair[0] == option).map(|pair| pair[1].as_str())
}

fn field<'a>(value: &'a str, key: &str) -> Option<&'a str> {
    value.split(',').find_map(|part| part.strip_prefix(key)?.strip_prefix('='))
}

fn socket(value: &str) -> Option<(&str, RawFd)> {
    value.strip_prefix("socket,")?;
    Some((field(value, "id")?, field(value, "fd")?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(append: &str) -> Vec<String> {
        let line = "-nodefaults -display dbus,p2p=yes -chardev socket,id=qmp,fd=101 -mon chardev=qmp,mode=control \
                    -chardev socket,id=serial0,fd=102 -chardev socket,id=gpu0,fd=100 -device virtio-keyboard-pci \
                    -device vhost-user-gpu-pci,id=gpu,chardev=gpu0,max_outputs=2 -append";
        line.split_whitespace().map(str::to_owned).chain([append.to_owned()]).collect()
    }

    #[test]
    fn what_concerns_the_guest_is_found_among_qemus_arguments() {
        let line = "console=ttyS0 phyllome.name=work phyllome.color=blue phyllome.mode=animate \
                    phyllome.pointer=3,60 phyllome.played=1";
        let options = Options::parse(&arguments(line)).unwrap().unwrap();
        let expected = Options {
            name: "work".into(),
            color: [0x15, 0x65, 0xc0],
            mode: Mode::Animate,
            pace: Duration::from_millis(33),
            memory: Memory::Classic,
            orders: None,
            pointer: Some((3, 60)),
            scanouts: 2,
            dbus: true,
            gpu: 100,
            qmp: 101,
            serial: Some(102),
        };
        assert_eq!(options, expected);
    }

    #[test]
    fn a_picture_s_memory_is_a_word() {
        let memory = |word: &str| {
            let line = format!("{PLAYED} phyllome.memory={word}");
            Options::parse(&arguments(&line)).unwrap().unwrap().memory
        };
        assert_eq!([memory("blob"), memory("what")], [Memory::Blob, Memory::Classic]);
        assert_eq!(memory("3d"), Memory::Texture { bottom_up: false });
        assert_eq!(memory("3d-bottom-up"), Memory::Texture { bottom_up: true });
    }

    #[test]
    fn a_guest_that_is_to_run_for_real_is_left_alone() {
        assert_eq!(Options::parse(&arguments("phyllome.name=work")), Ok(None));
        assert_eq!(Options::parse(&[]), Ok(None));
        assert!(Options::parse(&["-append".into(), PLAYED.into()]).unwrap_err().contains("gpu0"));
    }
}
