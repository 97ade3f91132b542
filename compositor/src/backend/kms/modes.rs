//! Which of a display's modes is used: the one that the person asked for, else the one that the display prefers, else
//! the largest.
//!
//! Pure. The list comes from the kernel, which has it from the display: it may be empty, absurd, or without the mode
//! that was asked for; then there is one sentence that says so.

use phyllome_config::shell::ModeRequest;

/// Widest and highest mode that is used, in pixels.
const MAX_SIDE: u32 = 16_384;
/// How far a refresh rate may be from the one that was asked for, in millihertz: displays that offer 59.94 are asked
/// for 60.
const TOLERANCE_MHZ: u32 = 1_000;
/// Most modes that a sentence names.
const MAX_NAMED: usize = 6;

/// One mode of a display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeInfo {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Millihertz.
    pub refresh_mhz: u32,
    /// The display says that it prefers this one.
    pub preferred: bool,
    /// Every other row at a time.
    pub interlaced: bool,
    /// Its place in the kernel's list.
    pub index: usize,
}

/// The mode to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// [`ModeInfo::index`].
    pub index: usize,
    /// Why it is not the one that was asked for, in a sentence that names the connector.
    pub why_not_asked: Option<String>,
}

/// The mode to use on `connector`; `None` if it has none that can be.
pub fn choose(connector: &str, modes: &[ModeInfo], asked: Option<&ModeRequest>) -> Option<Chosen> {
    let usable = usable(modes);
    if let Some(index) = asked.and_then(|asked| as_asked(&usable, asked)) {
        return Some(Chosen { index, why_not_asked: None });
    }
    let preferred = usable.iter().find(|mode| mode.preferred);
    // The first of equals, as the kernel sorts them.
    let largest = || usable.iter().rev().max_by_key(|mode| (area(mode), mode.refresh_mhz));
    let chosen = preferred.or_else(largest)?;
    let why_not_asked = asked.map(|asked| {
        let (asked, used, offered) = (request(asked), name(chosen), offered(&usable));
        format!("{connector} has no mode {asked}; {used} is used; it offers {offered}")
    });
    Some(Chosen { index: chosen.index, why_not_asked })
}

/// Modes of sane size; interlaced ones only if there are no others.
fn usable(modes: &[ModeInfo]) -> Vec<ModeInfo> {
    let side = 1..=MAX_SIDE;
    let mut usable: Vec<_> =
        modes.iter().filter(|mode| side.contains(&mode.width) && side.contains(&mode.height)).copied().collect();
    if usable.iter().any(|mode| !mode.interlaced) {
        usable.retain(|mode| !mode.interlaced);
    }
    usable
}

/// Of the modes of the size asked for, the one whose rate is nearest, or the fastest if no rate was asked for.
fn as_asked(usable: &[ModeInfo], asked: &ModeRequest) -> Option<usize> {
    let of_size = usable.iter().filter(|mode| (mode.width, mode.height) == (asked.width, asked.height));
    let mode = match asked.refresh_mhz {
        Some(refresh) => of_size
            .filter(|mode| mode.refresh_mhz.abs_diff(refresh) <= TOLERANCE_MHZ)
            .min_by_key(|mode| mode.refresh_mhz.abs_diff(refresh)),
        None => of_size.rev().max_by_key(|mode| mode.refresh_mhz),
    };
    mode.map(|mode| mode.index)
}

fn area(mode: &ModeInfo) -> u64 {
    u64::from(mode.width) * u64::from(mode.height)
}

