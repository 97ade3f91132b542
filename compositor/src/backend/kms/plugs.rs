//! What is plugged into a device: its connectors as the kernel tells of them.
//!
//! Monitors are not trusted: names, modes and sizes are the kernel's, an EDID is bytes that are looked at elsewhere.

use super::modes::ModeInfo;
use smithay::reexports::drm::control::connector::State;
use smithay::reexports::drm::control::{Device, Mode, ModeFlags, ModeTypeFlags, connector, crtc};
use std::io;

/// One connector.
#[derive(Clone, Debug, PartialEq)]
pub struct Plug {
    /// The kernel's name, such as `HDMI-A-1`.
    pub name: String,
    /// The connector.
    pub connector: connector::Handle,
    /// A display that can be lit is plugged in.
    pub connected: bool,
    /// What the display can do.
    pub modes: Vec<Mode>,
    /// What can feed it.
    pub crtcs: Vec<crtc::Handle>,
    /// Width and height in millimetres; 0 where unknown.
    pub millimetres: (u32, u32),
    /// What the display says of itself; empty where it says nothing.
    pub edid: Vec<u8>,
}

/// Asks a device for all of its connectors; this makes the kernel look what is plugged in.
pub fn plugs(device: &impl Device) -> io::Result<Vec<Plug>> {
    let resources = device.resource_handles()?;
    let mut plugs = Vec::new();
    for handle in resources.connectors() {
        let Ok(info) = device.get_connector(*handle, true) else { continue };
        let mut crtcs: Vec<crtc::Handle> = Vec::new();
        for encoder in info.encoders().iter().filter_map(|encoder| device.get_encoder(*encoder).ok()) {
            for crtc in resources.filter_crtcs(encoder.possible_crtcs()) {
                if !crtcs.contains(&crtc) {
                    crtcs.push(crtc);
                }
            }
        }
        let (edid, non_desktop) = properties(device, *handle);
        plugs.push(Plug {
            name: format!("{}-{}", info.interface().as_str(), info.interface_id()),
            connector: *handle,
            connected: info.state() == State::Connected && !non_desktop,
            modes: info.modes().to_vec(),
            crtcs,
            millimetres: info.size().unwrap_or_default(),
            edid,
        });
    }
    Ok(plugs)
}

/// The EDID, and whether it is something that is worn on a head and no display of a desktop.
fn properties(device: &impl Device, connector: connector::Handle) -> (Vec<u8>, bool) {
    let mut found = (Vec::new(), false);
    let Ok(properties) = device.get_properties(connector) else { return found };
    for (property, value) in &properties {
        let Ok(info) = device.get_property(*property) else { continue };
        match info.name().to_bytes() {
            b"EDID" if *value != 0 => found.0 = device.get_property_blob(*value).unwrap_or_default(),
            b"non-desktop" => found.1 = *value != 0,
            _ => {}
        }
    }
    found
}

/// The refresh rate in millihertz.
pub fn refresh_mhz(mode: &Mode) -> u32 {
    let (_, _, total_width) = mode.hsync();
    let (_, _, total_height) = mode.vsync();
    let pixels = u64::from(total_width) * u64::from(total_height);
    if pixels == 0 {
        return mode.vrefresh().saturating_mul(1000);
    }
    u32::try_from((u64::from(mode.clock()) * 1_000_000 + pixels / 2) / pixels).unwrap_or(u32::MAX)
}

/// Modes in words of [`super::modes`].
pub fn mode_infos(modes: &[Mode]) -> Vec<ModeInfo> {
    let info = |(index, mode): (usize, &Mode)| {
        let (width, height) = mode.size();
        ModeInfo {
            width: u32::from(width),
            height: u32::from(height),
            refresh_mhz: refresh_mhz(mode),
            preferred: mode.mode_type().contains(ModeTypeFlags::PREFERRED),
            interlaced: mode.flags().contains(ModeFlags::INTERLACE),
            index,
        }
    };
    modes.iter().enumerate().map(info).collect()
}
