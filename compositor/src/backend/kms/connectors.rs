//! Which connector is driven by which CRTC, and what changed between two looks at the connectors. Pure.
//!
//! A GPU has fewer CRTCs than connectors, and not every CRTC reaches every connector. What runs keeps its CRTC, so that plugging one
//! display in never makes another flicker; as many of the others as possible get one, by augmenting paths.

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

/// Finds connector `index` a CRTC, moving others that are not fixed out of its way. `visited`: CRTCs that were tried; every one is tried
/// once, which bounds the search.
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

/// What changed between two looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes<C> {
    /// Not there before, in the order of the second look.
    pub appeared: Vec<C>,
    /// There no more, in the order of the first look.
    pub gone: Vec<C>,
    /// There both times, with something else to say: another display, other modes.
    pub changed: Vec<C>,
}

impl<C> Changes<C> {
    /// Nothing changed.
    pub fn is_empty(&self) -> bool {
        self.appeared.is_empty() && self.gone.is_empty() && self.changed.is_empty()
    }
}

/// Compares two looks at what is connected: handles, each with all that is worth a change (EDID, modes).
pub fn diff<C: Copy + Eq, V: PartialEq>(before: &[(C, V)], after: &[(C, V)]) -> Changes<C> {
    let find = |all: &[(C, V)], id: C| all.iter().position(|(other, _)| *other == id);
    let mut changes = Changes { appeared: Vec::new(), gone: Vec::new(), changed: Vec::new() };
    for (id, value) in after {
        match find(before, *id).and_then(|at| before.get(at)) {
            None => changes.appeared.push(*id),
            Some((_, former)) if former != value => changes.changed.push(*id),
            Some(_) => {}
        }
    }
    changes.gone = before.iter().map(|(id, _)| *id).filter(|id| find(after, *id).is_none()).collect();
    changes
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
    fn two_looks_differ_by_what_came_went_and_changed() {
        let changes = diff(&[(1, "a"), (2, "b"), (3, "c")], &[(4, "d"), (3, "c"), (2, "x")]);
        assert_eq!(changes, Changes { appeared: vec![4], gone: vec![1], changed: vec![2] });
        assert!(diff(&[(1, "a")], &[(1, "a")]).is_empty());
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

        #[test]
        fn a_look_is_the_former_with_its_changes(
            before in proptest::collection::btree_map(0u32..8, 0u32..3, 0..8),
            after in proptest::collection::btree_map(0u32..8, 0u32..3, 0..8),
        ) {
            let (one, two): (Vec<_>, Vec<_>) = (before.clone().into_iter().collect(), after.clone().into_iter().collect());
            let changes = diff(&one, &two);
            for id in 0u32..8 {
                prop_assert_eq!(changes.appeared.contains(&id), !before.contains_key(&id) && after.contains_key(&id));
                prop_assert_eq!(changes.gone.contains(&id), before.contains_key(&id) && !after.contains_key(&id));
                let both = before.get(&id).zip(after.get(&id));
                prop_assert_eq!(changes.changed.contains(&id), both.is_some_and(|(a, b)| a != b));
            }
        }
    }
}
