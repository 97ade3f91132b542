//! The display itself: DRM/KMS, GBM, and the seat.

use super::{Drawn, Output, OutputId, RendererKind};
use crate::render::Capture;
use crate::render::scene::Scene;
use crate::wayland::screens::Screens;
use smithay::backend::allocator::dmabuf::Dmabuf;
use smithay::backend::allocator::{Format, Fourcc};

/// Displays and devices of one seat.
pub struct Kms {
    outputs: Vec<Output>,
}

impl Kms {
    pub(super) fn renderer(&self) -> RendererKind {
        RendererKind::Pixman
    }

    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(super) fn draw(&mut self, _: usize, _: &Scene, _: &mut Screens) -> Result<Drawn, String> {
        Ok(Drawn::Asleep)
    }

    pub(super) fn frame_done(&mut self, _: OutputId) {}

    pub(super) fn read(&mut self, _: usize, _: &Scene, _: &mut Screens) -> Result<Capture, String> {
        Err("not there yet".to_owned())
    }

    pub(super) fn offscreen(&mut self, _: u32, _: u32, _: &Scene, _: &mut Screens) -> Result<Capture, String> {
        Err("not there yet".to_owned())
    }

    pub(super) fn import_dmabuf(&mut self, _: &Dmabuf) -> Result<(), String> {
        Err("not there yet".to_owned())
    }

    pub(super) fn dmabuf_formats(&self) -> (Vec<Format>, u64) {
        (Vec::new(), 0)
    }

    pub(super) fn shm_formats(&self) -> Vec<Fourcc> {
        Vec::new()
    }

    pub(super) fn sleep(&mut self, _: bool) {}
}
