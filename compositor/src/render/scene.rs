//! What is on an output, top first: overlays, pointer, panel, band with bar, the guest's picture or a message, ground.
//!
//! The one place that decides what is decorated and how, for every output, every frame and every mode. The band is
//! always there; nothing that is a guest's is ever placed or cut by anything but the guest's area.

use crate::State;
use crate::faces::guest as face;
use crate::faces::pointer::middle;
use crate::outputs::OutputId;
use crate::outputs::arrange;
use phyllome_protocol::status::Area;
use phyllome_protocol::{GuestName, ScanoutId};
use phyllome_trusted::frame::geometry::place as place_in;
use phyllome_trusted::frame::owner::{Inside, Owner};
use phyllome_trusted::pixels::Pixels;
use phyllome_trusted::places::Place;
use smithay::input::pointer::CursorImageAttributes;
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::utils::Transform;
use smithay::wayland::compositor::with_states;
use std::rc::Rc;
use std::sync::Mutex;
use std::time::Instant;

/// Largest width and height of a guest's pointer, in pixels.
pub const MAX_CURSOR: u32 = 256;

/// Which of the shell's own pictures; a renderer keeps one texture for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A strip of the band of an output, the bar among them.
    Strip(OutputId, usize),
    /// The message in place of a guest's picture, on an output.
    Message(OutputId),
    /// The name that flashes.
    Flash(OutputId),
    /// A face of the shell's in the middle of the area.
    Overlay,
    /// A face of the shell's that hides the area.
    Cover,
    /// The shell's own pointer, on an output.
    Arrow(OutputId),
}

/// One layer.
#[derive(Clone, Debug)]
pub enum Layer {
    /// Pixels of the shell's own, one to one.
    Pixels {
        /// Which.
        key: Key,
        /// The picture.
        pixels: Rc<Pixels>,
        /// Left edge.
        x: i32,
        /// Upper edge.
        y: i32,
        /// Nothing outside is drawn.
        clip: Area,
        /// Alpha is not looked at.
        opaque: bool,
    },
    /// A guest's surface, scaled to the place.
    Surface {
        /// The surface.
        surface: WlSurface,
        /// Left edge.
        x: i32,
        /// Upper edge.
        y: i32,
        /// Shown width.
        width: u32,
        /// Shown height.
        height: u32,
        /// Nothing outside is drawn.
        clip: Area,
        /// It is the guest's pointer, not its picture.
        pointer: bool,
    },
}

/// All of one output, or of a capture.
#[derive(Clone, Debug, Default)]
pub struct Scene {
    /// The output; `None` for a picture of one guest.
    pub output: Option<OutputId>,
    /// Layers, top first. The ground is below them all.
    pub layers: Vec<Layer>,
    /// The guest whose picture, not its message, is here.
    pub picture: Option<GuestName>,
    /// Surfaces that are shown: they get frame callbacks.
    pub shown: Vec<WlSurface>,
}

impl Scene {
    /// A guest's surface alone, in `area`.
    pub fn of_surface(surface: &WlSurface, wanted: (u32, u32), area: &Area) -> Option<Self> {
        let at = place_in(wanted.0, wanted.1, area)?;
        Some(Self { layers: vec![guest_layer(surface, &at, area)], ..Self::default() })
    }
}

fn guest_layer(surface: &WlSurface, at: &Area, area: &Area) -> Layer {
    Layer::Surface {
        surface: surface.clone(),
        x: signed(at.x),
        y: signed(at.y),
        width: at.width,
        height: at.height,
        clip: *area,
        pointer: false,
    }
}

