//! One guest as others see it: plain values, copied out of the registry. What is made of them for the eye is the
//! faces'.

use super::said::Whose;
use phyllome_config::are_alike;
use phyllome_config::guest::{Label, LabelColor, Pattern, Rgb};
use phyllome_protocol::status::GuestState;
use phyllome_protocol::{GuestName, Slot};
use phyllome_trusted::frame::LabelView;

/// One guest, to be shown.
#[derive(Clone, Debug, PartialEq)]
pub struct GuestView {
    /// Its name.
    pub name: GuestName,
    /// Its slot.
    pub slot: Option<Slot>,
    /// How it is marked.
    pub label: Label,
    /// Whether there is a definition of it; a guest without one is adopted with [`unknown_label`].
    pub known: bool,
    /// Its state.
    pub state: GuestState,
    /// Why, in one sentence, where there is something to say.
    pub message: Option<String>,
    /// Whose words that is.
    pub whose: Whose,
    /// That its file is another than the one it runs by, in words of the shell's.
    pub stale: Option<&'static str>,
    /// It was asked to power off and has not done so in time.
    pub silent: bool,
    /// While it runs and is shown, displays stay on without input.
    pub keep_awake: bool,
}

/// How a guest that runs but has no definition is marked: said to be unknown, and like none of `taken`, which are the
/// labels of all others. Gray and never plain, until those looks are used up.
pub fn unknown_label(name: &GuestName, taken: &[Label]) -> Label {
    let patterned = |color| Pattern::ALL.into_iter().skip(1).map(move |pattern| (color, pattern));
    let levels = [0x80, 0x40, 0xc0];
    let others = levels.into_iter().flat_map(|r| levels.into_iter().flat_map(move |g| levels.map(|b| Rgb(r, g, b))));
    let colors = std::iter::once(LabelColor::Gray).chain(others.map(LabelColor::Custom));
    let is_free = |(color, pattern): &(LabelColor, Pattern)| {
        taken.iter().all(|other| other.pattern != *pattern || !other.color.looks_like(*color))
    };
    let looks = colors.flat_map(patterned).find(is_free);
    let (color, pattern) = looks.unwrap_or((LabelColor::Gray, Pattern::Stripes));
    let text =
        |number: usize| if number == 1 { format!("{name} (unknown)") } else { format!("{name} (unknown {number})") };
    let label = |number| Label { text: text(number), color, pattern };
    // One of so many is free, whatever the others are.
    let mut all = (1..=taken.len().saturating_add(1)).map(label);
    all.find(|one| taken.iter().all(|other| !are_alike(one, other))).unwrap_or_else(|| label(1))
}

impl GuestView {
    /// A guest with a definition, of which no more is to be said than its state.
    pub fn plain(name: GuestName, slot: Option<Slot>, label: Label, state: GuestState) -> Self {
        Self {
            name,
            slot,
            label,
            known: true,
            state,
            message: None,
            whose: Whose::default(),
            stale: None,
            silent: false,
            keep_awake: false,
        }
    }

    /// The label with its colours worked out.
    pub fn label_view(&self) -> LabelView {
        LabelView::from_label(&self.label, self.slot)
    }

    /// All that is to be said of it in one line, for tools, whosever words it is.
    pub fn sentence(&self) -> Option<String> {
        self.with_stale(self.message.as_deref())
    }

    /// This, and that its file is another one, where it is. Of a guest that runs the new one is said first: what it
    /// says of itself may stand for as long as it runs.
    pub fn with_stale(&self, sentence: Option<&str>) -> Option<String> {
        let running = self.state == GuestState::Running;
        let both = if running { [self.stale, sentence] } else { [sentence, self.stale] };
        let both: Vec<&str> = both.into_iter().flatten().collect();
        (!both.is_empty()).then(|| both.join("; "))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A known guest for tests.
    pub(crate) fn guest(name: &str, slot: i64, state: GuestState) -> GuestView {
        let label = Label { text: name.to_owned(), color: LabelColor::Red, pattern: Pattern::Solid };
        GuestView::plain(GuestName::new(name).unwrap(), Slot::new(slot), label, state)
    }

    fn name(text: &str) -> GuestName {
        GuestName::new(text).unwrap()
    }

    #[test]
    fn tp04_guests_without_a_definition_look_like_no_other_guest_and_like_none_of_themselves() {
        let own = |text: &str, color, pattern| Label { text: text.to_owned(), color, pattern };
        let mut taken = vec![
            own("old", LabelColor::Gray, Pattern::Stripes),
            own("guest0 (unknown)", LabelColor::Red, Pattern::Solid),
            own("Guest1 (UNKNOWN)", LabelColor::Custom(Rgb(0x80, 0x80, 0x80)), Pattern::Dots),
        ];
        for number in 0..64 {
            let label = unknown_label(&name(&format!("guest{number}")), &taken);
            assert!(label.text.contains("(unknown") && label.pattern != Pattern::Solid, "{label:?}");
            assert!(!label.color.looks_like_the_host());
            let alike = taken.iter().find(|other| are_alike(&label, other));
            assert_eq!(alike, None, "{label:?}");
            taken.push(label);
        }
        let first = unknown_label(&name("work"), &[]);
        assert_eq!(first, own("work (unknown)", LabelColor::Gray, Pattern::Stripes));
    }
}
