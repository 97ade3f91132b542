//! QEMU's own words made a sentence to a person: the cause first, about a file by its name, with what to do.
//!
//! QEMU says what is wrong behind a copy of the option that it read, which may be thousands of characters long. The
//! options are ours, so that copy is known to the letter and is left out. What QEMU says is a stranger's text: lines
//! and their number are bounded, and nothing unprintable is shown.

use super::command_line::CommandLine;
use super::lifecycle::Exit;
use super::logs::LastLines;
use phyllome_protocol::status::GuestState;
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// Most characters of QEMU's words in a sentence.
const MOST: usize = 200;
/// Most characters of a path in a sentence.
const MOST_PATH: usize = 120;

/// What QEMU said before its end, for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// The words.
    pub text: String,
    /// They are a sentence of ours that says all; else they are QEMU's own, and need to be said to be.
    pub whole: bool,
}

impl Words {
    /// Whether they are about KVM. A file whose name has those letters is not.
    pub fn blame_kvm(&self) -> bool {
        !self.whole && self.text.to_ascii_lowercase().contains("kvm")
    }
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self { text: text.to_owned(), whole: false }
    }
}

/// QEMU's last words, shared with the task that reads them.
#[derive(Clone, Debug, Default)]
pub struct LastWords {
    lines: Arc<Mutex<LastLines>>,
    options: Arc<[Named]>,
}

/// An option of QEMU's that is about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    /// As QEMU repeats it.
    option: String,
    /// What it is about, for a sentence; empty for an option that is about no file.
    subject: String,
}

impl LastWords {
    /// Of a QEMU that is started with this line.
    pub fn of(line: &CommandLine) -> Self {
        Self { lines: Arc::default(), options: options(line).into() }
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().map(|lines| lines.lines()).unwrap_or_default()
    }

    /// What explains an end best.
    pub fn explanation(&self) -> Option<Words> {
        let (lines, kvm) = self.lines.lock().map(|last| (last.lines(), last.kvm_error().map(str::to_owned))).ok()?;
        explain(kvm.as_deref(), &lines, &self.options)
    }

    /// Takes bytes as they come.
    pub fn push(&self, bytes: &[u8]) {
        if let Ok(mut lines) = self.lines.lock() {
            lines.push(bytes);
        }
    }
}

/// Every option of the line as QEMU repeats it, and the file that it is about.
fn options(line: &CommandLine) -> Vec<Named> {
    let pairs = line.args.iter().zip(line.args.iter().skip(1));
    let pairs: Vec<_> = pairs.map(|(name, value)| (name.to_string_lossy(), value.to_string_lossy())).collect();
    let node = |name: &str| {
        let nodes = pairs.iter().filter(|(option, _)| option == "-blockdev");
        nodes.filter_map(|(_, value)| serde_json::from_str::<Value>(value).ok()).find(|node| node["node-name"] == name)
    };
    let subject = |option: &str, value: &str| match option {
        "-blockdev" => about(&serde_json::from_str(value).ok()?),
        "-device" => about(&node(value.split(',').find_map(|part| part.strip_prefix("drive="))?)?),
        _ => None,
    };
    let named = pairs.iter().filter(|(option, _)| option.starts_with('-'));
    let named = named.map(|(option, value)| Named {
        // QEMU's lines are made printable as they are read, and so must this be.
        option: phyllome_protocol::text::plain(&format!("{option} {value}: "), usize::MAX, ' '),
        subject: subject(option, value).unwrap_or_default(),
    });
    named.collect()
}

/// The file of a block node, for a sentence.
fn about(node: &Value) -> Option<String> {
    let path = node.get("file")?.get("filename")?.as_str()?;
    let what = match node.get("node-name")?.as_str()? {
        "fw-code" => "the firmware",
        "fw-vars" => "the file of the firmware's variables,",
        _ if node.get("read-only").is_some() => "the ISO image",
        _ => "the disk",
    };
    let skipped = path.chars().count().saturating_sub(MOST_PATH);
    let cut = if skipped > 0 { "…" } else { "" };
    Some(format!("{what} {cut}{}", path.chars().skip(skipped).collect::<String>()))
}

