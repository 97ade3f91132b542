//! One guest's state as the shell believes it: reports, a closed connection and an ended process in, state and sentence
//! out.
//!
//! Pure. Reports come from phyllome-guest, which is not trusted: every text is bounded and made printable, every list
//! is cut.

use super::said::Whose;
use phyllome_protocol::control::Report;
use phyllome_protocol::status::{GpuStatus, GuestState, ScanoutStatus};
use phyllome_protocol::text::printable;
use std::time::{Duration, Instant};

/// Longest sentence that is shown, in characters.
const MAX_SENTENCE: usize = 300;
/// Longest word of a report (formats, features), in characters.
const MAX_WORD: usize = 48;
/// Most features and classes of errors that are kept.
const MAX_WORDS: usize = 64;

/// How long a guest may take to power off before the person is asked what to do.
pub const ANSWER: Duration = Duration::from_secs(30);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// With this code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It is gone; it was not this shell's child, so nobody knows how.
    Unknown,
}

/// State, sentence and last report.
#[derive(Clone, Debug)]
pub struct Life {
    state: GuestState,
    message: Option<String>,
    whose: Whose,
    report: Option<(Report, Instant)>,
    /// The person asked for its end.
    ending: bool,
    /// When it was asked to power off, or the person said last that they wait longer.
    asked: Option<Instant>,
    /// It has not powered off in time.
    silent: bool,
    /// Its processes are stopped, whatever it has said.
    frozen: bool,
}

impl Default for Life {
    fn default() -> Self {
        Self {
            state: GuestState::Stopped,
            message: None,
            whose: Whose::Shell,
            report: None,
            ending: false,
            asked: None,
            silent: false,
            frozen: false,
        }
    }
}

impl Life {
    /// Its state.
    pub fn state(&self) -> GuestState {
        // Even if it said last that it has ended: what is stopped is there.
        if self.frozen { GuestState::Frozen } else { self.state }
    }

    /// Whether its processes are stopped; no report says so.
    pub fn set_frozen(&mut self, frozen: bool) {
        self.frozen = frozen;
    }

    /// One sentence, where there is something to say. What a guest said before it was frozen is old.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref().filter(|_| self.state() != GuestState::Frozen)
    }

    /// Whose words that is.
    pub fn whose(&self) -> Whose {
        self.whose
    }

    /// The last report, while the guest lives.
    pub fn report(&self) -> Option<&Report> {
        self.report.as_ref().map(|(report, _)| report).filter(|_| self.state.is_alive())
    }

    /// Time since QEMU was started, as of the last report, carried on to `now`.
    pub fn uptime(&self, now: Instant) -> Option<Duration> {
        let (report, at) = self.report.as_ref().filter(|_| self.state.is_alive())?;
        Duration::from_millis(report.uptime_ms?).checked_add(now.saturating_duration_since(*at))
    }

    /// phyllome-guest was started, or one was found that has not reported yet.
    pub fn starting(&mut self) {
        *self = Self { state: GuestState::Starting, ..Self::default() };
    }

    /// The person wants it to end.
    pub fn ending(&mut self) {
        self.ending = true;
    }

    /// Whether the person wants it to end.
    pub fn is_ending(&self) -> bool {
        self.ending
    }

    /// It was asked to power off, or is given as long again.
    pub fn asked_to_power_off(&mut self, now: Instant) {
        self.asked = Some(now);
        self.silent = false;
    }

    /// It is to do something else than to power off.
    pub fn not_asked(&mut self) {
        self.asked = None;
        self.silent = false;
    }

    /// Whether it was asked to power off.
    pub fn is_asked(&self) -> bool {
        self.asked.is_some()
    }

    /// Looks whether a guest that was asked to power off has been given `patience` and runs still, whatever it says of
    /// itself.
    pub fn look(&mut self, now: Instant, patience: Duration) {
        let due = self.asked.is_some_and(|asked| now.saturating_duration_since(asked) >= patience);
        self.silent |= due && self.state.is_alive();
    }

    /// Whether it has not powered off in time.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// It said how it is.
    pub fn reported(&mut self, report: Report, now: Instant) {
        let report = clean(report);
        // It is anew: a guest that was reset, or has reset itself, has forgotten the wish.
        if self.state == GuestState::Stopping && report.state == GuestState::Running && !report.unheeded {
            self.not_asked();
        }
        self.state = report.state;
        (self.message, self.whose) = (report.message.clone(), Whose::of(report.known));
        self.report = Some((report, now));
    }

    /// It did what it was asked; its report of that is on its way.
    pub fn assume(&mut self, state: GuestState) {
        if matches!(self.state, GuestState::Running | GuestState::Paused) {
            self.state = state;
        }
    }

    /// Says something about the guest that is no change of its state.
    pub fn note(&mut self, sentence: &str) {
        (self.message, self.whose) = (Some(printable(sentence, MAX_SENTENCE)), Whose::Shell);
    }

    /// The same in words of its process.
    pub fn note_of_process(&mut self, sentence: &str) {
        (self.message, self.whose) = (Some(printable(sentence, MAX_SENTENCE)), Whose::Process);
    }

    /// phyllome-guest has ended. `last_words`: the last line that it printed, if any.
    pub fn ended(&mut self, exit: Exit, last_words: Option<&str>) {
        let was = self.state;
        if was.is_alive() {
            let quiet = self.ending || exit == Exit::Code(0) && was == GuestState::Stopping;
            self.state = if quiet { GuestState::Stopped } else { GuestState::Crashed };
            let obituary = (!quiet).then(|| self.obituary(exit, last_words));
            (self.message, self.whose) = obituary.map_or((None, Whose::Shell), |(text, whose)| (Some(text), whose));
        }
        self.ending = false;
        self.frozen = false;
        self.not_asked();
        self.report = None;
    }

    /// The program could not be started at all.
    pub fn could_not_start(&mut self, sentence: &str) {
        *self = Self { state: GuestState::Crashed, ..Self::default() };
        self.note(sentence);
    }

    fn obituary(&self, exit: Exit, last_words: Option<&str>) -> (String, Whose) {
        let words = last_words.map(|words| printable(words.trim(), MAX_SENTENCE)).filter(|words| !words.is_empty());
        let own = match (exit, words) {
            // Before its first report a clean refusal is all that it printed.
            (Exit::Code(_), Some(words)) if self.report.is_none() => return (words, Whose::Process),
            (Exit::Code(code), _) => {
                format!("phyllome-guest ended with exit code {code}, and its QEMU with it; start it again")
            }
            (Exit::Signal(signal), _) => {
                format!("phyllome-guest was ended by signal {signal}, and its QEMU with it; start it again")
            }
            (Exit::Unknown, _) => "phyllome-guest ended unexpectedly, and its QEMU with it; start it again".to_owned(),
        };
        (own, Whose::Shell)
    }
}

