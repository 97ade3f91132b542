//! Slint without a display: windows that exist only to be drawn into memory, by the software renderer, with our font.
//!
//! A [`Surface`] is drawn as a whole, once, into a picture that others keep. A [`Resident`] is the window of a face:
//! its component, its focus and its picture live from one frame to the next, and only what changed is drawn again, in
//! place. Slint keeps its platform per thread, so this module does too. It never opens a display, never runs Slint's
//! event loop and never wakes anybody: the text cursor does not blink, and should a component have a timer or an
//! animation, it stands still until the caller asks for a frame, at the latest when [`Resident::alarm`] says. The font
//! is in the program; only a character that it lacks may be drawn with a font of the host, and the words of
//! strangers have none of those ([`super::familiar`]).

use super::input::{self, WindowInput, WindowModifiers};
use super::{DrawError, Pixels};
use phyllome_protocol::status::Area;
use phyllome_trusted::pixels::over;
use slint::fontique_011::fontique;
use slint::platform::software_renderer::{
    MinimalSoftwareWindow, PhysicalRegion, PremultipliedRgbaColor, RepaintBufferType, TargetPixel,
};
use slint::platform::{Platform, PlatformError, SetPlatformError, WindowAdapter, WindowEvent};
use slint::{ComponentHandle, PhysicalSize};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// Under which the font is registered. No font of the host has this name, so that none can take its place.
const FONT_FAMILY: &str = "Phyllome Inter";

/// Largest side of a picture in physical pixels; Slint counts them in 16 bits.
pub(super) const MAX_SIDE: u32 = 16_384;

/// From one step of an animation to the next.
const STEP: Duration = Duration::from_millis(16);

thread_local! {
    /// The window of the component that was made last. Slint hands a component's window to its platform only.
    static LAST_WINDOW: RefCell<Option<Rc<MinimalSoftwareWindow>>> = const { RefCell::new(None) };
}

/// The platform of windows that no display shows.
struct NoDisplay;

impl Platform for NoDisplay {
    fn create_window_adapter(&self) -> Result<Rc<dyn WindowAdapter>, PlatformError> {
        let window = MinimalSoftwareWindow::new(RepaintBufferType::NewBuffer);
        LAST_WINDOW.with_borrow_mut(|last| *last = Some(window.clone()));
        Ok(window)
    }

    /// A cursor that blinks would wake the shell twice a second.
    fn cursor_flash_cycle(&self) -> Duration {
        Duration::ZERO
    }
}

/// Makes this thread one that can draw; fails if something else has set up Slint here.
pub(super) fn start() -> Result<(), DrawError> {
    match slint::platform::set_platform(Box::new(NoDisplay)) {
        Ok(()) => register_font(),
        // By an earlier `Ui` of this thread, or the components below will say so.
        Err(SetPlatformError::AlreadySet) => Ok(()),
        Err(error) => Err(DrawError::Start(error.to_string())),
    }
}

/// Inter with all its weights in one file, in place: the program's own bytes are used, not a copy.
fn register_font() -> Result<(), DrawError> {
    let data = fontique::Blob::new(Arc::new(ttf_inter::REGULAR));
    let name = fontique::FontInfoOverride { family_name: Some(FONT_FAMILY), ..Default::default() };
    let mut collection = slint::fontique_011::shared_collection();
    let families = collection.register_fonts(data, Some(name));
    if families.is_empty() {
        return Err(DrawError::Start("the built-in font cannot be read".to_owned()));
    }
    // What the font lacks may come from the host, but what it has never does.
    for generic in [fontique::GenericFamily::SansSerif, fontique::GenericFamily::SystemUi] {
        collection.set_generic_families(generic, families.iter().map(|(family, _)| *family));
    }
    Ok(())
}

/// One pixel as Slint draws it and as the compositor takes it: blue, green, red, alpha, premultiplied.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(super) struct Bgra([u8; 4]);

impl TargetPixel for Bgra {
    fn blend(&mut self, color: PremultipliedRgbaColor) {
        self.0 = over([color.blue, color.green, color.red, color.alpha], self.0);
    }

    fn from_rgb(red: u8, green: u8, blue: u8) -> Self {
        Self([blue, green, red, 0xff])
    }

    fn background() -> Self {
        Self::default()
    }
}

/// Whether there is anything to draw, and Slint can count it.
fn can_be_drawn(width: u32, height: u32) -> bool {
    (1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height)
}

/// A Slint component with the window that it is drawn through.
pub(crate) struct Surface<C: ComponentHandle> {
    pub(crate) component: C,
    window: Rc<MinimalSoftwareWindow>,
}

