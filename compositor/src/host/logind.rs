//! systemd-logind, by the system bus: it tells that the computer is about to sleep or to end, and waits for a moment
//! until a person can have seen that.
//!
//! All of it happens on one thread, which sleeps while nothing is told. A planned shutdown changes a property of
//! logind's without a signal, so the file that it keeps beside it says when to ask. Whatever is not there (a bus,
//! logind, the right to hold it up) leaves the line out, or late, and nothing else.

use super::News;
use super::leaving::Leaving;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use smithay::reexports::calloop::channel;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zbus::export::futures_core::Stream;
use zbus::proxy::{Builder, CacheProperties, SignalStream};
use zbus::{Connection, Proxy, zvariant};

/// The name of logind on the bus.
pub(super) const NAME: &str = "org.freedesktop.login1";
/// Its one object that is about the whole computer.
pub(super) const PATH: &str = "/org/freedesktop/login1";
/// What that object can do.
pub(super) const MANAGER: &str = "org.freedesktop.login1.Manager";

/// How long an answer of logind is waited for.
const ANSWER: Duration = Duration::from_secs(5);
/// How long after the end of the bus, or without one, the next attempt is made.
const AGAIN: Duration = Duration::from_secs(300);

/// Tells `news` what logind tells, for as long as anybody hears it.
pub(super) fn watch(news: &channel::Sender<News>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    // A thread that looked an address up, and stayed for another, would wake later only to end.
    let runtime = match builder.enable_all().thread_keep_alive(Duration::ZERO).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return tracing::warn!("that the computer is about to sleep or to end will not be said: {error}");
        }
    };
    let run = Path::new("/run/systemd");
    runtime.block_on(async {
        loop {
            let mut says = false;
            let tell = |told| {
                says = matches!(told, News::Leaving(Some(_), _));
                news.send(told).is_ok()
            };
            let heard = async {
                let bus = zbus::connection::Builder::system()?.method_timeout(ANSWER).build().await?;
                listen(&bus, run, tell).await
            };
            match heard.await {
                Ok(()) => return,
                Err(error) => tracing::info!("logind does not say when the computer sleeps or ends: {error}"),
            }
            // What it said last need not be true any more.
            if says && news.send(News::Leaving(None, None)).is_err() {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    });
}

/// Hears logind on `bus` until that ends, which is an error, or until `tell` says that nobody hears any more. `run`:
/// the folder in which systemd keeps what is so now.
async fn listen(bus: &Connection, run: &Path, mut tell: impl FnMut(News) -> bool) -> zbus::Result<()> {
    let manager: Proxy<'_> = Builder::new(bus)
        .destination(NAME)?
        .path(PATH)?
        .interface(MANAGER)?
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let mut sleeps = manager.receive_signal("PrepareForSleep").await?;
    let mut ends = manager.receive_signal("PrepareForShutdown").await?;
    let plans = Plans::watch(run);
    let mut hold = hold_up(&manager).await;
    let mut leaving = Leaving::default();
    plan(&manager, &mut leaving).await;
    let mut last = None;
    loop {
        let leave = leaving.leave(now());
        if leave != last {
            last = leave;
            let held = leave.filter(|leave| leave.is_now()).and_then(|_| hold.take());
            if !tell(News::Leaving(leave, held)) {
                return Ok(());
            }
        }
        tokio::select! {
            starts = next(&mut sleeps) => leaving.sleep(starts?),
            starts = next(&mut ends) => leaving.end(starts?),
            () = plans.change() => plan(&manager, &mut leaving).await,
            () = pause(leaving.changes_in(now())) => {}
        }
        if hold.is_none() && !leaving.leave(now()).is_some_and(|leave| leave.is_now()) {
            hold = hold_up(&manager).await;
        }
    }
}

/// Since the year 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Whether what the next signal is about starts, or else is over.
async fn next(signals: &mut SignalStream<'_>) -> zbus::Result<bool> {
    let signal = poll_fn(|context| Pin::new(&mut *signals).poll_next(context)).await;
    signal.ok_or_else(|| zbus::Error::Failure("the bus has ended".to_owned()))?.body().deserialize()
}

/// Asks logind to wait before the computer sleeps or ends, some seconds at most, until what is returned is closed.
async fn hold_up(manager: &Proxy<'_>) -> Option<OwnedFd> {
    let why = ("sleep:shutdown", "Phyllome Shell", "The display says what happens", "delay");
    match manager.call::<_, _, zvariant::OwnedFd>("Inhibit", &why).await {
        Ok(held) => Some(held.into()),
        Err(error) => {
            tracing::debug!("the computer will not wait until its display has said that it sleeps or ends: {error}");
            None
        }
    }
}

/// Takes over what shutdown is planned now.
async fn plan(manager: &Proxy<'_>, leaving: &mut Leaving) {
    let (kind, at) = manager.get_property::<(String, u64)>("ScheduledShutdown").await.unwrap_or_default();
    leaving.plan(&kind, at);
}

/// Tells when logind has planned a shutdown, or none: it keeps a file of it.
struct Plans {
    watch: Option<AsyncFd<OwnedFd>>,
    run: PathBuf,
}

impl Plans {
    fn watch(run: &Path) -> Self {
        let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok();
        // SAFETY: an `OwnedFd` is one open descriptor, always the same, until it is dropped; nobody else has this one.
        let watch = watch.and_then(|watch| unsafe { AsyncFd::register_with_interest(watch, Interest::READABLE) }.ok());
        let plans = Self { watch, run: run.to_owned() };
        plans.look();
        plans
    }

    /// The file's folder is made with the first file.
    fn look(&self) {
        let appears = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let changes = appears | WatchFlags::DELETE | WatchFlags::MOVED_FROM;
        for (folder, what) in [(self.run.clone(), appears), (self.run.join("shutdown"), changes)] {
            if let Some(watch) = &self.watch {
                let _ = inotify::add_watch(watch.get_ref(), folder, what);
            }
        }
    }

    async fn change(&self) {
        let Some(watch) = &self.watch else { return std::future::pending().await };
        let Ok(mut ready) = watch.readable().await else { return std::future::pending().await };
        let mut buffer = [0; 4096];
        while rustix::io::read(watch.get_ref(), &mut buffer).is_ok_and(|count| count > 0) {}
        ready.clear_ready();
        self.look();
    }
}

#[cfg(test)]
#[path = "logind_tests.rs"]
mod tests;