fn word(text: &str) -> String {
    printable(text, MAX_WORD)
}

fn clean(report: Report) -> Report {
    Report {
        // That a guest is frozen is not for it to say.
        state: if report.state == GuestState::Frozen { GuestState::Running } else { report.state },
        message: report.message.map(|text| printable(&text, MAX_SENTENCE)).filter(|text| !text.is_empty()),
        accel: report.accel.map(|text| word(&text)),
        gpu: clean_gpu(report.gpu),
        scanouts: clean_scanouts(report.scanouts),
        ..report
    }
}

fn clean_gpu(gpu: GpuStatus) -> GpuStatus {
    GpuStatus {
        transport: word(&gpu.transport),
        renderer: word(&gpu.renderer),
        reason: gpu.reason.map(|text| printable(&text, MAX_SENTENCE)).filter(|text| !text.is_empty()),
        features: gpu.features.iter().take(MAX_WORDS).map(|text| word(text)).collect(),
        errors: gpu.errors.iter().take(MAX_WORDS).map(|(class, count)| (word(class), *count)).collect(),
        ..gpu
    }
}

fn clean_scanouts(scanouts: Vec<ScanoutStatus>) -> Vec<ScanoutStatus> {
    let clean_one = |scanout: ScanoutStatus| ScanoutStatus {
        source: word(&scanout.source),
        buffer: word(&scanout.buffer),
        format: word(&scanout.format),
        modifier: word(&scanout.modifier),
        ..scanout
    };
    scanouts.into_iter().take(phyllome_protocol::ids::MAX_SCANOUTS as usize).map(clean_one).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use phyllome_protocol::control::Known;

    pub(crate) fn report(state: GuestState) -> Report {
        Report {
            state,
            message: None,
            accel: Some("tcg".into()),
            pid: 1,
            qemu_pid: Some(2),
            uptime_ms: Some(1500),
            gpu: GpuStatus::default(),
            scanouts: vec![],
            leds: None,
            known: None,
            unheeded: false,
        }
    }

    fn running() -> Life {
        let mut life = Life::default();
        life.starting();
        life.reported(report(GuestState::Running), Instant::now());
        life
    }

    #[test]
    fn a_guest_whose_process_is_killed_has_crashed_and_says_so() {
        let mut life = running();
        life.ended(Exit::Signal(9), Some("anything"));
        assert_eq!(life.state(), GuestState::Crashed);
        assert_eq!(life.message(), Some("phyllome-guest was ended by signal 9, and its QEMU with it; start it again"));
        assert!(life.report().is_none());
    }

    #[test]
    fn a_guest_that_the_person_ended_is_stopped() {
        let mut life = running();
        life.ending();
        life.ended(Exit::Signal(9), None);
        assert_eq!((life.state(), life.message()), (GuestState::Stopped, None));
    }

    #[test]
    fn the_last_report_is_the_end_that_counts() {
        for end in [GuestState::Stopped, GuestState::Crashed] {
            let mut life = running();
            let mut last = report(end);
            last.message = Some("QEMU ended by itself".into());
            life.reported(last, Instant::now());
            life.ended(Exit::Code(0), None);
            assert_eq!((life.state(), life.message()), (end, Some("QEMU ended by itself")));
        }
    }

    #[test]
    fn a_refusal_before_the_first_report_is_shown_in_its_own_words() {
        let mut life = Life::default();
        life.starting();
        life.ended(Exit::Code(1), Some("the kernel /x does not exist\n"));
        assert_eq!((life.state(), life.message()), (GuestState::Crashed, Some("the kernel /x does not exist")));
        assert_eq!(life.whose(), Whose::Process);
    }

    #[test]
    fn tp07_whose_words_they_are_is_known_of_every_sentence() {
        let mut life = running();
        let say = |life: &mut Life, known| {
            let mut report = report(GuestState::Running);
            (report.message, report.known) = (Some("press K, then Y".to_owned()), known);
            life.reported(report, Instant::now());
            life.whose()
        };
        assert_eq!(say(&mut life, None), Whose::Process);
        assert_eq!(say(&mut life, Some(Known::Other)), Whose::Process);
        assert_eq!(say(&mut life, Some(Known::Slow)), Whose::Known(Known::Slow));
        life.note("phyllome-guest does not answer");
        assert_eq!(life.whose(), Whose::Shell);
        life.note_of_process("no");
        assert_eq!(life.whose(), Whose::Process);
        life.ended(Exit::Signal(9), Some("press K, then Y"));
        assert_eq!(life.whose(), Whose::Shell, "{:?}", life.message());
    }

    #[test]
    fn a_guest_that_runs_on_though_it_was_asked_to_power_off_is_silent_whatever_it_reports() {
        let now = Instant::now();
        for state in [GuestState::Stopping, GuestState::Running, GuestState::Paused] {
            let mut life = running();
            life.look(now + ANSWER, ANSWER);
            assert!(!life.is_silent(), "nobody asked");
            life.asked_to_power_off(now);
            life.reported(report(state), now);
            life.look(now + ANSWER - Duration::from_millis(1), ANSWER);
            assert!(!life.is_silent());
            life.look(now + ANSWER, ANSWER);
            assert!(life.is_silent(), "{state:?}");
            life.asked_to_power_off(now + ANSWER);
            life.look(now + ANSWER, ANSWER);
            assert!(!life.is_silent(), "it is given as long again");
            life.look(now + 2 * ANSWER, ANSWER);
            life.ended(Exit::Code(0), None);
            assert!(!life.is_silent() && !life.is_asked());
        }
    }

    #[test]
    fn that_a_guest_is_frozen_is_the_shells_to_say_and_no_reports() {
        let now = Instant::now();
        let mut life = running();
        life.reported(report(GuestState::Frozen), now);
        assert_eq!(life.state(), GuestState::Running);
        life.set_frozen(true);
        let said = [GuestState::Stopped, GuestState::Crashed, GuestState::Stopping, GuestState::InternalError];
        for state in said {
            let said = Report { message: Some("all is well".into()), ..report(state) };
            life.reported(said, now);
            assert_eq!((life.state(), life.message()), (GuestState::Frozen, None), "{state:?}");
        }
        life.set_frozen(false);
        assert_eq!(life.state(), GuestState::InternalError);
        life.set_frozen(true);
        life.ended(Exit::Signal(9), None);
        assert_eq!(life.state(), GuestState::Crashed);
    }

    #[test]
    fn uptime_goes_on_between_reports() {
        let (mut life, now) = (running(), Instant::now());
        life.reported(report(GuestState::Running), now);
        assert_eq!(life.uptime(now + Duration::from_secs(2)), Some(Duration::from_millis(3500)));
    }

    #[test]
    fn tp07_texts_of_a_report_are_bounded_and_printable() {
        let mut bad = report(GuestState::Running);
        bad.message = Some("a\u{202e}b\n\u{1b}[2J".repeat(200));
        bad.accel = Some("x".repeat(10_000));
        bad.gpu.features = vec!["y".repeat(1000); 1000];
        let mut life = Life::default();
        life.reported(bad, Instant::now());
        let message = life.message().unwrap();
        assert!(message.chars().count() <= MAX_SENTENCE + 1 && !message.chars().any(char::is_control));
        assert!(!message.contains('\u{202e}'));
        let report = life.report().unwrap();
        assert!(report.accel.as_ref().unwrap().len() < 64 && report.gpu.features.len() == MAX_WORDS);
    }
}
