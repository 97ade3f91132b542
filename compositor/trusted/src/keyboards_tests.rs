//! Which keyboards may type, in stories and for any sequence of what can happen.

use super::*;
use crate::typed_code::DIGITS;
use codes::{A, BACKSPACE, ESC, LEFT_SHIFT, NINE, ONE, Y};
use proptest::prelude::*;

const LATER: Duration = Duration::from_secs(60);
const OWN: &str = "own";

fn plugged(identity: &str, port: &str) -> Plugged {
    let port = Some(port.to_owned()).filter(|port| !port.is_empty());
    Plugged { node: format!("node of {identity}"), identity: identity.to_owned(), port, letters: true }
}

/// Keyboards with letters on ports of their own, that came at these times after the start; their devices. Those of the
/// start were typed on.
fn with(asks: bool, came: &[(&str, Duration)], start: Instant) -> (Keyboards, Vec<DeviceId>) {
    let mut keyboards = Keyboards::new(asks);
    let mut device = DeviceId::ONLY;
    let devices = came.iter().map(|(identity, after)| {
        device = device.next();
        keyboards.came(device, plugged(identity, &format!("port of {identity}")), start + *after);
        if after.is_zero() {
            keyboards.typed(device, A);
        }
        device
    });
    let devices = devices.collect();
    (keyboards, devices)
}

/// The only keyboard that could be typed on is gone, and another one is typed on, for which this number makes a code.
fn alone(start: Instant, chance: u64) -> (Keyboards, DeviceId) {
    let (mut keyboards, devices) = with(true, &[(OWN, Duration::ZERO), ("stick", LATER)], start);
    keyboards.went(devices[0], false, start + LATER);
    assert_eq!(keyboards.typed(devices[1], A), Typing::Asks);
    assert_eq!(keyboards.update(start + LATER, Some(chance)), None);
    (keyboards, devices[1])
}

fn way(keyboards: &Keyboards) -> Option<Way> {
    keyboards.asked().map(|(_, way)| way)
}

/// The keys of the upper row that type this.
fn keys(digits: [u8; DIGITS]) -> [u32; DIGITS] {
    digits.map(|digit| if digit == 0 { NINE + 1 } else { ONE - 1 + u32::from(digit) })
}

/// What the screen shows is typed.
fn type_shown(keyboards: &mut Keyboards, device: DeviceId, now: Instant) {
    let Some(Way::Code { code, .. }) = way(keyboards) else { panic!("{:?}", keyboards.asked()) };
    keys(code.digits()).into_iter().for_each(|key| assert!(keyboards.enter(device, key, now)));
}

/// So many nines are typed, which are no code here.
fn type_nines(keyboards: &mut Keyboards, device: DeviceId, how_many: usize, now: Instant) {
    for key in keys([9; DIGITS]).into_iter().take(how_many) {
        keyboards.enter(device, key, now);
    }
}

#[test]
fn those_of_the_start_type_and_later_ones_wait_until_somebody_says_so() {
    let start = Instant::now();
    let came = [(OWN, Duration::ZERO), ("second", FOUND), ("stick", LATER), ("other", LATER)];
    let (mut keyboards, devices) = with(true, &came, start);
    assert_eq!([devices[0], devices[1], DeviceId::ONLY].map(|one| keyboards.typed(one, A)), [Typing::Counts; 3]);
    assert_eq!(keyboards.asked(), None, "nobody asks about one that presses nothing");
    assert_eq!((keyboards.typed(devices[2], A), keyboards.typed(devices[2], A)), (Typing::Asks, Typing::Nothing));
    keyboards.update(start + LATER, Some(1));
    assert_eq!(keyboards.asked(), Some((devices[2], Way::Another)));
    keyboards.answer(devices[2], true, start);
    assert_eq!((keyboards.typed(devices[2], A), keyboards.asked()), (Typing::Counts, None));
    assert_eq!(keyboards.typed(devices[3], A), Typing::Asks);
    keyboards.answer(devices[3], false, start);
    assert_eq!((keyboards.typed(devices[3], A), keyboards.asked()), (Typing::Nothing, None));
}

