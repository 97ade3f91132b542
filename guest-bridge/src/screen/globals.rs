//! What the compositor offers: its globals, the pixel formats that it takes, its outputs.
//!
//! wl_compositor, wl_shm and xdg_wm_base are necessary; everything else is used where it is there.

use super::formats::{self, MODIFIER_INVALID, MODIFIER_LINEAR};
use super::geometry::Scale;
use super::link::LinkState;
use crate::frames::PreferredMode;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use wayland_client::protocol::{wl_compositor, wl_output, wl_registry, wl_shm};
use wayland_client::{Connection, Dispatch, Proxy, QueueHandle, WEnum, delegate_noop};
use wayland_protocols::wp::fractional_scale::v1::client::wp_fractional_scale_manager_v1;
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_dmabuf_feedback_v1, zwp_linux_dmabuf_v1};
use wayland_protocols::wp::presentation_time::client::wp_presentation;
use wayland_protocols::wp::viewporter::client::wp_viewporter;
use wayland_protocols::xdg::decoration::zv1::client::zxdg_decoration_manager_v1;
use wayland_protocols::xdg::shell::client::xdg_wm_base;

/// Outputs that are remembered.
const MAX_OUTPUTS: usize = 32;
/// Layouts that are remembered of a format; drivers have a few dozens.
const MAX_MODIFIERS: usize = 256;
/// A format table has 16-bit indices and 16 bytes per entry.
const MAX_FORMAT_TABLE: usize = 16 << 16;
/// Where no output says anything.
const DEFAULT_REFRESH_MHZ: u32 = 60_000;
/// Pixels per metre that a display can have (10 to 2540 dpi); what is beyond is no size but a broken EDID.
const DENSITY: std::ops::RangeInclusive<u64> = 400..=100_000;

/// The compositor's offer.
#[derive(Debug, Default)]
pub(super) struct Globals {
    pub compositor: Option<wl_compositor::WlCompositor>,
    pub shm: Option<wl_shm::WlShm>,
    pub wm_base: Option<xdg_wm_base::XdgWmBase>,
    pub viewporter: Option<wp_viewporter::WpViewporter>,
    pub presentation: Option<wp_presentation::WpPresentation>,
    pub decorations: Option<zxdg_decoration_manager_v1::ZxdgDecorationManagerV1>,
    pub scales: Option<wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1>,
    pub dmabuf: Option<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1>,
    /// Fourccs that wl_shm takes.
    pub shm_formats: BTreeSet<u32>,
    /// Fourccs that zwp_linux_dmabuf_v1 takes, and how their pixels may be laid out.
    pub dmabuf_formats: BTreeMap<u32, Modifiers>,
    outputs: BTreeMap<u32, Output>,
    table: Vec<(u32, u64)>,
    feedback: BTreeMap<u32, Modifiers>,
}

/// Layouts that are taken of one format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Modifiers {
    linear: bool,
    implicit: bool,
    /// Drivers' own, which pictures of a renderer may have.
    others: BTreeSet<u64>,
}

impl Modifiers {
    /// How a linear buffer is to be called.
    pub fn best(&self) -> Option<u64> {
        match self {
            Self { linear: true, .. } => Some(MODIFIER_LINEAR),
            Self { implicit: true, .. } => Some(MODIFIER_INVALID),
            _ => None,
        }
    }

    /// How a buffer of this layout is to be called.
    pub fn of(&self, modifier: u64) -> Option<u64> {
        match modifier {
            MODIFIER_LINEAR => self.best(),
            MODIFIER_INVALID => self.implicit.then_some(modifier),
            other => self.others.contains(&other).then_some(other),
        }
    }

    fn add(formats: &mut BTreeMap<u32, Self>, format: u32, modifier: u64) {
        // Only what a guest can have, so that the map stays small.
        if formats::opaque(format).is_none() {
            return;
        }
        let known = formats.entry(format).or_default();
        match modifier {
            MODIFIER_LINEAR => known.linear = true,
            MODIFIER_INVALID => known.implicit = true,
            other if known.others.len() < MAX_MODIFIERS => drop(known.others.insert(other)),
            _ => {}
        }
    }
}

#[derive(Debug)]
struct Output {
    proxy: wl_output::WlOutput,
    facts: Facts,
    /// What was said since the last `done`; together it is true, half of it may not be.
    next: Facts,
}

/// What an output says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Facts {
    size_mm: (u32, u32),
    size: (u32, u32),
    refresh_mhz: u32,
    rotated: bool,
    /// 0 where it says none.
    scale: u32,
}

