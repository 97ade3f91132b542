//! Stands in for a `phyllome-guest` that was taken over: answers on a guest's control socket, and shows on the screen
//! that the shell gives it picture after picture of another size, format, layout and place in its memory, by dmabufs that
//! it destroys while they are shown, with a pointer that does the same.
//!
//! Whatever it does, what is to be seen in its area is the colour that lies around pictures: each of its pictures has that
//! colour wherever it is seen, and is red where it must not be. So a display that shows anything else at any moment
//! shows what it must not. Or it shows one picture, and puts fences on its memory that come late.
//! Never used but by tests.

use anyhow::{Context, Result, bail, ensure};
use phyllome_protocol::GuestName;
use phyllome_protocol::control::{FromGuest, Report, Request, ToGuest, VERSION};
use phyllome_protocol::framing::{Decoder, receive_blocking, send_blocking};
use phyllome_protocol::runtime::RuntimeDir;
use phyllome_protocol::status::{GpuStatus, GuestState};
use phyllome_tests::numbers::Numbers;
use rustix::event::{PollFd, PollFlags, poll};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;
use wayland_client::globals::{GlobalListContents, registry_queue_init};
use wayland_client::protocol::{
    wl_buffer, wl_compositor, wl_pointer, wl_registry, wl_seat, wl_shm, wl_shm_pool, wl_surface,
};
use wayland_client::{Connection, Dispatch, EventQueue, QueueHandle, delegate_noop};
use wayland_protocols::wp::linux_dmabuf::zv1::client::{zwp_linux_buffer_params_v1, zwp_linux_dmabuf_v1};
use wayland_protocols::wp::viewporter::client::{wp_viewport, wp_viewporter};
use wayland_protocols::xdg::shell::client::{xdg_surface, xdg_toplevel, xdg_wm_base};

/// What is around pictures.
const GROUND: [u8; 3] = [0x10, 0x11, 0x14];
/// Width and height of the largest picture, in pixels.
const MOST: u32 = 1400;
/// A picture of which only the middle may be seen: its side, and where the middle begins and ends.
const RED_SIDE: u32 = 512;
const RED_FRAME: u32 = 64;
/// The kind of memory with holes in it.
const HOLES: usize = 2;
/// When this is there, it begins.
const BEGIN: &str = "/tmp/begin";
/// Most buffers that are kept.
const MOST_KEPT: usize = 6;
const PAGE: u64 = 4096;

/// DRM's codes of formats whose pixels are 32 bits, with what stands at the place of alpha.
const XR24: u32 = u32::from_le_bytes(*b"XR24");
const AR24: u32 = u32::from_le_bytes(*b"AR24");
const XB24: u32 = u32::from_le_bytes(*b"XB24");
const AB24: u32 = u32::from_le_bytes(*b"AB24");

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let name = GuestName::new(&words.next().context("whose screen?")?)?;
    let act = match words.next().context("what is it to do?")?.as_str() {
        "fences" => Act::Fences,
        pictures => Act::Pictures(pictures.parse()?),
    };
    let runtime = RuntimeDir::open()?;
    runtime.make_guest_dir(&name)?;
    let listener = UnixListener::bind(runtime.control_socket(&name))?;
    println!("listens");
    let (link, _) = listener.accept()?;
    send_blocking(&link, &FromGuest::Hello { version: VERSION, name }, &[])?;
    send_blocking(&link, &FromGuest::Report(report()), &[])?;
    let screen = screen(&link)?;
    std::thread::spawn(move || answer(&link));
    show(screen, act)
}

/// What it does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// So many pictures and pointers, one after the other.
    Pictures(u32),
    /// A picture whose memory gets a fence each time that it is told to.
    Fences,
}

fn report() -> Report {
    Report {
        state: GuestState::Running,
        message: None,
        known: None,
        accel: None,
        pid: std::process::id(),
        qemu_pid: None,
        uptime_ms: None,
        gpu: GpuStatus::default(),
        scanouts: Vec::new(),
        leds: None,
        unheeded: false,
    }
}

