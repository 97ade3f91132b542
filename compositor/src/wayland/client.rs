//! Who a Wayland connection is: the guest whose control socket it was sent through, and what it may still do.
//!
//! The identity is set when the connection is made and never again; nothing that arrives over the connection is asked
//! for it.

use super::guard;
use super::quota::{self, Excess, MAX_REGISTRIES, Quota};
use super::things::Thing;
use crate::State;
use crate::descriptors;
use crate::ledger;
use phyllome_protocol::GuestName;
use phyllome_protocol::text::printable;
use smithay::backend::allocator::Format;
use smithay::reexports::wayland_server::backend::protocol::ProtocolError;
use smithay::reexports::wayland_server::backend::{ClientData, ClientId, DisconnectReason};
use smithay::reexports::wayland_server::protocol::wl_surface::WlSurface;
use smithay::reexports::wayland_server::{Client, DisplayHandle, Resource};
use smithay::wayland::compositor::CompositorClientState;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Code of `wl_display.error` for a peer that wants too much.
pub const NO_MEMORY: u32 = 2;
/// Requests after which a connection's objects are counted.
const COUNT_EVERY: usize = 256;
/// Most kinds of dmabufs that are remembered as refused.
const MAX_REFUSED: usize = 64;
/// Longest name that a client gave something, and longest reason, in a line of the log, in characters.
const MAX_NAMED: usize = 64;
const MAX_WHY: usize = 300;

/// The data of one guest's connection.
#[derive(Debug)]
pub struct GuestClient {
    name: GuestName,
    /// smithay's own data.
    pub compositor: CompositorClientState,
    quota: Mutex<Quota>,
    /// What the guest has used lately, with this connection and with those before.
    account: ledger::Shared,
    cut: AtomicBool,
    /// It has ended, as far as the shell is concerned.
    ended: AtomicBool,
    /// Requests since the objects were counted.
    uncounted: AtomicUsize,
    /// Requests that were admitted one by one since the last turn.
    admitted: AtomicUsize,
    /// Exporters and formats of dmabufs that the GPU did not import.
    refused: Mutex<HashSet<(String, Format)>>,
}

impl GuestClient {
    /// A fresh connection of guest `name`, whose account this is.
    pub fn new(name: GuestName, account: ledger::Shared) -> Self {
        Self {
            name,
            compositor: CompositorClientState::default(),
            quota: Mutex::new(Quota::new()),
            account,
            cut: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            uncounted: AtomicUsize::new(0),
            admitted: AtomicUsize::new(0),
            refused: Mutex::default(),
        }
    }

    /// Whose connection it is.
    pub fn name(&self) -> &GuestName {
        &self.name
    }

    fn quota(&self) -> MutexGuard<'_, Quota> {
        self.quota.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A dmabuf of this connection could not be imported. `Err`: once too often.
    pub fn refusal(&self) -> Result<(), Excess> {
        quota::refusal(&mut ledger::of(&self.account).refusals, Instant::now())
    }

    /// How long this connection is not to be listened to, because the guest has used more processor time than it gets.
    /// A connection that has ended is cleaned up at once.
    pub fn pause(&self) -> Option<Duration> {
        let goes_on = !self.ended.load(Ordering::Relaxed) && !self.cut.load(Ordering::Relaxed);
        goes_on.then(|| ledger::of(&self.account).pause(Instant::now())).flatten()
    }

    /// A turn in which this connection was served took so much processor time.
    pub fn took(&self, time: Duration) {
        ledger::of(&self.account).served(time, guard::slowness(), Instant::now());
    }

    /// To upload or to draw one of its pictures took so much processor time.
    fn pictured(&self, time: Duration) {
        ledger::of(&self.account).pictured(time, guard::slowness(), Instant::now());
    }

    /// The shell has ended this connection.
    pub fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    /// Whether the GPU refused a dmabuf of this exporter and format before.
    pub fn is_refused(&self, exporter: &str, format: Format) -> bool {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.contains(&(exporter.to_owned(), format))
    }