/// A few modes, largest first, each once.
fn offered(usable: &[ModeInfo]) -> String {
    let mut sorted = usable.to_vec();
    sorted.sort_by_key(|mode| std::cmp::Reverse((area(mode), mode.width, mode.refresh_mhz)));
    let mut names: Vec<_> = sorted.iter().map(name).collect();
    names.dedup();
    let more = names.len().saturating_sub(MAX_NAMED);
    names.truncate(MAX_NAMED);
    let list = names.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

fn name(mode: &ModeInfo) -> String {
    format!("{}x{}@{}", mode.width, mode.height, hertz(mode.refresh_mhz))
}

fn request(asked: &ModeRequest) -> String {
    let size = format!("{}x{}", asked.width, asked.height);
    asked.refresh_mhz.map_or(size.clone(), |refresh| format!("{size}@{}", hertz(refresh)))
}

/// `60`, `59.94`: as shell.toml has it.
fn hertz(millihertz: u32) -> String {
    let text = format!("{}.{:03}", millihertz / 1000, millihertz % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mode(index: usize, width: u32, height: u32, refresh_mhz: u32) -> ModeInfo {
        ModeInfo { width, height, refresh_mhz, preferred: false, interlaced: false, index }
    }

    fn ask(width: u32, height: u32, refresh_mhz: Option<u32>) -> ModeRequest {
        ModeRequest { width, height, refresh_mhz }
    }

    fn monitor() -> Vec<ModeInfo> {
        vec![
            mode(0, 2560, 1440, 59_951),
            ModeInfo { preferred: true, ..mode(1, 1920, 1080, 60_000) },
            mode(2, 1920, 1080, 59_940),
            mode(3, 1920, 1080, 74_973),
            ModeInfo { interlaced: true, ..mode(4, 1920, 1080, 120_000) },
            mode(5, 640, 480, 59_940),
        ]
    }

    #[test]
    fn without_a_wish_the_displays_own_is_used() {
        assert_eq!(choose("DP-1", &monitor(), None), Some(Chosen { index: 1, why_not_asked: None }));
    }

    #[test]
    fn the_asked_mode_is_used_at_the_nearest_rate() {
        let rows = [
            (ask(1920, 1080, Some(60_000)), 1),
            (ask(1920, 1080, Some(59_940)), 2),
            (ask(1920, 1080, Some(75_000)), 3),
            (ask(1920, 1080, None), 3),
            (ask(640, 480, Some(60_000)), 5),
        ];
        for (asked, index) in rows {
            let chosen = choose("DP-1", &monitor(), Some(&asked));
            assert_eq!(chosen, Some(Chosen { index, why_not_asked: None }), "{asked:?}");
        }
    }

    #[test]
    fn an_impossible_wish_is_said_and_the_displays_own_mode_used() {
        let chosen = choose("HDMI-A-1", &monitor(), Some(&ask(9999, 9999, Some(60_000)))).unwrap();
        assert_eq!(chosen.index, 1);
        assert_eq!(
            chosen.why_not_asked.unwrap(),
            "HDMI-A-1 has no mode 9999x9999@60; 1920x1080@60 is used; it offers 2560x1440@59.951, 1920x1080@74.973, \
             1920x1080@60, 1920x1080@59.94, 640x480@59.94"
        );
        let chosen = choose("HDMI-A-1", &monitor(), Some(&ask(640, 480, Some(75_000)))).unwrap();
        assert!(chosen.why_not_asked.unwrap().starts_with("HDMI-A-1 has no mode 640x480@75; 1920x1080@60 is used"));
    }

    #[test]
    fn a_sentence_names_only_a_few_of_many_modes() {
        let many: Vec<_> = (0..200).map(|n| mode(n, 640 + n as u32, 480, 60_000)).collect();
        let why = choose("DP-1", &many, Some(&ask(1, 1, None))).unwrap().why_not_asked.unwrap();
        assert!(why.ends_with("and 194 more"), "{why}");
        assert!(why.len() < 200, "{why}");
    }

    #[test]
    fn a_display_that_prefers_none_gets_its_largest_at_the_highest_rate() {
        let modes = [mode(0, 800, 600, 60_000), mode(1, 1024, 768, 60_000), mode(2, 1024, 768, 75_000)];
        assert_eq!(choose("VGA-1", &modes, None).unwrap().index, 2);
    }

    #[test]
    fn interlaced_only_where_there_is_nothing_else() {
        let wish = ask(1920, 1080, Some(60_000));
        let interlaced = ModeInfo { interlaced: true, preferred: true, ..mode(0, 1920, 1080, 60_000) };
        let progressive = mode(1, 720, 576, 50_000);
        assert_eq!(choose("TV", &[interlaced, progressive], Some(&wish)).unwrap().index, 1);
        assert_eq!(choose("TV", &[interlaced], Some(&wish)).unwrap(), Chosen { index: 0, why_not_asked: None });
    }

    #[test]
    fn absurd_modes_are_as_if_they_were_not_there() {
        let absurd = [mode(0, 0, 600, 1), mode(1, 20_000, 600, 1), mode(2, 600, u32::MAX, u32::MAX)];
        assert_eq!(choose("DP-1", &absurd, Some(&ask(0, 600, None))), None);
        assert_eq!(choose("DP-1", &[], None), None);
    }

    fn any_mode() -> impl Strategy<Value = ModeInfo> {
        let side = || prop_oneof![0u32..5, 1u32..20_000, Just(1080u32), Just(1920u32), any::<u32>()];
        let rest = (prop_oneof![59_000u32..61_000, any::<u32>()], any::<bool>(), any::<bool>());
        (side(), side(), rest).prop_map(|(width, height, (refresh_mhz, preferred, interlaced))| ModeInfo {
            width,
            height,
            refresh_mhz,
            preferred,
            interlaced,
            index: 0,
        })
    }

    proptest! {
        #[test]
        fn what_is_chosen_is_sane_and_there_or_there_is_a_reason(
            mut modes in proptest::collection::vec(any_mode(), 0..12),
            asked in proptest::option::of((0u32..20_000, 0u32..20_000, proptest::option::of(any::<u32>()))),
        ) {
            for (index, mode) in modes.iter_mut().enumerate() {
                mode.index = index;
            }
            let asked = asked.map(|(width, height, refresh)| ask(width, height, refresh));
            let sane = |mode: &ModeInfo| (1..=MAX_SIDE).contains(&mode.width) && (1..=MAX_SIDE).contains(&mode.height);
            let chosen = choose("DP-1", &modes, asked.as_ref());
            prop_assert_eq!(chosen.is_some(), modes.iter().any(sane));
            if let Some(chosen) = chosen {
                let mode = modes[chosen.index];
                prop_assert!(sane(&mode));
                prop_assert!(!mode.interlaced || modes.iter().filter(|m| sane(m)).all(|m| m.interlaced));
                match (asked, chosen.why_not_asked) {
                    (Some(asked), None) => prop_assert_eq!((mode.width, mode.height), (asked.width, asked.height)),
                    (None, Some(_)) => prop_assert!(false, "a reason for no wish"),
                    (_, why) => prop_assert!(why.is_none_or(|why| why.len() < 400)),
                }
            }
        }
    }
}
