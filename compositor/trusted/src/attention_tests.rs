//! What the chord machine promises, in stories.

use super::*;
use crate::chord_keys::{ChordConfig, ChordName, HostKey, HostPart, Keys};
use codes::*;
use phyllome_protocol::Slot;

pub(super) const D: u32 = 32;
pub(super) const L: u32 = 38;
pub(super) const TWO: u32 = 3;

fn press(code: u32) -> (u32, bool) {
    (code, true)
}

fn release(code: u32) -> (u32, bool) {
    (code, false)
}

fn run(machine: &mut Attention, owner: KeyOwner, keys: &[(u32, bool)]) -> Vec<Decision> {
    keys.iter().flat_map(|(code, pressed)| machine.key(*code, *pressed, 0, owner)).collect()
}

/// What a guest that has the keyboard all the time sees, and the chords.
fn guest_sees(keys: &[(u32, bool)]) -> (Vec<(u32, bool)>, Vec<Chord>) {
    split(&run(&mut Attention::default(), KeyOwner::Guest, keys))
}

fn split(decisions: &[Decision]) -> (Vec<(u32, bool)>, Vec<Chord>) {
    let mut seen = Vec::new();
    let mut chords = Vec::new();
    for decision in decisions {
        match decision {
            Decision::Forward { code, pressed, .. } => seen.push((*code, *pressed)),
            Decision::Chord(chord) => chords.push(*chord),
            Decision::Shell { .. } => {}
        }
    }
    (seen, chords)
}

fn slot(number: i64) -> Chord {
    Chord::Slot(Slot::new(number).unwrap())
}

#[test]
fn tp09_a_wheel_under_the_host_key_leaves_it_to_no_guest_when_a_chord_follows() {
    let mut machine = Attention::default();
    let guest = KeyOwner::Guest;
    assert_eq!(split(&machine.key(LEFT_META, true, 0, guest)), (vec![], vec![]));
    for _ in 0..2 {
        assert_eq!(split(&machine.pointer_used(true, guest)).0, [press(LEFT_META)]);
        assert_eq!(split(&machine.wheel_turned(0)).0, [release(LEFT_META)], "as soon as the guest has seen the turn");
    }
    let (seen, chords) = split(&machine.key(ONE, true, 0, guest));
    assert_eq!((seen, chords.len()), (vec![], 1), "nothing of the chord is seen, its prefix included");
    assert_eq!(split(&machine.key(ONE, false, 0, guest)), (vec![], vec![]));
    assert_eq!(split(&machine.key(LEFT_META, false, 0, guest)), (vec![], vec![]), "and it is no tap");
}

#[test]
fn plain_keys_pass_at_once() {
    let keys = [press(D), press(LEFT_SHIFT), release(D), release(LEFT_SHIFT)];
    assert_eq!(guest_sees(&keys), (keys.to_vec(), vec![]));
}

#[test]
fn tp09_nothing_of_a_chord_reaches_the_guest() {
    for super_key in [LEFT_META, RIGHT_META] {
        let keys = [press(super_key), press(TWO), release(TWO), release(super_key)];
        assert_eq!(guest_sees(&keys), (vec![], vec![slot(2)]));
        let keys = [press(super_key), press(ESC), release(super_key), release(ESC)];
        assert_eq!(guest_sees(&keys), (vec![], vec![Chord::Panel]));
    }
}

#[test]
fn tp09_modifiers_under_super_are_part_of_the_chord() {
    let keys = [press(LEFT_META), press(LEFT_SHIFT), press(TAB), release(TAB), release(LEFT_SHIFT), release(LEFT_META)];
    assert_eq!(guest_sees(&keys), (vec![], vec![Chord::Previous, Chord::Chosen]));
}

#[test]
fn super_alone_arrives_afterwards_as_a_tap() {
    assert_eq!(guest_sees(&[press(LEFT_META)]).0, []);
    let keys = [press(LEFT_META), release(LEFT_META)];
    assert_eq!(guest_sees(&keys), (keys.to_vec(), vec![]));
}