    /// The GPU refused a dmabuf of this exporter and format. What is remembered is bounded.
    pub fn refused(&self, exporter: &str, format: Format) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() < MAX_REFUSED {
            refused.insert((exporter.to_owned(), format));
        }
    }

    /// Counts requests that were dispatched, with those that nobody admits: the Wayland library itself serves
    /// `wl_display` and `wl_registry`. `false`: there are too many objects, and the connection is to end.
    pub fn served(&self, display: &DisplayHandle, client: &ClientId, requests: usize) -> bool {
        let unadmitted = requests.saturating_sub(self.admitted.swap(0, Ordering::Relaxed));
        let verdict = quota::requests(&mut ledger::of(&self.account).requests, unadmitted, Instant::now());
        if !self.goes_on(verdict) {
            return false;
        }
        // Any of those that nobody admits may have made a registry.
        let weight = requests.saturating_add(unadmitted.saturating_mul(COUNT_EVERY / MAX_REGISTRIES));
        let uncounted = self.uncounted.fetch_add(weight, Ordering::Relaxed).saturating_add(weight);
        if uncounted < COUNT_EVERY {
            return true;
        }
        self.uncounted.store(0, Ordering::Relaxed);
        self.goes_on(self.count_objects(display, client.clone()))
    }

    /// Counts all objects of this connection.
    fn count_objects(&self, display: &DisplayHandle, client: ClientId) -> Result<(), Excess> {
        let (mut count, mut registries) = (0usize, 0usize);
        let counted = display.backend_handle().with_all_objects_for(client, |object| {
            count += 1;
            registries += usize::from(object.interface().name == "wl_registry");
        });
        // An error means that it has ended.
        if counted.is_ok() { self.quota().objects(count, registries) } else { Ok(()) }
    }

    /// Counts descriptors: `before` were open before this connection was served. The Wayland library keeps all that
    /// come, whether a request is for them or not. `false`: there are too many, and the connection is to end.
    pub fn holds_few(&self, before: usize) -> bool {
        let after = descriptors::open();
        if after <= before {
            // Nothing can be in excess now; the limit need not be asked for.
            let _ = self.quota().descriptors(before, after, usize::MAX);
            return true;
        }
        let verdict = self.quota().descriptors(before, after, descriptors::limit());
        self.goes_on(verdict)
    }

    /// This connection's turn took too long, and its socket is shut down.
    pub fn overran(&self) {
        self.goes_on(Err(Excess::Time));
    }

    /// This connection sent what the Wayland library cannot read.
    pub fn unreadable(&self) {
        if !self.cut.swap(true, Ordering::Relaxed) {
            tracing::warn!("the screen of {} is cut off: it sent a request that cannot be read", self.name);
        }
    }

    fn goes_on(&self, verdict: Result<(), Excess>) -> bool {
        if let Err(too_much) = verdict
            && !self.cut.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("the screen of {} is cut off: a guest's screen may not have {too_much}", self.name);
        }
        verdict.is_ok()
    }

    /// One fewer of `thing`.
    pub fn remove(&self, thing: Thing) {
        self.quota().remove(thing);
    }
}

impl GuestClient {
    /// The library has cut it off. The client chose what the interface is called.
    fn was_cut_off(&self, error: &ProtocolError) {
        let (interface, why) = (printable(&error.object_interface, MAX_NAMED), printable(&error.message, MAX_WHY));
        tracing::warn!("the screen of {} was cut off: {interface}: {why}", self.name);
    }
}

impl ClientData for GuestClient {
    fn disconnected(&self, _client: ClientId, reason: DisconnectReason) {
        match reason {
            DisconnectReason::ConnectionClosed => tracing::debug!("the screen of {} has gone", self.name),
            // What was said in `cut` need not be said twice.
            DisconnectReason::ProtocolError(_) if self.cut.load(Ordering::Relaxed) => {}
            DisconnectReason::ProtocolError(error) => self.was_cut_off(&error),
        }
    }
}

/// The data of `client`; every connection has it but those that tests of other crates may make.
pub fn guest_of(client: &Client) -> Option<&GuestClient> {
    client.get_data::<GuestClient>()
}

/// The guest whose object `resource` is; `None` once its connection is gone.
pub fn owner_of<R: Resource>(resource: &R) -> Option<GuestName> {
    resource.client().and_then(|client| guest_of(&client).map(|guest| guest.name.clone()))
}

