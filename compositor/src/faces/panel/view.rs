//! How the plain list of guests is drawn; what it lists and does is the model's.

use crate::ui::generated::{FootKey, GuestRow, LegendMark, PanelSurface, icons};
use crate::ui::{self, PanelView, Pixels, StateTone, Surface, UiError};
use phyllome_trusted::frame::Mark;
use slint::{Color, ModelRc, SharedString};

/// A row with the gap to the next; title above the rows and footer below the problems; a problem's line. Logical pixels.
const ROW: f64 = 72.0;
const HEAD: f64 = 96.0;
const FOOT: f64 = 104.0;
const PROBLEM: f64 = 32.0;
/// Problems that are shown; the last of more says how many there are.
const MAX_PROBLEMS: usize = 4;

/// Draws the panel in `w` × `h` physical pixels; opaque.
pub fn draw(panel: &PanelView, w: u32, h: u32, scale: f64) -> Result<Pixels, UiError> {
    let surface = Surface::new(PanelSurface::new, scale)?;
    let component = &surface.component;

    let problems = shown_problems(&panel.problems);
    let room = f64::from(h) / scale - HEAD - FOOT - problems.len() as f64 * PROBLEM;
    let shown = ((room / ROW).floor().max(1.0) as usize).min(panel.rows.len());
    let first = ui::window_start(panel.rows.len(), shown, panel.selected);
    let rows: Vec<GuestRow> = panel.rows.iter().skip(first).take(shown).map(|row| guest_row(row, scale)).collect();

    let selected = panel.selected.checked_sub(first).filter(|index| *index < shown);
    let selected_problem =
        panel.selected.checked_sub(panel.rows.len()).map(|i| i.min(problems.len().saturating_sub(1)));
    component.set_rows(ModelRc::from(rows.as_slice()));
    component.set_selected(index(selected));
    component.set_above(count(first));
    component.set_below(count(panel.rows.len() - first - shown));
    component.set_problems(ModelRc::from(problems.as_slice()));
    component.set_selected_problem(index(selected_problem));
    component.set_problem_icon(icons::CRASHED.into());
    component.set_keys(ModelRc::from(foot_keys(panel.question.is_some()).as_slice()));
    component.set_legend(ModelRc::from(legend().as_slice()));
    if let Some(question) = &panel.question {
        let (question, consequence) = in_two(question);
        component.set_asking(true);
        component.set_question(question.into());
        component.set_consequence(consequence.into());
    }
    Ok(Pixels::new(w, h, surface.draw(w, h)))
}

fn guest_row(row: &ui::PanelRow, scale: f64) -> GuestRow {
    GuestRow {
        picture: ui::swatch(&row.label, 32.0, scale),
        slot: ui::slot_text(&row.label),
        plate: ui::color(row.label.rgb),
        ink: ui::color(row.label.text_rgb),
        label: ui::clean(&row.label.text).into(),
        state: ui::clean(&row.state).into(),
        tone: tone(row.tone),
        message: ui::clean(&row.message).into(),
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
        Some((asked, rest)) => (ui::clean(&format!("{asked}?")), ui::clean(rest)),
        None => (ui::clean(question), String::new()),
    }
}

/// What the marks in the bar mean.
fn legend() -> Vec<LegendMark> {
    [(Mark::Paused, "paused")]
        .map(|(mark, words)| LegendMark { icon: ui::mark_icon(mark).into(), words: words.into() })
        .into()
}

fn shown_problems(problems: &[String]) -> Vec<SharedString> {
    let mut shown: Vec<SharedString> = problems.iter().take(MAX_PROBLEMS).map(|p| ui::clean(p).into()).collect();
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

fn index(at: Option<usize>) -> i32 {
    at.and_then(|at| i32::try_from(at).ok()).unwrap_or(-1)
}

fn count(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}
