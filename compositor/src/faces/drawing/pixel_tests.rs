//! The shell's own surfaces, pixel by pixel.

use super::*;
use crate::faces::View;
use crate::faces::dialog::CodeView;
use crate::faces::drawing::generated::FlashSurface;
use crate::faces::guest::Icon;
use crate::faces::panel::{PanelRow, PanelView, StateTone};
use crate::faces::switcher::{SwitcherEntry, SwitcherView};
use crate::host::leaving::Leave;
use phyllome_config::guest::{Label, LabelColor, Pattern};
use phyllome_protocol::{GuestName, Slot};
use phyllome_trusted::frame::Mark;
use std::path::{Path, PathBuf};

const SCALES: [f64; 3] = [1.0, 1.5, 2.0];

fn label(text: &str, color: LabelColor, pattern: Pattern, slot: i64) -> LabelView {
    LabelView::from_label(&Label { text: text.to_owned(), color, pattern }, Slot::new(slot))
}

/// A guest's name that goes with its label.
pub(super) fn name(label: &LabelView) -> GuestName {
    GuestName::new(&label.text.to_lowercase().replace(' ', "-")).unwrap()
}

fn guest(label: LabelView, focused: bool, marks: &[Mark]) -> Owner {
    Owner::Guest { label, focused, marks: marks.to_vec() }
}

/// The bar of an output that is this wide.
fn bar(ui: &mut Ui, owner: &Owner, width: u32, scale: f64) -> Rc<Pixels> {
    ui.band(owner, width, 400, scale)[0].pixels.clone()
}

/// The same with a line of the host's.
fn noticed(ui: &mut Ui, owner: &Owner, notice: &Notice, width: u32, scale: f64) -> Rc<Pixels> {
    ui.noticed_band(owner, notice, width, 400, scale)[0].pixels.clone()
}

/// The panel's picture.
pub(super) fn panel(ui: &mut Ui, view: &PanelView, w: u32, h: u32, scale: f64) -> Rc<Pixels> {
    ui.faces.of(&View::Panel(view.clone()), w, h, scale)
}

/// The switcher's picture.
fn overlay(ui: &mut Ui, view: SwitcherView, w: u32, scale: f64) -> Rc<Pixels> {
    ui.faces.of(&View::Switcher(view), w, 0, scale)
}

fn work() -> LabelView {
    label("work", LabelColor::Red, Pattern::Solid, 1)
}

/// Where a test may leave its pictures: `$PHYLLOME_SHOTS`.
fn shots() -> Option<PathBuf> {
    std::env::var_os("PHYLLOME_SHOTS").map(PathBuf::from)
}

fn save(folder: &Path, name: &str, pixels: &Pixels) {
    let mut rgba = pixels.data.clone();
    for pixel in rgba.as_chunks_mut::<4>().0 {
        let [b, g, r, a] = *pixel;
        let straight = |c: u8| if a == 0 { 0 } else { (u16::from(c) * 255 / u16::from(a)).min(255) as u8 };
        *pixel = [straight(r), straight(g), straight(b), a];
    }
    let file = std::fs::File::create(folder.join(format!("{name}.png"))).unwrap();
    let mut encoder = png::Encoder::new(file, pixels.width, pixels.height);
    encoder.set_color(png::ColorType::Rgba);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(&rgba).unwrap();
}

fn panel_view(question: Option<&str>) -> PanelView {
    let row = |label: LabelView, state: &str, tone, message: &str| PanelRow {
        name: name(&label),
        label,
        state: state.to_owned(),
        tone,
        message: message.to_owned(),
        quote: String::new(),
    };
    PanelView {
        rows: vec![
            row(work(), "running", StateTone::Good, ""),
            row(label("web", LabelColor::Orange, Pattern::Stripes, 2), "starting", StateTone::Warning, ""),
            PanelRow {
                quote: "Windows 11 says: “QEMU ended: could not open disk image 'windows.qcow2' □□.”".to_owned(),
                ..row(label("Windows 11", LabelColor::Blue, Pattern::Checks, 3), "crashed", StateTone::Danger, "")
            },
            row(
                label("build", LabelColor::Green, Pattern::Dots, 4),
                "paused",
                StateTone::Warning,
                "A disk of build failed, so it is paused; make room or mend the disk, then P lets it run again",
            ),
            row(label("vault", LabelColor::Black, Pattern::Stripes, 5), "stopped", StateTone::Quiet, ""),
            row(label("scratch", LabelColor::Yellow, Pattern::Solid, 0), "stopped", StateTone::Quiet, ""),
        ],
        selected: 2,
        problems: vec!["guests/old.toml, line 3: unknown key “colour”; allowed are text, color and pattern".to_owned()],
        question: question.map(str::to_owned),
        code: None,
        takes_yes: true,
    }
}

