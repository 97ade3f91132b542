//! What the chord machine promises, for any table of chords and any sequence of keys.

use super::tests::{D, L, TWO, chords_of};
use super::*;
use crate::chord_keys::{ChordConfig, HostPart, Keys};
use codes::*;
use proptest::prelude::*;

/// A guest's own view of its keyboard.
#[derive(Default)]
struct Witness {
    held: Vec<u32>,
}

impl Witness {
    fn see(&mut self, code: u32, pressed: bool) -> Result<(), TestCaseError> {
        let at = self.held.iter().position(|held| *held == code);
        match (pressed, at) {
            (true, None) => self.held.push(code),
            (false, Some(at)) => {
                self.held.remove(at);
            }
            _ => return Err(TestCaseError::fail(format!("unmatched {code} {pressed}"))),
        }
        Ok(())
    }
}

#[derive(Clone, Debug)]
enum Step {
    Key(u32, bool),
    PointerUsed(bool),
    PointerReleased,
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let codes = [&MODIFIERS[..], &[MENU, TAB, ESC, ONE, TWO, A, D, L, DOWN, F1, F12]].concat();
    prop_oneof![
        20 => (proptest::sample::select(codes), any::<bool>()).prop_map(|(code, down)| Step::Key(code, down)),
        1 => any::<bool>().prop_map(Step::PointerUsed),
        1 => Just(Step::PointerReleased),
        1 => Just(Step::Lost),
    ]
}

/// Any table that the file can say, and some that it cannot.
fn table() -> impl Strategy<Value = ChordConfig> {
    let hosts = [
        (HostPart::Super, None),
        (HostPart::Super, None),
        (HostPart::RightCtrl, None),
        (HostPart::Menu, None),
        (HostPart::LeftCtrl, Some(HostPart::LeftAlt)),
        (HostPart::Ctrl, Some(HostPart::Alt)),
        (HostPart::RightAlt, Some(HostPart::Super)),
        (HostPart::Menu, Some(HostPart::RightCtrl)),
    ];
    let keys = (any::<bool>(), any::<bool>(), proptest::sample::select(vec![TAB, ESC, ONE, TWO, A, D, L, F1]));
    let changes = proptest::collection::vec((0usize..15, keys), 0..4);
    (proptest::sample::select(hosts.to_vec()), changes).prop_map(|((first, second), changes)| {
        let mut config = chords_of(first, second);
        for (at, (host, shift, code)) in changes {
            let begins = if host { Begins::Host } else { Begins::CtrlAlt };
            match config.chords.get_mut(at) {
                Some((_, keys)) => *keys = Keys { begins, shift, code },
                None => drop(config.chords.pop()),
            }
        }
        config
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Two guests, a panel and a switcher under any table of chords and any sequence of keys: no guest sees an
    /// unmatched press or release, none sees any event of a chord, none keeps anything when the keyboard goes
    /// elsewhere.
    #[test]
    fn tp09_tp10_hold_for_any_table_and_sequence(
        config in table(),
        steps in proptest::collection::vec(step(), 0..120),
    ) {
        let chords = Chords::new(&config);
        let mut machine = Attention::new(chords.clone());
        let mut guests = [Witness::default(), Witness::default()];
        let mut focus = 0usize;
        let mut owner = KeyOwner::Guest;
        let mut pointer = false;
        let physically_down = |machine: &Attention| machine.down.iter().map(|key| key.code).collect::<Vec<_>>();
        let all = steps.into_iter().chain([Step::PointerReleased, Step::Lost]);
        for step in all {
            let decisions = match step {
                Step::Key(code, pressed) => machine.key(code, pressed, 0, owner),
                Step::PointerUsed(true) => {
                    let mut decisions = machine.pointer_used(true, owner);
                    decisions.extend(machine.wheel_turned(0));
                    decisions
                }
                Step::PointerUsed(false) => { pointer = true; machine.pointer_used(false, owner) }
                Step::PointerReleased => { pointer = false; machine.pointer_released(0) }
                Step::Lost => machine.lost(0),
            };
            let made_chord = decisions.iter().any(|d| matches!(d, Decision::Chord(c) if *c != Chord::Chosen));
            for decision in decisions {
                match decision {
                    Decision::Forward { code, pressed, .. } => {
                        prop_assert!(owner == KeyOwner::Guest, "only a guest that has the keyboard gets keys");
                        guests[focus].see(code, pressed)?;
                        let down = physically_down(&machine);
                        let both = down.iter().any(|code| is_ctrl(*code)) && down.iter().any(|code| is_alt(*code));
                        prop_assert!(!(pressed && both && function_key(code).is_some()), "a part of a terminal's chord");
                        if made_chord {
                            prop_assert!(!pressed, "a chord presses nothing in a guest");
                        }
                    }
                    Decision::Chord(Chord::Terminal(_)) => {
                        let modifier = |code: &u32| is_modifier(*code) || chords.is_host(*code);
                        prop_assert!(!guests[focus].held.iter().any(modifier));
                    }
                    Decision::Chord(chord) => {
                        let releases = machine.owner_changed(0);
                        let (to, who) = match chord {
                            Chord::Slot(slot) => (usize::from(slot.number() - 1) % 2, KeyOwner::Guest),
                            Chord::Chosen => (1 - focus, KeyOwner::Guest),
                            Chord::Next | Chord::Previous => (focus, KeyOwner::Shell),
                            Chord::Panel if owner == KeyOwner::Shell => (focus, KeyOwner::Guest),
                            Chord::Panel => (focus, KeyOwner::Shell),
                            Chord::Awake => (focus, owner),
                            Chord::Terminal(_) => unreachable!("carried out above"),
                        };
                        for decision in releases {
                            if let Decision::Forward { code, pressed, .. } = decision {
                                prop_assert!(owner == KeyOwner::Guest && !pressed);
                                guests[focus].see(code, pressed)?;
                            }
                        }
                        prop_assert!(guests[focus].held.is_empty());
                        (focus, owner) = (to, who);
                    }
                    Decision::Shell { .. } => prop_assert!(owner == KeyOwner::Shell),
                }
            }
            let held = &guests[focus].held;
            prop_assert!(guests[1 - focus].held.is_empty(), "the other guest holds nothing");
            prop_assert!(held.iter().all(|code| physically_down(&machine).contains(code)));
            // A guest has the host key only together with a key of its own that was pressed under it.
            if held.iter().any(|code| chords.is_host(*code)) && !pointer {
                prop_assert!(held.iter().any(|code| !is_modifier(*code) && !chords.is_host(*code)));
            }
        }
        prop_assert!(guests.iter().all(|guest| guest.held.is_empty()));
    }
}