impl Globals {
    /// Says in one sentence what is missing.
    pub fn missing(&self) -> Option<String> {
        let missing: Vec<&str> = [
            ("wl_compositor (version 4)", self.compositor.is_none()),
            ("wl_shm", self.shm.is_none()),
            ("xdg_wm_base", self.wm_base.is_none()),
        ]
        .into_iter()
        .filter_map(|(name, missing)| missing.then_some(name))
        .collect();
        (!missing.is_empty())
            .then(|| format!("The compositor does not offer {}, so it cannot show a guest.", missing.join(", ")))
    }

    /// The mode that a surface of this size in the display's pixels, on this output (or any), asks the guest for.
    pub fn mode(&self, size: (u32, u32), output: Option<u32>) -> PreferredMode {
        let output = output.and_then(|id| self.outputs.get(&id)).or_else(|| self.outputs.values().next());
        let mut mode = PreferredMode {
            width: size.0,
            height: size.1,
            refresh_mhz: DEFAULT_REFRESH_MHZ,
            width_mm: 0,
            height_mm: 0,
        };
        let Some(facts) = output.map(|output| output.facts) else { return mode };
        if facts.refresh_mhz != 0 {
            mode.refresh_mhz = facts.refresh_mhz;
        }
        (mode.width_mm, mode.height_mm) = facts.millimetres(size);
        mode
    }

    /// The scale of this output (or any), in whole numbers: what compositors say that know of no others.
    pub fn output_scale(&self, output: Option<u32>) -> Scale {
        let output = output.and_then(|id| self.outputs.get(&id)).or_else(|| self.outputs.values().next());
        Scale::whole(output.map_or(1, |output| output.facts.scale.max(1)))
    }

    /// Which of the outputs this is.
    pub fn output_name(&self, proxy: &wl_output::WlOutput) -> Option<u32> {
        self.outputs.iter().find_map(|(name, output)| (output.proxy == *proxy).then_some(*name))
    }

    fn remove(&mut self, name: u32) {
        if let Some(output) = self.outputs.remove(&name)
            && output.proxy.version() >= 3
        {
            output.proxy.release();
        }
    }
}

impl Facts {
    /// How large so many pixels of it are; zeroes where it does not say so credibly.
    fn millimetres(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let turn = |(a, b)| if self.rotated { (b, a) } else { (a, b) };
        let (pixels, mm) = (turn(self.size), turn(self.size_mm));
        let credible = |pixels: u32, mm: u32| {
            (u64::from(pixels) * 1000).checked_div(u64::from(mm)).is_some_and(|density| DENSITY.contains(&density))
        };
        if !credible(pixels.0, mm.0) || !credible(pixels.1, mm.1) {
            return (0, 0);
        }
        (share(mm.0, width, pixels.0), share(mm.1, height, pixels.1))
    }
}

/// `part` pixels of `pixels` that are `mm` millimetres long; 0 where nobody knows.
fn share(mm: u32, part: u32, pixels: u32) -> u32 {
    let length = u64::from(mm) * u64::from(part);
    length.checked_div(u64::from(pixels)).and_then(|length| u32::try_from(length).ok()).unwrap_or(0)
}

impl Dispatch<wl_registry::WlRegistry, ()> for LinkState {
    fn event(
        state: &mut Self,
        registry: &wl_registry::WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        qh: &QueueHandle<Self>,
    ) {
        let (name, interface, version) = match event {
            wl_registry::Event::Global { name, interface, version } => (name, interface, version),
            wl_registry::Event::GlobalRemove { name } => {
                state.globals.remove(name);
                return;
            }
            _ => return,
        };
        let globals = &mut state.globals;
        match interface.as_str() {
            "wl_compositor" if globals.compositor.is_none() && version >= 4 => {
                globals.compositor = Some(registry.bind(name, version.min(5), qh, ()));
            }
            "wl_shm" if globals.shm.is_none() => globals.shm = Some(registry.bind(name, 1, qh, ())),
            "xdg_wm_base" if globals.wm_base.is_none() => {
                globals.wm_base = Some(registry.bind(name, version.min(6), qh, ()));
            }
            "wp_viewporter" if globals.viewporter.is_none() => {
                globals.viewporter = Some(registry.bind(name, 1, qh, ()));
            }
            "wp_presentation" if globals.presentation.is_none() => {
                globals.presentation = Some(registry.bind(name, 1, qh, ()));
            }
            "zxdg_decoration_manager_v1" if globals.decorations.is_none() => {
                globals.decorations = Some(registry.bind(name, 1, qh, ()));
            }
            "wp_fractional_scale_manager_v1" if globals.scales.is_none() => {
                globals.scales = Some(registry.bind(name, 1, qh, ()));
            }
            "zwp_linux_dmabuf_v1" if globals.dmabuf.is_none() && version >= 3 => {
                let dmabuf: zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1 = registry.bind(name, version.min(4), qh, ());
                if version >= 4 {
                    dmabuf.get_default_feedback(qh, ());
                }
                globals.dmabuf = Some(dmabuf);
            }
            "wl_output" if globals.outputs.len() < MAX_OUTPUTS => {
                let proxy = registry.bind(name, version.min(4), qh, name);
                globals.outputs.insert(name, Output { proxy, facts: Facts::default(), next: Facts::default() });
            }
            "wl_seat" => state.seat.bind(registry, name, version, qh),
            _ => {}
        }
    }
}

