//! Commands that are not done at once: what each waits for, what has failed, and whom to tell. Pure.

use crate::guests::Awaited;

/// What becomes of a command whose parts are done or whose time is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Done, or refused with the first failure; refused when its time is over.
    Plain,
    /// Done, or refused with the first failure; done when its time is over, since it goes on.
    GoesOn,
    /// The shell's status, whatever has failed.
    Status,
}

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Done,
    /// Refused, with one sentence.
    Refused(String),
    /// The status as it is now.
    Status,
}

#[derive(Debug)]
struct Wait {
    id: u64,
    client: u64,
    kind: Kind,
    parts: Vec<Awaited>,
    failures: Vec<String>,
}

impl Wait {
    fn verdict(&self, in_time: bool) -> Verdict {
        match (self.kind, self.failures.first()) {
            (Kind::Status, _) => Verdict::Status,
            (_, Some(failure)) if self.failures.len() > 1 => {
                Verdict::Refused(format!("{failure} (and {} more)", self.failures.len() - 1))
            }
            (_, Some(failure)) => Verdict::Refused(failure.clone()),
            (Kind::Plain, None) if !in_time => {
                Verdict::Refused("the guest did not answer in time; phyllome kill ends it at once".to_owned())
            }
            (Kind::Plain | Kind::GoesOn, None) => Verdict::Done,
        }
    }
}

/// All commands that wait.
#[derive(Debug, Default)]
pub struct Waits {
    waits: Vec<Wait>,
    last_id: u64,
}

impl Waits {
    /// Adds a command of `client`; the id by which [`Waits::time_is_over`] knows it.
    pub fn add(&mut self, client: u64, kind: Kind, parts: Vec<Awaited>, failures: Vec<String>) -> u64 {
        self.last_id += 1;
        self.waits.push(Wait { id: self.last_id, client, kind, parts, failures });
        self.last_id
    }

    /// A part is done. Whether anybody waited for it, and the clients that are to be answered now.
    pub fn settle(&mut self, part: &Awaited, result: &Result<(), String>) -> (bool, Vec<(u64, Verdict)>) {
        let mut waited_for = false;
        for wait in &mut self.waits {
            let before = wait.parts.len();
            wait.parts.retain(|other| other != part);
            if wait.parts.len() < before {
                waited_for = true;
                wait.failures.extend(result.clone().err());
            }
        }
        (waited_for, self.take_done())
    }

    /// Commands without any part left, for instance because there was nothing to wait for.
    pub fn take_done(&mut self) -> Vec<(u64, Verdict)> {
        let done = self.waits.extract_if(.., |wait| wait.parts.is_empty());
        done.map(|wait| (wait.client, wait.verdict(true))).collect()
    }

    /// The command's time is over, if it still waits.
    pub fn time_is_over(&mut self, id: u64) -> Option<(u64, Verdict)> {
        let at = self.waits.iter().position(|wait| wait.id == id)?;
        let wait = self.waits.remove(at);
        Some((wait.client, wait.verdict(false)))
    }

    /// Whether the command still waits.
    pub fn has(&self, id: u64) -> bool {
        self.waits.iter().any(|wait| wait.id == id)
    }

    /// The client is gone.
    pub fn forget(&mut self, client: u64) {
        self.waits.retain(|wait| wait.client != client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use phyllome_protocol::GuestName;

    #[test]
    fn a_command_is_answered_when_its_last_part_is_done() {
        let mut waits = Waits::default();
        waits.add(1, Kind::Plain, vec![Awaited::Answer(7), Awaited::Answer(8)], vec![]);
        assert_eq!(waits.settle(&Awaited::Answer(7), &Ok(())), (true, vec![]));
        assert_eq!(waits.settle(&Awaited::Answer(9), &Ok(())), (false, vec![]));
        assert_eq!(waits.settle(&Awaited::Answer(8), &Ok(())), (true, vec![(1, Verdict::Done)]));
    }

    #[test]
    fn one_failure_refuses_the_whole_but_waits_for_the_rest() {
        let mut waits = Waits::default();
        waits.add(1, Kind::Plain, vec![Awaited::Answer(7), Awaited::Answer(8)], vec!["a".into()]);
        assert_eq!(waits.settle(&Awaited::Answer(7), &Err("b".into())).1, []);
        assert_eq!(waits.settle(&Awaited::Answer(8), &Ok(())).1, [(1, Verdict::Refused("a (and 1 more)".into()))]);
    }

    #[test]
    fn time_ends_every_wait_in_its_own_way() {
        let name = GuestName::new("work").unwrap();
        for (kind, refused) in [(Kind::Plain, true), (Kind::GoesOn, false), (Kind::Status, false)] {
            let mut waits = Waits::default();
            let id = waits.add(1, kind, vec![Awaited::Ended(name.clone())], vec![]);
            assert!(waits.has(id));
            let (_, verdict) = waits.time_is_over(id).unwrap();
            assert_eq!(matches!(verdict, Verdict::Refused(_)), refused);
            assert!(!waits.has(id));
            assert_eq!(waits.time_is_over(id), None);
        }
    }

    #[test]
    fn a_client_that_has_left_is_not_answered() {
        let mut waits = Waits::default();
        waits.add(1, Kind::Plain, vec![Awaited::Typed], vec![]);
        waits.forget(1);
        assert_eq!(waits.settle(&Awaited::Typed, &Ok(())), (false, vec![]));
    }
}
