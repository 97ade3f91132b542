//! Which connector is driven by which CRTC, and how much has to change for one that is lit already. Pure.
//!
//! A GPU has fewer CRTCs than connectors, and not every CRTC reaches every connector. What runs keeps its CRTC, so that
//! plugging one display in never makes another flicker; as many of the others as possible get one, by augmenting paths.

/// A connected connector. `C` and `K` stand for the kernel's handles of connectors and CRTCs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected<C, K> {
    /// Which.
    pub id: C,
    /// Its name, for sentences.
    pub name: String,
    /// The CRTCs that can drive it, the most wanted first.
    pub crtcs: Vec<K>,
    /// The CRTC that drives it now, if it is shown already.
    pub running: Option<K>,
}

/// Which connector is driven by which CRTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment<C, K> {
    /// In the order of the connectors.
    pub pairs: Vec<(C, K)>,
    /// Connectors that are not driven, each with a sentence that says why.
    pub left_out: Vec<(C, String)>,
}

/// Gives every connector that it can a CRTC of its own. Running pairs stay; earlier connectors go before later ones.
pub fn assign<C: Copy, K: Copy + Eq>(connected: &[Connected<C, K>]) -> Assignment<C, K> {
    let mut taken: Vec<Option<K>> = Vec::with_capacity(connected.len());
    for connector in connected {
        let running = connector.running.filter(|crtc| connector.crtcs.contains(crtc));
        taken.push(running.filter(|crtc| !taken.contains(&Some(*crtc))));
    }
    let fixed: Vec<bool> = taken.iter().map(Option::is_some).collect();
    for index in 0..connected.len() {
        if taken.get(index).is_some_and(Option::is_none) {
            augment(connected, &fixed, &mut taken, &mut Vec::new(), index);
        }
    }
    let mut assignment = Assignment { pairs: Vec::new(), left_out: Vec::new() };
    for (connector, crtc) in connected.iter().zip(taken) {
        match crtc {
            Some(crtc) => assignment.pairs.push((connector.id, crtc)),
            None if connector.crtcs.is_empty() => {
                let why =
                    format!("{} stays dark: nothing in this GPU can drive it; use another socket", connector.name);
                assignment.left_out.push((connector.id, why));
            }
            None => {
                let why = format!(
                    "{} stays dark: the GPU drives no more displays at once; unplug another, or set enabled = false under \
                     its [output.…]",
                    connector.name
                );
                assignment.left_out.push((connector.id, why));
            }
        }
    }
    assignment
}

/// Finds connector `index` a CRTC, moving others that are not fixed out of its way. `visited`: CRTCs that were tried;
/// every one is tried once, which bounds the search.
fn augment<C, K: Copy + Eq>(
    connected: &[Connected<C, K>],
    fixed: &[bool],
    taken: &mut [Option<K>],
    visited: &mut Vec<K>,
    index: usize,
) -> bool {
    let Some(connector) = connected.get(index) else { return false };
    let free = connector.crtcs.iter().find(|crtc| !taken.contains(&Some(**crtc)));
    if let (Some(crtc), Some(place)) = (free, taken.get_mut(index)) {
        *place = Some(*crtc);
        return true;
    }
    for crtc in &connector.crtcs {
        if visited.contains(crtc) {
            continue;
        }
        visited.push(*crtc);
        let Some(holder) = taken.iter().position(|held| *held == Some(*crtc)) else { continue };
        let stays = fixed.get(holder).copied().unwrap_or(true);
        if !stays
            && augment(connected, fixed, taken, visited, holder)
            && let Some(place) = taken.get_mut(index)
        {
            *place = Some(*crtc);
            return true;
        }
    }
    false
}

/// What it takes to light something that is lit already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it is lit so.
    Stay,
    /// Its picture is turned otherwise, in the same mode.
    Turn,
    /// Another mode.
    Mode,
    /// It is lit as if it came just now: another connector has its name, or another CRTC feeds it.
    Anew,
}

