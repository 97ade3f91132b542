//! Slint without a display: windows that exist only to be drawn into memory, by the software renderer, with our font.
//!
//! Slint keeps its platform per thread, so this module does too. It never opens a display and never runs Slint's event loop.
//! The font is in the program; only a character that it lacks may be drawn with a font of the host.

use super::UiError;
use phyllome_trusted::pixels::over;
use slint::fontique_011::fontique;
use slint::platform::software_renderer::{
    MinimalSoftwareWindow, PremultipliedRgbaColor, RepaintBufferType, TargetPixel,
};
use slint::platform::{Platform, PlatformError, SetPlatformError, WindowAdapter, WindowEvent};
use slint::{ComponentHandle, PhysicalSize};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

/// Under which the font is registered. No font of the host has this name, so that none can take its place.
const FONT_FAMILY: &str = "Phyllome Inter";

/// Largest side of a picture in physical pixels; Slint counts them in 16 bits.
pub(super) const MAX_SIDE: u32 = 16_384;

thread_local! {
    /// The window of the component that was made last. Slint hands a component's window to its platform only.
    static LAST_WINDOW: RefCell<Option<Rc<MinimalSoftwareWindow>>> = const { RefCell::new(None) };
}

struct Memory;

impl Platform for Memory {
    fn create_window_adapter(&self) -> Result<Rc<dyn WindowAdapter>, PlatformError> {
        let window = MinimalSoftwareWindow::new(RepaintBufferType::NewBuffer);
        LAST_WINDOW.with_borrow_mut(|last| *last = Some(window.clone()));
        Ok(window)
    }
}

/// Makes this thread one that can draw; fails if something else has set up Slint here.
pub(super) fn start() -> Result<(), UiError> {
    match slint::platform::set_platform(Box::new(Memory)) {
        Ok(()) => register_font(),
        // By an earlier `Ui` of this thread, or the components below will say so.
        Err(SetPlatformError::AlreadySet) => Ok(()),
        Err(error) => Err(UiError::Start(error.to_string())),
    }
}

/// Inter with all its weights in one file, in place: the program's own bytes are used, not a copy.
fn register_font() -> Result<(), UiError> {
    let data = fontique::Blob::new(Arc::new(ttf_inter::REGULAR));
    let name = fontique::FontInfoOverride { family_name: Some(FONT_FAMILY), ..Default::default() };
    let mut collection = slint::fontique_011::shared_collection();
    let families = collection.register_fonts(data, Some(name));
    if families.is_empty() {
        return Err(UiError::Start("the built-in font cannot be read".to_owned()));
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

/// A Slint component with the window that it is drawn through.
pub(crate) struct Surface<C: ComponentHandle> {
    pub(crate) component: C,
    window: Rc<MinimalSoftwareWindow>,
}

impl<C: ComponentHandle> Surface<C> {
    /// Makes a component at `scale`.
    pub(crate) fn new(make: impl FnOnce() -> Result<C, PlatformError>, scale: f64) -> Result<Self, UiError> {
        let component = make().map_err(|error| UiError::Start(error.to_string()))?;
        let _ = component.window();
        let window = LAST_WINDOW
            .with_borrow_mut(Option::take)
            .ok_or_else(|| UiError::Start("another user of Slint has this thread".to_owned()))?;
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
        if width == 0 || height == 0 || width > MAX_SIDE || height > MAX_SIDE {
            return data;
        }
        self.set_size(width, height);
        self.window.request_redraw();
        self.window.draw_if_needed(|renderer| {
            renderer.render(bytemuck::cast_slice_mut::<u8, Bgra>(&mut data), width as usize);
        });
        data
    }
}
