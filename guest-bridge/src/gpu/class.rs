//! What guests and frontends do wrong, by class: counted for `status`, logged now and then.
//!
//! Bounded: a fixed number of classes, and a log line only for the first and at powers of ten.

use crate::seldom::seldom;
use std::collections::BTreeMap;

/// A class of bad input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are explained in `name`")]
pub enum Class {
    ShortRequest,
    UnknownCommand,
    NotNegotiated,
    WrongQueue,
    BackingEntries,
    BackingAddress,
    BackingTwice,
    BackingMissing,
    BackingShort,
    ResourceId,
    ResourceExists,
    ResourceSize,
    Format,
    ScanoutId,
    ScanoutRectangle,
    FlushRectangle,
    BlobSize,
    BlobKind,
    BlobImage,
    Window,
    TransferBox,
    CursorSize,
    Quota,
    ContextId,
    Capset,
    Commands,
    SubmitRate,
    Lost,
    Renderer,
    HostMemory,
    DescriptorChain,
    RequestAddress,
    ResponseSpace,
    AvailableRing,
    UsedRing,
    MemoryFile,
    Frontend,
}

const COUNT: usize = Class::Frontend as usize + 1;

impl Class {
    const ALL: [Self; COUNT] = [
        Self::ShortRequest,
        Self::UnknownCommand,
        Self::NotNegotiated,
        Self::WrongQueue,
        Self::BackingEntries,
        Self::BackingAddress,
        Self::BackingTwice,
        Self::BackingMissing,
        Self::BackingShort,
        Self::ResourceId,
        Self::ResourceExists,
        Self::ResourceSize,
        Self::Format,
        Self::ScanoutId,
        Self::ScanoutRectangle,
        Self::FlushRectangle,
        Self::BlobSize,
        Self::BlobKind,
        Self::BlobImage,
        Self::Window,
        Self::TransferBox,
        Self::CursorSize,
        Self::Quota,
        Self::ContextId,
        Self::Capset,
        Self::Commands,
        Self::SubmitRate,
        Self::Lost,
        Self::Renderer,
        Self::HostMemory,
        Self::DescriptorChain,
        Self::RequestAddress,
        Self::ResponseSpace,
        Self::AvailableRing,
        Self::UsedRing,
        Self::MemoryFile,
        Self::Frontend,
    ];

    /// The word in `status`, and what it means.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::ShortRequest => ("short-request", "a command shorter than its structure"),
            Self::UnknownCommand => ("unknown-command", "a command that does not exist"),
            Self::NotNegotiated => ("not-negotiated", "a command of a feature that was not negotiated"),
            Self::WrongQueue => ("wrong-queue", "a command on the other command's queue"),
            Self::BackingEntries => ("backing-entries", "no or too many backing entries"),
            Self::BackingAddress => ("backing-address", "backing that lies outside guest memory"),
            Self::BackingTwice => ("backing-twice", "backing for a resource that has some"),
            Self::BackingMissing => ("backing-missing", "a transfer or detach without backing"),
            Self::BackingShort => ("backing-short", "a transfer from beyond the end of the backing"),
            Self::ResourceId => ("resource-id", "a resource that does not exist"),
            Self::ResourceExists => ("resource-exists", "a resource id that is taken or zero"),
            Self::ResourceSize => ("resource-size", "an empty or gigantic resource"),
            Self::Format => ("format", "a pixel format that does not exist"),
            Self::ScanoutId => ("scanout-id", "a scanout that does not exist"),
            Self::ScanoutRectangle => ("scanout-rectangle", "a scanout outside its resource"),
            Self::FlushRectangle => ("flush-rectangle", "a flush outside its resource"),
            Self::BlobSize => ("blob-size", "a blob that is empty, gigantic or larger than its backing"),
            Self::BlobKind => ("blob-kind", "a blob of a kind that does not exist or cannot be used so"),
            Self::BlobImage => ("blob-image", "a picture that does not fit into its blob"),
            Self::Window => ("window", "a mapping outside the window, over another one, or that is not there"),
            Self::TransferBox => ("transfer-box", "a transfer outside its resource"),
            Self::CursorSize => ("cursor-size", "a cursor larger than 64×64, or a blob too small for one"),
            Self::Quota => ("quota", "more resources, memory or entries than one guest may have"),
            Self::ContextId => ("context-id", "a 3D context that does not exist or is there already"),
            Self::Capset => ("capset", "a capset that does not exist"),
            Self::Commands => ("commands", "a command stream that is not whole words"),
            Self::SubmitRate => ("submit-rate", "more command streams than one guest may send in a second"),
            Self::Lost => ("lost", "a context or resource that went with the 3D renderer"),
            Self::Renderer => ("renderer", "a 3D command that the renderer refused or did not survive"),
            Self::HostMemory => ("host-memory", "memory that the host did not give"),
            Self::DescriptorChain => ("descriptor-chain", "a broken descriptor chain"),
            Self::RequestAddress => ("request-address", "a request or response outside guest memory"),
            Self::ResponseSpace => ("response-space", "too little room for the response"),
            Self::AvailableRing => ("available-ring", "an available ring that jumps or lies outside guest memory"),
            Self::UsedRing => ("used-ring", "a used ring outside guest memory"),
            Self::MemoryFile => ("memory-file", "a memory region whose file is too short or may be cut short"),
            Self::Frontend => ("frontend", "a vhost-user request that was refused"),
        }
    }

    /// Whose doing it is.
    fn whose(self) -> &'static str {
        match self {
            Self::MemoryFile | Self::Frontend => "QEMU sent",
            Self::HostMemory => "the guest's GPU driver asked for",
            _ => "the guest's GPU driver sent",
        }
    }

    /// The word that `status` has for it.
    pub fn name(self) -> &'static str {
        self.words().0
    }
}

/// How often each class came.
#[derive(Clone, Debug)]
pub struct Errors {
    counts: [u64; COUNT],
    changed: bool,
}

impl Default for Errors {
    fn default() -> Self {
        Self { counts: [0; COUNT], changed: false }
    }
}

impl Errors {
    /// Counts one; logs the first, the tenth, the hundredth, …
    pub fn count(&mut self, class: Class) {
        let Some(count) = self.counts.get_mut(class as usize) else { return };
        *count = count.saturating_add(1);
        self.changed = true;
        let count = *count;
        if seldom(count) {
            let (name, meaning) = class.words();
            tracing::warn!(target: "guest", class = name, count, "{} {meaning}", class.whose());
        }
    }

    /// All that came, by name; `None` if nothing has changed since the last call.
    pub fn take_changed(&mut self) -> Option<BTreeMap<String, u64>> {
        std::mem::take(&mut self.changed).then(|| self.all())
    }

    /// All that came, by name.
    pub fn all(&self) -> BTreeMap<String, u64> {
        let counted = Class::ALL.into_iter().zip(self.counts).filter(|&(_, count)| count > 0);
        counted.map(|(class, count)| (class.name().to_owned(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_driver_is_not_blamed_for_what_qemu_sent() {
        let of_qemu = Class::ALL.into_iter().filter(|class| class.whose() == "QEMU sent");
        assert_eq!(of_qemu.collect::<Vec<_>>(), [Class::MemoryFile, Class::Frontend]);
    }

    #[test]
    fn every_class_counts_under_a_name_of_its_own() {
        let mut errors = Errors::default();
        for class in Class::ALL {
            errors.count(class);
            errors.count(class);
        }
        let all = errors.take_changed().unwrap();
        assert_eq!(all.len(), COUNT);
        assert!(all.values().all(|&count| count == 2));
        assert!(errors.take_changed().is_none());
    }
}
