//! Input that a test makes. It goes the way of a device's input and is refused unless the shell was started to allow
//! it, and on a real seat always.

use super::typing;
use super::wait::Kind;
use crate::State;
use crate::backend::input::DeviceInput;
use crate::guests::Awaited;
use crate::monotonic;
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

/// A key of the one keyboard that a test has.
fn key_of_test(code: u32, pressed: bool, time_ms: u32) -> DeviceInput {
    DeviceInput::Key { code, pressed, time_ms }
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
        if self.backend.name() == "kms" {
            return self.serve_result(
                client,
                Err("test input is refused on a real seat; use --backend headless or nested for it".to_owned()),
            );
        }
        if let TestInput::Type { text } = &input {
            return self.begin_typing(client, text);
        }
        let result = self.test_input(input);
        self.serve_result(client, result);
    }

    fn test_input(&mut self, input: TestInput) -> Result<(), String> {
        let now = monotonic::now_ms();
        let code = |key: &str| keys::code_from_name(key).ok_or_else(|| keys::unknown(key));
        let button = |name: &str| {
            keys::button_from_name(name).ok_or("use one of the buttons left, right, middle, side and extra".to_owned())
        };
        match input {
            TestInput::KeyPress { key } => self.device_input(key_of_test(code(&key)?, true, now)),
            TestInput::KeyRelease { key } => self.device_input(key_of_test(code(&key)?, false, now)),
            TestInput::Tap { keys } => {
                if keys.is_empty() || keys.len() > MAX_KEYS {
                    return Err(format!("tap 1 to {MAX_KEYS} keys at once"));
                }
                let codes = keys.iter().map(|key| code(key)).collect::<Result<Vec<_>, _>>()?;
                codes.iter().for_each(|code| self.device_input(key_of_test(*code, true, now)));
                codes.iter().rev().for_each(|code| self.device_input(key_of_test(*code, false, now)));
            }
            TestInput::Type { .. } => {}
            TestInput::Move { x, y } if x.is_finite() && y.is_finite() => {
                self.device_input(DeviceInput::Motion { x, y, time_ms: now })
            }
            TestInput::Move { .. } => return Err("the position is no number of pixels; write two numbers".to_owned()),
            TestInput::ButtonPress { button: name } => {
                self.device_input(DeviceInput::Button { code: button(&name)?, pressed: true, time_ms: now })
            }
            TestInput::ButtonRelease { button: name } => {
                self.device_input(DeviceInput::Button { code: button(&name)?, pressed: false, time_ms: now })
            }
            TestInput::Wheel { notches } => self.device_input(DeviceInput::Wheel {
                horizontal: 0.0,
                vertical: f64::from(notches.clamp(-100, 100)),
                time_ms: now,
            }),
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
        self.wait_for(client, Kind::Plain, vec![Awaited::Typed], vec![], limit);
        let timer = self.loop_handle.insert_source(Timer::immediate(), |_, _, state: &mut State| {
            if state.type_one() {
                return TimeoutAction::ToDuration(PAUSE);
            }
            state.settle(&Awaited::Typed, Ok(()));
            TimeoutAction::Drop
        });
        if timer.is_err() {
            self.control.typing.keys.clear();
            self.settle(
                &Awaited::Typed,
                Err("the text cannot be typed, since the shell has no timer left; try again".to_owned()),
            );
        }
    }

    /// Types one character; whether there was one.
    fn type_one(&mut self) -> bool {
        let Some((code, shifted)) = self.control.typing.keys.pop_front() else { return false };
        let now = monotonic::now_ms();
        if shifted {
            self.device_input(key_of_test(LEFT_SHIFT, true, now));
        }
        self.device_input(key_of_test(code, true, now));
        self.device_input(key_of_test(code, false, now));
        if shifted {
            self.device_input(key_of_test(LEFT_SHIFT, false, now));
        }
        true
    }
}
