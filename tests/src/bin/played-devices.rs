//! Plays input devices that QEMU does not have, through the kernel's uinput: a touchpad, a pen on its tablet, a
//! laptop's lid.
//!
//! Says a line when they are there, then reads lines from the file that its argument names (a pipe), until that says
//! `end`. A line is a device (`pad`, `pen`, `lid`) and its frames, parted by `;`, each a list of `TYPE CODE VALUE` in
//! the kernel's numbers; some milliseconds lie between two frames. Never used but by tests.

use anyhow::{Context, Result, bail};
use evdev::uinput::VirtualDevice;
use evdev::{
    AbsInfo, AbsoluteAxisCode as Axis, AttributeSet, InputEvent, KeyCode, PropType, SwitchCode, UinputAbsSetup,
};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::time::Duration;

/// As a finger or a hand moves: devices tell of themselves about a hundred times a second.
const BETWEEN: Duration = Duration::from_millis(12);

/// Units in a millimetre.
const RESOLUTION: i32 = 40;

fn main() -> Result<()> {
    let pipe = std::env::args().nth(1).context("which file are the lines in?")?;
    let (mut pad, mut pen, mut lid) = (touchpad()?, tablet()?, lid()?);
    println!("the devices are there");
    loop {
        // Every writer of a pipe ends it for its reader.
        let lines = BufReader::new(File::open(&pipe).with_context(|| format!("{pipe} cannot be read"))?);
        for line in lines.lines() {
            let line = line?;
            let (name, frames) = line.split_once(' ').unwrap_or((line.as_str(), ""));
            let device = match name {
                "pad" => &mut pad,
                "pen" => &mut pen,
                "lid" => &mut lid,
                "end" => return Ok(()),
                other => bail!("there is no device “{other}”"),
            };
            for frame in frames.split(';') {
                device.emit(&events(frame)?)?;
                std::thread::sleep(BETWEEN);
            }
        }
    }
}

fn events(frame: &str) -> Result<Vec<InputEvent>> {
    let numbers = frame.split_whitespace().map(str::parse).collect::<Result<Vec<i32>, _>>()?;
    let event = |three: &[i32]| match three {
        [kind, code, value] => Ok(InputEvent::new(u16::try_from(*kind)?, u16::try_from(*code)?, *value)),
        _ => bail!("TYPE CODE VALUE, not {three:?}"),
    };
    numbers.chunks(3).map(event).collect()
}

fn axis(axis: Axis, most: i32, resolution: i32) -> UinputAbsSetup {
    UinputAbsSetup::new(axis, AbsInfo::new(0, 0, most, 0, 0, resolution))
}

/// 100 mm wide, 70 mm high; two fingers.
fn touchpad() -> Result<VirtualDevice> {
    let keys = [KeyCode::BTN_LEFT, KeyCode::BTN_TOUCH, KeyCode::BTN_TOOL_FINGER, KeyCode::BTN_TOOL_DOUBLETAP];
    let properties = [PropType::POINTER, PropType::BUTTONPAD];
    let device = VirtualDevice::builder()?
        .name("Played touchpad")
        .with_properties(&properties.into_iter().collect::<AttributeSet<_>>())?
        .with_keys(&keys.into_iter().collect::<AttributeSet<_>>())?
        .with_absolute_axis(&axis(Axis::ABS_X, 4000, RESOLUTION))?
        .with_absolute_axis(&axis(Axis::ABS_Y, 2800, RESOLUTION))?
        .with_absolute_axis(&axis(Axis::ABS_MT_SLOT, 1, 0))?
        .with_absolute_axis(&axis(Axis::ABS_MT_POSITION_X, 4000, RESOLUTION))?
        .with_absolute_axis(&axis(Axis::ABS_MT_POSITION_Y, 2800, RESOLUTION))?
        .with_absolute_axis(&axis(Axis::ABS_MT_TRACKING_ID, 65_535, 0))?
        .build()?;
    Ok(device)
}

/// 200 mm wide, 125 mm high.
fn tablet() -> Result<VirtualDevice> {
    let keys = [KeyCode::BTN_TOOL_PEN, KeyCode::BTN_TOUCH, KeyCode::BTN_STYLUS];
    let device = VirtualDevice::builder()?
        .name("Played tablet")
        .with_keys(&keys.into_iter().collect::<AttributeSet<_>>())?
        .with_absolute_axis(&axis(Axis::ABS_X, 8000, RESOLUTION))?
        .with_absolute_axis(&axis(Axis::ABS_Y, 5000, RESOLUTION))?
        .with_absolute_axis(&axis(Axis::ABS_PRESSURE, 1023, 0))?
        .build()?;
    Ok(device)
}

fn lid() -> Result<VirtualDevice> {
    let switches = AttributeSet::from_iter([SwitchCode::SW_LID]);
    Ok(VirtualDevice::builder()?.name("Played lid").with_switches(&switches)?.build()?)
}
