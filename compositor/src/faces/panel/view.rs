//! The window of the plain list of guests; what it lists and does is the model's.
//!
//! It lives from one frame to the next. Rows, problems and keys that are the same as before are left alone, so that
//! only what changed is drawn again.

use super::room::Room;
use super::{PanelRow, PanelView, StateTone};
use crate::faces::dialog::CodeView;
use crate::faces::drawing::generated::{CodeDigit, FootKey, GuestRow, LegendMark, PanelSurface, ProblemLine, icons};
use crate::faces::drawing::{self, DrawError, Pixels, Resident, WindowInput, WindowModifiers};
use crate::faces::pointer::Part;
use phyllome_trusted::codes;
use phyllome_trusted::frame::Mark;
use slint::{Color, Model, ModelRc, SharedString, VecModel};
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// Keys in the first of two lines.
const FIRST_KEYS: usize = 3;

/// The panel at one size and scale.
pub struct PanelWindow {
    window: Resident<PanelSurface>,
    /// Width and height in logical pixels.
    size: (f64, f64),
    scale: f64,
    /// What the window shows.
    shown: Option<PanelView>,
    /// Which guests `rows` are of.
    guests: Vec<PanelRow>,
    rows: Rc<VecModel<GuestRow>>,
    problems: Rc<VecModel<ProblemLine>>,
    keys: Rc<VecModel<FootKey>>,
    more_keys: Rc<VecModel<FootKey>>,
    code: Rc<VecModel<CodeDigit>>,
    clicked: Rc<Cell<Option<Clicked>>>,
}

/// What was clicked, as the window counts it.
#[derive(Clone, Copy)]
enum Clicked {
    /// A row.
    Row(i32),
    /// A key at the foot.
    Key(i32),
}

impl PanelWindow {
    /// A panel of `w` × `h` physical pixels that shows nothing yet.
    pub fn new(w: u32, h: u32, scale: f64) -> Result<Self, DrawError> {
        let window = Resident::new(PanelSurface::new, w, h, scale)?;
        let rows = Rc::new(VecModel::<GuestRow>::default());
        let problems = Rc::new(VecModel::<ProblemLine>::default());
        let keys = Rc::new(VecModel::<FootKey>::default());
        let more_keys = Rc::new(VecModel::<FootKey>::default());
        let code = Rc::new(VecModel::<CodeDigit>::default());
        let component = window.component();
        component.set_rows(ModelRc::from(rows.clone()));
        component.set_problems(ModelRc::from(problems.clone()));
        component.set_keys(ModelRc::from(keys.clone()));
        component.set_more_keys(ModelRc::from(more_keys.clone()));
        component.set_code(ModelRc::from(code.clone()));
        component.set_problem_icon(icons::CRASHED.into());
        let clicked = Rc::new(Cell::new(None));
        let (row, key) = (clicked.clone(), clicked.clone());
        component.on_row_clicked(move |index| row.set(Some(Clicked::Row(index))));
        component.on_key_clicked(move |index| key.set(Some(Clicked::Key(index))));
        let size = (f64::from(w) / scale, f64::from(h) / scale);
        let room = Room::of(size.0, size.1, 0);
        let marks = if room.legend { legend() } else { Vec::new() };
        component.set_legend(ModelRc::from(marks.as_slice()));
        component.set_low(room.low);
        component.set_narrow(room.narrow);
        let guests = Vec::new();
        Ok(Self { window, size, scale, shown: None, guests, rows, problems, keys, more_keys, code, clicked })
    }

    /// The picture of `panel`; opaque.
    pub fn show(&mut self, panel: &PanelView) -> Rc<Pixels> {
        if self.shown.as_ref() != Some(panel) {
            self.set(panel);
            self.shown = Some(panel.clone());
        }
        self.window.picture()
    }

    /// See [`Resident::input`].
    pub fn input(&self, input: &WindowInput, modifiers: WindowModifiers) -> bool {
        self.window.input(input, modifiers)
    }

    /// What was clicked since the last time, as it was shown then.
    pub fn take_clicked(&self) -> Option<Part> {
        let shown = self.shown.as_ref()?;
        match self.clicked.take()? {
            Clicked::Row(index) => {
                let row = self.guests.get(usize::try_from(index).ok()?)?;
                Some(Part::Guest(row.name.clone()))
            }
            Clicked::Key(index) => {
                let (code, _, _) = foot(Foot::of(shown)).get(usize::try_from(index).ok()?)?;
                Some(Part::Key(*code))
            }
        }
    }

    /// See [`Resident::alarm`].
    pub fn alarm(&self) -> Option<Duration> {
        self.window.alarm()
    }

