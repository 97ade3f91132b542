//! Where a person meets the sentences of which source file. The longest path that leads to a file counts.

/// The crates of the product.
pub const CRATES: &[&str] =
    &["compositor", "compositor/trusted", "compositor/tool", "config", "guest-bridge", "guest-bridge/protocol"];

/// What the list begins with.
pub const HEAD: &str = "\
# Messages

The sentences in which the shell and its programs tell a person that something is wrong, waits or was refused, by the place where they
are met. Each says what to press, run or change, or has the reason in brackets behind it why there is nothing to do. `cargo xtask
messages` makes this list from the code; a test fails while it says anything else than the code does.

- CAPITALS are a name, a number or another program's words; … is anything, at the beginning of an entry what the sentence is about.
- What is indented stands inside of the sentence above it, in the place of ERROR, WHY or WHAT: a part, for which that sentence says what
  to do.
- Left out are parts that mean nothing by themselves (“a VHD image”, “the disk”), single words, log lines (`phyllome-shell` and
  `bridge.log`), the help of commands, the tables of `phyllome status`, why a guest's connection is cut off (the log says it; the guest's
  card says that it has ended), why a picture is copied or an output has no plane (`phyllome status` says it in one word), and what QEMU
  and the guests say themselves.

## On the screen

As they are read there, about a guest “Work” in slot 1, with the keys that are set: here those that nobody has changed.
";

/// A place of the list.
pub struct Place {
    /// Its heading.
    pub heading: &'static str,
    /// What stands below it.
    pub intro: &'static str,
    /// The headings of its files, where each has its own.
    pub headings: &'static [(&'static str, &'static str)],
    /// Files and folders whose sentences are met there.
    pub files: &'static [&'static str],
}

/// The places, in the list's order.
pub const PLACES: &[Place] = &[
    Place {
        heading: "What became of a guest",
        intro: "On its card, in its line of the list of guests, in `phyllome status` and `phyllome events`; before a guest starts, what keeps it \
                from starting. Below the card stands the key that starts it again.",
        headings: &[],
        files: &["compositor/src/guests", "guest-bridge/src/machine", "guest-bridge/src/gpu/publish.rs"],
    },
    Place {
        heading: "What is wrong in shell.toml and in guests' files",
        intro: "In the list of guests, in the shell's log, and from `phyllome-guest`: each begins with FILE, line NUMBER, KEY.",
        headings: &[],
        files: &["config/src", "guest-bridge/protocol/src/ids.rs"],
    },
    Place {
        heading: "What the shell refuses",
        intro: "To `phyllome`, and to keys in the list of guests.",
        headings: &[],
        files: &[
            "compositor/trusted/src/gate.rs",
            "compositor/src/shell/gate.rs",
            "compositor/src/control",
            "compositor/src/render/mod.rs",
            "compositor/src/backend/painter.rs",
            "guest-bridge/protocol/src/keys.rs",
            "guest-bridge/protocol/src/verb.rs",
        ],
    },
    Place {
        heading: "phyllome",
        intro: "Besides what the shell refuses.",
        headings: &[],
        files: &["compositor/tool/src/bin/phyllome"],
    },
    Place {
        heading: "phyllome doctor",
        intro: "What it finds, what that costs, and what mends it: no check can find fault without the latter (`Check::costs`, \
                `Check::broken`). By what is looked at, in the order of the sources; what mends a fault stands near it.",
        headings: &[
            ("compositor/tool/src/bin/phyllome/doctor/display.rs", "Displays and seat"),
            ("compositor/tool/src/bin/phyllome/doctor/gpu.rs", "Graphics that are tried"),
            ("compositor/tool/src/bin/phyllome/doctor/host.rs", "Programs, graphics and memory"),
            ("compositor/tool/src/bin/phyllome/doctor/kvm.rs", "KVM"),
            ("compositor/tool/src/bin/phyllome/doctor/linger.rs", "Guests after the session"),
            ("compositor/tool/src/bin/phyllome/doctor/mod.rs", "Programs that doctor runs"),
            ("compositor/tool/src/bin/phyllome/doctor/qemu.rs", "QEMU and firmware"),
            ("compositor/tool/src/bin/phyllome/doctor/three_d.rs", "3D for guests"),
        ],
        files: &["compositor/tool/src/bin/phyllome/doctor"],
    },
    Place {
        heading: "When the shell starts or ends",
        intro: "On the console, or in the log of the login manager, from `phyllome-shell` and `phyllome-session`.",
        headings: &[],
        files: &[
            "compositor/src/bin",
            "compositor/src/backend",
            "compositor/src/state.rs",
            "compositor/src/wayland/seat.rs",
            "compositor/tool/src/bin/phyllome-session",
            "guest-bridge/protocol/src/runtime.rs",
        ],
    },
    Place {
        heading: "phyllome-guest",
        intro: "Where it is run by hand; besides what became of the guest and what is wrong in its file.",
        headings: &[],
        files: &["guest-bridge/src/bin/phyllome-guest.rs"],
    },
];

/// What is put together and shown by the shell itself: the compositor's tests write it.
pub const SCREEN: &[&str] =
    &["compositor/src/faces", "compositor/src/shell/keyboard.rs", "compositor/src/shell/mod.rs", "compositor/src/host"];