#[test]
fn where_nobody_is_asked_all_type() {
    let (mut keyboards, devices) = with(false, &[(OWN, Duration::ZERO), ("stick", LATER)], Instant::now());
    assert_eq!(keyboards.typed(devices[1], A), Typing::Counts);
}

#[test]
fn where_there_is_no_other_one_it_types_when_the_code_is_typed_on_it_and_not_before() {
    let start = Instant::now();
    let (mut keyboards, stick) = alone(start, 481_520);
    assert_eq!(way(&keyboards), Some(Way::Code { code: Code::new(481_520), typed: 0 }));
    assert_eq!(keyboards.typed(stick, A), Typing::Code);
    assert!(!keyboards.enter(stick, LEFT_SHIFT, start));
    assert!(keyboards.enter(stick, ONE, start) && keyboards.enter(stick, BACKSPACE, start));
    assert_eq!(way(&keyboards), Some(Way::Code { code: Code::new(481_520), typed: 0 }));
    type_shown(&mut keyboards, stick, start);
    keyboards.update(start, Some(2));
    assert_eq!((keyboards.typed(stick, A), keyboards.asked()), (Typing::Counts, None));
}

#[test]
fn the_code_is_for_whichever_keyboard_types_it() {
    let start = Instant::now();
    let (mut keyboards, mouse) = alone(start, 1);
    let second = mouse.next();
    keyboards.came(second, plugged("second", "port"), start + LATER);
    assert_eq!(keyboards.typed(second, A), Typing::Asks);
    keyboards.update(start + LATER, Some(2));
    assert_eq!(keyboards.asked(), Some((mouse, Way::Code { code: Code::new(1), typed: 0 })), "it stays");
    type_shown(&mut keyboards, second, start + LATER);
    assert_eq!((keyboards.typed(second, A), keyboards.typed(mouse, A)), (Typing::Counts, Typing::Nothing));
    assert_eq!(keyboards.asked(), Some((mouse, Way::Another)));
}

#[test]
fn a_wrong_code_is_followed_by_a_wait_and_another_code_and_five_by_none() {
    let start = Instant::now();
    let (mut keyboards, stick) = alone(start, 1);
    let mut now = start + LATER;
    for (chance, seconds) in [(2, 2), (3, 4), (4, 8), (5, 16)] {
        keys([9; DIGITS]).into_iter().for_each(|key| assert!(keyboards.enter(stick, key, now)));
        let next = now + Duration::from_secs(seconds);
        assert_eq!(keyboards.update(now, Some(chance)), Some(next));
        assert_eq!(way(&keyboards), Some(Way::Later { seconds }));
        assert!(!keyboards.enter(stick, ONE, now), "nothing is guessed meanwhile");
        now = next;
        assert_eq!(keyboards.update(now, Some(chance)), None);
        assert_eq!(way(&keyboards), Some(Way::Code { code: Code::new(chance), typed: 0 }), "another one");
    }
    type_nines(&mut keyboards, stick, DIGITS, now);
    keyboards.update(now, Some(6));
    assert_eq!((way(&keyboards), keyboards.typed(stick, A)), (Some(Way::Never), Typing::Nothing));
    keyboards.went(stick, false, now);
    keyboards.came(stick.next(), plugged("stick", "port of stick"), now);
    assert_eq!((keyboards.asked(), keyboards.typed(stick.next(), A)), (None, Typing::Asks));
}