#[test]
fn a_shortcut_of_the_guest_arrives_whole_and_in_order() {
    let keys = [press(LEFT_META), press(LEFT_SHIFT), press(L), release(L), release(LEFT_SHIFT), release(LEFT_META)];
    let (seen, chords) = guest_sees(&keys);
    assert_eq!(seen[..4], keys[..4]);
    assert_eq!(seen[4..], [release(LEFT_META), release(LEFT_SHIFT)]);
    assert_eq!(chords, []);
}

#[test]
fn tp09_a_chord_after_a_shortcut_finds_super_withheld_again() {
    let mut machine = Attention::default();
    let (seen, _) = split(&run(&mut machine, KeyOwner::Guest, &[press(LEFT_META), press(L), release(L)]));
    assert_eq!(seen, [press(LEFT_META), press(L), release(L), release(LEFT_META)]);
    let (seen, chords) = split(&run(&mut machine, KeyOwner::Guest, &[press(TWO), release(TWO), release(LEFT_META)]));
    assert_eq!((seen, chords), (vec![], vec![slot(2)]));
}

#[test]
fn a_second_shortcut_under_the_same_super_works_and_leaves_no_tap() {
    let keys = [press(LEFT_META), press(L), release(L), press(D), release(D), release(LEFT_META)];
    let once = |key| [press(LEFT_META), press(key), release(key), release(LEFT_META)];
    assert_eq!(guest_sees(&keys).0, [once(L), once(D)].concat());
}

#[test]
fn a_modifier_that_is_tapped_after_a_shortcut_is_given_once() {
    let shortcut = [press(LEFT_META), press(LEFT_CTRL), press(L), release(L)];
    let again = [release(LEFT_CTRL), press(LEFT_CTRL), release(LEFT_META)];
    let (seen, _) = guest_sees(&[&shortcut[..], &again[..]].concat());
    assert_eq!(seen[..4], shortcut);
    assert_eq!(seen[4..], [release(LEFT_META), release(LEFT_CTRL), press(LEFT_CTRL)]);
}

#[test]
fn tp08_a_chord_works_while_the_guest_holds_keys_and_super() {
    let keys = [press(D), press(LEFT_META), press(L), press(TWO)];
    let (seen, chords) = guest_sees(&keys);
    assert_eq!(chords, [slot(2)]);
    assert_eq!(seen, [press(D), press(LEFT_META), press(L), release(L), release(LEFT_META)]);
}

#[test]
fn repeats_are_passed_over() {
    let keys = [press(D), press(D), release(D), release(D), press(LEFT_META), press(TAB), press(TAB), press(LEFT_META)];
    assert_eq!(guest_sees(&keys), (vec![press(D), release(D)], vec![Chord::Next]));
}

#[test]
fn shift_from_before_super_makes_the_switcher_go_back() {
    let keys = [press(RIGHT_SHIFT), press(LEFT_META), press(TAB)];
    assert_eq!(guest_sees(&keys), (vec![press(RIGHT_SHIFT)], vec![Chord::Previous]));
}

#[test]
fn the_switcher_ends_when_the_last_super_key_is_released() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(LEFT_META), press(RIGHT_META), press(TAB), release(TAB)]);
    assert_eq!(run(&mut machine, KeyOwner::Shell, &[release(LEFT_META), press(TAB)]), [Decision::Chord(Chord::Next)]);
    assert_eq!(run(&mut machine, KeyOwner::Shell, &[release(RIGHT_META)]), [Decision::Chord(Chord::Chosen)]);
}

#[test]
fn tp10_a_switch_releases_what_the_old_guest_holds_and_gives_the_new_one_nothing() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(LEFT_SHIFT), press(D), press(LEFT_META), press(TWO)]);
    let (seen, _) = split(&machine.owner_changed(0));
    assert_eq!(seen, [release(D), release(LEFT_SHIFT)]);
    let later = [release(D), release(TWO), release(LEFT_META), release(LEFT_SHIFT)];
    assert_eq!(run(&mut machine, KeyOwner::Guest, &later), []);
    assert_eq!(run(&mut machine, KeyOwner::Guest, &[press(D)]).len(), 1);
}

