//! Descriptors that a renderer gives: the right number, of a kind that can be used, or none stays open.

use crate::stage::{Stage, borrowed, leaking_nothing, memory, packet};
use phyllome_guest_bridge::renderer::client::{Answer, RendererEvent};
use phyllome_guest_bridge::renderer::wire::{Event, Export, Plane, Request};
use rustix::fs::{MemfdFlags, SealFlags, memfd_create};
use std::os::fd::OwnedFd;

/// A picture of 4 by 4 pixels, 16 bytes a row.
fn picture(planes: usize) -> Export {
    let planes = vec![Plane { offset: 0, stride: 16 }; planes];
    Export { width: 4, height: 4, fourcc: 0x3432_5258, modifier: 0, bottom_up: false, planes }
}

fn memories(count: usize, size: u64) -> Vec<OwnedFd> {
    (0..count).map(|_| memory(size)).collect()
}

/// The one answer to `request`; else why the renderer was ended.
fn answer(request: &Request<'_>, event: Event<'_>, files: &[OwnedFd], memfd_pictures: bool) -> Result<Answer, String> {
    let mut stage = Stage::new();
    if memfd_pictures {
        stage.client.take_memfd_pictures();
    }
    stage.client.send(request, &[]).unwrap();
    stage.say(&packet(&[event]), &borrowed(files));
    match stage.turn().pop() {
        Some(RendererEvent::Answered { answer, .. }) => Ok(answer),
        Some(RendererEvent::Died { why, .. }) => Err(why),
        other => panic!("{other:?}"),
    }
}

#[test]
fn descriptors_that_do_not_belong_end_the_renderer_and_are_closed() {
    let exported = |planes| packet(&[Event::Exported(picture(planes))]);
    let mapped = || packet(&[Event::Mapped { size: 4096, cache: 1 }]);
    let done = || packet(&[Event::Done(0)]);
    for (what, request, bytes, files) in [
        ("one with Done", Request::Unref(1), done(), 1),
        ("four with Done", Request::Unref(1), done(), 4),
        ("more than any message has", Request::Export(1), exported(4), 5),
        ("as many as the kernel allows", Request::Export(1), exported(4), 253),
        ("two messages", Request::Map(1), [mapped(), done()].concat(), 1),
        ("none with a picture", Request::Export(1), exported(1), 0),
        ("too few", Request::Export(1), exported(2), 1),
        ("too many", Request::Export(1), exported(1), 2),
        ("a picture without planes", Request::Export(1), exported(0), 0),
        ("a picture of five planes", Request::Export(1), exported(5), 4),
        ("none with a mapping", Request::Map(1), mapped(), 0),
        ("two with a mapping", Request::Map(1), mapped(), 2),
        ("with garbage", Request::Map(1), vec![0xff; 9], 3),
        ("with a refusal", Request::Export(1), packet(&[Event::Done(22)]), 1),
    ] {
        leaking_nothing(|| {
            let mut stage = Stage::new();
            stage.client.send(&request, &[]).unwrap();
            stage.say(&bytes, &borrowed(&memories(files, 4096)));
            // What is refused may have been answered before; the end comes in any case.
            let why = stage.dies();
            assert!(why.contains("protocol"), "{what}: {why}");
        });
    }
}

#[test]
fn a_picture_that_is_no_dmabuf_is_refused() {
    leaking_nothing(|| {
        let refused = answer(&Request::Export(1), Event::Exported(picture(1)), &memories(1, 4096), false);
        assert!(matches!(refused, Ok(Answer::Refused(libc::EINVAL))), "{refused:?}");
    });
}

#[test]
fn a_picture_lies_within_its_files() {
    let of = |width, height| Event::Exported(Export { width, height, ..picture(1) });
    leaking_nothing(|| {
        let good = answer(&Request::Export(1), of(4, 4), &memories(1, 64), true);
        assert!(matches!(&good, Ok(Answer::Exported(export, planes)) if *export == picture(1) && planes.len() == 1));
        let small = answer(&Request::Export(1), of(4, 4), &memories(1, 63), true);
        assert!(matches!(small, Ok(Answer::Refused(_))), "{small:?}");
        let huge = answer(&Request::Export(1), of(u32::MAX, u32::MAX), &memories(1, 64), true);
        assert!(matches!(huge, Ok(Answer::Refused(_))), "{huge:?}");
        for (width, height) in [(0, 4), (4, 0)] {
            let empty = answer(&Request::Export(1), of(width, height), &memories(1, 64), true);
            assert!(empty.is_err(), "{empty:?}");
        }
    });
}

#[test]
fn a_mapping_is_memory_that_cannot_be_taken_away() {
    leaking_nothing(|| {
        let event = |size| Event::Mapped { size, cache: 1 };
        let files = memories(1, 4096);
        let good = answer(&Request::Map(1), event(4096), &files, false);
        assert!(matches!(good, Ok(Answer::Mapped { size: 4096, cache: 1, .. })), "{good:?}");
        assert!(rustix::fs::ftruncate(&files[0], 0).is_err(), "the renderer can still shrink it");

        let beyond = answer(&Request::Map(1), event(4097), &memories(1, 4096), false);
        assert!(matches!(beyond, Ok(Answer::Refused(_))), "{beyond:?}");
        // Who shows it has to map it for writing.
        let kept = memory(4096);
        rustix::fs::fcntl_add_seals(&kept, SealFlags::FUTURE_WRITE).unwrap();
        for file in [
            memfd_create("shrinks", MemfdFlags::CLOEXEC).unwrap(),
            std::fs::File::open("/dev/zero").unwrap().into(),
            std::io::pipe().unwrap().0.into(),
            kept,
        ] {
            let refused = answer(&Request::Map(1), event(1), &[file], false);
            assert!(matches!(refused, Ok(Answer::Refused(_))), "{refused:?}");
        }
        for (size, cache) in [(0, 1), (4096, 4)] {
            let ended = answer(&Request::Map(1), Event::Mapped { size, cache }, &memories(1, 4096), false);
            assert!(ended.is_err(), "{ended:?}");
        }
    });
}