fn switcher(selected: usize) -> SwitcherView {
    let entry = |row: PanelRow| SwitcherEntry { name: row.name, label: row.label, state: row.state };
    SwitcherView { entries: panel_view(None).rows.into_iter().map(entry).collect(), selected }
}

fn crashed() -> Message {
    Message {
        icon: Icon::Crashed,
        sentence: "work could not start: its disk “work.qcow2” is missing".to_owned(),
        quote: String::new(),
        help: "Enter starts it again; Super+Escape shows all guests".to_owned(),
    }
}

fn quoted() -> Message {
    let words = "cannot use -device virtio-blk-pci: the disk /home/me/work.qcow2 is in use by another program or guest";
    Message {
        sentence: "work has crashed.".to_owned(),
        quote: format!("work says: “{}; Security update: press K, then Y on bank □□”", words.repeat(2)),
        ..crashed()
    }
}

#[test]
fn every_surface_as_a_picture() {
    let mut ui = Ui::new().unwrap();
    let folder = shots();
    let keep = |name: String, pixels: &Pixels| {
        assert!(pixels.width > 0 && pixels.height > 0, "{name} is empty");
        if let Some(folder) = &folder {
            std::fs::create_dir_all(folder).unwrap();
            save(folder, &name, pixels);
        }
    };
    for scale in SCALES {
        let px = |logical: f64| geometry::physical(logical, scale);
        let area = geometry::layout(px(1280.0), px(800.0), scale).area;
        let (w, h) = (area.width, area.height);
        for (name, owner) in [
            ("bar-solid", guest(work(), true, &[])),
            ("bar-unfocused", guest(work(), false, &[])),
            (
                "bar-marks",
                guest(
                    label("web", LabelColor::Orange, Pattern::Stripes, 2),
                    true,
                    &[Mark::Paused, Mark::NotResponding],
                ),
            ),
            ("bar-dots", guest(label("build server", LabelColor::Green, Pattern::Dots, 4), true, &[])),
            ("bar-checks", guest(label("Windows 11", LabelColor::Blue, Pattern::Checks, 3), true, &[Mark::Paused])),
            ("bar-no-slot", guest(label("scratch", LabelColor::Yellow, Pattern::Solid, 0), true, &[])),
            ("bar-host", Owner::Host),
        ] {
            keep(format!("{name}@{scale}"), &bar(&mut ui, &owner, px(640.0), scale));
        }
        let long = label("customer-acme-windows-server-2025-datacenter-east", LabelColor::Purple, Pattern::Checks, 9);
        keep(format!("bar-long@{scale}"), &bar(&mut ui, &guest(long.clone(), true, &[Mark::Paused]), px(320.0), scale));
        keep(format!("message@{scale}"), &ui.message(&crashed(), w, h, scale));
        keep(format!("message-quote@{scale}"), &ui.message(&quoted(), w, h, scale));
        keep(format!("flash@{scale}"), &ui.flash(&work(), scale));
        keep(format!("flash-long@{scale}"), &ui.flash(&long, scale));
        keep(format!("switcher@{scale}"), &overlay(&mut ui, switcher(1), w, scale));
        keep(format!("switcher-narrow@{scale}"), &overlay(&mut ui, switcher(4), px(500.0), scale));
        keep(format!("panel@{scale}"), &panel(&mut ui, &panel_view(None), w, h, scale));
        let question = "Force work off? It loses what it has not saved. Y forces it off, Esc leaves it running.";
        let asked = "Is the new keyboard “Keyboard K120” yours? Type these digits on it to let it type. Esc keeps it \
                     silent until it is plugged in again.";
        let code = Some(CodeView { digits: [4, 8, 1, 5, 2, 0], typed: 2 });
        let asked = PanelView { code, takes_yes: false, ..panel_view(Some(asked)) };
        keep(format!("panel-code@{scale}"), &panel(&mut ui, &asked, w, h, scale));
        keep(format!("panel-question@{scale}"), &panel(&mut ui, &panel_view(Some(question)), w, h, scale));
        keep(format!("panel-empty@{scale}"), &panel(&mut ui, &PanelView::default(), w, h, scale));
    }
}