/// Files whose sentences are only ever read inside of this one.
pub const INSIDE: &[(&str, &str)] = &[
    ("compositor/src/guests/link.rs", "{name}: {error}; force it off"),
    ("compositor/src/guests/freeze.rs", "{name} does not pause and cannot be frozen ({why}); force it off"),
    ("guest-bridge/src/machine/qmp.rs", "{error}; force the guest off if it stays so"),
    (
        "guest-bridge/src/gpu/server.rs",
        "the display device failed ({why}), and QEMU cannot go on without it; start the guest again",
    ),
    ("guest-bridge/src/renderer", "there is no 3D for this guest: {why}; gpu.mode = \"auto\" starts it without"),
    ("guest-bridge/src/cage/mod.rs", "there is no 3D for this guest: {why}; gpu.mode = \"auto\" starts it without"),
];

/// Sentences whose subject stands before them, put there by the code; in the list that is “…”.
pub const HEADLESS: &[&str] = &[
    "is damaged; copy it, and then let qemu-img check -r all repair the image",
    "has no room to grow; make room where it lies",
    "may not be opened; mend the permissions of all its files",
    "lacks a file; put that one back, or mend the guest's definition",
    "cannot be used; mend the image, or put back a copy",
];

/// Files without a place, and why.
pub const APART: &[(&str, &str)] = &[
    ("compositor/src/backend/elsewhere.rs", "goes to the log"),
    ("compositor/src/backend/kms/come.rs", "goes to the log"),
    ("compositor/src/backend/kms/crtc.rs", "goes to the log"),
    ("compositor/src/backend/kms/crtc/commit.rs", "goes to the log"),
    ("compositor/src/backend/kms/damage.rs", "draws"),
    ("compositor/src/backend/kms/edid.rs", "goes to the log"),
    ("compositor/src/backend/kms/events.rs", "goes to the log"),
    ("compositor/src/backend/kms/framebuffers.rs", "goes to the log, and to phyllome doctor"),
    ("compositor/src/backend/kms/modes.rs", "goes to the log"),
    ("compositor/src/backend/kms/planes.rs", "is a word of phyllome status"),
    ("compositor/src/backend/kms/self_test", "is read by phyllome doctor"),
    ("compositor/src/backend/kms/self_test.rs", "is read by phyllome doctor"),
    ("compositor/src/backend/kms/settle.rs", "goes to the log"),
    ("compositor/src/backend/kms/sheets.rs", "goes to the log"),
    ("compositor/src/backend/kms/surface.rs", "goes to the log"),
    ("compositor/src/bin/phyllome-shell/egl.rs", "is read by phyllome doctor"),
    ("compositor/src/control/client.rs", "goes to the log, and the other side is cut off"),
    ("compositor/src/bucket.rs", "counts"),
    ("compositor/src/descriptors.rs", "goes to the log"),
    ("compositor/src/event_loop.rs", "goes to the log"),
    ("compositor/src/faces/drawing", "draws"),
    ("compositor/src/guests/files.rs", "goes to the log"),
    ("compositor/src/guests/files", "goes to the log"),
    ("compositor/src/guests/process.rs", "names a unit to systemd"),
    ("compositor/src/host/logind.rs", "goes to the log, and to logind"),
    ("compositor/src/host/mod.rs", "goes to the log"),
    ("compositor/src/input", "goes to the log"),
    ("compositor/src/lib.rs", "names the others"),
    ("compositor/src/ledger.rs", "counts"),
    ("compositor/src/log_limit.rs", "goes to the log"),
    ("compositor/src/monotonic.rs", "tells the time"),
    ("compositor/src/outbox.rs", "goes to the log"),
    ("compositor/src/relay", "goes to the log"),
    ("compositor/src/relay.rs", "goes to the log"),
    ("compositor/src/outputs", "goes to the log"),
    ("compositor/src/render", "draws"),
    ("compositor/src/shell", "goes to the log"),
    ("compositor/src/wayland", "goes to the log, and the guest is cut off"),
    ("compositor/tool/src/bin/phyllome/arguments.rs", "is the help of commands"),
    ("compositor/tool/src/bin/phyllome/show.rs", "is tables and events"),
    ("compositor/trusted/src", "draws and decides; chords are told in the README"),
    ("config/src/identity.rs", "goes to the log, and the guest goes by its name"),
    ("guest-bridge/protocol/src", "is read by programs"),
    ("guest-bridge/src/bin", "is read by phyllome-guest"),
    ("guest-bridge/src/cage", "goes to the guest's log"),
    ("guest-bridge/src/child.rs", "says nothing"),
    ("guest-bridge/src/damage.rs", "says nothing"),
    ("guest-bridge/src/frames.rs", "says nothing"),
    ("guest-bridge/src/gpu", "goes to the log; what a guest did wrong is counted there"),
    ("guest-bridge/src/halt_poll.rs", "says nothing"),
    ("guest-bridge/src/lib.rs", "names the others"),
    ("guest-bridge/src/machine/display.rs", "goes to the log"),
    ("guest-bridge/src/machine/image.rs", "is what an image is called in a sentence of disks.rs"),
    ("guest-bridge/src/machine/input.rs", "goes to the log"),
    ("guest-bridge/src/machine/log_rate.rs", "goes to the guest's log"),
    ("guest-bridge/src/renderer/output.rs", "goes to the guest's log"),
    ("guest-bridge/src/renderer/server/virgl/export.rs", "goes to the guest's log"),
    ("guest-bridge/src/screen", "goes to the log, and to phyllome status in one word"),
    ("guest-bridge/src/seldom.rs", "says nothing"),
    ("guest-bridge/src/still.rs", "decides purely"),
    ("guest-bridge/src/spare.rs", "says nothing"),
];