#[test]
fn one_that_comes_again_and_again_guesses_no_faster() {
    let start = Instant::now();
    let (mut keyboards, mut stick) = alone(start, 1);
    let (mut now, mut guesses) = (start + LATER, 0);
    let end = now + Duration::from_secs(3600);
    while now < end {
        keyboards.update(now, Some(1));
        if matches!(way(&keyboards), Some(Way::Code { .. })) {
            // Half of them go without a guess.
            let digits = if guesses % 2 == 0 { DIGITS } else { DIGITS - 1 };
            type_nines(&mut keyboards, stick, digits, now);
            guesses += 1;
        }
        keyboards.went(stick, false, now);
        stick = stick.next();
        keyboards.came(stick, plugged("stick", &format!("{stick:?}")), now);
        keyboards.typed(stick, A);
        now += Duration::from_millis(100);
    }
    assert!((20..40).contains(&guesses), "{guesses} in an hour");
}

#[test]
fn who_types_on_a_keyboard_that_may_is_asked_there_and_sees_no_code() {
    let start = Instant::now();
    let (mut keyboards, devices) = with(true, &[("stick", LATER), (OWN, LATER)], start);
    // Nobody has typed on those that were there; mice claim letters, too.
    let (stick, own) = (devices[1].next(), devices[1]);
    keyboards.came(stick, plugged("stick", "port"), start + 2 * LATER);
    keyboards.typed(stick, A);
    keyboards.update(start + 2 * LATER, Some(1));
    assert!(matches!(way(&keyboards), Some(Way::Code { .. })));
    assert_eq!(keyboards.typed(own, ONE), Typing::Counts, "buttons of mice are digits");
    assert_eq!(keyboards.typed(own, Y), Typing::Answers);
    keyboards.update(start + 2 * LATER, Some(1));
    assert_eq!((way(&keyboards), keyboards.typed(own, Y)), (Some(Way::Another), Typing::Counts));
    keyboards.went(own, false, start + 2 * LATER);
    keyboards.update(start + 2 * LATER, Some(2));
    assert_eq!(way(&keyboards), Some(Way::Code { code: Code::new(2), typed: 0 }), "it is gone");
}

#[test]
fn one_that_comes_back_to_its_port_is_known_until_something_else_was_there_and_on_another_it_is_not() {
    let start = Instant::now();
    let (mut keyboards, devices) = with(true, &[(OWN, Duration::ZERO)], start);
    let mut device = devices[0];
    for (identity, port, typing) in [
        (OWN, "port of own", Typing::Counts),
        (OWN, "another port", Typing::Asks),
        ("stick", "port of own", Typing::Asks),
        (OWN, "", Typing::Asks),
        (OWN, "port of own", Typing::Asks),
    ] {
        keyboards.went(device, false, start + LATER);
        device = device.next();
        keyboards.came(device, plugged(identity, port), start + LATER);
        assert_eq!(keyboards.typed(device, A), typing, "{identity} on {port}");
    }
    let (mut keyboards, devices) = with(true, &[(OWN, Duration::ZERO)], start);
    let [back, second] = [2, 3].map(|times| (1..times).fold(devices[0], |device, _| device.next()));
    keyboards.went(devices[0], false, start + LATER);
    keyboards.came(back, plugged(OWN, "port of own"), start + LATER);
    keyboards.came(second, plugged("second", "second port"), start + LATER);
    keyboards.typed(second, A);
    assert_eq!(keyboards.asked(), Some((second, Way::Another)), "it can still be answered on");
}

#[test]
fn what_is_remembered_is_bounded() {
    let start = Instant::now();
    let mut keyboards = Keyboards::new(true);
    let mut device = DeviceId::ONLY;
    for number in 0..3 * REMEMBERED {
        device = device.next();
        keyboards.came(device, plugged("one", &number.to_string()), start);
        keyboards.went(device, false, start);
    }
    assert_eq!(keyboards.remembered.len(), REMEMBERED);
}