    fn set(&mut self, panel: &PanelView) {
        let room = Room::of(self.size.0, self.size.1, panel.problems.len());
        let problems = shown_problems(&panel.problems, room.sentences);
        let shown = room.rows.min(panel.rows.len());
        let first = drawing::window_start(panel.rows.len(), shown, panel.selected);
        self.set_rows(panel.rows.iter().skip(first).take(shown), panel.selected.checked_sub(first));

        let last = problems.len().saturating_sub(1);
        let selected_problem = panel.selected.checked_sub(panel.rows.len()).map(|index| index.min(last));
        let line = |(index, text)| ProblemLine { text, selected: selected_problem == Some(index) };
        set_changed(&self.problems, problems.into_iter().enumerate().map(line));
        let mut keys = foot_keys(Foot::of(panel));
        let more = keys.split_off(if room.narrow { FIRST_KEYS.min(keys.len()) } else { keys.len() });
        set_changed(&self.keys, keys.into_iter());
        set_changed(&self.more_keys, more.into_iter());

        let component = self.window.component();
        component.set_above(count(first));
        component.set_below(count(panel.rows.len() - first - shown));
        let (question, consequence) = panel.question.as_deref().map(in_two).unwrap_or_default();
        component.set_asking(panel.question.is_some());
        let digit = |at: usize, digit: u8, typed| CodeDigit { digit: digit.to_string().into(), typed: at < typed };
        let digits = panel
            .code
            .iter()
            .flat_map(|code| code.digits.iter().enumerate().map(move |(at, of_code)| digit(at, *of_code, code.typed)));
        set_changed(&self.code, digits);
        component.set_code_drawn(panel.code.map_or(-1, drawn_code));
        component.set_question(question.into());
        component.set_consequence(consequence.into());
    }

    /// A row of a guest that is as it was keeps its picture.
    fn set_rows<'a>(&mut self, guests: impl Iterator<Item = &'a PanelRow>, selected: Option<usize>) {
        let before = std::mem::take(&mut self.guests);
        let rows = guests.enumerate().map(|(index, guest)| {
            let kept = self.rows.row_data(index).filter(|_| before.get(index) == Some(guest));
            self.guests.push(guest.clone());
            let row = kept.unwrap_or_else(|| guest_row(guest, self.scale));
            GuestRow { selected: selected == Some(index), ..row }
        });
        set_changed(&self.rows, rows);
    }
}

/// Another number for each code and each count of its digits.
fn drawn_code(code: CodeView) -> i32 {
    let number = code.digits.iter().fold(0i32, |number, digit| number.wrapping_mul(10).wrapping_add(i32::from(*digit)));
    number.wrapping_mul(8).wrapping_add(i32::try_from(code.typed).unwrap_or(0))
}

/// Makes `model` what `wanted` is, and touches only what is different.
fn set_changed<T: PartialEq + Clone + 'static>(model: &VecModel<T>, wanted: impl Iterator<Item = T>) {
    let mut length = 0;
    for (index, row) in wanted.enumerate() {
        length = index + 1;
        match model.row_data(index) {
            Some(before) if before == row => {}
            Some(_) => model.set_row_data(index, row),
            None => model.push(row),
        }
    }
    while model.row_count() > length {
        model.remove(model.row_count() - 1);
    }
}

fn guest_row(row: &PanelRow, scale: f64) -> GuestRow {
    GuestRow {
        picture: drawing::swatch(&row.label, 32.0, scale),
        slot: drawing::slot_text(&row.label),
        plate: drawing::color(row.label.rgb),
        ink: drawing::color(row.label.text_rgb),
        label: drawing::clean(&row.label.text).into(),
        state: drawing::clean(&row.state).into(),
        tone: tone(row.tone),
        message: drawing::clean(&row.message).into(),
        quote: drawing::clean(&row.quote).into(),
        selected: false,
    }
}

/// What the keys at the foot are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Foot {
    /// The guest that is selected.
    List,
    /// A question.
    Question,
    /// A question that Y does not answer.
    NoOnly,
}

impl Foot {
    fn of(panel: &PanelView) -> Self {
        match (&panel.question, panel.takes_yes) {
            (None, _) => Self::List,
            (Some(_), true) => Self::Question,
            (Some(_), false) => Self::NoOnly,
        }
    }
}

