//! What opens under a person's fingers hears nothing of what they were typing: not before it is on the display, and not
//! for a moment after that.

use super::faces::{click, press, release, row, selected, tap};
use super::fixture::Fixture;
use phyllome_protocol::status::Mode;
use phyllome_trusted::codes::{DOWN, ENTER, ESC, K, P, S, Y};
use phyllome_trusted::deaf::DEAF;
use phyllome_trusted::gate::{Asker, Verb};
use std::time::{Duration, Instant};

const TYPED: [u32; 7] = [K, Y, S, P, ENTER, DOWN, ESC];
const BARELY: Duration = Duration::from_millis(1);

/// A shell whose clock stands still.
fn still() -> Fixture {
    let mut shell = Fixture::new();
    shell.state.shell.pass(Duration::ZERO);
    shell
}

#[test]
fn tp12_the_list_hears_nothing_until_it_was_seen_for_half_a_second_whoever_opened_it() {
    for (verb, from) in [
        (Verb::Tell("the shell stopped".to_owned()), Asker::Shell),
        (Verb::Panel { show: true }, Asker::Tool),
        (Verb::TogglePanel, Asker::Chord),
    ] {
        let mut shell = still();
        shell.state.act(verb.clone(), from).unwrap();
        let type_all = |shell: &mut Fixture| {
            TYPED.into_iter().for_each(|code| tap(shell, code));
            assert_eq!((shell.state.shell.mode(), selected(shell)), (Mode::Panel, 0), "{verb:?}");
            assert!(!shell.state.shell.repeats(DOWN), "nor does a key that is held");
        };
        type_all(&mut shell);
        shell.state.shell.pass(100 * DEAF);
        type_all(&mut shell);
        shell.settle();
        type_all(&mut shell);
        shell.state.shell.pass(DEAF - BARELY);
        type_all(&mut shell);
        shell.state.shell.pass(BARELY);
        assert_eq!((shell.state.shell.mode(), selected(&shell)), (Mode::Panel, 0), "nothing was kept for later");
        assert!(shell.state.shell.repeats(DOWN));
        tap(&mut shell, DOWN);
        assert_eq!(selected(&shell), 1, "{verb:?}");
        tap(&mut shell, K);
        // The question is another thing to be seen.
        [Y, ESC].into_iter().for_each(|code| tap(&mut shell, code));
        shell.settle();
        shell.state.shell.pass(DEAF - BARELY);
        [Y, ESC].into_iter().for_each(|code| tap(&mut shell, code));
        assert_eq!(shell.state.shell.mode(), Mode::Dialog);
        shell.state.shell.pass(BARELY);
        tap(&mut shell, ESC);
        assert_eq!(shell.state.shell.mode(), Mode::Panel);
    }
}

#[test]
fn tp12_a_click_that_was_begun_before_the_list_hears_is_none() {
    let mut shell = still();
    shell.state.act(Verb::Panel { show: true }, Asker::Tool).unwrap();
    shell.settle();
    click(&mut shell, row(1));
    press(&mut shell, row(1));
    shell.state.shell.pass(DEAF);
    release(&mut shell, row(1));
    assert_eq!(selected(&shell), 0);
    click(&mut shell, row(1));
    assert_eq!(selected(&shell), 1);
}

#[test]
fn tp12_a_list_that_opens_while_displays_sleep_is_deaf_until_they_have_shown_it() {
    let mut shell = still();
    shell.state.outputs_sleep(true);
    shell.state.act(Verb::Tell("the shell stopped".to_owned()), Asker::Shell).unwrap();
    shell.turn();
    shell.state.shell.pass(100 * DEAF);
    let hears = |shell: &Fixture| shell.state.shell.hears(Instant::now());
    assert!(!hears(&shell) && shell.state.status().deaf);
    shell.state.outputs_sleep(false);
    shell.settle();
    assert!(!hears(&shell));
    shell.state.shell.pass(DEAF);
    assert!(hears(&shell) && !shell.state.status().deaf);
}
