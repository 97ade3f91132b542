//! Bytes and descriptors on a guest's Wayland connection: whatever comes, the keys stay where they were, the band stays
//! as it was, and the shell goes on.
//!
//! An input is one step after another: binding a global, a request made of arguments that are mostly right, raw bytes,
//! a descriptor, a turn of the shell's loop.

use crate::Bytes;
use crate::shell::{Client, Shell, has_panicked, memory, name, string};
use std::cell::RefCell;
use std::os::fd::OwnedFd;

const MOST_STEPS: usize = 200;

const INTERFACES: [&str; 9] = [
    "wl_compositor",
    "wl_shm",
    "xdg_wm_base",
    "wl_seat",
    "wl_output",
    "zwp_linux_dmabuf_v1",
    "wp_presentation",
    "wp_viewporter",
    "wp_linux_drm_syncobj_manager_v1",
];

const TURN: u8 = 0;
const BIND: u8 = 1;
const REQUEST: u8 = 2;
const BYTES: u8 = 3;
const FILE: u8 = 4;

/// An argument: a small number, a new id, any number, the serial of the last configure, a text.
const SMALL: u8 = 0;
const NEW: u8 = 1;
const ANY: u8 = 2;
const SERIAL: u8 = 3;
const TEXT: u8 = 4;

thread_local! {
    static SHELL: RefCell<Option<(Shell, Vec<u8>)>> = const { RefCell::new(None) };
}

/// One connection of “red”, which is in front.
pub fn run(data: &[u8]) {
    // A shell in which something has panicked is not used again.
    let mut taken = SHELL.take().unwrap_or_else(|| {
        let mut shell = Shell::new();
        let band = shell.band();
        (shell, band)
    });
    let (shell, band) = &mut taken;
    let mut client = Client::new(shell, "red");
    let mut bytes = Bytes::new(data);
    let mut left = MOST_STEPS;
    while !bytes.is_empty() && left > 0 && step(&mut bytes, &mut client, shell) {
        left -= 1;
    }
    client.exchange(shell);
    assert!(!has_panicked(), "the shell has panicked, even if it goes on");
    assert_eq!(shell.state.shell.keyboard_owner(), Some(name("red")), "a client moved the keys");
    assert!(shell.band() == *band, "a client changed the band");
    drop(client);
    shell.state.detach_guest_client(&name("red"));
    shell.turn();
    SHELL.set(Some(taken));
}

fn step(bytes: &mut Bytes<'_>, client: &mut Client, shell: &mut Shell) -> bool {
    match bytes.u8() % 5 {
        BIND => {
            let interface = INTERFACES[usize::from(bytes.u8()) % INTERFACES.len()];
            client.bind(interface, u32::from(bytes.u8()));
        }
        REQUEST => {
            let (object, opcode, count) = (u32::from(bytes.u8()), u16::from(bytes.u8()), bytes.u8() % 12);
            let arguments: Vec<u8> = (0..count).flat_map(|_| argument(bytes, client)).collect();
            client.request(object, opcode, &arguments);
        }
        BYTES => {
            let length = usize::from(bytes.u8());
            client.bytes(bytes.take(length));
        }
        FILE => {
            let kind = bytes.u8();
            if let Some(file) = file(kind, bytes.u8()) {
                client.file(file);
            }
        }
        TURN.. => return client.exchange(shell),
    }
    true
}

fn argument(bytes: &mut Bytes<'_>, client: &mut Client) -> Vec<u8> {
    let word = match bytes.u8() % 5 {
        SMALL => u32::from(bytes.u8()),
        NEW => client.id(),
        ANY => bytes.u32(),
        SERIAL => client.serial,
        TEXT.. => {
            let length = usize::from(bytes.u8());
            return string(bytes.take(length));
        }
    };
    word.to_le_bytes().to_vec()
}

/// Of a size in pages.
fn file(kind: u8, pages: u8) -> Option<OwnedFd> {
    let bytes = u64::from(pages) << 12;
    match kind % 6 {
        0 | 1 => memory(bytes, true),
        2 => memory(bytes, false),
        3 => rustix::pipe::pipe().ok().map(|(reader, _)| reader),
        4 => std::fs::File::open("/dev/null").ok().map(OwnedFd::from),
        _ => std::fs::File::open("/").ok().map(OwnedFd::from),
    }
}