/// To upload or to draw what `surface` shows took so much processor time, which the guest has less of. A connection
/// that is gone owes nothing more.
pub fn pictured(surface: &WlSurface, time: Duration) {
    if let Some(client) = surface.client()
        && let Some(guest) = guest_of(&client)
    {
        guest.pictured(time);
    }
}

/// Cuts `client` off with a protocol error on `resource` and says so once.
pub fn cut<R: Resource>(client: &Client, resource: &R, code: u32, why: &str) {
    if let Some(guest) = guest_of(client)
        && !guest.cut.swap(true, Ordering::Relaxed)
    {
        tracing::warn!("the screen of {} is cut off: {why}", guest.name);
    }
    resource.post_error(code, why);
}

fn excess<R: Resource>(client: &Client, resource: &R, excess: Excess) {
    cut(client, resource, NO_MEMORY, &format!("a guest's screen may not have {excess}"));
}

/// Counts one request on `resource`. `false`: the connection has just been cut off and the request is not to be served.
pub fn admit<R: Resource>(display: &DisplayHandle, client: &Client, resource: &R) -> bool {
    let Some(guest) = guest_of(client) else { return true };
    guest.admitted.fetch_add(1, Ordering::Relaxed);
    let verdict = guest.quota().request(&mut ledger::of(&guest.account).requests, Instant::now());
    let verdict = match verdict {
        Ok(true) => guest.count_objects(display, client.id()),
        Ok(false) => Ok(()),
        Err(too_much) => Err(too_much),
    };
    match verdict {
        Ok(()) => true,
        Err(too_much) => {
            excess(client, resource, too_much);
            false
        }
    }
}

/// Counts one more of `thing`, asked for on `resource`. `false`: the connection has just been cut off.
pub fn admit_thing<R: Resource>(client: &Client, resource: &R, thing: Thing) -> bool {
    let Some(guest) = guest_of(client) else { return true };
    let verdict = guest.quota().add(thing);
    match verdict {
        Ok(()) => true,
        Err(too_much) => {
            excess(client, resource, too_much);
            false
        }
    }
}

/// Counts a global of a kind that is bound. `Err`: why it is not to be, and the connection is to end.
pub fn admit_bound(client: &Client, thing: Thing) -> Result<(), String> {
    let Some(guest) = guest_of(client) else { return Ok(()) };
    let verdict = guest.quota().add(thing);
    guest.goes_on(verdict);
    verdict.map_err(|excess| format!("a guest's screen may not have {excess}"))
}

/// An object has ended, and what is kept for it.
pub fn ended<R: Resource>(resource: &R) {
    if let Some(thing) = Thing::of_interface(R::interface().name) {
        remove_thing(resource, thing);
    }
}

/// One fewer of `thing` on the connection that `resource` is of, if it still lives.
pub fn remove_thing<R: Resource>(resource: &R, thing: Thing) {
    if let Some(client) = resource.client()
        && let Some(guest) = guest_of(&client)
    {
        guest.remove(thing);
    }
}

/// What a request makes, where that is counted and the request is answered by smithay alone.
pub type Makes<R> = fn(&<R as Resource>::Request) -> Option<Thing>;

/// Forwards a request to smithay's own handler after counting it and what it makes.
macro_rules! counted_dispatch {
    ($($interface:ty, $data:ty => $handler:ty $(, makes $makes:expr)?;)*) => {$(
        impl smithay::reexports::wayland_server::Dispatch<$interface, $data> for $crate::State {
            fn request(
                state: &mut Self,
                client: &smithay::reexports::wayland_server::Client,
                resource: &$interface,
                request: <$interface as smithay::reexports::wayland_server::Resource>::Request,
                data: &$data,
                display: &smithay::reexports::wayland_server::DisplayHandle,
                init: &mut smithay::reexports::wayland_server::DataInit<'_, Self>,
            ) {
                if !$crate::wayland::client::admit(display, client, resource) {
                    return;
                }
                $(
                    let makes: $crate::wayland::client::Makes<$interface> = $makes;
                    if makes(&request)
                        .is_some_and(|thing| !$crate::wayland::client::admit_thing(client, resource, thing))
                    {
                        return;
                    }
                )?
                <$handler as smithay::reexports::wayland_server::Dispatch<$interface, $data, Self>>::request(
                    state, client, resource, request, data, display, init,
                );
            }

            fn destroyed(
                state: &mut Self,
                client: smithay::reexports::wayland_server::backend::ClientId,
                resource: &$interface,
                data: &$data,
            ) {
                $crate::wayland::client::ended(resource);
                <$handler as smithay::reexports::wayland_server::Dispatch<$interface, $data, Self>>::destroyed(
                    state, client, resource, data,
                );
            }
        }
    )*};
}
pub(crate) use counted_dispatch;

