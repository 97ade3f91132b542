//! Installs the filters of system calls that [`policy`](super::policy) describes.
//!
//! Filters add up: the kernel takes the strictest answer, and of equally strict ones the latest filter's. The first
//! stage is two filters for the calling thread, from which later threads inherit; the second is one more for all
//! threads at once.

use super::policy::{self, ABSENT, Late, Needs, Rule, When};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

const EPERM: SeccompAction = SeccompAction::Errno(libc::EPERM as u32);
const ENOSYS: SeccompAction = SeccompAction::Errno(libc::ENOSYS as u32);

/// A filter cannot be made or the kernel does not take it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Failed(String);

impl From<seccompiler::BackendError> for Failed {
    fn from(error: seccompiler::BackendError) -> Self {
        Self(error.to_string())
    }
}

impl From<seccompiler::Error> for Failed {
    fn from(error: seccompiler::Error) -> Self {
        Self(error.to_string())
    }
}

/// The first stage, for the calling thread and those that it starts. `no_new_privs` is set.
pub fn early(needs: Needs) -> Result<(), Failed> {
    let absent = ABSENT.iter().map(|&call| (call, vec![])).collect();
    let refused = compile(policy::refused(needs), SeccompAction::Allow, EPERM)?;
    let absent = compile(absent, SeccompAction::Allow, ENOSYS)?;
    seccompiler::apply_filter(&refused)?;
    Ok(seccompiler::apply_filter(&absent)?)
}

/// The second stage, for every thread of the process. Nothing more can be installed after it.
pub fn late(late: Late) -> Result<(), Failed> {
    let allowed = compile(policy::allowed(late), EPERM, SeccompAction::Allow)?;
    Ok(seccompiler::apply_filter_all_threads(&allowed)?)
}

/// `matching` for what `rules` name, `otherwise` for the rest; the end for calls by the conventions of another
/// processor.
fn compile(rules: Vec<Rule>, otherwise: SeccompAction, matching: SeccompAction) -> Result<BpfProgram, Failed> {
    let mut table: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, alternatives) in rules {
        let chain = alternatives.iter().map(|all| rule(all)).collect::<Result<Vec<_>, _>>()?;
        table.entry(call).or_default().extend(chain);
    }
    let here: TargetArch = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(table, otherwise, matching, here)?.try_into()?)
}

fn rule(all: &[When]) -> Result<SeccompRule, seccompiler::BackendError> {
    let condition = |when: &When| match *when {
        When::Masked(index, mask, value) => SeccompCondition::new(
            index,
            SeccompCmpArgLen::Dword,
            SeccompCmpOp::MaskedEq(u64::from(mask)),
            u64::from(value),
        ),
        When::Zero(index) => SeccompCondition::new(index, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0),
        When::Some(index) => SeccompCondition::new(index, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, 0),
    };
    SeccompRule::new(all.iter().map(condition).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_compiles_and_is_of_a_size_that_the_kernel_takes() {
        for (venus, native, confined) in [(false, false, true), (true, true, true), (false, false, false)] {
            let needs = Needs { venus, native };
            let refused = compile(policy::refused(needs), SeccompAction::Allow, EPERM).unwrap();
            let late = Late { needs, confined, pid: 42 };
            let allowed = compile(policy::allowed(late), EPERM, SeccompAction::Allow).unwrap();
            assert!((100..4096).contains(&refused.len()) && (100..4096).contains(&allowed.len()));
        }
    }
}
