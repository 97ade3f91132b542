//! Status and events for people: aligned tables, one line an event. Pure.

use phyllome_protocol::shell::Event;
use phyllome_protocol::status::{GuestStatus, Mode, Status};

/// Rows of cells as lines of aligned columns.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn or_dash(text: Option<impl ToString>) -> String {
    text.map_or_else(|| "-".to_owned(), |text| text.to_string())
}

fn head(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Guest => "guest",
        Mode::Panel => "panel",
        Mode::Switcher => "switcher",
        Mode::Dialog => "dialog",
        Mode::Locked => "locked",
    }
}

/// The whole status.
pub fn status(status: &Status) -> String {
    let mut text = format!(
        "phyllome-shell {}, {} drawn by {}; mode {}, focus {}\n\n",
        status.version,
        status.backend,
        status.renderer,
        mode(status.mode),
        or_dash(status.focus.as_ref())
    );
    let mut rows =
        vec![head(&["OUTPUT", "SIZE", "HZ", "SCALE", "ROTATION", "AT", "GUEST", "GUEST AREA", "PLANE", "DISPLAY"])];
    rows.extend(status.outputs.iter().map(|output| {
        let area = output.guest_area;
        vec![
            output.name.clone(),
            format!("{}x{}", output.width, output.height),
            format!("{}", f64::from(output.refresh_mhz) / 1000.0),
            output.scale.to_string(),
            output.rotation.to_string(),
            format!("{},{}", output.x, output.y),
            match &output.guest {
                Some(guest) if output.scanout > 0 => format!("{guest} (screen {})", u64::from(output.scanout) + 1),
                guest => or_dash(guest.as_ref()),
            },
            format!("{}x{} at {},{}", area.width, area.height, area.x, area.y),
            output.plane.clone(),
            or_dash(output.identity.as_ref()),
        ]
    }));
    text.push_str(&table(&rows));
    for output in status.outputs.iter().filter(|output| output.guest.is_some()) {
        if let Some(reason) = &output.plane_reason {
            text.push_str(&format!("{}: composited, because {reason}\n", output.name));
        }
    }
    text.push('\n');
    text.push_str(&guests(&status.guests));
    text
}

/// The table of guests, and their messages below it.
pub fn guests(guests: &[GuestStatus]) -> String {
    if guests.is_empty() {
        return "There are no guests yet.\n".to_owned();
    }
    let mut rows = vec![head(&["SLOT", "NAME", "STATE", "LABEL", "ACCEL", "UPTIME", "GPU", "SCREENS"])];
    rows.extend(guests.iter().map(|guest| {
        let alive = guest.state.is_alive();
        let screens: Vec<_> = guest.scanouts.iter().map(|s| format!("{}x{}", s.width, s.height)).collect();
        vec![
            or_dash(guest.slot),
            guest.name.to_string(),
            guest.state.word().to_owned(),
            format!("{} ({}, {})", guest.label.text, guest.label.color, guest.label.pattern),
            or_dash(guest.accel.as_ref()),
            or_dash(guest.uptime_s.map(uptime)),
            or_dash(Some(&guest.gpu.renderer).filter(|text| alive && !text.is_empty())),
            or_dash(Some(screens.join(", ")).filter(|text| !text.is_empty())),
        ]
    }));
    let mut text = table(&rows);
    for guest in guests {
        if guest.background == "full" {
            text.push_str(&format!("{}: draws as fast as its display shows pictures, hidden or not\n", guest.name));
        }
        if let Some(message) = &guest.message {
            text.push_str(&format!("{}: {message}\n", guest.name));
        }
    }
    text
}

fn uptime(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

/// One event.
pub fn event(event: &Event) -> String {
    match event {
        Event::State { name, state, message: None } => format!("{name} is {}", state.word()),
        Event::State { name, state, message: Some(message) } => format!("{name} is {}: {message}", state.word()),
        Event::Picture { name } => format!("{name} shows its first picture"),
        Event::Focus { name: Some(name) } => format!("{name} has the keyboard"),
        Event::Focus { name: None } => "no guest has the keyboard".to_owned(),
        Event::Mode { mode: now } => format!("mode {}", mode(*now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let rows = [vec!["A".into(), "BB".into()], vec!["ccc".into(), "d".into()]];
        assert_eq!(table(&rows), "A    BB\nccc  d\n");
    }

    #[test]
    fn uptime_is_short() {
        assert_eq!([5.9, 65.0, 7300.0, -1.0].map(uptime), ["5s", "1m05s", "2h01m", "0s"]);
    }

    #[test]
    fn a_status_shows_how_every_display_is_used() {
        let json = r#"{"version":"0.1.0","backend":"kms","renderer":"pixman","mode":"guest","focus":"work","guests":[],"outputs":[
            {"name":"eDP-1","width":1920,"height":1080,"refresh_mhz":59940,"scale":1.25,"guest":"work",
             "guest_area":{"x":5,"y":35,"width":1910,"height":1040},"plane":"overlay","identity":"DEL DELL U2720Q 5X4"},
            {"name":"DP-1","width":1080,"height":1920,"refresh_mhz":60000,"scale":1.0,"rotation":90,"x":1920,"y":0,"guest":"work",
             "scanout":1,"guest_area":{"x":4,"y":28,"width":1072,"height":1888},"plane":"composited","plane_reason":"it is scaled"}]}"#;
        let text = status(&serde_json::from_str(json).unwrap());
        let lines: Vec<&str> = text.lines().skip(2).take(4).collect();
        assert_eq!(
            lines,
            [
                "OUTPUT  SIZE       HZ     SCALE  ROTATION  AT      GUEST            GUEST AREA         PLANE       DISPLAY",
                "eDP-1   1920x1080  59.94  1.25   0         0,0     work             1910x1040 at 5,35  overlay     DEL DELL U2720Q 5X4",
                "DP-1    1080x1920  60     1      90        1920,0  work (screen 2)  1072x1888 at 4,28  composited  -",
                "DP-1: composited, because it is scaled",
            ]
        );
    }

    #[test]
    fn a_status_shows_guests_and_why_they_crashed() {
        let json = r##"{"version":"0.1.0","backend":"headless","renderer":"pixman","mode":"guest","outputs":[],"focus":null,
            "guests":[{"name":"work","slot":1,"state":"crashed","message":"the disk is missing","accel":null,"pid":null,
            "qemu_pid":null,"uptime_s":null,"label":{"text":"work","color":"red","rgb":"#c62828","pattern":"solid"},
            "gpu":{"transport":"","renderer":"","renderer_pid":null,"renderer_restarts":0,"features":[]},"scanouts":[]}]}"##;
        let text = status(&serde_json::from_str(json).unwrap());
        assert!(text.contains("1     work  crashed  work (red, solid)  -"), "{text}");
        assert!(text.ends_with("work: the disk is missing\n"), "{text}");
    }
}