/// Waits until the shell gives a screen.
fn screen(link: &UnixStream) -> Result<UnixStream> {
    let mut decoder = Decoder::new();
    loop {
        let asked: ToGuest = receive_blocking(link, &mut decoder)?;
        send_blocking(link, &FromGuest::Done { id: asked.id }, &[])?;
        if let Request::AttachScreen { .. } = asked.request {
            return Ok(decoder.take_fd().context("a screen without a descriptor")?.into());
        }
    }
}

/// Says yes to everything.
fn answer(link: &UnixStream) {
    let mut decoder = Decoder::new();
    while let Ok(asked) = receive_blocking::<ToGuest>(link, &mut decoder) {
        if asked.request == Request::Report && send_blocking(link, &FromGuest::Report(report()), &[]).is_err() {
            return;
        }
        if send_blocking(link, &FromGuest::Done { id: asked.id }, &[]).is_err() {
            return;
        }
    }
}

/// What was heard.
#[derive(Default)]
struct Heard {
    /// The size of the area, once it was told.
    area: Option<(u32, u32)>,
    /// The serial of the pointer's last `enter`.
    entered: Option<u32>,
}

/// Memory of pixels, and how they are laid out there.
struct Pixels {
    memory: File,
    bytes: u64,
    formats: &'static [u32],
}

/// Pixels of 32 bits, sealed as guests' are.
fn pixels(count: u64, formats: &'static [u32], pixel: impl Fn(u64) -> [u8; 4]) -> Result<Pixels> {
    let bytes = (count * 4).next_multiple_of(PAGE);
    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let memory = File::from(rustix::fs::memfd_create("pixels", flags)?);
    memory.set_len(bytes)?;
    memory.write_all_at(&(0..count).flat_map(pixel).collect::<Vec<u8>>(), 0)?;
    rustix::fs::fcntl_add_seals(&memory, rustix::fs::SealFlags::SHRINK)?;
    Ok(Pixels { memory, bytes, formats })
}

/// A dmabuf of the beginning of a memory.
fn dmabuf(udmabuf: &File, memory: &File, bytes: u64) -> Result<OwnedFd> {
    /// `struct udmabuf_create` of linux/udmabuf.h.
    #[repr(C)]
    struct Create {
        memfd: u32,
        flags: u32,
        offset: u64,
        size: u64,
    }
    /// `UDMABUF_CREATE`.
    const CREATE: u32 = 0x4018_7542;
    let request = Create { memfd: memory.as_raw_fd().try_into()?, flags: 1, offset: 0, size: bytes };
    // SAFETY: the kernel reads its own struct while the call lasts.
    let made = unsafe { libc::ioctl(udmabuf.as_raw_fd(), CREATE as libc::Ioctl, &raw const request) };
    if made < 0 {
        return Err(std::io::Error::last_os_error()).context("no dmabuf");
    }
    // SAFETY: the kernel has just made this descriptor for the caller, who has it nowhere else.
    Ok(unsafe { OwnedFd::from_raw_fd(made) })
}

/// A surface with its viewport, and what is on it.
struct Shown {
    surface: wl_surface::WlSurface,
    viewport: wp_viewport::WpViewport,
}

/// What pictures are made of.
struct Maker {
    udmabuf: File,
    dmabufs: zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1,
    shm: wl_shm::WlShm,
    handle: QueueHandle<Heard>,
    plain: Vec<Pixels>,
    /// See [`RED_SIDE`].
    red: Pixels,
    /// The guest's area.
    area: (u32, u32),
    /// Buffers that are not destroyed yet, the oldest first.
    kept: Vec<wl_buffer::WlBuffer>,
    numbers: Numbers,
}

