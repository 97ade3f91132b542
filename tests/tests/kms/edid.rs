//! Monitors that describe themselves by garbage, passed on by a real kernel: the shell goes on, says no more than that
//! a monitor is there, by a name that is plain text, and shows its whole picture in the mode that the kernel has found.

use crate::display::wait_same;
use crate::rig::{Rig, RigOptions, SOON, on_rig};
use anyhow::{Context, Result, ensure};

const BLOCK: usize = 128;
const NAME: u8 = 0xfc;
/// Sets what the kernel takes for the EDID of the second output.
const OVERRIDE: &str = "/sys/kernel/debug/dri/0/Virtual-2/edid_override";

type Block = [u8; BLOCK];

/// A base block of good form without any timing, changed; its checksum is right.
fn base(change: impl FnOnce(&mut Block)) -> Vec<u8> {
    let mut block = [0u8; BLOCK];
    block[1..7].fill(0xff);
    block[8..12].copy_from_slice(&[0x10, 0xac, 0x34, 0x12]); // DEL
    block[16..20].copy_from_slice(&[1, 30, 1, 4]); // week, year, version 1.4
    block[20..25].copy_from_slice(&[0xa5, 60, 34, 120, 2]); // digital, 60 cm × 34 cm
    block[38..54].fill(1); // no standard timing
    for at in [54, 72, 90, 108] {
        block[at + 3] = 0x10; // no descriptor
    }
    change(&mut block);
    close(&mut block);
    block.to_vec()
}

fn close(block: &mut Block) {
    let sum = block[..BLOCK - 1].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    block[BLOCK - 1] = sum.wrapping_neg();
}

/// A monitor whose name is these bytes.
fn named(text: &[u8]) -> Vec<u8> {
    base(|block| {
        block[72..77].copy_from_slice(&[0, 0, 0, NAME, 0]);
        block[77..90].fill(b' ');
        block[77..77 + text.len()].copy_from_slice(text);
    })
}

/// The base block and so many extensions of these bytes.
fn extended(claimed: u8, content: u8, right: bool) -> Vec<u8> {
    let mut bytes = base(|block| block[126] = claimed);
    for _ in 0..claimed {
        let mut block = [content; BLOCK];
        block[0] = 2; // CTA-861
        close(&mut block);
        if !right {
            block[BLOCK - 1] ^= 0xff;
        }
        bytes.extend(block);
    }
    bytes
}

/// What a monitor sends, and how the shell is to call it. A base block that is not even of good form is passed on by no
/// kernel.
fn garbage() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let plain = "Virtual-2 (DEL 0x1234)";
    let nameless = "a display that does not say which";
    vec![
        ("an extension with a wrong checksum", extended(1, 0, false), plain),
        ("255 extensions of nonsense", extended(255, 0xff, true), plain),
        ("255 extensions of nothing", extended(255, 0, true), plain),
        ("no size", base(|block| block[21..23].fill(0)), plain),
        ("a huge size", base(|block| block[21..23].fill(0xff)), plain),
        ("timings that are nothing but ones", base(|block| block[54..126].fill(0xff)), plain),
        ("a timing without blanks", base(|block| block[54..72].copy_from_slice(&[1; 18])), plain),
        ("a timing of one pixel", base(|block| block[54..60].copy_from_slice(&[1, 0, 1, 0, 0, 1])), plain),
        ("control characters", named(b"\x1b[31m\x07\x08\r\x00\x7fR\n"), "Virtual-2 (DEL [31mR)"),
        ("letters that are none", named(b"caf\xc3\xa9 \xff\xfe\x80\n"), "Virtual-2 (DEL caf)"),
        ("letters from right to left", named("\u{202e}\u{2066}gpj.a\n".as_bytes()), "Virtual-2 (DEL gpj.a)"),
        ("a maker of no letters", base(|block| block[8..10].fill(0)), nameless),
    ]
}

/// Plugs in a monitor that sends these bytes; gives what the shell has said since it was unplugged.
fn plug(rig: &Rig, bytes: &[u8], size: (u16, u16)) -> Result<String> {
    rig.machine.set_output(1, None)?;
    rig.wait("one output", SOON, |status| status.outputs.len() == 1)?;
    let before = rig.shell()?.output().len();
    rig.machine.write("/tmp/edid", 0o644, bytes)?;
    rig.machine.root(&format!("cat /tmp/edid > {OVERRIDE}")).context("the kernel refuses it")?;
    rig.machine.set_output(1, Some(size))?;
    rig.wait("the second output", SOON, |status| {
        status
            .outputs
            .iter()
            .any(|on| (on.name.as_str(), on.width, on.height) == ("Virtual-2", size.0.into(), size.1.into()))
    })?;
    let passed_on = rig.machine.read("/sys/class/drm/card0-Virtual-2/edid")?;
    ensure!(passed_on == bytes, "the kernel passes on {} bytes of {}", passed_on.len(), bytes.len());
    wait_same(rig, 1, "Virtual-2")?;
    wait_same(rig, 0, "Virtual-1")?;
    Ok(rig.shell()?.output().split_off(before))
}

#[test]
fn monitors_that_describe_themselves_by_garbage_are_lit_all_the_same() -> Result<()> {
    on_rig("monitors_that_describe_themselves_by_garbage_are_lit_all_the_same", RigOptions::new(&[])?, |rig| {
        for (number, (what, bytes, wanted)) in garbage().iter().enumerate() {
            let size = if number % 2 == 0 { (800, 600) } else { (1024, 768) };
            let said = plug(rig, bytes, size).with_context(|| (*what).to_owned())?;
            ensure!(said.contains(wanted), "{what}: {said}");
            ensure!(said.lines().count() == 1, "{what}: {said}");
            let odd = said
                .chars()
                .find(|letter| (letter.is_control() && *letter != '\n') || ('\u{200e}'..='\u{206f}').contains(letter));
            ensure!(odd.is_none(), "{what}: {odd:?} in {said}");
            ensure!(rig.run(&["status"])?.lines().all(|line| !line.contains(char::is_control)), "{what}");
        }
        ensure!(rig.shell()?.ended()?.is_none());
        Ok(())
    })
}