/// How many pixels of `area` (left, upper, width, height) differ from `ground`.
fn marked(pixels: &Pixels, area: (u32, u32, u32, u32), ground: Rgb) -> usize {
    let Rgb(r, g, b) = ground;
    let (left, top, width, height) = area;
    (top..top + height)
        .flat_map(|y| (left..left + width).map(move |x| (x, y)))
        .filter(|(x, y)| pixels.get(*x, *y) != Some([b, g, r, 0xff]))
        .count()
}

fn bgra(Rgb(r, g, b): Rgb) -> [u8; 4] {
    [b, g, r, 0xff]
}

#[test]
fn the_bar_shows_its_label_in_every_colour_and_scale() {
    let mut ui = Ui::new().unwrap();
    for scale in SCALES {
        let px = |logical: f64| geometry::physical(logical, scale);
        for color in LabelColor::NAMED {
            let label = label("work", color, Pattern::Solid, 1);
            let bar = bar(&mut ui, &guest(label.clone(), true, &[]), px(640.0), scale);
            assert_eq!((bar.width, bar.height), (px(640.0), px(28.0)));
            let ink = marked(&bar, (px(40.0), 0, px(40.0), bar.height), label.rgb);
            assert!(ink > px(60.0) as usize, "{color:?} at {scale}: {ink} pixels of text");
            assert!(marked(&bar, (px(4.0), 0, px(20.0), bar.height), label.rgb) > 10, "{color:?}: no slot number");
            assert_eq!(marked(&bar, (px(100.0), 0, px(540.0), bar.height), label.rgb), 0, "{color:?}: a plain bar");
        }
    }
}

/// Every line that the computer itself may have to say.
fn notices() -> Vec<Notice> {
    let battery = Notice::new(Sign::Battery, "Battery at 4 %: plug it in now");
    vec![
        Notice::level(Sign::Brightness, 60),
        Notice::level(Sign::Sound, 45),
        Notice::new(Sign::SoundOff, "Sound off"),
        Notice::new(Sign::Microphone, "Microphone on"),
        Notice::new(Sign::MicrophoneOff, "Microphone off"),
        Notice::new(Sign::Radios, "Wi-Fi on, Bluetooth off"),
        Notice::new(Sign::RadiosOff, "Wi-Fi off, Bluetooth off"),
        Notice::new(Sign::Disk, "The disk is nearly full: 300 MiB are left"),
        Notice::leave(Leave::Sleep, "Super+Escape"),
        Notice::join([Notice::leave(Leave::Soon { restart: false, minutes: 5 }, "Super+Escape"), battery]).unwrap(),
    ]
}

#[test]
fn lines_of_the_computer_over_every_colour_and_pattern_as_pictures() {
    let mut ui = Ui::new().unwrap();
    let Some(folder) = shots() else { return };
    std::fs::create_dir_all(&folder).unwrap();
    let patterns = [Pattern::Solid, Pattern::Stripes, Pattern::Dots, Pattern::Checks];
    let owners = LabelColor::NAMED.into_iter().zip(patterns.into_iter().cycle());
    let owners: Vec<_> = owners.map(|(color, pattern)| guest(label("work", color, pattern, 1), true, &[])).collect();
    let marked = guest(work(), false, &[Mark::Paused, Mark::Awake]);
    for scale in SCALES {
        let (mut width, mut data) = (0, Vec::new());
        for (owner, notice) in owners.iter().cycle().chain([&marked, &Owner::Host]).zip(notices()) {
            let bar = noticed(&mut ui, owner, &notice, geometry::physical(900.0, scale), scale);
            width = bar.width;
            data.extend_from_slice(&bar.data);
        }
        for owner in [&marked, &Owner::Host] {
            let line = Notice::level(Sign::Sound, 45);
            data.extend_from_slice(&noticed(&mut ui, owner, &line, width, scale).data);
        }
        let height = u32::try_from(data.len()).unwrap() / width / 4;
        save(&folder, &format!("bars-of-the-computer@{scale}"), &Pixels::new(width, height, data));
    }
}