impl Maker {
    fn new(
        dmabufs: zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1,
        shm: wl_shm::WlShm,
        handle: QueueHandle<Heard>,
        area: (u32, u32),
    ) -> Result<Self> {
        let udmabuf = File::options().read(true).write(true).open("/dev/udmabuf").context("/dev/udmabuf")?;
        let [red, green, blue] = GROUND;
        // With room for rows that are further apart.
        let count = u64::from(MOST) * u64::from(MOST + 64);
        let stripes = move |at: u64| if (at / 7).is_multiple_of(3) { [0; 4] } else { [blue, green, red, 0xff] };
        let plain = vec![
            pixels(count, &[XR24, AR24], move |_| [blue, green, red, 0xff])?,
            pixels(count, &[XB24, AB24], move |_| [red, green, blue, 0xff])?,
            pixels(count, &[AR24], stripes)?,
        ];
        let side = u64::from(RED_SIDE);
        let middle = u64::from(RED_FRAME)..side - u64::from(RED_FRAME);
        let framed = move |at: u64| match middle.contains(&(at % side)) && middle.contains(&(at / side)) {
            true => [blue, green, red, 0xff],
            false => [0, 0, 0xff, 0xff],
        };
        let red = pixels(side * side, &[XR24, AR24], framed)?;
        Ok(Self { udmabuf, dmabufs, shm, handle, plain, red, area, kept: Vec::new(), numbers: Numbers::new(0) })
    }

    /// A picture of this size, of memory of one kind or another.
    fn buffer(&mut self, of: usize, (width, height): (u32, u32), apart: u32) -> Result<wl_buffer::WlBuffer> {
        let numbers = &mut self.numbers;
        let pixels = self.plain.get(of).unwrap_or(&self.red);
        let format = pixels.formats[numbers.below(pixels.formats.len() as u32) as usize];
        let stride = (width + apart) * 4;
        let (bytes, size) = (u64::from(stride) * u64::from(height), (i32::try_from(width)?, i32::try_from(height)?));
        ensure!(bytes <= pixels.bytes, "{width} × {height} pixels are too many");
        if numbers.below(5) == 0 {
            let shm_format = match format {
                XR24 => wl_shm::Format::Xrgb8888,
                AR24 => wl_shm::Format::Argb8888,
                XB24 => wl_shm::Format::Xbgr8888,
                _ => wl_shm::Format::Abgr8888,
            };
            let pool = self.shm.create_pool(pixels.memory.as_fd(), i32::try_from(pixels.bytes)?, &self.handle, ());
            let buffer = pool.create_buffer(0, size.0, size.1, i32::try_from(stride)?, shm_format, &self.handle, ());
            pool.destroy();
            return Ok(buffer);
        }
        let file = dmabuf(&self.udmabuf, &pixels.memory, bytes.next_multiple_of(PAGE).min(pixels.bytes))?;
        let params = self.dmabufs.create_params(&self.handle, ());
        params.add(file.as_fd(), 0, 0, stride, 0, 0);
        let flags = zwp_linux_buffer_params_v1::Flags::empty();
        let buffer = params.create_immed(size.0, size.1, format, flags, &self.handle, ());
        params.destroy();
        Ok(buffer)
    }

    /// Another picture on a surface; `most`: how wide and high it may be. Which part of it may be seen.
    fn change(&mut self, shown: &Shown, most: (u32, u32)) -> Result<(u32, u32)> {
        let kind = self.numbers.below(4) as usize;
        let (buffer, seen) = if kind == 3 {
            let buffer = self.buffer(kind, (RED_SIDE, RED_SIDE), 0)?;
            let inner = RED_SIDE - 2 * RED_FRAME;
            let width = 16 + self.numbers.below(inner.min(most.0) - 15);
            let height = 16 + self.numbers.below(inner.min(most.1) - 15);
            let x = RED_FRAME + self.numbers.below(inner - width + 1);
            let y = RED_FRAME + self.numbers.below(inner - height + 1);
            shown.viewport.set_source(f64::from(x), f64::from(y), f64::from(width), f64::from(height));
            (buffer, (width, height))
        } else {
            shown.viewport.set_source(-1.0, -1.0, -1.0, -1.0);
            // What is larger than the area is scaled, and half of a hole of some rows is not quite the ground.
            let most = if kind == HOLES { (most.0.min(self.area.0), most.1.min(self.area.1)) } else { most };
            let (width, height) = (16 + self.numbers.below(most.0 - 15), 16 + self.numbers.below(most.1 - 15));
            let apart = self.numbers.below(3) * 16;
            (self.buffer(kind, (width, height), apart)?, (width, height))
        };
        shown.surface.attach(Some(&buffer), 0, 0);
        if self.numbers.below(4) > 0 {
            shown.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
        }
        shown.surface.commit();
        self.kept.push(buffer);
        // While it is shown, before it was, or long after.
        let going = if self.numbers.below(2) == 0 { self.kept.pop() } else { None };
        let oldest = if self.kept.len() > MOST_KEPT { Some(self.kept.remove(0)) } else { None };
        going.into_iter().chain(oldest).for_each(|buffer| buffer.destroy());
        Ok(seen)
    }

