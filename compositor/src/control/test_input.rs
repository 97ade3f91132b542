//! Input that a test makes. It goes the way of a device's input and is refused unless the shell was started to allow it, and on
//! a real seat always.

use super::typing;
use super::wait::Kind;
use crate::State;
use crate::guests::Part;
use crate::shell::time_ms;
use phyllome_protocol::keys;
use phyllome_protocol::shell::TestInput;
use phyllome_trusted::codes::LEFT_SHIFT;
use phyllome_trusted::gate::{Asker, Verb};
use smithay::reexports::calloop::timer::{TimeoutAction, Timer};
use std::collections::VecDeque;
use std::time::Duration;

/// Between two typed characters: a guest's keyboard controller has a short queue.
const PAUSE: Duration = Duration::from_millis(15);
/// Most keys of one combination.
const MAX_KEYS: usize = 16;

/// What is still to be typed.
#[derive(Debug, Default)]
pub struct Typing {
    keys: VecDeque<(u32, bool)>,
}

impl State {
    pub(super) fn serve_input(&mut self, client: u64, input: TestInput) {
        if let Err(why) = self.act(Verb::TestInput, Asker::Tool) {
            return self.serve_result(client, Err(why));
        }
        if !self.control.allow_test_input {
            let why = "test input is off; start the shell with --allow-test-input (headless and nested only)";
            return self.serve_result(client, Err(why.to_owned()));
        }
        if self.backend_name() == "kms" {
            return self.serve_result(client, Err("test input is refused on a real seat".to_owned()));
        }
        if let TestInput::Type { text } = &input {
            return self.begin_typing(client, text);
        }
        let result = self.test_input(input);
        self.serve_result(client, result);
    }

    fn test_input(&mut self, input: TestInput) -> Result<(), String> {
        let now = time_ms();
        let code = |key: &str| keys::code_from_name(key).ok_or_else(|| keys::unknown(key));
        let button = |name: &str| {
            keys::button_from_name(name).ok_or("use one of the buttons left, right, middle, side and extra".to_owned())
        };
        match input {
            TestInput::KeyPress { key } => self.handle_key(code(&key)?, true, now),
            TestInput::KeyRelease { key } => self.handle_key(code(&key)?, false, now),
            TestInput::Tap { keys } => {
                if keys.is_empty() || keys.len() > MAX_KEYS {
                    return Err(format!("tap 1 to {MAX_KEYS} keys at once"));
                }
                let codes = keys.iter().map(|key| code(key)).collect::<Result<Vec<_>, _>>()?;
                codes.iter().for_each(|code| self.handle_key(*code, true, now));
                codes.iter().rev().for_each(|code| self.handle_key(*code, false, now));
            }
            TestInput::Type { .. } => {}
            TestInput::Move { x, y } if x.is_finite() && y.is_finite() => self.handle_pointer_motion(x, y, now),
            TestInput::Move { .. } => return Err("the position is no number of pixels".to_owned()),
            TestInput::ButtonPress { button: name } => self.handle_button(button(&name)?, true, now),
            TestInput::ButtonRelease { button: name } => self.handle_button(button(&name)?, false, now),
            TestInput::Wheel { notches } => self.handle_wheel(0.0, f64::from(notches.clamp(-100, 100)), now),
        }
        Ok(())
    }

    fn begin_typing(&mut self, client: u64, text: &str) {
        let keys = match typing::keys(text) {
            Ok(keys) => keys,
            Err(sentence) => return self.serve_result(client, Err(sentence)),
        };
        if !self.control.typing.keys.is_empty() {
            let why = "another text is being typed; try again when it is done".to_owned();
            return self.serve_result(client, Err(why));
        }
        if keys.is_empty() {
            return self.serve_result(client, Ok(()));
        }
        let limit = PAUSE * u32::try_from(keys.len()).unwrap_or(u32::MAX) + Duration::from_secs(60);
        self.control.typing.keys = keys.into();
        self.wait_for(client, Kind::Plain, vec![Part::Typed], vec![], limit);
        let timer = self.loop_handle.insert_source(Timer::immediate(), |_, _, state: &mut State| {
            if state.type_one() {
                return TimeoutAction::ToDuration(PAUSE);
            }
            state.settle(&Part::Typed, Ok(()));
            TimeoutAction::Drop
        });
        if timer.is_err() {
            self.control.typing.keys.clear();
            self.settle(&Part::Typed, Err("the text cannot be typed; the shell has no timer left".to_owned()));
        }
    }

    /// Types one character; whether there was one.
    fn type_one(&mut self) -> bool {
        let Some((code, shifted)) = self.control.typing.keys.pop_front() else { return false };
        let now = time_ms();
        if shifted {
            self.handle_key(LEFT_SHIFT, true, now);
        }
        self.handle_key(code, true, now);
        self.handle_key(code, false, now);
        if shifted {
            self.handle_key(LEFT_SHIFT, false, now);
        }
        true
    }
}
