//! What a guest can make the shell keep is counted, each kind by itself: as many as are allowed hurt nobody, one more
//! ends the connection, and the end of a connection with all that it may have is quick.

use super::beside::{Beside, beside_blue};
use super::client::{Client, Window, sealed};
use super::fixture::Fixture;
use crate::outputs::OutputInfo;
use crate::wayland::things::Thing;
use crate::wayland::{guard, quota};
use smithay::reexports::rustix;
use std::os::fd::AsFd;
use std::time::Duration;
use wayland_client::protocol::{wl_compositor, wl_output, wl_seat, wl_shm};
use wayland_protocols::wp::linux_dmabuf::zv1::client::zwp_linux_dmabuf_v1;
use wayland_protocols::wp::viewporter::client::wp_viewporter;
use wayland_protocols::xdg::shell::client::xdg_wm_base;

/// Makes one object of a kind.
type Make = fn(&Client);

fn dmabuf(red: &Client) -> zwp_linux_dmabuf_v1::ZwpLinuxDmabufV1 {
    red.bind(4)
}

/// Every kind that a test can make without a graphics device, but buffers, which `hostile` makes.
const KINDS: [(Thing, Make); 16] = [
    (Thing::Surface, |red| drop(red.surface())),
    (Thing::Region, |red| drop(red.bind::<wl_compositor::WlCompositor>(4).create_region(&red.handle, ()))),
    (Thing::Pool, |red| drop(red.pool(4096))),
    (Thing::Seat, |red| drop(red.bind_anew::<wl_seat::WlSeat>(7))),
    (Thing::Keyboard, |red| drop(red.seat().get_keyboard(&red.handle, ()))),
    (Thing::Pointer, |red| drop(red.seat().get_pointer(&red.handle, ()))),
    (Thing::Touch, |red| drop(red.seat().get_touch(&red.handle, ()))),
    (Thing::Output, |red| drop(red.bind_anew::<wl_output::WlOutput>(2))),
    (Thing::Global, |red| drop(red.bind_anew::<wl_shm::WlShm>(1))),
    (Thing::Positioner, |red| drop(red.bind::<xdg_wm_base::XdgWmBase>(6).create_positioner(&red.handle, ()))),
    (Thing::ShellSurface, |red| {
        drop(red.bind::<xdg_wm_base::XdgWmBase>(6).get_xdg_surface(&red.surface(), &red.handle, ()));
    }),
    (Thing::Toplevel, |red| drop(window(red))),
    (Thing::Viewport, |red| drop(red.viewport(&red.surface()))),
    (Thing::Presentation, |red| red.feedback(&red.kept())),
    (Thing::Parameters, |red| drop(dmabuf(red).create_params(&red.handle, ()))),
    (Thing::Feedback, |red| drop(dmabuf(red).get_default_feedback(&red.handle, ()))),
];

fn window(red: &Client) -> Window {
    red.window("phyllome.scanout.0")
}

#[test]
fn tp20_of_each_kind_as_many_as_are_allowed_may_be_and_one_more_is_cut_off() {
    for (thing, make) in KINDS {
        let most = thing.limit().0;
        let cut = Beside::new().attack(|shell, red| {
            for _ in 0..most {
                make(red);
            }
            shell.roundtrip(red);
            assert!(!red.is_cut(), "{thing:?}: {most} are too many");
            make(red);
            shell.roundtrip(red);
        });
        assert!(cut, "{thing:?}: {most} and one more");
    }
}

pub fn configures(shell: &mut Beside, red: &mut Client) {
    let window = red.window("phyllome.scanout.0");
    shell.roundtrip(red);
    // Each is answered by a configure, and none is acknowledged.
    for _ in 0..1000 {
        for _ in 0..1000 {
            window.toplevel.set_maximized();
        }
        shell.roundtrip(red);
        if red.is_cut() {
            return;
        }
        // Slower than a flood.
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn tp20_a_million_configures_that_nobody_acknowledges_are_cut_off() {
    assert!(beside_blue(configures));
}

pub fn feedbacks(shell: &mut Beside, red: &mut Client) {
    for _ in 0..100 {
        dmabuf(red).get_default_feedback(&red.handle, ());
    }
    shell.roundtrip(red);
}

#[test]
fn tp20_a_few_registries_are_enough() {
    let registries = |count: usize| {
        beside_blue(move |shell, red| {
            for _ in 0..count {
                red.connection.display().get_registry(&red.handle, ());
            }
            for _ in 0..10 {
                shell.roundtrip(red);
            }
        })
    };
    // One is the client's own.
    assert!(!registries(quota::MAX_REGISTRIES - 1));
    assert!(registries(quota::MAX_REGISTRIES));
}

#[test]
fn a_toplevel_that_acknowledges_later_is_then_told_of_the_outputs_as_they_are() {
    let mut shell = Fixture::new();
    let mut red = shell.attach("red");
    let window = window(&red);
    shell.roundtrip(&mut red);
    window.acknowledge(&red);
    shell.roundtrip(&mut red);
    let name = shell.state.backend.outputs()[0].name.clone();
    // It is stopped: it reads, and it answers nothing.
    for step in 0..4 * quota::MAX_CONFIGURES as u32 {
        shell.change(&OutputInfo::plain(name.clone(), (1280 + step, 800), 1.0, 60_000));
        shell.roundtrip(&mut red);
    }
    assert!(!red.is_cut(), "what the shell sends by itself is nobody's fault");
    let area = shell.area();
    let now = (area.width as i32, area.height as i32);
    assert_ne!(red.events.configured, Some(now));
    window.acknowledge(&red);
    shell.roundtrip(&mut red);
    assert_eq!(red.events.configured, Some(now));
}

/// Processor time of this thread so far.
fn processor_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

#[test]
fn tp20_the_end_of_a_connection_with_all_that_it_may_have_is_quick() {
    let mut shell = Fixture::new();
    let mut red = shell.attach("red");
    let window = window(&red);
    let pool = red.pool(4096);
    for _ in 0..quota::MAX_BUFFERS {
        pool.pool.create_buffer(0, 1, 1, 4, wl_shm::Format::Xrgb8888, &red.handle, ());
    }
    let surfaces: Vec<_> = (1..quota::MAX_SURFACES).map(|_| red.surface()).collect();
    let viewporter: wp_viewporter::WpViewporter = red.bind(1);
    for surface in &surfaces {
        viewporter.get_viewport(surface, &red.handle, ());
    }
    let file = sealed(4096);
    for _ in 0..Thing::Parameters.limit().0 {
        dmabuf(&red).create_params(&red.handle, ()).add(file.as_fd(), 0, 0, 256, 0, 0);
    }
    shell.roundtrip(&mut red);
    let mut callbacks = quota::MAX_OBJECTS - 700;
    for surface in surfaces.iter().chain([&window.surface]) {
        let here = callbacks.min(quota::MAX_FRAME_CALLBACKS);
        (0..here).for_each(|_| red.ask_for_frame(surface));
        callbacks -= here;
    }
    shell.roundtrip(&mut red);
    assert!(!red.is_cut());
    drop(red);
    let before = processor_time();
    shell.wait("the connection to end", |shell| {
        let mut clients = 0;
        shell.state.display.backend_handle().with_all_clients(|_| clients += 1);
        clients == 0
    });
    let took = processor_time() - before;
    assert!(took < Duration::from_secs(1).mul_f64(guard::slowness().max(1.0)), "{took:?}");
}