    /// A red pointer, which never changes again.
    fn point_red(&self, pointer: &wl_pointer::WlPointer, serial: u32, cursor: &Shown) -> Result<()> {
        let (memory, bytes) = (&self.red.memory, i32::try_from(self.red.bytes)?);
        let (side, stride) = (i32::try_from(RED_FRAME / 2)?, i32::try_from(RED_SIDE * 4)?);
        let pool = self.shm.create_pool(memory.as_fd(), bytes, &self.handle, ());
        let buffer = pool.create_buffer(0, side, side, stride, wl_shm::Format::Argb8888, &self.handle, ());
        pool.destroy();
        cursor.surface.attach(Some(&buffer), 0, 0);
        cursor.surface.damage_buffer(0, 0, side, side);
        cursor.surface.commit();
        pointer.set_cursor(serial, Some(&cursor.surface), 0, 0);
        Ok(())
    }

    /// Another pointer, wherever it is.
    fn point(&mut self, pointer: &wl_pointer::WlPointer, entered: Option<u32>, cursor: &Shown) -> Result<()> {
        let Some(serial) = entered else { return Ok(()) };
        let (width, height) = self.change(cursor, (300, 300))?;
        let hot = (self.numbers.below(width), self.numbers.below(height));
        pointer.set_cursor(serial, Some(&cursor.surface), i32::try_from(hot.0)?, i32::try_from(hot.1)?);
        Ok(())
    }
}

/// Everything that it has of the screen.
struct Screen {
    connection: Connection,
    queue: EventQueue<Heard>,
    heard: Heard,
    maker: Maker,
    picture: Shown,
    cursor: Shown,
    pointer: wl_pointer::WlPointer,
    area: (u32, u32),
}

/// Does it, and stays until it is ended.
fn show(stream: UnixStream, act: Act) -> Result<()> {
    let mut screen = Screen::new(stream)?;
    match act {
        Act::Pictures(count) => {
            screen.maker.change(&screen.picture, screen.area)?;
            println!("shows");
            screen.wait_for_begin()?;
            println!("pointers {}", screen.pictures(count)?);
            println!("done");
            loop {
                screen.queue.blocking_dispatch(&mut screen.heard)?;
            }
        }
        Act::Fences => screen.fences(),
    }
}

impl Screen {
    fn new(stream: UnixStream) -> Result<Self> {
        let connection = Connection::from_socket(stream)?;
        let (globals, mut queue) = registry_queue_init::<Heard>(&connection)?;
        let handle = queue.handle();
        let compositor: wl_compositor::WlCompositor = globals.bind(&handle, 4..=4, ())?;
        let wm: xdg_wm_base::XdgWmBase = globals.bind(&handle, 1..=1, ())?;
        let viewporter: wp_viewporter::WpViewporter = globals.bind(&handle, 1..=1, ())?;
        let seat: wl_seat::WlSeat = globals.bind(&handle, 5..=5, ())?;
        let shm: wl_shm::WlShm = globals.bind(&handle, 1..=1, ())?;
        let dmabufs: zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1 = globals.bind(&handle, 3..=3, ())?;
        let pointer = seat.get_pointer(&handle, ());
        let mut heard = Heard::default();
        let shown = || {
            let surface = compositor.create_surface(&handle, ());
            let viewport = viewporter.get_viewport(&surface, &handle, ());
            Shown { surface, viewport }
        };
        let (picture, cursor) = (shown(), shown());
        let xdg = wm.get_xdg_surface(&picture.surface, &handle, ());
        let toplevel = xdg.get_toplevel(&handle, ());
        toplevel.set_app_id("phyllome.scanout.0".to_owned());
        picture.surface.commit();
        while heard.area.is_none() {
            queue.blocking_dispatch(&mut heard)?;
        }
        let area = heard.area.context("no area")?;
        let maker = Maker::new(dmabufs, shm, handle, area)?;
        Ok(Self { connection, queue, heard, maker, picture, cursor, pointer, area })
    }