/// What the keys do: evdev code, name, words.
fn foot(foot: Foot) -> &'static [(u32, &'static str, &'static str)] {
    match foot {
        Foot::List => &[
            (codes::ENTER, "Enter", "Start or switch"),
            (codes::S, "S", "Shut down"),
            (codes::P, "P", "Pause or go on"),
            (codes::K, "K", "Force off"),
            (codes::R, "R", "Reset"),
            (codes::ESC, "Esc", "Back"),
        ],
        Foot::Question => &[(codes::Y, "Y", "Yes"), (codes::ESC, "Esc", "No")],
        Foot::NoOnly => &[(codes::ESC, "Esc", "No")],
    }
}

fn foot_keys(of: Foot) -> Vec<FootKey> {
    foot(of).iter().map(|(_, key, words)| FootKey { key: (*key).into(), words: (*words).into() }).collect()
}

/// A question's own sentence, and what follows it.
fn in_two(question: &str) -> (String, String) {
    match question.split_once('?') {
        Some((asked, rest)) => (drawing::clean(&format!("{asked}?")), drawing::clean(rest)),
        None => (drawing::clean(question), String::new()),
    }
}

/// What the marks in the bar mean.
fn legend() -> Vec<LegendMark> {
    [(Mark::Paused, "paused"), (Mark::NotResponding, "does not answer"), (Mark::Awake, "displays stay on")]
        .map(|(mark, words)| LegendMark { icon: drawing::mark_icon(mark).into(), words: words.into() })
        .into()
}

/// The first `most` of them, of which the last says that there are more.
fn shown_problems(problems: &[String], most: usize) -> Vec<SharedString> {
    if most == 0 {
        return Vec::new();
    }
    let mut shown: Vec<SharedString> = problems.iter().take(most).map(|p| drawing::clean(p).into()).collect();
    if let (1, [one]) = (most, shown.as_mut_slice())
        && problems.len() > 1
    {
        *one = format!("1 of {}: {one}", problems.len()).into();
    } else if problems.len() > most {
        shown.pop();
        shown.push(format!("{} more like these; mend their files", problems.len() - shown.len()).into());
    }
    shown
}

fn tone(tone: StateTone) -> Color {
    match tone {
        StateTone::Quiet => Color::from_rgb_u8(0xa0, 0xa6, 0xb0),
        StateTone::Good => Color::from_rgb_u8(0x6f, 0xcf, 0x97),
        StateTone::Warning => Color::from_rgb_u8(0xf2, 0xb8, 0x4b),
        StateTone::Danger => Color::from_rgb_u8(0xff, 0x6b, 0x6b),
    }
}

fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

