//! How it starts, idles and ends.

use crate::driver::{PATIENCE, RAM, Renderer, Said, sealed, texture, whole};
use phyllome_guest_bridge::renderer::wire::{Region, Request};
use phyllome_test_support::{process::wake_ups, wait};
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn it_offers_virgl_and_names_what_draws() {
    let renderer = Renderer::start();
    let ids: Vec<u32> = renderer.capsets.iter().map(|(id, ..)| *id).collect();
    assert_eq!(ids, [1, 2]);
    assert!(renderer.capsets.iter().all(|(_, version, bytes)| *version >= 1 && *bytes > 200), "{:?}", renderer.capsets);
    assert!(renderer.name.contains("llvmpipe") || renderer.name.contains("softpipe"), "{}", renderer.name);
}

#[test]
fn without_the_library_it_says_what_to_install() {
    let mut renderer = Renderer::bare(&["--library", "libabsent-virgl.so.9"], &[]);
    let Some(Said::Unable(why)) = renderer.next() else { panic!("it can, without a library") };
    assert!(why.contains("install") && why.contains("libabsent-virgl.so.9"), "{why}");
    assert!(renderer.next().is_none());
    assert_eq!(renderer.exit().code(), Some(1));
}

#[test]
fn a_library_that_is_another_is_refused() {
    let mut renderer = Renderer::bare(&["--library", "libc.so.6"], &[]);
    let Some(Said::Unable(why)) = renderer.next() else { panic!("it draws with the C library") };
    assert!(why.contains("virgl_renderer_init"), "{why}");
}

#[test]
fn what_the_library_cannot_do_is_not_offered_and_virgl_is_all_the_same() {
    for wishes in [["--venus"].as_slice(), &["--drm"], &["--venus", "--drm"]] {
        let mut renderer = Renderer::start_with(wishes, &[]);
        let ids: Vec<u32> = renderer.capsets.iter().map(|(id, ..)| *id).collect();
        assert!(ids.starts_with(&[1, 2]) && ids.iter().all(|id| [1, 2, 4, 6].contains(id)), "{ids:?}");
        assert_eq!(renderer.context(1, 2), 0);
        renderer.send(&Request::Fence { context: 0, ring: None, fence: 5 });
        assert!(matches!(renderer.next(), Some(Said::Fenced(5))));
    }
}

#[test]
fn it_ends_when_phyllome_guest_does() {
    let mut renderer = Renderer::start();
    assert_eq!(renderer.context(1, 0), 0);
    assert_eq!(renderer.create(1, texture(1, 64, 64)), 0);
    renderer.close();
    assert_eq!(renderer.exit().code(), Some(0));
}

#[test]
fn what_is_no_message_ends_it() {
    let broken: [fn(&mut Renderer); 5] = [
        |renderer| {
            let _ = renderer.send_packet(&[0xff; 64], &[]);
        },
        |renderer| {
            let _ = renderer.send(&Request::Target { target: 1, length: 1 });
        },
        |renderer| {
            let _ = renderer.send(&Request::Part(&[0; 16])) && renderer.send(&Request::Unref(1));
        },
        |renderer| {
            renderer.send_with(&Request::Unref(1), &[sealed(1).as_fd()]);
        },
        |renderer| {
            let part = vec![0; 48 << 10];
            // The other end may be gone before the last.
            let _ = (0..90).all(|_| renderer.send(&Request::Part(&part)));
        },
    ];
    for send in broken {
        let mut renderer = Renderer::start();
        send(&mut renderer);
        assert!(renderer.next().is_none());
        assert_eq!(renderer.exit().code(), Some(1));
    }
}

#[test]
fn an_idle_renderer_does_not_wake_up() {
    let (mut renderer, _ram) = Renderer::with_memory();
    assert_eq!(renderer.context(1, 0), 0);
    let what = texture(1, 64, 64);
    renderer.create_backed(1, what);
    assert_eq!(renderer.transfer_to(1, whole(&what)), 0);
    renderer.send(&Request::Fence { context: 0, ring: None, fence: 1 });
    assert!(matches!(renderer.next(), Some(Said::Fenced(1))));
    // Whatever its threads still had to do ends; from then on none of them runs.
    let mut before = wake_ups(renderer.pid()).unwrap();
    wait::until("a renderer at rest", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(500));
        before == std::mem::replace(&mut before, wake_ups(renderer.pid()).unwrap())
    });
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(wake_ups(renderer.pid()).unwrap(), before);
}

#[test]
fn descriptors_do_not_grow() {
    let (mut renderer, ram) = Renderer::with_memory();
    let what = texture(1, 64, 64);
    let file = sealed(1 << 20);
    let mut exports = None;
    let mut cycle = || {
        assert_eq!(renderer.context(1, 0), 0);
        renderer.create_backed(1, what);
        assert_eq!(renderer.create(2, what), 0);
        renderer.send_with(&Request::AttachFile { resource: 2, length: 64 * 64 * 4 }, &[file.as_fd()]);
        assert_eq!(renderer.done(), 0);
        assert_eq!(renderer.target(7, &file, 1 << 20), 0);
        assert_eq!(renderer.transfer_to(1, whole(&what)), 0);
        renderer.send(&Request::Export(1));
        // Whether it can give a texture out is the driver's matter, the same each time.
        let exported = match renderer.next() {
            Some(Said::Exported(_, files)) => Some(files.len()),
            Some(Said::Done(status)) if status != 0 => None,
            other => panic!("an answer of another kind: {other:?}"),
        };
        assert_eq!(*exports.get_or_insert(exported), exported);
        renderer.send(&Request::DropTarget(7));
        let region = Region { address: RAM, length: 1 << 20, offset: 0 };
        assert_eq!(renderer.set_memory(&[region], &[&ram]), 0);
        assert_eq!(renderer.ask(&Request::Reset), 0);
        renderer.descriptors()
    };
    cycle();
    let before = cycle();
    for _ in 0..30 {
        cycle();
    }
    assert_eq!(cycle(), before);
}