    /// Waits until it is told to begin, and gives each pointer that enters an image.
    fn wait_for_begin(&mut self) -> Result<()> {
        let mut pointed = None;
        while std::fs::remove_file(BEGIN).is_err() {
            self.queue.roundtrip(&mut self.heard)?;
            if self.heard.entered != pointed {
                pointed = self.heard.entered;
                self.maker.point(&self.pointer, pointed, &self.cursor)?;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Tells how many pointers there were.
    fn pictures(&mut self, count: u32) -> Result<u32> {
        let mut pointers = 0;
        for number in 0..count {
            // Over all of the area, and beyond it, or not.
            let beyond = if number % 3 == 0 { 60 } else { 0 };
            let most = ((self.area.0 + beyond).min(MOST), (self.area.1 + beyond).min(MOST));
            self.maker.change(&self.picture, most)?;
            if self.maker.numbers.below(2) == 0 {
                self.maker.point(&self.pointer, self.heard.entered, &self.cursor)?;
                pointers += u32::from(self.heard.entered.is_some());
            }
            // Several at once, or one after the other.
            if self.maker.numbers.below(3) > 0 {
                self.queue.roundtrip(&mut self.heard)?;
            }
            if let Some(error) = self.connection.protocol_error() {
                bail!("the shell has cut it off: {error}");
            }
        }
        self.queue.roundtrip(&mut self.heard)?;
        Ok(pointers)
    }

    /// Says when there is a fence, and when it has come.
    fn fences(&mut self) -> Result<()> {
        let vgem = Vgem::open()?;
        let (width, height) = self.area;
        let pixels = self.maker.plain.first().context("no pixels")?;
        let bytes = (u64::from(width) * 4 * u64::from(height)).next_multiple_of(PAGE);
        let file = dmabuf(&self.maker.udmabuf, &pixels.memory, bytes)?;
        let params = self.maker.dmabufs.create_params(&self.maker.handle, ());
        params.add(file.as_fd(), 0, 0, width * 4, 0, 0);
        let flags = zwp_linux_buffer_params_v1::Flags::empty();
        let size = (i32::try_from(width)?, i32::try_from(height)?);
        let buffer = params.create_immed(size.0, size.1, XR24, flags, &self.maker.handle, ());
        let commit = || {
            self.picture.surface.attach(Some(&buffer), 0, 0);
            self.picture.surface.damage_buffer(0, 0, i32::MAX, i32::MAX);
            self.picture.surface.commit();
        };
        commit();
        println!("shows");
        for number in 0.. {
            let mut pointed = None;
            while std::fs::remove_file(BEGIN).is_err() {
                self.queue.roundtrip(&mut self.heard)?;
                if let Some(serial) = self.heard.entered.filter(|serial| pointed != Some(*serial)) {
                    pointed = Some(serial);
                    self.maker.point_red(&self.pointer, serial, &self.cursor)?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            vgem.attach(&file)?;
            commit();
            self.queue.roundtrip(&mut self.heard)?;
            println!("fence {number}");
            let mut asked = [PollFd::new(&file, PollFlags::IN)];
            poll(&mut asked, None)?;
            println!("fence {number} has come");
        }
        Ok(())
    }
}

/// The kernel's device that puts fences on other people's memory; each comes by itself after ten seconds.
struct Vgem(File);

impl Vgem {
    fn open() -> Result<Self> {
        for number in 128..192 {
            let Ok(file) = File::options().read(true).write(true).open(format!("/dev/dri/renderD{number}")) else {
                continue;
            };
            let mut name = [0u8; 8];
            /// `struct drm_version` of drm.h.
            #[repr(C)]
            struct Version {
                numbers: [i32; 3],
                name_length: usize,
                name: *mut u8,
                others: [usize; 4],
            }
            let mut version =
                Version { numbers: [0; 3], name_length: name.len(), name: name.as_mut_ptr(), others: [0; 4] };
            // DRM_IOCTL_VERSION.
            // SAFETY: the kernel writes its own struct, and at most as many bytes of a name as it is told.
            let done = unsafe { libc::ioctl(file.as_raw_fd(), 0xc040_6400u32 as libc::Ioctl, &raw mut version) };
            if done == 0 && name.starts_with(b"vgem\0") {
                return Ok(Self(file));
            }
        }
        bail!("there is no vgem")
    }

    /// Puts a fence on a dmabuf: somebody draws there.
    fn attach(&self, file: &OwnedFd) -> Result<()> {
        /// `DRM_IOCTL_PRIME_FD_TO_HANDLE`, `DRM_IOCTL_VGEM_FENCE_ATTACH` and `VGEM_FENCE_WRITE`.
        const HANDLE: u32 = 0xc00c_642e;
        const ATTACH: u32 = 0xc010_6441;
        const WRITE: u32 = 1;
        let mut prime = [0u32, 0, file.as_raw_fd().try_into()?];
        // SAFETY: three numbers, which the kernel reads and writes while the call lasts.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), HANDLE as libc::Ioctl, prime.as_mut_ptr()) };
        ensure!(done == 0, "vgem does not take the dmabuf: {}", std::io::Error::last_os_error());
        let mut fence = [prime[0], WRITE, 0, 0];
        // SAFETY: four numbers, which the kernel reads and writes while the call lasts.
        let done = unsafe { libc::ioctl(self.0.as_raw_fd(), ATTACH as libc::Ioctl, fence.as_mut_ptr()) };
        ensure!(done == 0, "vgem makes no fence: {}", std::io::Error::last_os_error());
        Ok(())
    }
}

impl Dispatch<xdg_toplevel::XdgToplevel, ()> for Heard {
    fn event(
        state: &mut Self,
        _: &xdg_toplevel::XdgToplevel,
        event: xdg_toplevel::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_toplevel::Event::Configure { width, height, .. } = event {
            state.area = Some((width.unsigned_abs(), height.unsigned_abs())).filter(|size| size.0 > 0 && size.1 > 0);
        }
    }
}

impl Dispatch<xdg_surface::XdgSurface, ()> for Heard {
    fn event(
        _: &mut Self,
        surface: &xdg_surface::XdgSurface,
        event: xdg_surface::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let xdg_surface::Event::Configure { serial } = event {
            surface.ack_configure(serial);
        }
    }
}

impl Dispatch<wl_seat::WlSeat, ()> for Heard {
    fn event(_: &mut Self, _: &wl_seat::WlSeat, _: wl_seat::Event, (): &(), _: &Connection, _: &QueueHandle<Self>) {}
}

impl Dispatch<wl_pointer::WlPointer, ()> for Heard {
    fn event(
        state: &mut Self,
        _: &wl_pointer::WlPointer,
        event: wl_pointer::Event,
        (): &(),
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        match event {
            wl_pointer::Event::Enter { serial, .. } => state.entered = Some(serial),
            wl_pointer::Event::Leave { .. } => state.entered = None,
            _ => {}
        }
    }
}

impl Dispatch<wl_registry::WlRegistry, GlobalListContents> for Heard {
    fn event(
        _: &mut Self,
        _: &wl_registry::WlRegistry,
        _: wl_registry::Event,
        _: &GlobalListContents,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
    }
}

delegate_noop!(Heard: ignore xdg_wm_base::XdgWmBase);
delegate_noop!(Heard: ignore wl_compositor::WlCompositor);
delegate_noop!(Heard: ignore wl_surface::WlSurface);
delegate_noop!(Heard: ignore wl_shm::WlShm);
delegate_noop!(Heard: ignore wl_shm_pool::WlShmPool);
delegate_noop!(Heard: ignore wl_buffer::WlBuffer);
delegate_noop!(Heard: ignore wp_viewporter::WpViewporter);
delegate_noop!(Heard: ignore wp_viewport::WpViewport);
delegate_noop!(Heard: ignore zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1);
delegate_noop!(Heard: ignore zwp_linux_buffer_params_v1::ZwpLinuxBufferParamsV1);
