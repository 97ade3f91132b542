//! What the machine's kernel says about its display: a pure reader of ftrace's text, and the setting that makes the
//! kernel write it.
//!
//! A picture is on the display when virtio-gpu's RESOURCE_FLUSH for it is queued and the vblank event after that is
//! delivered. The trace's clock is `CLOCK_MONOTONIC`, so that its times are those of whoever asks for that clock inside
//! the machine.

/// Makes the kernel note flips and starts of programs; for root's `/bin/sh`.
pub const ENABLE: &str = "\
cd /sys/kernel/tracing 2> /dev/null && [ -e trace_clock ] || mount -t tracefs tracefs /sys/kernel/tracing
[ -d /sys/kernel/debug/dri ] || mount -t debugfs debugfs /sys/kernel/debug
cd /sys/kernel/tracing || exit 1
echo mono > trace_clock
echo 4096 > buffer_size_kb
echo 'type == 0x103 || type == 0x104' > events/virtio_gpu/virtio_gpu_cmd_queue/filter
echo 1 > events/virtio_gpu/virtio_gpu_cmd_queue/enable
echo 1 > events/drm/drm_vblank_event_delivered/enable
echo 1 > events/sched/sched_process_exec/enable
";

/// Forgets what was noted.
pub const CLEAR: &str = "echo > /sys/kernel/tracing/trace";

/// Where it is read.
pub const FILE: &str = "/sys/kernel/tracing/trace";

/// Something that the kernel noted, at nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: u64,
    /// What.
    pub what: What,
}

/// What the kernel noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A process has become another program.
    Exec(i32),
    /// The display is to show another buffer.
    SetScanout,
    /// A part of the buffer goes to the display.
    Flush,
    /// A vblank event: the flip that asked for it is done.
    Flipped,
}

/// All events of a trace, in its order.
pub fn parse(text: &str) -> Vec<Event> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(event).collect()
}

fn event(line: &str) -> Option<Event> {
    // `comm-pid [cpu] flags seconds.micros: name: fields`; a program's name may hold anything, so it is read from
    // behind.
    let names = ["virtio_gpu_cmd_queue: ", "drm_vblank_event_delivered: ", "sched_process_exec: "];
    let (at, name) = names.iter().find_map(|name| Some((line.find(&format!(": {name}"))?, *name)))?;
    let fields = line.get(at + 2 + name.len()..)?;
    let (seconds, micros) = line.get(..at)?.rsplit(' ').next()?.split_once('.')?;
    let at = seconds.parse::<u64>().ok()? * 1_000_000_000 + micros.parse::<u64>().ok()? * 1000;
    let field = |key: &str| fields.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let what = match name {
        "sched_process_exec: " => What::Exec(field("pid")?.parse().ok()?),
        "drm_vblank_event_delivered: " => What::Flipped,
        _ => match field("type")? {
            "0x103" => What::SetScanout,
            "0x104" => What::Flush,
            _ => return None,
        },
    };
    Some(Event { at, what })
}

/// From a program's start to its first picture on the display, in nanoseconds. The console draws too until then, always
/// into the same buffer: so only what comes after another buffer was set counts.
pub fn start_to_first_flush(events: &[Event], pid: i32) -> Option<u64> {
    let start = events.iter().rposition(|event| event.what == What::Exec(pid))?;
    let mut rest = events.get(start..)?.iter();
    rest.find(|event| event.what == What::SetScanout)?;
    let first = rest.find(|event| event.what == What::Flush)?;
    first.at.checked_sub(events.get(start)?.at)
}

/// From each of these times to the end of the first flip that was begun after it, in nanoseconds: the least that it can
/// have been where another picture was still being drawn at that time.
pub fn flips_after(events: &[Event], times: &[u64]) -> Vec<u64> {
    let flip = |from: u64| {
        let mut later = events.iter().filter(|event| event.at >= from);
        later.find(|event| event.what == What::Flush)?;
        later.find(|event| event.what == What::Flipped).map(|done| done.at - from)
    };
    times.iter().filter_map(|from| flip(*from)).collect()
}

/// Pictures that went to the display.
pub fn flushes(events: &[Event]) -> usize {
    events.iter().filter(|event| event.what == What::Flush).count()
}

/// The period of the mode that is set, in nanoseconds, from debugfs' `dri/0/state`.
pub fn period(state: &str) -> Option<u64> {
    let modes = state.lines().filter_map(|line| line.trim().strip_prefix("mode: \"")?.split_once("\": "));
    modes.filter(|(name, _)| !name.is_empty()).find_map(|(_, fields)| {
        let fields: Vec<u64> = fields.split(' ').map_while(|word| word.parse().ok()).collect();
        let (kilohertz, across, down) = (*fields.get(1)?, *fields.get(5)?, *fields.get(9)?);
        (across * down * 1_000_000).checked_div(kilohertz)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "\
# tracer: nop
             awk-319     [000] .....    53.814110: sched_process_exec: filename=/usr/bin/awk pid=319 old_pid=319
    kworker/u8:1-28      [001] ...1.    54.000001: virtio_gpu_cmd_queue: vdev=4 vq=0 name=control type=0x104 flags=0x0 seqno=724
    kworker/u8:1-28      [001] ...1.    54.069624: virtio_gpu_cmd_queue: vdev=4 vq=0 name=control type=0x103 flags=0x0 seqno=726
    kworker/u8:1-28      [001] ...1.    54.069631: virtio_gpu_cmd_queue: vdev=4 vq=0 name=control type=0x104 flags=0x0 seqno=727
          <idle>-0       [000] d.h2.    54.076050: drm_vblank_event_delivered: file=0000000016ce427e, crtc=0, seq=2928
     a: b 1.5: c-7       [001] ...1.    55.000000: virtio_gpu_cmd_queue: vdev=4 vq=0 name=control type=0x104 flags=0x0 seqno=728
          <idle>-0       [000] d.h2.    55.013000: drm_vblank_event_delivered: file=0000000016ce427e, crtc=0, seq=2929
";

    #[test]
    fn the_first_picture_of_a_program_is_the_one_in_a_buffer_of_its_own() {
        let events = parse(TRACE);
        assert_eq!(events.len(), 7);
        assert_eq!(start_to_first_flush(&events, 319), Some(54_069_631_000 - 53_814_110_000));
        assert_eq!(start_to_first_flush(&events, 320), None);
    }

    #[test]
    fn a_flip_belongs_to_what_was_flushed_before_it_was_begun() {
        let events = parse(TRACE);
        assert_eq!(flips_after(&events, &[54_050_000_000, 54_999_000_000]), [26_050_000, 14_000_000]);
        // The second was shown with the first.
        assert_eq!(flips_after(&events, &[54_050_000_000, 54_060_000_000]), [26_050_000, 16_050_000]);
        assert!(flips_after(&events, &[56_000_000_000]).is_empty());
        assert_eq!(flushes(&events), 3);
    }

    #[test]
    fn the_period_is_that_of_the_mode_that_is_on() {
        let state = "crtc[40]: crtc-0\n\tactive=1\n\tmode: \"1280x800\": 75 107300 1280 1344 1480 1680 800 801 804 829 0x48 0x6\n";
        assert_eq!(period(&format!("\tmode: \"\": 0 0 0 0 0 0 0 0 0 0 0x0 0x0\n{state}")), Some(12_979_683));
        assert_eq!(period("mode: \"\": 0 0 0 0 0 0 0 0 0 0 0x0 0x0"), None);
    }
}