#[test]
fn a_key_under_the_super_of_a_chord_is_not_typed_into_the_new_guest() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(LEFT_META), press(TWO)]);
    machine.owner_changed(0);
    assert_eq!(run(&mut machine, KeyOwner::Guest, &[press(L), release(L), release(LEFT_META)]), []);
}

#[test]
fn the_shell_gets_presses_and_their_releases_while_it_has_the_keyboard_and_the_guest_nothing() {
    let mut machine = Attention::default();
    let keys = [press(DOWN), release(DOWN), press(LEFT_META), release(LEFT_META)];
    let seen = [true, false].map(|pressed| Decision::Shell { code: DOWN, pressed });
    assert_eq!(run(&mut machine, KeyOwner::Shell, &keys), seen);
    run(&mut machine, KeyOwner::Shell, &[press(ENTER)]);
    assert_eq!(run(&mut machine, KeyOwner::Guest, &[release(ENTER)]), [], "its press was the shell's");
    run(&mut machine, KeyOwner::Guest, &[press(DOWN)]);
    machine.owner_changed(0);
    assert_eq!(run(&mut machine, KeyOwner::Shell, &[release(DOWN)]), [], "its press was the guest's");
}

#[test]
fn super_with_a_pointer_button_belongs_to_the_guest_until_the_button_is_up() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(LEFT_META)]);
    assert_eq!(split(&machine.pointer_used(false, KeyOwner::Guest)).0, [press(LEFT_META)]);
    assert_eq!(split(&machine.pointer_released(0)).0, [release(LEFT_META)]);
    assert_eq!(run(&mut machine, KeyOwner::Guest, &[release(LEFT_META)]), []);
}

#[test]
fn lost_keyboards_release_everything_and_end_the_switcher() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(D), press(LEFT_META), press(TAB)]);
    let (seen, chords) = split(&machine.lost(0));
    assert_eq!((seen, chords), (vec![release(D)], vec![Chord::Chosen]));
    assert!(!machine.host_is_held());
}

#[test]
fn a_thousand_stuck_keys_are_bounded() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(LEFT_META)]);
    for code in (0..2000).chain([u32::MAX]) {
        machine.key(code, true, 0, KeyOwner::Guest);
    }
    assert!(machine.down.len() <= MAX_DOWN + MAX_OF_CHORDS && machine.withheld.len() <= 2 * MAX_DOWN);
    for _ in 0..1000 {
        run(&mut machine, KeyOwner::Guest, &[press(LEFT_CTRL), release(LEFT_CTRL)]);
    }
    assert!(machine.withheld.len() <= MAX_WITHHELD + MAX_DOWN);
}

#[test]
fn tp09_a_terminals_chord_is_a_tapped_modifier_to_the_guest() {
    for (first, second) in [(LEFT_CTRL, LEFT_ALT), (LEFT_ALT, LEFT_CTRL), (RIGHT_CTRL, RIGHT_ALT)] {
        for (code, number) in [(F1, 1), (F1 + 1, 2), (F10, 10), (F11, 11), (F12, 12)] {
            let keys = [
                press(first),
                press(second),
                press(code),
                release(code),
                press(D),
                release(D),
                release(second),
                release(first),
            ];
            assert_eq!(guest_sees(&keys), (vec![press(first), release(first)], vec![Chord::Terminal(number)]));
        }
    }
}

#[test]
fn ctrl_alt_with_any_other_key_is_the_guests_and_can_be_held_over_several() {
    let keys = [
        press(LEFT_CTRL),
        press(LEFT_ALT),
        press(LEFT_SHIFT),
        press(D),
        release(D),
        press(L),
        release(L),
        release(LEFT_SHIFT),
        release(LEFT_ALT),
        release(LEFT_CTRL),
    ];
    assert_eq!(guest_sees(&keys), (keys.to_vec(), vec![]));
    assert_eq!(guest_sees(&keys[..3]).0, keys[..1], "what completes Ctrl+Alt waits");
}