/// What stands in the window besides guests and questions: where, and the words.
#[cfg(test)]
pub(crate) fn words() -> Vec<(&'static str, String)> {
    let keys = |of| foot(of).iter().map(|(_, key, words)| format!("{key}: {words}")).collect::<Vec<_>>();
    let mut words: Vec<_> = keys(Foot::List).into_iter().map(|key| ("at the foot", key)).collect();
    words.extend(keys(Foot::Question).into_iter().map(|key| ("at the foot of a question", key)));
    words.extend(legend().into_iter().map(|mark| ("beside a mark, which is in the bar too", mark.words.into())));
    let many = vec!["guests/work.toml: this is not possible".to_owned(); 6];
    for (most, place) in [(4, "below files that cannot be used"), (1, "where one of them has room")] {
        words.extend(shown_problems(&many, most).pop().map(|last| (place, last.into())));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::drawing::Ui;
    use crate::faces::guest::panel_row;
    use crate::guests::view::tests::guest;
    use phyllome_protocol::GuestName;
    use phyllome_protocol::status::GuestState;
    use slint::ComponentHandle;
    use slint::platform::PointerEventButton;

    /// What a click at every eighth pixel along this row of the window is taken for, each once.
    fn clicked_along(window: &PanelWindow, y: f64, scale: f64) -> Vec<Part> {
        let mut parts = Vec::new();
        for x in (0..window.window.component().window().size().width).step_by(8).map(f64::from) {
            for pressed in [true, false] {
                let button = WindowInput::Button { x, y: y * scale, button: PointerEventButton::Left, pressed };
                window.input(&button, WindowModifiers::NONE);
            }
            parts.extend(window.take_clicked().filter(|part| parts.last() != Some(part)));
        }
        parts
    }

    #[test]
    fn what_is_clicked_is_the_guest_or_the_key_that_is_shown_there() {
        let _slint = Ui::new().unwrap();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        let guests: Vec<_> = (1..).zip(names).map(|(slot, name)| guest(name, slot, GuestState::Running)).collect();
        for (scale, w, h) in [(1.0, 1272, 768), (1.5, 1908, 1152), (2.0, 2544, 1536)] {
            let mut window = PanelWindow::new(w, h, scale).unwrap();
            let mut view = PanelView { rows: guests.iter().map(panel_row).collect(), ..PanelView::default() };
            view.selected = 8;
            window.show(&view);
            let guest = |name: &str| vec![Part::Guest(GuestName::new(name).unwrap())];
            // Seven rows have room: those of “c” to “i”.
            let at = |row: f64| 96.0 + 72.0 * row + 32.0;
            assert_eq!([0.0, 1.0, 6.0].map(|row| clicked_along(&window, at(row), scale)), ["c", "d", "i"].map(guest));
            for nowhere in [20.0, 96.0 + 68.0, at(7.0), 768.0 - 80.0] {
                assert_eq!(clicked_along(&window, nowhere, scale), [], "{nowhere} at {scale}");
            }
            let keys = [codes::ENTER, codes::S, codes::P, codes::K, codes::R, codes::ESC].map(Part::Key);
            assert_eq!(clicked_along(&window, 768.0 - 36.0, scale), keys);
            view.question = Some("Sure? It is lost.".to_owned());
            for (takes_yes, keys) in [(true, &[codes::Y, codes::ESC][..]), (false, &[codes::ESC])] {
                view.takes_yes = takes_yes;
                window.show(&view);
                let keys: Vec<_> = keys.iter().copied().map(Part::Key).collect();
                assert_eq!(clicked_along(&window, 768.0 - 36.0, scale), keys);
            }
        }
    }

    #[test]
    fn on_a_small_display_every_key_can_be_clicked_and_no_sentence_lies_over_a_guest() {
        let _slint = Ui::new().unwrap();
        let guests = [guest("a", 1, GuestState::Running), guest("b", 2, GuestState::Running)];
        let rows = guests.iter().map(panel_row).collect();
        let problems = (0..9).map(|n| format!("guests/{n}.toml, line 2, slot: 60 is not possible")).collect();
        let view = PanelView { rows, problems, ..PanelView::default() };
        for (scale, w, h) in [(1.0, 632, 448), (2.0, 1008, 536)] {
            let mut window = PanelWindow::new(w, h, scale).unwrap();
            window.show(&view);
            let height = f64::from(h) / scale;
            let first = [codes::ENTER, codes::S, codes::P].map(Part::Key);
            let second = [codes::K, codes::R, codes::ESC].map(Part::Key);
            let last = if window.size.1 < 480.0 { 20.0 } else { 36.0 };
            assert_eq!(clicked_along(&window, height - last - 32.0, scale), first, "{w} × {h}");
            assert_eq!(clicked_along(&window, height - last, scale), second, "{w} × {h}");
            let row = clicked_along(&window, 56.0 + 32.0, scale);
            assert_eq!(row, [Part::Guest(guests[0].name.clone())], "{w} × {h}");
            let sentence = window.problems.row_data(0).unwrap().text;
            assert!(sentence.ends_with("guests/0.toml, line 2, slot: 60 is not possible"), "{sentence}");
        }
    }

    #[test]
    fn a_press_that_leaves_what_it_began_on_clicks_nothing() {
        let _slint = Ui::new().unwrap();
        let guests = [guest("a", 1, GuestState::Running), guest("b", 2, GuestState::Running)];
        let view = PanelView { rows: guests.iter().map(panel_row).collect(), ..PanelView::default() };
        let mut window = PanelWindow::new(1272, 768, 1.0).unwrap();
        window.show(&view);
        let button = |y, pressed| WindowInput::Button { x: 640.0, y, button: PointerEventButton::Left, pressed };
        let at = [128.0, 200.0].map(|y| (button(y, true), WindowInput::Motion { x: 640.0, y }, button(y, false)));
        for input in [&at[0].0, &at[1].1, &at[1].2, &at[0].0, &WindowInput::Leave, &at[0].2] {
            window.input(input, WindowModifiers::NONE);
        }
        assert_eq!(window.take_clicked(), None);
        for input in [&at[0].0, &at[1].1, &at[0].1, &at[0].2] {
            window.input(input, WindowModifiers::NONE);
        }
        assert_eq!(window.take_clicked(), Some(Part::Guest(guests[0].name.clone())), "it came back");
    }

    #[test]
    fn a_view_that_is_set_again_draws_nothing() {
        let _slint = Ui::new().unwrap();
        let view = PanelView {
            problems: vec!["one".to_owned(), "two".to_owned()],
            question: Some("Reset work? It is lost.".to_owned()),
            ..PanelView::default()
        };
        let mut window = PanelWindow::new(640, 480, 1.0).unwrap();
        let first = window.show(&view);
        window.shown = None;
        assert_eq!(window.show(&view).generation(), first.generation(), "though every property was set");
    }
}
