//! Brings outputs in line with what is plugged in: displays that came are lit, those that went are forgotten, changed
//! ones change.

use super::Kms;
use super::connectors::{Connected, assign};
use super::device::Gpu;
use super::edid::{Edid, default_scale};
use super::modes;
use super::plugs::{Plug, mode_infos, plugs, refresh_mhz};
use super::recovery::Barred;
use super::surface::Wiring;
use crate::State;
use crate::log_limit::LogLimit;
use crate::outputs::{Output, OutputInfo, settings_of};
use crate::render::turned::{transform_of, turned_size};
use phyllome_config::shell::OutputConfig;
use smithay::backend::drm::DrmDevice;
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use smithay::reexports::drm::control::{Device as _, connector, crtc};
use std::time::{Duration, Instant};

/// A guest may bind an output at the moment at which it goes; its global stays so long.
const GLOBAL_STAYS: Duration = Duration::from_secs(5);

impl Kms {
    /// Looks what is plugged in and lights it. The error means that the device cannot be asked.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        let Some(driven) = &mut self.driven else { return Ok(()) };
        let gpu = &mut driven.gpu;
        let found =
            plugs(&gpu.drm).map_err(|error| format!("{} says nothing of its displays: {error}", gpu.path.display()))?;
        // What could not be lit may be now that something else is there.
        if found != self.seen {
            self.trouble.barred.clear();
        }
        let (settings, barred, log) = (&self.settings, &self.trouble.barred, &mut self.log);
        let is_wanted = |plug: &&Plug| {
            plug.connected
                && !settings_of(settings, &plug.name, identity(plug).as_deref()).is_some_and(|set| set.disabled)
                && barred.get(&plug.name) != Some(&Barred::Dark)
        };
        let wanted: Vec<&Plug> = found.iter().filter(is_wanted).collect();
        let before = gpu.wirings();
        let assigned = assign(&connected(&wanted, &before));
        for (_, why) in &assigned.left_out {
            warn(log, why);
        }
        let find = |connector: connector::Handle| wanted.iter().copied().find(|plug| plug.connector == connector);
        let pairs: Vec<(&Plug, crtc::Handle)> =
            assigned.pairs.into_iter().filter_map(|(connector, crtc)| Some((find(connector)?, crtc))).collect();
        let path = |wiring: &Wiring| (wiring.connector, wiring.crtc);
        gpu.keep(|wiring| pairs.iter().any(|(plug, crtc)| (plug.connector, *crtc) == path(wiring)));
        if before.is_empty() && is_littered(&gpu.drm, &pairs) {
            // What another program left there must not lie beside or over the shell's picture.
            if let Err(error) = gpu.drm.reset_state() {
                warn(log, &format!("what another program left on the displays cannot be removed: {error}"));
            }
        }
        let mut lit = Vec::new();
        for (plug, crtc) in pairs {
            let set = settings_of(settings, &plug.name, identity(plug).as_deref()).cloned().unwrap_or_default();
            lit.extend(light(gpu, plug, crtc, &set, barred.contains_key(&plug.name), log));
        }
        gpu.keep(|wiring| lit.iter().any(|lit| lit.info.name == wiring.name));
        self.seen = found;
        self.take_over(&lit);
        Ok(())
    }

    /// Makes the outputs what is lit.
    fn take_over(&mut self, lit: &[Lit]) {
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.outputs)
            .into_iter()
            .partition(|output| lit.iter().any(|lit| lit.info.name == output.name));
        self.outputs = stay;
        for output in go {
            if self.log.allow(Instant::now()) {
                tracing::info!("{} is gone", output.name);
            }
            self.retire(&output);
        }
        for Lit { info, title } in lit {
            if let Some(output) = self.outputs.iter_mut().find(|output| output.name == info.name) {
                output.change(info);
                continue;
            }
            let (width, height) = info.size;
            let hertz = f64::from(info.refresh_mhz) / 1000.0;
            if self.log.allow(Instant::now()) {
                let said = info.identity.as_deref().or(title.as_deref());
                let title = said.unwrap_or("a display that does not say which");
                tracing::info!("{} ({title}): {width} × {height} at {hertz} Hz", info.name);
            }
            let names = self.outputs.iter().map(|output| output.name.as_str());
            let index = self.order.place(names, &info.name);
            self.outputs.insert(index, Output::new(&self.display, info.clone()));
        }
    }

    /// No output is left.
    pub(super) fn retire_all(&mut self) {
        self.take_over(&[]);
    }

    fn retire(&self, output: &Output) {
        let global = output.retire(&self.display);
        let timer =
            self.loop_handle.insert_source(Timer::from_duration(GLOBAL_STAYS), move |_, (), state: &mut State| {
                state.display.remove_global::<State>(global.clone());
                TimeoutAction::Drop
            });
        if let Err(error) = timer {
            tracing::warn!("an output that is gone stays known to guests: {error}");
        }
    }

    /// Says which outputs of shell.toml are no connector of the device.
    pub(super) fn warn_of_unknown(&self) {
        let Some(driven) = &self.driven else { return };
        let Ok(found) = plugs(&driven.gpu.drm) else { return };
        let names: Vec<&str> = found.iter().map(|plug| plug.name.as_str()).collect();
        for name in self.settings.keys().filter(|name| !names.contains(&name.as_str())) {
            // What displays say of themselves has spaces, and need not be plugged in.
            if !name.starts_with("HEADLESS-") && !name.starts_with("NESTED-") && !name.contains(' ') {
                tracing::warn!("shell.toml: there is no connector “{name}”; there are {}", names.join(", "));
            }
        }
    }
}

