//! shell.toml's wishes told to libinput's devices. A device that has no such setting refuses, and nothing comes of it.

use phyllome_config::input::{Click, InputConfig, Profile, Scroll};
use smithay::reexports::input::{AccelProfile, ClickMethod, Device, ScrollMethod};

/// Sets a device that was plugged in.
pub(super) fn apply(device: &mut Device, config: &InputConfig) {
    // Only touchpads know taps.
    let touchpad = device.config_tap_finger_count() > 0;
    let (natural, left_handed, speed) = if touchpad {
        let wanted = &config.touchpad;
        let _ = device.config_tap_set_enabled(wanted.tap);
        let _ = device.config_dwt_set_enabled(wanted.disable_while_typing);
        if let Some(scroll) = wanted.scroll {
            let _ = device.config_scroll_set_method(match scroll {
                Scroll::TwoFinger => ScrollMethod::TwoFinger,
                Scroll::Edge => ScrollMethod::Edge,
                Scroll::None => ScrollMethod::NoScroll,
            });
        }
        if let Some(click) = wanted.click {
            let _ = device.config_click_set_method(match click {
                Click::Areas => ClickMethod::ButtonAreas,
                Click::Fingers => ClickMethod::Clickfinger,
            });
        }
        (wanted.natural_scroll, wanted.left_handed, wanted.acceleration)
    } else {
        let wanted = &config.pointer;
        if let Some(profile) = wanted.profile {
            let _ = device.config_accel_set_profile(match profile {
                Profile::Flat => AccelProfile::Flat,
                Profile::Adaptive => AccelProfile::Adaptive,
            });
        }
        (wanted.natural_scroll, wanted.left_handed, wanted.acceleration)
    };
    let _ = device.config_scroll_set_natural_scroll_enabled(natural);
    let _ = device.config_left_handed_set(left_handed);
    if let Some(speed) = speed {
        let _ = device.config_accel_set_speed(speed);
    }
}