#[test]
fn ctrl_alt_without_another_key_arrives_whole_when_one_of_the_two_is_released() {
    let keys = [press(LEFT_CTRL), press(LEFT_ALT), release(LEFT_CTRL), press(D), release(D), release(LEFT_ALT)];
    let expected = [press(LEFT_CTRL), release(LEFT_CTRL), press(LEFT_ALT), press(D), release(D), release(LEFT_ALT)];
    assert_eq!(guest_sees(&keys), (expected.to_vec(), vec![]));
    let keys = [press(LEFT_ALT), press(LEFT_CTRL), release(LEFT_CTRL), release(LEFT_ALT)];
    assert_eq!(guest_sees(&keys), (keys.to_vec(), vec![]));
}

#[test]
fn tp09_a_terminals_chord_after_a_shortcut_takes_the_modifiers_back() {
    let keys = [press(LEFT_CTRL), press(LEFT_ALT), press(D), release(D), press(F1), release(F1), press(F1)];
    let (seen, chords) = guest_sees(&keys);
    assert_eq!(seen, [&keys[..4], &[release(LEFT_ALT), release(LEFT_CTRL)]].concat());
    assert_eq!(chords, [Chord::Terminal(1), Chord::Terminal(1)]);
}

#[test]
fn tp08_chords_work_however_many_keys_are_stuck() {
    for owner in [KeyOwner::Guest, KeyOwner::Shell, KeyOwner::Nobody] {
        let mut machine = Attention::default();
        let stuck: Vec<_> =
            (TWO + 1..=LAST).filter(|code| !is_modifier(*code) && ![ESC, TAB, F1].contains(code)).collect();
        run(&mut machine, owner, &stuck.iter().copied().map(press).collect::<Vec<_>>());
        let mut chords_of = |keys: &[u32]| {
            let keys = keys.iter().copied();
            let typed: Vec<_> = keys.clone().map(press).chain(keys.map(release)).collect();
            split(&run(&mut machine, owner, &typed)).1
        };
        for _ in 0..100 {
            assert_eq!(chords_of(&[LEFT_META, TWO]), [slot(2)]);
            assert_eq!(chords_of(&[RIGHT_META, ESC]), [Chord::Panel]);
            assert_eq!(chords_of(&[LEFT_META, RIGHT_SHIFT, TAB]), [Chord::Previous, Chord::Chosen]);
            assert_eq!(chords_of(&[LEFT_CTRL, RIGHT_ALT, F1]), [Chord::Terminal(1)]);
        }
    }
}

#[test]
fn tp08_a_terminals_chord_works_from_the_panel_without_guests_and_under_super() {
    for owner in [KeyOwner::Shell, KeyOwner::Nobody] {
        let decisions = run(&mut Attention::default(), owner, &[press(LEFT_CTRL), press(LEFT_ALT), press(F1 + 1)]);
        assert_eq!(decisions.last(), Some(&Decision::Chord(Chord::Terminal(2))));
    }
    let keys = [press(LEFT_META), press(LEFT_CTRL), press(LEFT_ALT), press(F1), release(F1), release(LEFT_META)];
    assert_eq!(guest_sees(&keys), (vec![], vec![Chord::Terminal(1)]));
    let keys = [press(LEFT_CTRL), press(LEFT_ALT), press(LEFT_META), press(F1), release(LEFT_META), release(LEFT_ALT)];
    assert_eq!(guest_sees(&keys), (vec![press(LEFT_CTRL), release(LEFT_CTRL)], vec![Chord::Terminal(1)]));
}

#[test]
fn function_keys_without_both_modifiers_are_the_guests() {
    let keys = [press(LEFT_ALT), press(F1 + 3), release(F1 + 3), release(LEFT_ALT), press(F12), release(F12)];
    assert_eq!(guest_sees(&keys), (keys.to_vec(), vec![]));
}

#[test]
fn ctrl_alt_with_a_pointer_button_belongs_to_the_guest() {
    let mut machine = Attention::default();
    run(&mut machine, KeyOwner::Guest, &[press(LEFT_CTRL), press(LEFT_ALT)]);
    assert_eq!(split(&machine.pointer_used(false, KeyOwner::Guest)).0, [press(LEFT_ALT)]);
    assert_eq!(split(&machine.pointer_released(0)).0, []);
    let (seen, _) = split(&run(&mut machine, KeyOwner::Guest, &[release(LEFT_ALT), release(LEFT_CTRL)]));
    assert_eq!(seen, [release(LEFT_ALT), release(LEFT_CTRL)]);
}