#[test]
fn what_is_on_one_port_is_one_thing() {
    let start = Instant::now();
    let (mut keyboards, devices) = with(true, &[(OWN, Duration::ZERO)], start);
    let [letters, volume, late] = [2, 3, 4].map(|times| (1..times).fold(devices[0], |device, _| device.next()));
    keyboards.came(letters, plugged("letters", "port"), start + LATER);
    keyboards.came(volume, Plugged { letters: false, ..plugged("volume", "port") }, start + LATER);
    keyboards.typed(letters, A);
    keyboards.answer(letters, true, start);
    keyboards.came(late, plugged("late", "port"), start + 2 * LATER);
    assert_eq!([letters, volume, late].map(|part| keyboards.typed(part, A)), [Typing::Counts; 3]);
    let other = late.next();
    keyboards.came(other, plugged("late", ""), start + 2 * LATER);
    assert_eq!(keyboards.typed(other, A), Typing::Asks, "nobody knows where it is");
}

#[test]
fn nothing_is_said_of_buttons_that_cannot_type_a_code_where_nobody_could_answer() {
    let start = Instant::now();
    let (mut keyboards, stick) = alone(start, 1);
    keyboards.answer(stick, false, start);
    let buttons = stick.next();
    keyboards.came(buttons, Plugged { letters: false, ..plugged("buttons", "port") }, start + LATER);
    assert_eq!(keyboards.typed(buttons, 115), Typing::Asks);
    keyboards.update(start + 2 * LATER, Some(1));
    assert_eq!(keyboards.asked(), Some((stick, Way::Never)));
    let (mut keyboards, _stick) = alone(start, 1);
    let shown = keyboards.asked();
    keyboards.came(buttons, Plugged { letters: false, ..plugged("buttons", "port") }, start + LATER);
    keyboards.typed(buttons, 115);
    keyboards.went(buttons, false, start + LATER);
    assert_eq!(keyboards.asked(), shown, "nor does their going take a code away");
}

#[test]
fn where_none_is_there_at_the_start_the_first_that_comes_has_to_type_a_code() {
    let start = Instant::now();
    let mut keyboards = Keyboards::new(true);
    keyboards.begin(start);
    keyboards.came(DeviceId::ONLY, plugged("stick", "port"), start + LATER);
    assert_eq!(keyboards.typed(DeviceId::ONLY, A), Typing::Asks);
}

#[test]
fn one_that_was_refused_stays_so_when_the_last_other_one_goes() {
    let start = Instant::now();
    let (mut keyboards, devices) = with(true, &[(OWN, Duration::ZERO), ("stick", LATER)], start);
    keyboards.typed(devices[1], A);
    keyboards.answer(devices[1], false, start);
    keyboards.went(devices[0], false, start);
    assert_eq!((keyboards.typed(devices[1], A), way(&keyboards)), (Typing::Nothing, Some(Way::Never)));
    let (mut keyboards, stick) = alone(start, 1);
    assert!(keyboards.enter(stick, ESC, start));
    assert_eq!((keyboards.typed(stick, A), way(&keyboards)), (Typing::Nothing, Some(Way::Never)));
}

#[test]
fn without_chance_no_code_is_shown_and_it_is_tried_again() {
    let start = Instant::now();
    let (mut keyboards, stick) = alone(start, 1);
    type_nines(&mut keyboards, stick, DIGITS, start);
    let now = start + LATER;
    assert_eq!((keyboards.update(now, None), keyboards.enter(stick, ONE, now)), (Some(now + AGAIN), false));
}

#[test]
fn those_that_were_there_before_another_session_type_and_one_that_came_meanwhile_waits() {
    let start = Instant::now();
    let mut keyboards = Keyboards::new(true);
    let mut device = DeviceId::ONLY;
    for (identity, after) in [("a", Duration::ZERO), ("b", Duration::ZERO), ("held", LATER)] {
        device = device.next();
        keyboards.came(device, plugged(identity, ""), start + after);
        keyboards.typed(device, A);
    }
    for gone in [1, 2, 3].map(|times| (0..times).fold(DeviceId::ONLY, |device, _| device.next())) {
        keyboards.went(gone, true, start + LATER);
    }
    for (identity, typing) in
        [("b", Typing::Counts), ("new", Typing::Asks), ("a", Typing::Counts), ("held", Typing::Asks)]
    {
        device = device.next();
        keyboards.came(device, plugged(identity, ""), start + 2 * LATER);
        assert_eq!(keyboards.typed(device, A), typing, "{identity}");
    }
    device = device.next();
    keyboards.came(device, plugged("a", ""), start + 3 * LATER);
    assert_eq!(keyboards.typed(device, A), Typing::Asks, "it says that it is one of them, but was plugged in");
}