/// Compares how something is lit with how it is to be: connector and CRTC, mode, rotation.
pub fn step<P: PartialEq, M: PartialEq, T: PartialEq>(is: (P, M, T), wanted: (P, M, T)) -> Step {
    match (is.0 == wanted.0, is.1 == wanted.1, is.2 == wanted.2) {
        (false, _, _) => Step::Anew,
        (true, false, _) => Step::Mode,
        (true, true, false) => Step::Turn,
        (true, true, true) => Step::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn connector(id: u32, crtcs: &[u32], running: Option<u32>) -> Connected<u32, u32> {
        Connected { id, name: format!("DP-{id}"), crtcs: crtcs.to_vec(), running }
    }

    #[test]
    fn every_connector_gets_the_crtc_that_it_wants_most() {
        let assignment = assign(&[connector(1, &[10, 11], None), connector(2, &[10, 11], None)]);
        assert_eq!(assignment.pairs, [(1, 10), (2, 11)]);
        assert_eq!(assignment.left_out, []);
    }

    #[test]
    fn a_choosy_connector_gets_the_one_crtc_that_reaches_it() {
        let assignment = assign(&[connector(1, &[10, 11], None), connector(2, &[10], None)]);
        assert_eq!(assignment.pairs, [(1, 11), (2, 10)]);
        let chain = [connector(1, &[10, 11], None), connector(2, &[10, 12], None), connector(3, &[10], None)];
        assert_eq!(assign(&chain).pairs, [(1, 11), (2, 12), (3, 10)]);
    }

    #[test]
    fn what_runs_stays_even_if_another_goes_dark() {
        let assignment = assign(&[connector(1, &[10], None), connector(2, &[10, 11], Some(10))]);
        assert_eq!(assignment.pairs, [(2, 10)]);
        assert_eq!(assignment.left_out.len(), 1);
        assert!(assignment.left_out[0].1.starts_with("DP-1 stays dark: the GPU drives no more displays at once"));
    }

    #[test]
    fn a_running_pair_that_cannot_be_is_given_another() {
        assert_eq!(assign(&[connector(1, &[10], Some(99))]).pairs, [(1, 10)]);
        let twice = [connector(1, &[10], Some(10)), connector(2, &[10, 11], Some(10))];
        assert_eq!(assign(&twice).pairs, [(1, 10), (2, 11)]);
    }

    #[test]
    fn a_connector_that_nothing_drives_is_named() {
        let assignment = assign(&[connector(1, &[], None)]);
        assert_eq!(assignment.pairs, []);
        assert!(assignment.left_out[0].1.starts_with("DP-1 stays dark: nothing in this GPU"));
    }

    #[test]
    fn a_display_that_returns_under_its_name_is_lit_anew() {
        let lit = ((70, 10), "1920x1080", 0);
        for (wanted, how) in [
            (lit, Step::Stay),
            (((70, 10), "1920x1080", 90), Step::Turn),
            (((70, 10), "800x600", 0), Step::Mode),
            (((70, 10), "800x600", 90), Step::Mode),
            (((71, 10), "1920x1080", 0), Step::Anew),
            (((70, 11), "1920x1080", 0), Step::Anew),
            (((71, 11), "800x600", 90), Step::Anew),
        ] {
            assert_eq!(step(lit, wanted), how, "{wanted:?}");
        }
    }

    /// The most connectors that any choice can drive, by trying all.
    fn best(connected: &[Connected<u32, u32>], used: u32) -> usize {
        let Some((first, rest)) = connected.split_first() else { return 0 };
        let without = best(rest, used);
        let with =
            first.crtcs.iter().filter(|crtc| used & (1 << **crtc) == 0).map(|crtc| 1 + best(rest, used | 1 << crtc));
        with.max().map_or(without, |with| with.max(without))
    }

    proptest! {
        #[test]
        fn no_crtc_twice_running_stay_and_none_is_dark_without_need(
            rows in proptest::collection::vec((proptest::collection::vec(0u32..4, 0..4), proptest::option::of(0u32..5)), 0..6),
        ) {
            let connected: Vec<_> =
                rows.iter().enumerate().map(|(id, (crtcs, running))| connector(id as u32, crtcs, *running)).collect();
            let assignment = assign(&connected);
            let mut crtcs: Vec<_> = assignment.pairs.iter().map(|(_, crtc)| *crtc).collect();
            crtcs.sort_unstable();
            crtcs.dedup();
            prop_assert_eq!(crtcs.len(), assignment.pairs.len());
            prop_assert_eq!(assignment.pairs.len() + assignment.left_out.len(), connected.len());
            for (id, crtc) in &assignment.pairs {
                prop_assert!(connected[*id as usize].crtcs.contains(crtc));
            }
            let mut running: Vec<(u32, u32)> = Vec::new();
            for c in &connected {
                if let Some(crtc) = c.running && c.crtcs.contains(&crtc) && running.iter().all(|(_, other)| *other != crtc) {
                    running.push((c.id, crtc));
                }
            }
            let used = running.iter().fold(0, |used, (_, crtc)| used | 1 << crtc);
            for pair in &running {
                prop_assert!(assignment.pairs.contains(pair));
            }
            let free: Vec<_> =
                connected.iter().filter(|c| running.iter().all(|(id, _)| *id != c.id)).cloned().collect();
            prop_assert_eq!(assignment.pairs.len(), running.len() + best(&free, used));
        }
    }
}