/// Out of QEMU's words the line for a person: KVM's own complaint before all, else the last line that is signed by QEMU
/// and no warning, else the last line.
fn explain(kvm: Option<&str>, lines: &[String], options: &[Named]) -> Option<Words> {
    let aside = |line: &str| line.contains(": warning: ") || line.contains(": info: ");
    let signed = || lines.iter().rev().find(|line| line.starts_with("qemu") && !aside(line));
    let line = kvm.or_else(|| signed().or(lines.last()).map(String::as_str))?;
    let text = match line.split_once(": ") {
        Some((program, rest)) if program.starts_with("qemu") => rest,
        _ => line,
    };
    let option = options.iter().find(|named| text.starts_with(&named.option));
    let text = option.and_then(|named| text.strip_prefix(&named.option)).unwrap_or(text).trim();
    let text: String = text.chars().take(MOST).collect();
    let subject = option.map(|named| named.subject.as_str()).filter(|subject| !subject.is_empty());
    let sentence = match subject {
        Some(subject) => Some(of_file(subject, &text)),
        None => of_machine(&text),
    };
    Some(sentence.map_or(Words { text, whole: false }, |text| Words { text, whole: true }))
}

/// What is wrong with a file, and what to do.
fn of_file(subject: &str, cause: &str) -> String {
    let says = |word: &str| cause.contains(word);
    if says("Failed to get") && says("lock") {
        return format!("{subject} is in use by another program or guest; end that one first");
    }
    let help = if says("Image is corrupt") {
        "is damaged; copy it, and then let qemu-img check -r all repair the image"
    } else if says("No space left") {
        "has no room to grow; make room where it lies"
    } else if says("Permission denied") || says("Read-only file system") {
        "may not be opened; mend the permissions of all its files"
    } else if says("No such file") {
        "lacks a file; put that one back, or mend the guest's definition"
    } else {
        "cannot be used; mend the image, or put back a copy"
    };
    format!("{subject} {help} (QEMU says: {cause})")
}

/// What is wrong with the machine itself, where it is known what to do.
fn of_machine(cause: &str) -> Option<String> {
    if cause.contains("cannot set up guest memory") || cause.contains("Cannot allocate memory") {
        let sentence =
            "the host has no room for the guest's memory; end another guest, or write less for “memory” in its file";
        return Some(sentence.to_owned());
    }
    // An assertion names a line of QEMU's source, which helps nobody who reads it here. KVM's are told apart from it.
    if cause.contains(": Assertion `") && !cause.to_ascii_lowercase().contains("kvm") {
        return Some("a bug in QEMU ended it; start it again (what QEMU said of that is in qemu.log)".to_owned());
    }
    None
}

/// How a guest is after QEMU ended in order, by QEMU's word for the reason.
pub fn ended_with(reason: &str) -> (GuestState, Option<String>) {
    match reason {
        "guest-panic" => (GuestState::Crashed, Some("the guest's kernel panicked; start it again".into())),
        "host-signal" => {
            (GuestState::Crashed, Some("QEMU was asked to end by a signal from outside; start the guest again".into()))
        }
        "host-error" => (
            GuestState::Crashed,
            Some("QEMU ended because the host failed it; journalctl may say how, start the guest again".into()),
        ),
        _ => (GuestState::Stopped, None),
    }
}