impl Dispatch<wl_output::WlOutput, u32> for LinkState {
    fn event(
        state: &mut Self,
        _: &wl_output::WlOutput,
        event: wl_output::Event,
        name: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        let Some(output) = state.globals.outputs.get_mut(name) else { return };
        let positive = |value: i32| u32::try_from(value).unwrap_or(0);
        match event {
            wl_output::Event::Geometry { physical_width, physical_height, transform, .. } => {
                output.next.size_mm = (positive(physical_width), positive(physical_height));
                output.next.rotated = matches!(
                    transform,
                    WEnum::Value(
                        wl_output::Transform::_90
                            | wl_output::Transform::_270
                            | wl_output::Transform::Flipped90
                            | wl_output::Transform::Flipped270
                    )
                );
            }
            wl_output::Event::Mode { flags: WEnum::Value(flags), width, height, refresh }
                if flags.contains(wl_output::Mode::Current) =>
            {
                output.next.size = (positive(width), positive(height));
                output.next.refresh_mhz = positive(refresh);
            }
            wl_output::Event::Scale { factor } => output.next.scale = positive(factor),
            wl_output::Event::Done => output.facts = output.next,
            _ => {}
        }
        // The first version has no `done`.
        if output.proxy.version() < 2 {
            output.facts = output.next;
        }
    }
}

impl Dispatch<wl_shm::WlShm, ()> for LinkState {
    fn event(
        state: &mut Self,
        _: &wl_shm::WlShm,
        event: wl_shm::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_shm::Event::Format { format } = event {
            let code = formats::from_shm_number(format.into());
            if formats::opaque(code).is_some() {
                state.globals.shm_formats.insert(code);
            }
        }
    }
}

impl Dispatch<xdg_wm_base::XdgWmBase, ()> for LinkState {
    fn event(
        _: &mut Self,
        wm_base: &xdg_wm_base::XdgWmBase,
        event: xdg_wm_base::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_wm_base::Event::Ping { serial } = event {
            wm_base.pong(serial);
        }
    }
}

impl Dispatch<zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1, ()> for LinkState {
    fn event(
        state: &mut Self,
        dmabuf: &zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1,
        event: zwp_linux_dmabuf_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        // From version 4 on the feedback says it.
        if let zwp_linux_dmabuf_v1::Event::Modifier { format, modifier_hi, modifier_lo } = event
            && dmabuf.version() < 4
        {
            let modifier = u64::from(modifier_hi) << 32 | u64::from(modifier_lo);
            Modifiers::add(&mut state.globals.dmabuf_formats, format, modifier);
        }
    }
}

impl Dispatch<zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1, ()> for LinkState {
    fn event(
        state: &mut Self,
        _: &zwp_linux_dmabuf_feedback_v1::ZwpLinuxDmabufFeedbackV1,
        event: zwp_linux_dmabuf_feedback_v1::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwp_linux_dmabuf_feedback_v1::Event;
        let globals = &mut state.globals;
        match event {
            Event::FormatTable { fd, size } => match read_format_table(fd, size) {
                Ok(table) => globals.table = table,
                Err(error) => {
                    tracing::warn!(%error, "the compositor's table of dmabuf formats cannot be read; shared memory is used");
                    globals.table.clear();
                }
            },
            Event::TrancheFormats { indices } => {
                for index in indices.as_chunks::<2>().0 {
                    if let Some((format, modifier)) = globals.table.get(usize::from(u16::from_ne_bytes(*index))) {
                        Modifiers::add(&mut globals.feedback, *format, *modifier);
                    }
                }
            }
            Event::Done => globals.dmabuf_formats = std::mem::take(&mut globals.feedback),
            _ => {}
        }
    }
}