impl<C: ComponentHandle> Surface<C> {
    /// Makes a component at `scale`.
    pub(crate) fn new(make: impl FnOnce() -> Result<C, PlatformError>, scale: f64) -> Result<Self, DrawError> {
        let component = make().map_err(|error| DrawError::Start(error.to_string()))?;
        let _ = component.window();
        let window = LAST_WINDOW
            .with_borrow_mut(Option::take)
            .ok_or_else(|| DrawError::Start("another user of Slint has this thread".to_owned()))?;
        let surface = Self { component, window };
        surface.set_scale(scale);
        Ok(surface)
    }

    /// Changes the scale of what is drawn from now on; one that no output has is brought into range.
    pub(crate) fn set_scale(&self, scale: f64) {
        let scale_factor = if scale.is_finite() { scale.clamp(0.25, 8.0) as f32 } else { 1.0 };
        if self.window.scale_factor() != scale_factor {
            self.window.dispatch_event(WindowEvent::ScaleFactorChanged { scale_factor });
        }
    }

    /// Lays the component out in `width` × `height` physical pixels (at most [`MAX_SIDE`] each) without drawing it.
    pub(crate) fn set_size(&self, width: u32, height: u32) {
        self.window.set_size(PhysicalSize::new(width.min(MAX_SIDE), height.min(MAX_SIDE)));
    }

    /// Draws the component in `width` × `height` physical pixels. Rows are `width * 4` bytes; what the component leaves
    /// out, and all of a picture that is empty or too large, is transparent.
    pub(crate) fn draw(&self, width: u32, height: u32) -> Vec<u8> {
        let mut data = vec![0; width as usize * height as usize * 4];
        if !can_be_drawn(width, height) {
            return data;
        }
        self.set_size(width, height);
        self.window.request_redraw();
        self.window.draw_if_needed(|renderer| {
            renderer.render(bytemuck::cast_slice_mut::<u8, Bgra>(&mut data), width as usize);
        });
        // Slint sets a timer for each new size, which keeps a part of the window until it has run.
        slint::platform::update_timers_and_animations();
        data
    }
}

/// The window of a face at one size and scale, with the picture that it is drawn into.
pub(crate) struct Resident<C: ComponentHandle> {
    surface: Surface<C>,
    pixels: Rc<Pixels>,
}

impl<C: ComponentHandle> Resident<C> {
    /// Makes a component of `width` × `height` physical pixels at `scale`. Nothing is drawn yet.
    pub(crate) fn new(
        make: impl FnOnce() -> Result<C, PlatformError>,
        width: u32,
        height: u32,
        scale: f64,
    ) -> Result<Self, DrawError> {
        let surface = Surface::new(make, scale)?;
        surface.set_size(width, height);
        surface.window.dispatch_event(WindowEvent::WindowActiveChanged(true));
        surface.window.request_redraw();
        Ok(Self { surface, pixels: Rc::new(Pixels::new(width, height, Vec::new())) })
    }

    /// The component, whose properties say what is shown.
    pub(crate) fn component(&self) -> &C {
        &self.surface.component
    }

    /// Lets the window have what a person did while these modifiers were held. Tells whether anything in it took it.
    pub(crate) fn input(&self, input: &WindowInput, modifiers: WindowModifiers) -> bool {
        input::dispatch(&self.surface.window, input, modifiers)
    }

    /// After which time the picture has to be asked for again, though nobody has set a property or given any input;
    /// `None` while no timer and no animation runs. Slint counts both for all windows of a thread.
    pub(crate) fn alarm(&self) -> Option<Duration> {
        let timer = slint::platform::duration_until_next_timer_update();
        let step = self.surface.window.has_active_animations().then_some(STEP);
        [timer, step].into_iter().flatten().min()
    }

    /// The picture of now: the same `Rc` again, with the same generation, while nothing has changed. The caller is to
    /// let it go after the frame: while somebody has it, the next change is drawn into a copy.
    ///
    /// What the component leaves out, and all of a picture that is empty or too large, is transparent.
    pub(crate) fn picture(&mut self) -> Rc<Pixels> {
        slint::platform::update_timers_and_animations();
        let (width, height) = (self.pixels.width, self.pixels.height);
        if can_be_drawn(width, height) {
            self.surface.window.draw_if_needed(|renderer| {
                renderer.set_repaint_buffer_type(RepaintBufferType::ReusedBuffer);
                Pixels::change(&mut self.pixels, |data| {
                    parts_of(&renderer.render(bytemuck::cast_slice_mut::<u8, Bgra>(data), width as usize))
                });
            });
        }
        self.pixels.clone()
    }
}

/// The parts of a region that Slint has drawn, in physical pixels.
fn parts_of(region: &PhysicalRegion) -> Vec<Area> {
    let part = |(at, size): (slint::PhysicalPosition, PhysicalSize)| Area {
        x: at.x.unsigned_abs(),
        y: at.y.unsigned_abs(),
        width: size.width,
        height: size.height,
    };
    region.iter().map(part).filter(|part| part.width > 0 && part.height > 0).collect()
}
