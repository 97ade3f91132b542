//! One output: its size, its place among the others, its frame, and the `wl_output` that guests see.
//!
//! Guests learn its size and that somebody made it, nothing of how it is turned, scaled or called by its maker.

use super::arrange;
use phyllome_trusted::frame::geometry::{Layout, layout};
use smithay::output::{Mode, Output as WaylandOutput, PhysicalProperties, Scale, Subpixel};
use smithay::reexports::wayland_server::backend::GlobalId;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{DisplayHandle, Resource};
use smithay::utils::Transform;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU32, Ordering};

/// An output, for as long as it is plugged in; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(u32);

impl OutputId {
    /// One that no output has had.
    pub fn unique() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Through which plane of the display a guest's pixels go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plane {
    /// Drawn into the shell's own picture.
    #[default]
    Composited,
    /// The guest's buffer is read by the display from an overlay plane.
    Overlay,
}

impl Plane {
    /// The word in `phyllome status`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Composited => "composited",
            Self::Overlay => "overlay",
        }
    }
}

/// What is known of an output when it appears. Sizes are physical pixels.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputInfo {
    /// Connector name.
    pub name: String,
    /// Maker, model and serial, as the display says them itself: printable, at most 64 bytes.
    pub identity: Option<String>,
    /// Width and height of what is drawn: the mode's, turned as `transform` says.
    pub size: (u32, u32),
    /// Scale of the shell's own surfaces.
    pub scale: f64,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// How what is drawn is turned on its way to the display. Guests never hear of it.
    pub transform: Transform,
    /// Millimetres, turned like `size`; 0 where unknown.
    pub millimetres: (u32, u32),
}

impl OutputInfo {
    /// A display of unknown extent, not turned.
    pub fn plain(name: String, size: (u32, u32), scale: f64, refresh_mhz: u32) -> Self {
        Self { name, identity: None, size, scale, refresh_mhz, transform: Transform::Normal, millimetres: (0, 0) }
    }
}

/// One output. Sizes are physical pixels.
pub struct Output {
    /// Which.
    pub id: OutputId,
    /// Connector name.
    pub name: String,
    /// Maker, model and serial, as the display says them itself.
    pub identity: Option<String>,
    /// Width and height of what is drawn: the mode's, turned as `transform` says.
    pub size: (u32, u32),
    /// Left upper corner in the plane that the pointer moves on, in physical pixels.
    pub position: (i32, i32),
    /// How what is drawn is turned on its way to the display.
    pub transform: Transform,
    /// Millimetres, turned like `size`; 0 where unknown.
    pub millimetres: (u32, u32),
    /// Where the guest's pixels went in the last frame.
    pub plane: Plane,
    /// Why that is no plane of its own, where the display was asked.
    pub plane_reason: Option<&'static str>,
    /// Frames for which something was drawn, where it is counted: on displays that the shell drives itself.
    pub draws: u64,
    /// Scale of the shell's own surfaces; guests' pixels are never scaled by it.
    pub scale: f64,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// What guests see of it.
    pub wayland: WaylandOutput,
    global: GlobalId,
    /// Surfaces that were told that they are on it.
    entered: RefCell<Vec<WlSurface>>,
}

impl Output {
    /// An output that guests can see from now on.
    pub fn new(display: &DisplayHandle, info: OutputInfo) -> Self {
        let extent = |value: u32| i32::try_from(value).unwrap_or(0);
        // Guests have no need to know whose display it is.
        let physical = PhysicalProperties {
            size: (extent(info.millimetres.0), extent(info.millimetres.1)).into(),
            subpixel: Subpixel::Unknown,
            make: "Phyllome".to_owned(),
            model: info.name.clone(),
        };
        let wayland = WaylandOutput::new(info.name.clone(), physical);
        let global = wayland.create_global::<crate::State>(display);
        let output = Self {
            id: OutputId::unique(),
            name: info.name,
            identity: info.identity,
            size: info.size,
            position: (0, 0),
            transform: info.transform,
            millimetres: info.millimetres,
            plane: Plane::default(),
            plane_reason: None,
            draws: 0,
            scale: info.scale,
            refresh_mhz: info.refresh_mhz,
            wayland,
            global,
            entered: RefCell::new(Vec::new()),
        };
        output.tell_mode();
        output
    }

    /// Whether this is its connector, or what it says of itself.
    pub fn is_called(&self, name: &str) -> bool {
        self.name == name || self.identity.as_deref() == Some(name)
    }

    /// Takes another size and scale.
    pub fn resize(&mut self, size: (u32, u32), scale: f64) {
        self.size = size;
        self.scale = scale;
        self.tell_mode();
    }

    /// Takes another size, scale, refresh rate and rotation. What guests were told of its extent stays.
    pub fn change(&mut self, info: &OutputInfo) {
        self.refresh_mhz = info.refresh_mhz;
        self.identity.clone_from(&info.identity);
        self.transform = info.transform;
        self.resize(info.size, info.scale);
    }

    /// The output is gone: guests are told. Its global is still there for those that bind it at this moment; give it to
    /// [`DisplayHandle::remove_global`] some seconds later.
    pub fn retire(&self, display: &DisplayHandle) -> GlobalId {
        self.present(&[]);
        display.disable_global::<crate::State>(self.global.clone());
        self.global.clone()
    }

    fn tell_mode(&self) {
        let extent = |value: u32| i32::try_from(value).unwrap_or(i32::MAX);
        let mode = Mode { size: (extent(self.size.0), extent(self.size.1)).into(), refresh: extent(self.refresh_mhz) };
        let former = self.wayland.current_mode();
        self.wayland.change_current_state(
            Some(mode),
            Some(Transform::Normal),
            Some(Scale::Integer(1)),
            Some((0, 0).into()),
        );
        self.wayland.set_preferred(mode);
        if let Some(former) = former.filter(|former| *former != mode) {
            self.wayland.delete_mode(former);
        }
    }

    /// Frame and guest's area.
    pub fn layout(&self) -> Layout {
        layout(self.size.0, self.size.1, self.scale)
    }

    /// Its place in the plane that the pointer moves on.
    pub fn rect(&self) -> arrange::Rect {
        let (x, y) = self.position;
        arrange::Rect { x, y, width: self.size.0, height: self.size.1 }
    }

    /// Size of the guest's area.
    pub fn area_size(&self) -> (u32, u32) {
        let area = self.layout().area;
        (area.width, area.height)
    }

    /// Tells surfaces that came onto this output or left it.
    pub fn present(&self, shown: &[WlSurface]) {
        let mut entered = self.entered.borrow_mut();
        entered.retain(|surface| {
            let stays = surface.is_alive() && shown.contains(surface);
            if !stays && surface.is_alive() {
                self.wayland.leave(surface);
            }
            stays
        });
        for surface in shown {
            if !entered.contains(surface) {
                self.wayland.enter(surface);
                entered.push(surface.clone());
            }
        }
    }
}