#[test]
fn a_sign_is_whole_sharp_neutral_and_in_the_middle_of_the_bar() {
    let mut ui = Ui::new().unwrap();
    for scale in SCALES {
        let px = |logical: f64| geometry::physical(logical, scale);
        for color in LabelColor::NAMED {
            let label = label("w", color, Pattern::Solid, 0);
            let owner = guest(label.clone(), true, &[]);
            for sign in Sign::ALL {
                let line = Notice { signs: vec![sign], level: Some(0), text: "x".to_owned() };
                let bar = noticed(&mut ui, &owner, &line, px(400.0), scale);
                let what = format!("{sign:?} on {color:?} at {scale}");
                // Text 40, level 56, the sign with its gap 24, and 12 around all.
                let left = px(400.0) - px(12.0 + 40.0 + 56.0 + 24.0);
                let side = px(16.0);
                let ink = |x: u32, y: u32, w: u32, h: u32| marked(&bar, (x, y, w, h), label.rgb);
                let all = ink(left, px(6.0), side, side);
                assert!(all > (side * side / 8) as usize, "{what}: {all} pixels");
                assert_eq!(ink(left - px(12.0), 0, px(12.0) + side, bar.height), all, "{what}: cut, or out of place");
                let pixels = (left..left + side).flat_map(|x| (px(6.0)..px(22.0)).map(move |y| (x, y)));
                let pixels: Vec<_> = pixels.map(|(x, y)| bar.get(x, y).unwrap()).collect();
                let [ground, full] = [bgra(label.rgb), bgra(label.text_rgb)];
                let is_full = |pixel: &&[u8; 4]| (0..3).all(|i| pixel[i].abs_diff(full[i]) < 32);
                let sharp = pixels.iter().filter(is_full).count();
                // Where edges lie between pixels, nothing is of the full ink.
                assert!(sharp * 10 > all, "{what}: {sharp} of {all} pixels are sharp");
                let within = |i: usize, value: u8| (ground[i].min(full[i])..=ground[i].max(full[i])).contains(&value);
                let between = |pixel: &[u8; 4]| (0..3).all(|i| within(i, pixel[i]));
                assert!(pixels.iter().all(between), "{what}: a colour of its own");
            }
        }
    }
}

#[test]
fn a_level_is_as_full_as_it_is_and_moves_nothing_beside_it() {
    let mut ui = Ui::new().unwrap();
    let owner = guest(work(), true, &[Mark::Awake]);
    for scale in SCALES {
        let px = |logical: f64| geometry::physical(logical, scale);
        let right = px(600.0) - px(34.0);
        let from = right - px(12.0 + 40.0 + 56.0);
        let mut signs = Vec::new();
        for percents in [0, 5, 50, 100, 130] {
            let bar = noticed(&mut ui, &owner, &Notice::level(Sign::Brightness, percents), px(600.0), scale);
            for y in [px(12.0), px(16.0) - 1] {
                let row: Vec<_> = (from..from + px(48.0)).map(|x| bar.get(x, y).unwrap()).collect();
                let full = row.iter().filter(|pixel| **pixel == bgra(work().text_rgb)).count();
                let wanted = px(48.0) * percents.min(100) / 100;
                assert!(full.abs_diff(wanted as usize) <= 1, "{percents} % at {scale}: {full} of {wanted}");
                assert!(row.iter().all(|pixel| *pixel != bgra(work().rgb)), "its whole length is to be seen");
            }
            let outside = [px(12.0) - 1, px(16.0)].map(|y| marked(&bar, (from, y, px(48.0), 1), work().rgb));
            assert_eq!(outside, [0, 0], "{percents} % at {scale}");
            let sign = |x: u32| (0..bar.height).map(move |y| (x, y));
            signs.push((from - px(24.0)..from).flat_map(sign).map(|(x, y)| bar.get(x, y)).collect::<Vec<_>>());
        }
        assert!(signs.windows(2).all(|two| two[0] == two[1]), "at {scale}: the sign moves");
    }
}