#[test]
fn tp09_a_chord_of_super_under_ctrl_alt_gives_nothing_of_what_was_withheld() {
    let keys = [
        press(LEFT_CTRL),
        press(LEFT_ALT),
        press(LEFT_META),
        press(TWO),
        release(LEFT_ALT),
        release(TWO),
        release(LEFT_META),
        release(LEFT_CTRL),
    ];
    assert_eq!(guest_sees(&keys), (vec![press(LEFT_CTRL), release(LEFT_CTRL)], vec![slot(2)]));
}

/// The chords of a host key.
pub(super) fn chords_of(first: HostPart, second: Option<HostPart>) -> ChordConfig {
    ChordConfig { host: HostKey { first, second }, ..ChordConfig::default() }
}

#[test]
fn tp09_another_host_key_works_as_super_does_and_super_is_an_ordinary_key() {
    for (part, code) in [(HostPart::RightCtrl, RIGHT_CTRL), (HostPart::Menu, MENU)] {
        let mut machine = Attention::new(Chords::new(&chords_of(part, None)));
        let mut sees = |keys: &[(u32, bool)]| split(&run(&mut machine, KeyOwner::Guest, keys));
        assert_eq!(sees(&[press(code), press(TWO), release(TWO), release(code)]), (vec![], vec![slot(2)]));
        let tap = [press(code), release(code)];
        assert_eq!(sees(&tap), (tap.to_vec(), vec![]));
        let shortcut = [press(code), press(D), release(D)];
        assert_eq!(sees(&shortcut), ([&shortcut[..], &[release(code)]].concat(), vec![]));
        assert_eq!(sees(&[release(code)]), (vec![], vec![]));
        let with_super = [press(LEFT_META), press(TWO), release(TWO), release(LEFT_META)];
        assert_eq!(sees(&with_super), (with_super.to_vec(), vec![]));
    }
}

#[test]
fn tp09_of_two_host_keys_nothing_reaches_a_guest_when_they_make_a_chord_and_all_when_they_do_not() {
    let chords = Chords::new(&chords_of(HostPart::LeftCtrl, Some(HostPart::LeftAlt)));
    let sees = |keys: &[(u32, bool)]| split(&run(&mut Attention::new(chords.clone()), KeyOwner::Guest, keys));
    for (first, second) in [(LEFT_CTRL, LEFT_ALT), (LEFT_ALT, LEFT_CTRL)] {
        let chord = [press(first), press(second), press(TWO), release(TWO), release(second), release(first)];
        assert_eq!(sees(&chord), (vec![], vec![slot(2)]));
        let other = [press(first), press(second), press(D), release(D), release(second), release(first)];
        let (seen, made) = sees(&other);
        assert_eq!((&seen[..4], made), (&other[..4], vec![]));
        let one = [press(first), press(TWO), release(TWO), release(first)];
        assert_eq!(sees(&one), (one.to_vec(), vec![]));
    }
}

#[test]
fn tp08_a_chord_without_a_host_key_works_and_leaves_the_guest_no_modifier() {
    let mut config = ChordConfig::default();
    for (name, keys) in &mut config.chords {
        if *name == ChordName::Panel {
            *keys = Keys { begins: Begins::CtrlAlt, shift: true, code: D };
        }
    }
    let mut machine = Attention::new(Chords::new(&config));
    let keys = [press(LEFT_CTRL), press(LEFT_SHIFT), press(LEFT_ALT), press(D), release(D)];
    let (seen, made) = split(&run(&mut machine, KeyOwner::Guest, &keys));
    let tapped = [press(LEFT_CTRL), press(LEFT_SHIFT), release(LEFT_SHIFT), release(LEFT_CTRL)];
    assert_eq!((seen, made), (tapped.to_vec(), vec![Chord::Panel]));
    let keys = [press(LEFT_CTRL), press(LEFT_ALT), press(D), release(D), release(LEFT_ALT), release(LEFT_CTRL)];
    assert_eq!(
        run(&mut Attention::new(Chords::new(&config)), KeyOwner::Guest, &keys).len(),
        6,
        "without Shift it is none"
    );
}