/// The sentence about an end that was not in order.
pub fn describe(how: Exit, suspicion: Option<String>, words: Option<Words>) -> String {
    if let Some(words) = words.as_ref().filter(|words| words.whole && how != Exit::Overdue) {
        return words.text.clone();
    }
    let words = words.map(|words| words.text);
    // That connections close is what every end looks like; it explains only an end that had to be forced.
    let why = if how == Exit::Overdue { suspicion.or(words) } else { words };
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    match how {
        Exit::Code(0) => format!("QEMU ended by itself{why}; start the guest again"),
        Exit::Code(code) if why.is_empty() => format!("QEMU ended with status {code}; start the guest again"),
        Exit::Code(code) => format!("QEMU ended with status {code}{why}; mend that and start the guest again"),
        // So the kernel ends programs when it has no memory left.
        Exit::Signal(9) => {
            format!(
                "QEMU was ended by signal 9{why}; start the guest again, and end another first if memory has run out"
            )
        }
        Exit::Signal(signal) => format!("QEMU was ended by signal {signal}{why}; start the guest again"),
        Exit::Overdue => format!("QEMU hung and was ended{why}; start the guest again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    /// What a person reads when QEMU, started on one disk, has said this; `ECHO` is its copy of the option.
    fn read(words: &str) -> Words {
        let path = format!("/disks/{}work.qcow2", "a/".repeat(200));
        let node =
            format!(r#"{{"driver":"qcow2","file":{{"driver":"file","filename":"{path}"}},"node-name":"disk0"}}"#);
        let device = "virtio-blk-pci,drive=disk0,bootindex=1".to_owned();
        let args = ["-blockdev", &node, "-device", &device].map(Into::into).to_vec();
        let last = LastWords::of(&CommandLine { program: "/bin/qemu".into(), args });
        last.push(words.replace("ECHO", &format!("-blockdev {node}")).as_bytes());
        last.explanation().unwrap()
    }

    #[test]
    fn the_line_that_explains_an_end_is_found() {
        for (text, line) in [
            ("qemu-system-x86_64: bad kernel\nqemu-system-x86_64: warning: old cpu\n", "bad kernel"),
            ("qemu-system-x86_64: bad size\nqemu-system-x86_64: info: its size must be\n", "bad size"),
            ("something", "something"),
        ] {
            assert_eq!(explain(None, &lines(text), &[]), Some(line.into()));
        }
        assert_eq!(explain(None, &[], &[]), None);
        let kvm = explain(Some("KVM internal error"), &lines("qemu: x"), &[]).unwrap();
        assert!(kvm.blame_kvm() && kvm.text == "KVM internal error");
    }

    #[test]
    fn the_cause_is_told_with_the_file_and_without_the_option() {
        let open = "qemu-system-x86_64: ECHO: Could not open backing file: Could not open '/b.qcow2': No such file or directory\n";
        let corrupt = "qemu-system-x86_64: ECHO: qcow2: Image is corrupt; cannot be opened read/write\n";
        let lock = "qemu-system-x86_64: -device virtio-blk-pci,drive=disk0,bootindex=1: Failed to get \"write\" lock\n\
                    Is another process using the image [/x]?\n";
        for (words, says, besides) in [
            (open, "work.qcow2 lacks a file; put that one back", "'/b.qcow2': No such file"),
            (corrupt, "work.qcow2 is damaged; copy it", "qemu-img check -r all"),
            (lock, "work.qcow2 is in use by another program or guest; end that one first", ""),
            ("qemu-system-x86_64: ECHO: Permission denied", "work.qcow2 may not be opened; mend the permissions", ""),
        ] {
            let words = read(words);
            assert!(words.whole && words.text.starts_with("the disk …") && words.text.contains(says), "{words:?}");
            assert!(words.text.contains(besides) && words.text.chars().count() < 400, "{words:?}");
            assert!(!words.text.contains("blockdev") && !words.text.contains("Failed to get"), "{words:?}");
        }
    }

    #[test]
    fn an_assertion_of_qemu_is_not_shown() {
        let bug = read("qemu-system-x86_64: block/io.c:1: f: Assertion `x' failed.\n");
        assert_eq!(bug.text, "a bug in QEMU ended it; start it again (what QEMU said of that is in qemu.log)");
        assert!(read("qemu-system-x86_64: ../kvm.c:1: f: Assertion `x' failed.\n").blame_kvm());
    }

    #[test]
    fn memory_that_is_not_there_is_said_to_be_memory() {
        let words = read("qemu-system-x86_64: cannot set up guest memory 'ram0': Cannot allocate memory\n");
        assert!(words.text.starts_with("the host has no room for the guest's memory"), "{words:?}");
    }
}