#[test]
fn text_stands_in_the_middle_of_the_bar() {
    let mut ui = Ui::new().unwrap();
    for scale in SCALES {
        let rgb = work().rgb;
        // A capital has ink from baseline to cap height, nothing above or below.
        let bar = bar(&mut ui, &guest(label("HHHH", LabelColor::Red, Pattern::Solid, 0), true, &[]), 640, scale);
        let inked: Vec<u32> = (0..bar.height).filter(|y| marked(&bar, (0, *y, 640, 1), rgb) > 0).collect();
        let (first, last) = (*inked.first().unwrap(), *inked.last().unwrap());
        let (above, below) = (first, bar.height - 1 - last);
        assert!(above.abs_diff(below) <= 1, "at {scale}: {above} above, {below} below");
    }
}

#[test]
fn both_weights_are_in_the_built_in_font() {
    let strong = Ui::new().unwrap().flash(&work(), 1.0);
    assert!(marked(&strong, (24, 24, strong.width - 48, strong.height - 48), work().rgb) > 500);
    // The panel's label is semibold and its message regular; both must leave ink, and not the same shapes.
    let weight = |weight: i32| {
        let surface = Surface::new(FlashSurface::new, 1.0).unwrap();
        surface.component.set_label("weight".into());
        surface.component.set_weight(weight);
        surface.component.get_label_width()
    };
    assert!(weight(600) > weight(400) + 1.0, "semibold is wider than regular");
}

#[test]
fn a_long_label_is_cut_in_the_middle_and_stays_clear_of_the_marks() {
    let mut ui = Ui::new().unwrap();
    let long = label(&"abcdefghij".repeat(20), LabelColor::Blue, Pattern::Solid, 2);
    for scale in SCALES {
        let px = |logical: f64| geometry::physical(logical, scale);
        let bar = bar(&mut ui, &guest(long.clone(), true, &[Mark::Paused]), px(320.0), scale);
        let gap = (px(320.0) - px(34.0), 0, px(6.0), bar.height);
        assert_eq!(marked(&bar, gap, long.rgb), 0, "at {scale}: text runs into the marks");
        assert!(marked(&bar, (px(200.0), 0, px(60.0), bar.height), long.rgb) > 20, "at {scale}: room is left unused");
    }
}

#[test]
fn tp05_a_keyboard_stands_beside_the_label_of_the_guest_that_has_the_keys_and_of_no_other() {
    let mut ui = Ui::new().unwrap();
    for scale in SCALES {
        let px = |logical: f64| geometry::physical(logical, scale);
        // “work” ends before 76; the icon is 16 wide.
        let ink = |owner: &Owner, ui: &mut Ui| {
            let rgb = band::Look::of(owner).rgb;
            let bar = bar(ui, owner, px(640.0), scale);
            let beside = (px(80.0), px(6.0), px(60.0), px(16.0));
            marked(&bar, beside, rgb)
        };
        let drawn = ink(&guest(work(), true, &[]), &mut ui);
        assert!(drawn > 40, "at {scale}: {drawn}");
        for other in [guest(work(), false, &[]), Owner::Host, Owner::Nobody] {
            assert_eq!(ink(&other, &mut ui), 0, "at {scale}: {other:?}");
        }
    }
}

#[test]
fn the_hosts_bar_is_white_with_a_black_shield() {
    let bar = bar(&mut Ui::new().unwrap(), &Owner::Host, 400, 1.0);
    for (x, y) in [(0, 0), (399, 0), (0, 27), (399, 27), (200, 14)] {
        assert_eq!(bar.get(x, y), Some(bgra(colors::HOST)));
    }
    assert_eq!(bar.get(9, 14), Some(bgra(colors::HOST_TEXT)), "the shield");
    assert!(marked(&bar, (40, 0, 40, 28), colors::HOST) > 60, "the word");
}

#[test]
fn opaque_surfaces_are_opaque_and_overlays_have_round_corners() {
    let mut ui = Ui::new().unwrap();
    let opaque = |pixels: &Pixels| pixels.data.as_chunks::<4>().0.iter().all(|pixel| pixel[3] == 0xff);
    assert!(opaque(&bar(&mut ui, &guest(work(), false, &[Mark::Paused]), 300, 1.5)));
    assert!(opaque(&ui.message(&crashed(), 800, 600, 1.0)));
    assert!(opaque(&panel(&mut ui, &panel_view(Some("Force work off? It ends.")), 1272, 768, 1.0)));
    for overlay in [ui.flash(&work(), 1.0), overlay(&mut ui, switcher(0), 1200, 1.0)] {
        assert_eq!(overlay.get(0, 0), Some([0, 0, 0, 0]), "a corner");
        assert_eq!(overlay.get(overlay.width / 2, overlay.height / 2 - 40).unwrap()[3], 0xff, "its inside");
        let premultiplied = |p: &[u8; 4]| p[0] <= p[3] && p[1] <= p[3] && p[2] <= p[3];
        assert!(overlay.data.as_chunks::<4>().0.iter().all(premultiplied));
    }
}

