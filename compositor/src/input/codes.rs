//! The few evdev codes that the shell itself knows (linux/input-event-codes.h).

use phyllome_protocol::Slot;

/// The last key code of the kernel (KEY_MAX).
pub const LAST: u32 = 0x2ff;
/// KEY_ESC.
pub const ESC: u32 = 1;
/// KEY_1; KEY_2 to KEY_9 follow.
pub const ONE: u32 = 2;
/// KEY_9.
pub const NINE: u32 = 10;
/// KEY_TAB.
pub const TAB: u32 = 15;
/// KEY_Y.
pub const Y: u32 = 21;
/// KEY_R.
pub const R: u32 = 19;
/// KEY_P.
pub const P: u32 = 25;
/// KEY_ENTER.
pub const ENTER: u32 = 28;
/// KEY_LEFTCTRL.
pub const LEFT_CTRL: u32 = 29;
/// KEY_S.
pub const S: u32 = 31;
/// KEY_K.
pub const K: u32 = 37;
/// KEY_LEFTSHIFT.
pub const LEFT_SHIFT: u32 = 42;
/// KEY_N.
pub const N: u32 = 49;
/// KEY_RIGHTSHIFT.
pub const RIGHT_SHIFT: u32 = 54;
/// KEY_LEFTALT.
pub const LEFT_ALT: u32 = 56;
/// KEY_KPENTER.
pub const KP_ENTER: u32 = 96;
/// KEY_RIGHTCTRL.
pub const RIGHT_CTRL: u32 = 97;
/// KEY_RIGHTALT.
pub const RIGHT_ALT: u32 = 100;
/// KEY_HOME.
pub const HOME: u32 = 102;
/// KEY_UP.
pub const UP: u32 = 103;
/// KEY_END.
pub const END: u32 = 107;
/// KEY_DOWN.
pub const DOWN: u32 = 108;
/// KEY_LEFTMETA.
pub const LEFT_META: u32 = 125;
/// KEY_RIGHTMETA.
pub const RIGHT_META: u32 = 126;

/// Whether the key is a Super key.
pub fn is_super(code: u32) -> bool {
    matches!(code, LEFT_META | RIGHT_META)
}

/// Whether the key is a Shift key.
pub fn is_shift(code: u32) -> bool {
    matches!(code, LEFT_SHIFT | RIGHT_SHIFT)
}

/// Whether the key is Super, Shift, Ctrl or Alt: held for the sake of another key.
pub fn is_modifier(code: u32) -> bool {
    is_super(code) || is_shift(code) || matches!(code, LEFT_CTRL | RIGHT_CTRL | LEFT_ALT | RIGHT_ALT)
}

/// The slot of a digit in the upper row.
pub fn chord_digit(code: u32) -> Option<Slot> {
    (ONE..=NINE).contains(&code).then(|| Slot::new(i64::from(code - ONE + 1))).flatten()
}