/// Something that happens to a keyboard, of which there are a few, each on a port of its own.
#[derive(Clone, Debug)]
enum Step {
    Plug(usize),
    Unplug(usize, bool),
    Type(usize, u32),
    /// Who sees the screen types the code.
    Shown(usize),
    Answer(usize, bool),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..6usize;
    let key = proptest::sample::select(vec![A, Y, ESC, BACKSPACE, ONE, NINE, LEFT_SHIFT]);
    prop_oneof![
        4 => at().prop_map(Step::Plug),
        2 => (at(), proptest::bool::weighted(0.1)).prop_map(|(at, away)| Step::Unplug(at, away)),
        12 => (at(), key).prop_map(|(at, key)| Step::Type(at, key)),
        1 => at().prop_map(Step::Shown),
        1 => (at(), any::<bool>()).prop_map(|(at, may)| Step::Answer(at, may)),
        3 => (0u64..200).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens, a key of one that came late counts only after the person has let it in, on this port, and a
    /// code is shown only while there is nothing else to answer on.
    #[test]
    fn no_key_counts_of_one_that_nobody_has_let_in(steps in proptest::collection::vec(step(), 1..200)) {
        let mut now = Instant::now();
        let mut keyboards = Keyboards::new(true);
        let first = DeviceId::ONLY.next();
        keyboards.came(first, plugged("0", "0"), now);
        let mut here: [Option<DeviceId>; 6] = [Some(first), None, None, None, None, None];
        let mut let_in = [true, false, false, false, false, false];
        let mut device = first;
        now += LATER;
        for step in steps {
            keyboards.update(now, Some(777_777));
            match step {
                Step::Plug(at) if here[at].is_none() => {
                    device = device.next();
                    here[at] = Some(device);
                    keyboards.came(device, plugged(&at.to_string(), &at.to_string()), now);
                }
                Step::Unplug(at, away) => {
                    if let Some(device) = here[at].take() {
                        keyboards.went(device, away, now);
                    }
                }
                Step::Type(at, key) => {
                    if let Some(device) = here[at] {
                        let typing = keyboards.typed(device, key);
                        let counts = matches!(typing, Typing::Counts | Typing::Answers);
                        prop_assert!(!counts || let_in[at], "{:?} of {}", typing, at);
                        if typing == Typing::Code {
                            keyboards.enter(device, key, now);
                        }
                    }
                }
                Step::Shown(at) => {
                    if let (Some(device), Some(Way::Code { code, .. })) = (here[at], way(&keyboards))
                        && keyboards.typed(device, A) == Typing::Code
                    {
                        while keyboards.enter(device, BACKSPACE, now) {}
                        let typed = keys(code.digits()).map(|key| keyboards.enter(device, key, now));
                        prop_assert!(typed.iter().all(|typed| *typed));
                        let_in[at] = true;
                        prop_assert_eq!(keyboards.typed(device, A), Typing::Counts);
                    }
                }
                Step::Answer(at, may) => {
                    // As the dialog does: about the one that is asked about.
                    if let (Some(device), Some((asked, Way::Another))) = (here[at], keyboards.asked())
                        && device == asked
                    {
                        keyboards.answer(device, may, now);
                        let_in[at] = may;
                    }
                }
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
                Step::Plug(_) => {}
            }
            keyboards.update(now, Some(777_777));
            prop_assert!(keyboards.code.is_none() || !keyboards.can_answer());
            prop_assert!(keyboards.code.is_none() || keyboards.present.iter().any(Keyboard::asks));
            prop_assert!(keyboards.code.is_some() || keyboards.present.iter().all(|one| one.entry.is_empty()));
        }
    }
}