fn request(object: u8, opcode: u8, arguments: &[&[u8]]) -> Vec<u8> {
    [&[REQUEST, object, opcode, arguments.len() as u8], &arguments.concat()[..]].concat()
}

/// A scanout with a buffer; a cursor; dmabufs that are none; roles that contradict one another.
pub fn seeds() -> Vec<Vec<u8>> {
    let bind = |interface: u8, version: u8| vec![BIND, interface, version];
    let new: &[u8] = &[NEW];
    fn small(number: u8) -> [u8; 2] {
        [SMALL, number]
    }
    fn any(number: u32) -> Vec<u8> {
        [&[ANY][..], &number.to_le_bytes()].concat()
    }
    let text = |text: &str| [&[TEXT, text.len() as u8], text.as_bytes()].concat();
    let (compositor, shm, base, surface, xdg, toplevel, pool, buffer) = (3, 4, 5, 6, 7, 8, 9, 10);
    let scanout = [
        bind(0, 4),
        bind(1, 1),
        bind(2, 6),
        request(compositor, 0, &[new]),
        request(base, 2, &[new, &small(surface)]),
        request(xdg, 1, &[new]),
        request(toplevel, 3, &[&text("phyllome.scanout.0")]),
        request(surface, 6, &[]),
        vec![TURN],
        request(xdg, 4, &[&[SERIAL]]),
        vec![FILE, 0, 64],
        request(shm, 0, &[new, &any(64 << 12)]),
        request(pool, 0, &[new, &small(0), &small(200), &small(200), &any(1024), &small(1)]),
        request(surface, 1, &[&small(buffer), &small(0), &small(0)]),
        request(surface, 9, &[&small(0), &small(0), &small(200), &small(200)]),
        request(surface, 3, &[new]),
        request(surface, 6, &[]),
        vec![TURN],
    ]
    .concat();
    let resized = [
        request(pool, 2, &[&any(128 << 12)]),
        request(pool, 0, &[new, &any(64 << 12), &small(100), &small(50), &any(512), &small(0)]),
        request(surface, 1, &[&small(12), &small(0), &small(0)]),
        request(surface, 8, &[&small(2)]),
        request(surface, 7, &[&small(3)]),
        request(surface, 6, &[]),
        vec![TURN],
        request(surface, 0, &[]),
        vec![TURN],
    ]
    .concat();
    let pointer = [
        bind(3, 7),
        request(12, 0, &[new]),
        request(compositor, 0, &[new]),
        request(13, 0, &[&small(1), &small(14), &small(3), &small(4)]),
        request(14, 1, &[&small(buffer), &small(0), &small(0)]),
        request(14, 6, &[]),
        vec![TURN],
    ]
    .concat();
    let viewport = [
        bind(7, 1),
        request(12, 1, &[new, &small(surface)]),
        request(13, 1, &[&any(0), &any(0), &any(100 << 8), &any(50 << 8)]),
        request(13, 2, &[&small(30), &small(40)]),
        bind(6, 1),
        request(14, 1, &[&small(surface), new]),
        request(surface, 6, &[]),
        vec![TURN],
    ]
    .concat();
    let dmabuf = [
        bind(5, 4),
        request(3, 1, &[new]),
        vec![FILE, 3, 0],
        request(4, 1, &[&small(0), &small(0), &any(512), &small(0), &small(0)]),
        request(4, 3, &[new, &small(100), &small(50), &any(0x3432_5258), &small(0)]),
        request(3, 2, &[new]),
        vec![TURN],
    ]
    .concat();
    let raw =
        [vec![BYTES, 12], [1, 12 << 16, 3].iter().flat_map(|word: &u32| word.to_le_bytes()).collect(), vec![TURN]];
    vec![
        [scanout.clone(), resized].concat(),
        [scanout.clone(), pointer].concat(),
        [scanout.clone(), viewport].concat(),
        [scanout, dmabuf.clone()].concat(),
        dmabuf,
        raw.concat(),
    ]
}