/// Lets smithay bind a global after it was counted.
macro_rules! counted_global {
    ($interface:ty, $data:ty => $handler:ty, $thing:expr) => {
        impl smithay::reexports::wayland_server::GlobalDispatch<$interface, $data> for $crate::State {
            fn bind(
                state: &mut Self,
                display: &smithay::reexports::wayland_server::DisplayHandle,
                client: &smithay::reexports::wayland_server::Client,
                resource: smithay::reexports::wayland_server::New<$interface>,
                data: &$data,
                init: &mut smithay::reexports::wayland_server::DataInit<'_, Self>,
            ) {
                match $crate::wayland::client::admit_bound(client, $thing) {
                    Ok(()) => {
                        <$handler as smithay::reexports::wayland_server::GlobalDispatch<$interface, $data, Self>>::bind(
                            state, display, client, resource, data, init,
                        );
                    }
                    Err(why) => init.post_error(resource, $crate::wayland::client::NO_MEMORY, why),
                }
            }

            fn can_view(client: smithay::reexports::wayland_server::Client, data: &$data) -> bool {
                <$handler as smithay::reexports::wayland_server::GlobalDispatch<$interface, $data, Self>>::can_view(
                    client, data,
                )
            }
        }
    };
}
pub(crate) use counted_global;

impl State {
    /// Disconnects every Wayland client and forgets what they showed.
    pub fn detach_all_clients(&mut self) {
        let names: Vec<GuestName> = self.protocols.attached().cloned().collect();
        for name in names {
            self.detach_guest_client(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use smithay::backend::allocator::{Fourcc, Modifier};
    use std::sync::Arc;

    fn guest() -> GuestClient {
        let account = ledger::Account::new((1.0, 1.0), 1.0, Instant::now());
        GuestClient::new(GuestName::new("red").unwrap(), Arc::new(Mutex::new(account)))
    }

    /// What `act` logs.
    fn logged(act: impl FnOnce()) -> String {
        let (mut there, here) = std::io::pipe().unwrap();
        let logger = tracing_subscriber::fmt().with_ansi(false).with_writer(Mutex::new(here)).finish();
        tracing::subscriber::with_default(logger, act);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut there, &mut text).unwrap();
        text
    }

    #[test]
    fn a_connection_that_took_too_long_is_said_to_be_cut_off_once() {
        let guest = guest();
        let log = logged(|| (0..100).for_each(|_| guest.overran()));
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.contains("the screen of red is cut off") && log.contains("processor time"), "{log}");
    }

    #[test]
    fn what_a_client_names_is_one_short_line_of_the_log() {
        let guest = guest();
        let error = ProtocolError {
            code: 0,
            object_id: 1,
            object_interface: format!("wl_shm\nINFO all is well\u{1b}[2J{}", "x".repeat(10_000)),
            message: format!("it said \u{202e}\n{}", "y".repeat(10_000)),
        };
        let log = logged(|| guest.was_cut_off(&error));
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(log.len() < 700 && !log.contains('\u{1b}') && log.contains("the screen of red was cut off: wl_shm"));
    }

    #[test]
    fn what_the_gpu_refused_once_is_remembered_and_the_memory_of_it_is_bounded() {
        let guest = guest();
        let format = |modifier: u64| Format { code: Fourcc::Xrgb8888, modifier: Modifier::from(modifier) };
        assert!(!guest.is_refused("udmabuf", format(0)));
        guest.refused("udmabuf", format(0));
        assert!(guest.is_refused("udmabuf", format(0)));
        assert!(!guest.is_refused("drm", format(0)) && !guest.is_refused("udmabuf", format(1)));
        for modifier in 1..1000 {
            guest.refused("udmabuf", format(modifier));
        }
        let remembered = (0..1000).filter(|modifier| guest.is_refused("udmabuf", format(*modifier))).count();
        assert_eq!(remembered, MAX_REFUSED);
    }
}