#[test]
fn what_has_not_changed_is_not_drawn_again() {
    let mut ui = Ui::new().unwrap();
    let owner = guest(work(), true, &[]);
    let first = ui.band(&owner, 640, 480, 1.0);
    ui.band(&Owner::Host, 640, 480, 1.0);
    assert!(Rc::ptr_eq(&first, &ui.band(&owner, 640, 480, 1.0)));
    let unfocused = ui.band(&guest(work(), false, &[]), 640, 480, 1.0);
    assert_ne!(first[0].pixels.generation(), unfocused[0].pixels.generation());

    let view = panel_view(None);
    let picture = panel(&mut ui, &view, 640, 480, 1.0);
    assert!(Rc::ptr_eq(&picture, &panel(&mut ui, &view, 640, 480, 1.0)));
    for _ in 0..100 {
        ui.band(&owner, 640, 480, 1.0);
    }
    assert_eq!(Rc::strong_count(&picture), 1, "a panel that is shown no longer takes no memory");
}

#[test]
fn the_panel_shows_the_selected_row_wherever_it_is() {
    let mut ui = Ui::new().unwrap();
    let row = |i: usize| PanelRow {
        name: GuestName::new(&format!("guest-{i}")).unwrap(),
        label: label(&format!("guest-{i}"), LabelColor::Gray, Pattern::Solid, 0),
        state: "stopped".to_owned(),
        tone: StateTone::Quiet,
        message: String::new(),
        quote: String::new(),
    };
    let mut view = PanelView { rows: (0..60).map(row).collect(), ..PanelView::default() };
    let ring = Rgb(0x9e, 0xcb, 0xff);
    for selected in [0, 1, 30, 59] {
        view.selected = selected;
        let picture = panel(&mut ui, &view, 1272, 768, 1.0);
        let ringed = picture.data.as_chunks::<4>().0.iter().filter(|pixel| **pixel == bgra(ring)).count();
        assert!(ringed > 1000, "no ring around row {selected}");
    }
}

#[test]
fn hostile_sizes_and_texts_draw_something_or_nothing_but_never_fail() {
    let mut ui = Ui::new().unwrap();
    let text = format!("a\u{202e}b\n{}\u{0}🦀汉字", "m".repeat(100_000));
    let label = label(&text, LabelColor::Custom(Rgb(1, 2, 3)), Pattern::Dots, 9);
    let owner = guest(label.clone(), true, &[Mark::Paused; 40]);
    let message = Message { icon: Icon::Empty, sentence: text.clone(), quote: text.clone(), help: text.clone() };
    for (w, h, scale) in [
        (0, 0, 1.0),
        (1, 1, 3.0),
        (7, 900, 0.5),
        (900, 7, 1.25),
        (40_000, 20, 1.0),
        (300, 300, 0.0),
        (300, 300, f64::NAN),
    ] {
        assert_eq!(bar(&mut ui, &owner, w, scale).width, w);
        let picture = ui.message(&message, w, h, scale);
        assert!(picture.width <= w && picture.height <= h);
        assert!(overlay(&mut ui, SwitcherView { entries: Vec::new(), selected: 5 }, w, scale).width <= w);
        assert!(overlay(&mut ui, switcher(usize::MAX), w, scale).width <= w);
        let picture = panel(&mut ui, &panel_view(Some(&text)), w, h, scale);
        assert_eq!((picture.width, picture.height), (w, h));
        ui.flash(&label, scale);
    }
}

#[test]
fn a_picture_that_is_drawn_leaves_no_timer_behind() {
    let mut ui = Ui::new().unwrap();
    ui.flash(&work(), 1.0);
    bar(&mut ui, &guest(work(), true, &[]), 800, 1.0);
    assert_eq!(slint::platform::duration_until_next_timer_update(), None);
}
