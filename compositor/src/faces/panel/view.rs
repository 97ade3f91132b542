//! The window of the plain list of guests; what it lists and does is the model's.
//!
//! It lives from one frame to the next. Rows, problems and keys that are the same as before are left alone, so that
//! only what changed is drawn again.

use super::{PanelRow, PanelView, StateTone};
use crate::faces::drawing::generated::{FootKey, GuestRow, LegendMark, PanelSurface, ProblemLine, icons};
use crate::faces::drawing::{self, DrawError, Pixels, Resident, WindowInput, WindowModifiers};
use phyllome_trusted::frame::Mark;
use slint::{Color, Model, ModelRc, SharedString, VecModel};
use std::rc::Rc;
use std::time::Duration;

/// A row with the gap to the next; title above the rows and footer below the problems; a problem's line. Logical
/// pixels.
const ROW: f64 = 72.0;
const HEAD: f64 = 96.0;
const FOOT: f64 = 104.0;
const PROBLEM: f64 = 32.0;
/// Problems that are shown; the last of more says how many there are.
const MAX_PROBLEMS: usize = 4;

/// The panel at one size and scale.
pub struct PanelWindow {
    window: Resident<PanelSurface>,
    /// Height in logical pixels.
    height: f64,
    scale: f64,
    /// What the window shows.
    shown: Option<PanelView>,
    /// Which guests `rows` are of.
    guests: Vec<PanelRow>,
    rows: Rc<VecModel<GuestRow>>,
    problems: Rc<VecModel<ProblemLine>>,
    keys: Rc<VecModel<FootKey>>,
}

impl PanelWindow {
    /// A panel of `w` × `h` physical pixels that shows nothing yet.
    pub fn new(w: u32, h: u32, scale: f64) -> Result<Self, DrawError> {
        let window = Resident::new(PanelSurface::new, w, h, scale)?;
        let rows = Rc::new(VecModel::<GuestRow>::default());
        let problems = Rc::new(VecModel::<ProblemLine>::default());
        let keys = Rc::new(VecModel::<FootKey>::default());
        let component = window.component();
        component.set_rows(ModelRc::from(rows.clone()));
        component.set_problems(ModelRc::from(problems.clone()));
        component.set_keys(ModelRc::from(keys.clone()));
        component.set_problem_icon(icons::CRASHED.into());
        component.set_legend(ModelRc::from(legend().as_slice()));
        let height = f64::from(h) / scale;
        Ok(Self { window, height, scale, shown: None, guests: Vec::new(), rows, problems, keys })
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

    /// See [`Resident::alarm`].
    pub fn alarm(&self) -> Option<Duration> {
        self.window.alarm()
    }

    fn set(&mut self, panel: &PanelView) {
        let problems = shown_problems(&panel.problems);
        let room = self.height - HEAD - FOOT - problems.len() as f64 * PROBLEM;
        let shown = ((room / ROW).floor().max(1.0) as usize).min(panel.rows.len());
        let first = drawing::window_start(panel.rows.len(), shown, panel.selected);
        self.set_rows(panel.rows.iter().skip(first).take(shown), panel.selected.checked_sub(first));

        let last = problems.len().saturating_sub(1);
        let selected_problem = panel.selected.checked_sub(panel.rows.len()).map(|index| index.min(last));
        let line = |(index, text)| ProblemLine { text, selected: selected_problem == Some(index) };
        set_changed(&self.problems, problems.into_iter().enumerate().map(line));
        set_changed(&self.keys, foot_keys(panel.question.is_some()).into_iter());

        let component = self.window.component();
        component.set_above(count(first));
        component.set_below(count(panel.rows.len() - first - shown));
        let (question, consequence) = panel.question.as_deref().map(in_two).unwrap_or_default();
        component.set_asking(panel.question.is_some());
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
        selected: false,
    }
}

/// What the keys do while nothing is asked, and while something is.
fn foot_keys(asking: bool) -> Vec<FootKey> {
    let keys: &[(&str, &str)] = if asking {
        &[("Y", "Yes"), ("Esc", "No")]
    } else {
        &[
            ("Enter", "Start or switch"),
            ("S", "Shut down"),
            ("P", "Pause or go on"),
            ("K", "Force off"),
            ("R", "Reset"),
            ("Esc", "Back"),
        ]
    };
    keys.iter().map(|(key, words)| FootKey { key: (*key).into(), words: (*words).into() }).collect()
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

fn shown_problems(problems: &[String]) -> Vec<SharedString> {
    let mut shown: Vec<SharedString> = problems.iter().take(MAX_PROBLEMS).map(|p| drawing::clean(p).into()).collect();
    if problems.len() > MAX_PROBLEMS {
        shown.pop();
        shown.push(format!("{} more guest files cannot be used", problems.len() - shown.len()).into());
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::drawing::Ui;

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