/// Reads the table without mapping it: whoever made it may shrink it at any time.
fn read_format_table(fd: OwnedFd, size: u32) -> std::io::Result<Vec<(u32, u64)>> {
    let size = usize::try_from(size).unwrap_or(usize::MAX).min(MAX_FORMAT_TABLE);
    let mut bytes = vec![0; size];
    File::from(fd).read_exact_at(&mut bytes, 0)?;
    let entries = bytes.as_chunks::<16>().0.iter();
    Ok(entries
        .map(|entry| {
            let [f0, f1, f2, f3, _, _, _, _, modifier @ ..] = *entry;
            (u32::from_ne_bytes([f0, f1, f2, f3]), u64::from_ne_bytes(modifier))
        })
        .collect())
}

delegate_noop!(LinkState: ignore wl_compositor::WlCompositor);
delegate_noop!(LinkState: ignore wp_presentation::WpPresentation);
delegate_noop!(LinkState: wp_viewporter::WpViewporter);
delegate_noop!(LinkState: zxdg_decoration_manager_v1::ZxdgDecorationManagerV1);
delegate_noop!(LinkState: wp_fractional_scale_manager_v1::WpFractionalScaleManagerV1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn millimetres_are_shared_out_by_pixels() {
        assert_eq!(share(600, 960, 1920), 300);
        assert_eq!(share(600, 960, 0), 0);
        assert_eq!(share(u32::MAX, u32::MAX, 1), 0);
    }

    #[test]
    fn an_area_has_its_share_of_a_credible_display_only() {
        let display = Facts { size_mm: (600, 340), size: (1920, 1080), refresh_mhz: 60_000, ..Facts::default() };
        assert_eq!(display.millimetres((1912, 1048)), (597, 329));
        let turned = Facts { rotated: true, ..display };
        assert_eq!(turned.millimetres((1072, 1888)), (337, 590));
        for size_mm in [(0, 0), (0, 340), (600, 0), (1, 1), (u32::MAX, u32::MAX)] {
            assert_eq!(Facts { size_mm, ..display }.millimetres((1912, 1048)), (0, 0), "{size_mm:?}");
        }
        assert_eq!(Facts { size: (0, 0), ..display }.millimetres((1912, 1048)), (0, 0));
        assert_eq!(display.millimetres((u32::MAX, 1)).1, 0);
    }

    #[test]
    fn a_format_table_is_read_or_refused() {
        let mut file = tempfile::tempfile().unwrap();
        let mut entry = Vec::from(formats::XRGB8888.to_ne_bytes());
        entry.extend([0; 4]);
        entry.extend(MODIFIER_INVALID.to_ne_bytes());
        file.write_all(&entry).unwrap();
        let fd = || OwnedFd::from(file.try_clone().unwrap());
        assert_eq!(read_format_table(fd(), 16).unwrap(), [(formats::XRGB8888, MODIFIER_INVALID)]);
        assert!(read_format_table(fd(), u32::MAX).is_err(), "longer than the file");
        let (reader, _writer) = std::os::unix::net::UnixStream::pair().unwrap();
        assert!(read_format_table(reader.into(), 16).is_err(), "not a file");
    }

    #[test]
    fn linear_is_preferred_and_other_layouts_are_called_by_their_names() {
        let mut formats = BTreeMap::new();
        let tiled = 0x0100_0000_0000_0001;
        Modifiers::add(&mut formats, formats::XRGB8888, tiled);
        let xrgb = |formats: &BTreeMap<u32, Modifiers>, layout| formats[&formats::XRGB8888].of(layout);
        assert_eq!((xrgb(&formats, tiled), xrgb(&formats, MODIFIER_LINEAR)), (Some(tiled), None));
        Modifiers::add(&mut formats, formats::XRGB8888, MODIFIER_INVALID);
        assert_eq!(xrgb(&formats, MODIFIER_LINEAR), Some(MODIFIER_INVALID));
        assert_eq!(xrgb(&formats, MODIFIER_INVALID), Some(MODIFIER_INVALID));
        Modifiers::add(&mut formats, formats::XRGB8888, MODIFIER_LINEAR);
        assert_eq!(xrgb(&formats, MODIFIER_LINEAR), Some(MODIFIER_LINEAR));
        assert_eq!(xrgb(&formats, tiled + 1), None);
        for modifier in 1000..3000 {
            Modifiers::add(&mut formats, formats::XRGB8888, modifier);
            Modifiers::add(&mut formats, modifier as u32, modifier);
        }
        assert_eq!((formats.len(), formats[&formats::XRGB8888].others.len()), (1, MAX_MODIFIERS));
    }
}
