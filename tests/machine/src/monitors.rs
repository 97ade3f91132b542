//! Monitors that come, go and change their size: told to QEMU from outside, and told again until the machine's own
//! kernel knows.
//!
//! Linux loses such news at times: its virtio-gpu driver asks the device how its outputs are, and only afterwards marks
//! the news as read (`virtio_gpu_config_changed_work_func`). What comes in between is marked with it and never asked
//! for: the second of two changes that follow each other within a millisecond or two, more on a busy computer. No
//! program inside can know of such a monitor, so it is told of anew. Nothing here looks at the shell, or makes the
//! kernel tell it anything.

use crate::machine::{Machine, wait_for};
use crate::vnc;
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// The kernel knows after milliseconds; after so long it never will.
const KNOWS: Duration = Duration::from_secs(3);

/// Until then it is told again.
const LIMIT: Duration = Duration::from_secs(60);

impl Machine {
    /// Plugs a monitor of this size into an output of the first display device, gives it another size, or unplugs it;
    /// returns when the machine's kernel knows.
    pub fn set_output(&self, head: u32, size: Option<(u16, u16)>) -> Result<()> {
        let what = match size {
            Some((width, height)) => {
                format!("the machine's kernel to know of a monitor of {width}x{height} on output {head}")
            }
            None => format!("the machine's kernel to know that there is no monitor on output {head}"),
        };
        self.touch_output(head);
        let deadline = Instant::now() + LIMIT;
        let mut again = false;
        loop {
            vnc::set_size(&self.monitor_socket(head), size, again)?;
            let mut last = String::new();
            let known = wait_for(&what, KNOWS, || {
                last = self.monitor(head, size.is_some())?;
                Ok(is_known(&last, size).then_some(()))
            });
            if known.is_ok() || Instant::now() > deadline {
                return known.with_context(|| format!("it says {last:?}"));
            }
            eprintln!("{what}: it says {last:?}, and is told again");
            again = true;
        }
    }

    /// What the kernel says of an output: whether a monitor is there, and its first mode. Modes are as they were when
    /// somebody asked for them last; where one is there and is to be, they are asked for now.
    fn monitor(&self, head: u32, wanted: bool) -> Result<String> {
        let connector = format!("/sys/class/drm/card*-Virtual-{}", head + 1);
        let ask = if wanted { "[ $state = disconnected ] || echo detect > $folder/status; " } else { "" };
        self.root(&format!(
            "for folder in {connector}; do state=$(cat $folder/status); {ask}echo $state $(head -n 1 $folder/modes); done"
        ))
    }
}

/// Whether what the kernel says is what it was told.
fn is_known(said: &str, size: Option<(u16, u16)>) -> bool {
    let mut words = said.split_whitespace();
    let (state, mode) = (words.next(), words.next());
    match size {
        None => state == Some("disconnected"),
        // A mode that the kernel makes up itself is a multiple of eight pixels wide.
        Some((width, height)) => {
            let modes = [width, width - width % 8].map(|width| format!("{width}x{height}"));
            state == Some("connected") && mode.is_some_and(|mode| modes.iter().any(|other| other == mode))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_monitor_that_was_told_of_is_known() {
        let size = Some((1366, 768));
        for (said, size, wanted) in [
            ("connected 1366x768\n", size, true),
            ("connected 1360x768\n", size, true),
            ("connected 1024x768\n", size, false),
            ("connected\n", size, false),
            ("disconnected\n", size, false),
            ("disconnected 1366x768\n", size, false),
            ("disconnected\n", None, true),
            ("disconnected 1366x768\n", None, true),
            ("connected 1366x768\n", None, false),
            ("", None, false),
        ] {
            assert_eq!(is_known(said, size), wanted, "{said:?}, {size:?}");
        }
    }
}