fn signed(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

/// Places `pixels` in the middle of `area`, cut to it.
fn centred(key: Key, pixels: Rc<Pixels>, area: &Area) -> Layer {
    let x = signed(area.x).saturating_add(middle(area.width, pixels.width));
    let y = signed(area.y).saturating_add(middle(area.height, pixels.height));
    Layer::Pixels { key, pixels, x, y, clip: *area, opaque: false }
}

impl State {
    /// What is on output number `index` now.
    pub fn scene(&mut self, index: usize) -> Scene {
        let place = self.shell.places().get(index).cloned().unwrap_or_default();
        let Some(output) = self.backend.outputs().get(index) else { return Scene::default() };
        let (id, size, scale, layout) = (output.id, output.size, output.scale, output.layout());
        let area = layout.area;
        let whole = Area { x: 0, y: 0, width: size.0, height: size.1 };
        let view = place.guest.as_ref().and_then(|name| self.shell.guest(name)).cloned();
        let (frame, inside) = self.shell.around(index);
        let awake = self.shell.is_awake();
        let owner = Owner::of(frame, view.as_ref().map(|view| (view.label_view(), face::marks(view, awake))));
        let mut scene = Scene { output: Some(id), ..Scene::default() };

        let now = Instant::now();
        // In the middle of the picture of the guest that it names.
        if let Some(flash) =
            self.shell.flash(now).filter(|f| place.scanout == 0 && place.guest == Some(f.guest.name.clone()))
        {
            let pixels = self.ui.flash(&flash.guest.label_view(), scale);
            scene.layers.push(centred(Key::Flash(id), pixels, &area));
        }
        let own = self.shell.view();
        if let Some(view) = &own {
            self.ui.faces.keep(view);
        }
        let own = own.filter(|_| inside == Inside::Face);
        // Above what it points at.
        scene.layers.extend(self.arrow_layer(index));
        let overlay = own.as_ref().filter(|view| !view.covers());
        if let Some(view) = overlay {
            let pixels = self.ui.faces.of(view, area.width, area.height, scale);
            scene.layers.push(centred(Key::Overlay, pixels, &area));
        }
        // Under what the shell itself shows: a guest's pointer must not hide a name.
        scene.layers.extend(self.cursor_layer(id, &mut scene.shown));
        if let Some(view) = own.as_ref().filter(|view| view.covers()) {
            let pixels = self.ui.faces.of(view, area.width, area.height, scale);
            let (x, y) = (signed(area.x), signed(area.y));
            scene.layers.push(Layer::Pixels { key: Key::Cover, pixels, x, y, clip: area, opaque: true });
        }
        let notice = self.shell.notice(index).unwrap_or_default();
        let band = self.ui.noticed_band(&owner, &notice, size.0, size.1, scale);
        for (number, strip) in band.iter().enumerate() {
            scene.layers.push(Layer::Pixels {
                key: Key::Strip(id, number),
                pixels: strip.pixels.clone(),
                x: signed(strip.x),
                y: signed(strip.y),
                clip: whole,
                opaque: true,
            });
        }
        if area.width == 0 {
            return scene;
        }
        match (inside, self.picture(&place)) {
            // Below what hides it nothing is drawn and nobody is told that it was. What is no face is its ground.
            (Inside::Face, _) => {}
            (Inside::Elsewhere, _) => {
                let outputs = self.backend.outputs();
                let on = outputs.first().map(|output| output.name.clone()).unwrap_or_default();
                let card = face::elsewhere_card(self.shell.mode(), &on);
                let pixels = self.ui.message(&card, area.width, area.height, scale);
                scene.layers.push(centred(Key::Message(id), pixels, &area));
            }
            (Inside::Guest | Inside::Nobody, Some((surface, wanted))) => {
                if let Some(at) = place_in(wanted.0, wanted.1, &area) {
                    scene.layers.push(guest_layer(&surface, &at, &area));
                    scene.shown.push(surface);
                    scene.picture = view.map(|view| view.name);
                }
            }
            (Inside::Guest | Inside::Nobody, None) => {
                let unreadable = self.unreadable(&place);
                let chords = self.shell.chords();
                let message = match &view {
                    Some(view) if unreadable.is_some() => face::unreadable_card(view, chords),
                    Some(view) if place.scanout > 0 => {
                        let has_it = ScanoutId::new(place.scanout)
                            .is_some_and(|scanout| self.protocols.screens.has_scanout(&view.name, scanout));
                        face::screen_card(view, place.scanout, has_it, chords)
                    }
                    Some(view) => face::card(view, chords),
                    None => face::empty_card(&self.guests.views(), chords),
                };
                // Or the guest would wait for ever before it draws something better.
                scene.shown.extend(unreadable);
                let pixels = self.ui.message(&message, area.width, area.height, scale);
                // Only as large as its text; the ground around it has the same colour.
                scene.layers.push(centred(Key::Message(id), pixels, &area));
            }
        }
        scene
    }

    /// The surface of the guest's scanout that lies on an output, if its picture cannot be read.
    fn unreadable(&self, place: &Place) -> Option<WlSurface> {
        let surface = self.protocols.screens.scanout(place.guest.as_ref()?, ScanoutId::new(place.scanout)?)?;
        self.protocols.screens.content(surface).filter(|content| content.unreadable).map(|_| surface.clone())
    }

    /// The guest's own pointer, cut to the guest's area on the output on which it is.
    fn cursor_layer(&self, output: OutputId, shown: &mut Vec<WlSurface>) -> Option<Layer> {
        let surface = self.protocols.cursor_surface()?;
        let pointed = self.protocols.seat.pointer_focus()?;
        let target = self.pointer_target().filter(|target| target.output == output && target.surface == pointed)?;
        let content = self.protocols.screens.content(&surface)?;
        let (width, height) = content.wanted;
        // A large buffer may be shown small, and is uploaded all the same.
        let too_large = |length: i32| length.unsigned_abs() > 4 * MAX_CURSOR;
        if width > MAX_CURSOR
            || height > MAX_CURSOR
            || too_large(content.size.w)
            || too_large(content.size.h)
            || content.transform != Transform::Normal
        {
            return None;
        }
        let hotspot = with_states(&surface, |states| {
            let attributes = states.data_map.get::<Mutex<CursorImageAttributes>>()?;
            Some(attributes.lock().ok()?.hotspot)
        })
        .unwrap_or_default();
        let (x, y) = target.shown;
        let left = x.floor() as i32 - hotspot.x.clamp(0, signed(width));
        let top = y.floor() as i32 - hotspot.y.clamp(0, signed(height));
        shown.push(surface.clone());
        Some(Layer::Surface { surface, x: left, y: top, width, height, clip: target.area, pointer: true })
    }

    /// The shell's own pointer, where no guest is responsible. It leaves the outermost pixels of an output to the
    /// guest's colour.
    fn arrow_layer(&mut self, index: usize) -> Option<Layer> {
        if !self.arrow_is_seen() {
            return None;
        }
        let (x, y) = self.protocols.seat.position()?;
        let (on, (x, y)) = arrange::locate(&self.backend.rects(), x, y)?;
        let output = self.backend.outputs().get(index).filter(|_| on == index)?;
        let (width, height) = (output.size.0.saturating_sub(2), output.size.1.saturating_sub(2));
        let clip = Area { x: 1, y: 1, width, height };
        let key = Key::Arrow(output.id);
        let arrow = self.ui.arrow(output.scale);
        let (x, y) = (x.floor() as i32 - arrow.tip, y.floor() as i32 - arrow.tip);
        Some(Layer::Pixels { key, pixels: arrow.pixels, x, y, clip, opaque: false })
    }

    /// The outputs on which a commit of this scanout of `guest` changes something.
    pub(crate) fn shown_on(&self, guest: &GuestName, surface: &WlSurface) -> Vec<OutputId> {
        let shows = |place: &Place| {
            place.guest.as_ref() == Some(guest) && self.picture(place).is_some_and(|(shown, _)| shown == *surface)
        };
        let outputs = self.backend.outputs().iter().zip(self.shell.places()).enumerate();
        outputs
            .filter(|(index, (_, place))| !self.shell.covers(*index) && shows(place))
            .map(|(_, (output, _))| output.id)
            .collect()
    }
}
