//! Keys, pointer buttons and the wheel, by the whole shell, with two guests that listen: each hears presses and
//! releases in pairs, only while it has the keys, and holds nothing at the end.
//!
//! An input is one step after another: a byte that says which key or what else, and one that says press or release.

use crate::Bytes;
use crate::shell::{Client, Heard, Shell, memory, name, string};
use phyllome_compositor::backend::input::DeviceInput;
use phyllome_trusted::codes::*;
use std::cell::RefCell;

const MOST_STEPS: usize = 400;

/// The keys after the [`MODIFIERS`].
const OTHERS: [u32; 16] = [MENU, TAB, ESC, ONE, 3, A, 32, 38, DOWN, F1, F12, 14, ENTER, S, K, 119];

const BUTTON: u32 = 0x110;

thread_local! {
    static SHELL: RefCell<Option<(Shell, [Client; 2])>> = const { RefCell::new(None) };
}

/// A client with a scanout and a keyboard.
fn listening(shell: &mut Shell, guest: &str) -> Client {
    let mut client = Client::new(shell, guest);
    let bound = ["wl_compositor", "wl_shm", "xdg_wm_base", "wl_seat"].map(|interface| client.bind(interface, 4));
    let [Some(compositor), Some(shm), Some(base), Some(seat)] = bound else {
        panic!("no globals: {:?}", client.globals)
    };
    let [keyboard, surface, xdg, toplevel, pool, buffer] = [(); 6].map(|()| client.id());
    client.keyboard = Some(keyboard);
    client.words(seat, 1, &[keyboard]);
    client.words(compositor, 0, &[surface]);
    client.words(base, 2, &[xdg, surface]);
    client.words(xdg, 1, &[toplevel]);
    client.request(toplevel, 3, &string(b"phyllome.scanout.0"));
    client.words(surface, 6, &[]);
    for _ in 0..1000 {
        client.exchange(shell);
        if client.serial != 0 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    client.words(xdg, 4, &[client.serial]);
    client.file(memory(1 << 18, true).expect("memory"));
    client.words(shm, 0, &[pool, 1 << 18]);
    client.words(pool, 0, &[buffer, 0, 200, 200, 1024, 1]);
    client.words(surface, 1, &[buffer, 0, 0]);
    client.words(surface, 6, &[]);
    client.exchange(shell);
    client
}

/// Types, and looks at what both guests heard.
pub fn run(data: &[u8]) {
    let (mut shell, mut clients) = SHELL.take().unwrap_or_else(|| {
        let mut shell = Shell::new();
        let clients = [listening(&mut shell, "red"), listening(&mut shell, "blue")];
        (shell, clients)
    });
    let mut bytes = Bytes::new(data);
    let mut time_ms = 0;
    while !bytes.is_empty() && time_ms < MOST_STEPS as u32 {
        time_ms += 1;
        let (which, down) = (usize::from(bytes.u8()) % 32, bytes.u8());
        let pressed = down & 1 == 1;
        shell.state.device_input(match which {
            24 => DeviceInput::Lost { time_ms },
            25 => DeviceInput::Button { code: BUTTON, pressed, time_ms },
            26 => DeviceInput::Wheel { horizontal: 0.0, vertical: f64::from(down), time_ms },
            27 => DeviceInput::Motion { x: f64::from(down), y: 100.0, time_ms },
            28.. => {
                shell.turn();
                continue;
            }
            at => {
                let code = MODIFIERS.iter().chain(&OTHERS).nth(at).copied().expect("a key");
                DeviceInput::Key { code, pressed, time_ms }
            }
        });
    }
    shell.state.device_input(DeviceInput::Lost { time_ms: time_ms + 1 });
    shell.begin_anew();
    // Red has the keys now, and nobody holds any.
    for client in &mut clients {
        for _ in 0..2 {
            assert!(client.exchange(&mut shell), "a guest that only listens was cut");
        }
        heard_in_pairs(&std::mem::take(&mut client.heard));
    }
    SHELL.set(Some((shell, clients)));
    assert!(name("red") != name("blue"));
}

/// Every press has its release, and there is nothing but between `enter` and `leave`.
fn heard_in_pairs(heard: &[Heard]) {
    let mut held: Vec<u32> = Vec::new();
    for event in heard {
        match *event {
            Heard::Enter | Heard::Leave => assert!(held.is_empty(), "{held:?} is held over a switch: {heard:?}"),
            Heard::Key(code, true) => {
                assert!(!held.contains(&code), "{code} is pressed twice: {heard:?}");
                held.push(code);
            }
            Heard::Key(code, false) => {
                let at = held.iter().position(|held| *held == code);
                held.remove(at.unwrap_or_else(|| panic!("{code} is released and was not pressed: {heard:?}")));
            }
        }
    }
    assert!(held.is_empty(), "{held:?} is held at the end: {heard:?}");
}

/// Typing, each chord, the panel, a switch with keys down.
pub fn seeds() -> Vec<Vec<u8>> {
    let down = |at: u8| [at, 1];
    let up = |at: u8| [at, 0];
    let typed = |keys: &[u8]| {
        [keys.iter().flat_map(|at| down(*at)).collect::<Vec<_>>(), keys.iter().rev().flat_map(|at| up(*at)).collect()]
            .concat()
    };
    vec![
        typed(&[13]),
        [typed(&[0, 11]), typed(&[13]), typed(&[0, 12]), typed(&[13, 2, 4])].concat(),
        [typed(&[0, 9]), vec![28, 0], typed(&[0, 2, 9])].concat(),
        [typed(&[0, 10]), typed(&[16]), typed(&[20]), vec![28, 0], typed(&[0, 10])].concat(),
        [down(13).to_vec(), down(4).to_vec(), typed(&[0, 12]), up(13).to_vec(), up(4).to_vec()].concat(),
        [down(0).to_vec(), vec![26, 1, 25, 1, 25, 0], typed(&[13]), up(0).to_vec(), vec![24, 0]].concat(),
        [typed(&[4, 6, 17]), typed(&[0, 15]), vec![27, 50, 27, 200]].concat(),
    ]
}