/// A display that is lit.
struct Lit {
    info: OutputInfo,
    /// Maker and name, as it says itself.
    title: Option<String>,
}

/// One more line, if not too many came lately: displays can come and go as fast as they like.
fn warn(log: &mut LogLimit, what: &str) {
    if log.allow(Instant::now()) {
        tracing::warn!("{what}");
    }
}

/// Lights one display in the mode that is asked for, else in the one that it prefers. `barred`: only in that one.
fn light(
    gpu: &mut Gpu,
    plug: &Plug,
    crtc: crtc::Handle,
    set: &OutputConfig,
    barred: bool,
    log: &mut LogLimit,
) -> Option<Lit> {
    let infos = mode_infos(&plug.modes);
    let asked = modes::choose(&plug.name, &infos, set.mode.as_ref().filter(|_| !barred));
    let usual = modes::choose(&plug.name, &infos, None).filter(|usual| asked.as_ref() != Some(usual));
    let transform = transform_of(set.rotation);
    let own = usual.is_none();
    for (chosen, asked) in asked.map(|chosen| (chosen, !own)).into_iter().chain(usual.map(|chosen| (chosen, false))) {
        let Some(mode) = plug.modes.get(chosen.index).copied() else { continue };
        let wiring = Wiring { name: plug.name.clone(), connector: plug.connector, crtc, mode, asked, transform };
        if let Err(why) = gpu.light(wiring) {
            warn(log, &format!("{} cannot be lit in mode {}: {why}", plug.name, mode.name().to_string_lossy()));
            continue;
        }
        if let Some(why) = chosen.why_not_asked {
            warn(log, &why);
        }
        let size = (u32::from(mode.size().0), u32::from(mode.size().1));
        let edid = edid(plug, log);
        let millimetres = edid.as_ref().and_then(|edid| edid.millimetres.or(known(plug)));
        let info = OutputInfo {
            name: plug.name.clone(),
            identity: identity(plug),
            size: turned_size(size, transform),
            scale: set.scale.unwrap_or_else(|| default_scale(size, millimetres)),
            refresh_mhz: refresh_mhz(&mode),
            transform,
            millimetres: turned_size(millimetres.unwrap_or_default(), transform),
        };
        return Some(Lit { info, title: edid.and_then(|edid| edid.title()) });
    }
    warn(log, &format!("{} stays dark: the display offers no mode that can be used", plug.name));
    None
}

fn connected(wanted: &[&Plug], running: &[Wiring]) -> Vec<Connected<connector::Handle, crtc::Handle>> {
    let one = |plug: &&Plug| {
        let same = |wiring: &&Wiring| wiring.name == plug.name && wiring.connector == plug.connector;
        Connected {
            id: plug.connector,
            name: plug.name.clone(),
            crtcs: plug.crtcs.clone(),
            running: running.iter().find(same).map(|wiring| wiring.crtc),
        }
    };
    wanted.iter().map(one).collect()
}

/// What the display says of itself: nothing, if it is silent; `None` if it cannot be used.
fn edid(plug: &Plug, log: &mut LogLimit) -> Option<Edid> {
    if plug.edid.is_empty() {
        return Some(Edid::default());
    }
    let parsed = Edid::parse(&plug.edid);
    parsed.inspect_err(|why| warn(log, &format!("{} {why}", plug.name))).ok()
}

/// By what shell.toml can know it besides its connector.
fn identity(plug: &Plug) -> Option<String> {
    Edid::parse(&plug.edid).ok()?.identity()
}

/// The size that the kernel knows, in millimetres.
fn known(plug: &Plug) -> Option<(u32, u32)> {
    Some(plug.millimetres).filter(|size| *size != (0, 0))
}

/// Whether something is shown that the shell will not replace: on other CRTCs, from other CRTCs, or on planes over its
/// picture.
fn is_littered(drm: &DrmDevice, pairs: &[(&Plug, crtc::Handle)]) -> bool {
    let ours = |crtc: crtc::Handle| pairs.iter().any(|(_, own)| *own == crtc);
    let lit = |crtc: &crtc::Handle| drm.get_crtc(*crtc).is_ok_and(|info| info.mode().is_some());
    let fed = |connector: connector::Handle| {
        let encoder = drm.get_connector(connector, false).ok()?.current_encoder()?;
        drm.get_encoder(encoder).ok()?.crtc()
    };
    let covered = |crtc: &crtc::Handle| {
        drm.planes(crtc).is_ok_and(|planes| {
            let shows = |plane| drm.get_plane(plane).is_ok_and(|info| info.framebuffer().is_some());
            planes.overlay.iter().chain(&planes.cursor).any(|plane| shows(plane.handle))
        })
    };
    drm.crtcs().iter().any(|crtc| (!ours(*crtc) && lit(crtc)) || covered(crtc))
        || pairs.iter().any(|(plug, crtc)| fed(plug.connector).is_some_and(|feeding| feeding != *crtc))
}
