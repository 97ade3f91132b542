//! What the Wayland library must not be given: looks at a guest's bytes before the library does, message by message.
//!
//! wayland-backend 0.3 panics while it holds its lock, which ends the shell, where `wl_registry.bind` names no
//! interface. Objects need not be known for that but the registries, and those are never destroyed. All else is left to
//! the library, which refuses it or panics where that ends one connection alone. Pure.

/// Most registries of one connection. A client needs one for each of its libraries.
pub const MAX_REGISTRIES: usize = 8;

/// Bytes of a message's header: object, opcode and size (Wayland's wire format).
const HEADER: usize = 8;
/// How much of a message is looked at: the header and two words.
const HEAD: usize = HEADER + 8;

const DISPLAY: u32 = 1;
const GET_REGISTRY: u16 = 1;
const BIND: u16 = 0;

/// The connection is to end: what came is no message, or one that the library cannot be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Reads one connection's requests as they come, in pieces of any size.
#[derive(Debug, Default)]
pub struct Requests {
    registries: Vec<u32>,
    head: Vec<u8>,
    /// Bytes of this message that are of no interest and have not come.
    rest: usize,
}

impl Requests {
    /// More bytes have come. After an error the library must be given none of them: what it has of the message in
    /// question is not whole then.
    pub fn read(&mut self, mut bytes: &[u8]) -> Result<(), Unreadable> {
        while !bytes.is_empty() {
            let skipped = self.rest.min(bytes.len());
            self.rest -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            while let Some((first, after)) = bytes.split_first()
                && self.rest == 0
            {
                self.head.push(*first);
                bytes = after;
                self.look()?;
            }
        }
        Ok(())
    }

    /// A byte more of a message's beginning is there.
    fn look(&mut self) -> Result<(), Unreadable> {
        let word = |at: usize| self.head.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let (Some(object), Some(second)) = (word(0), word(4)) else { return Ok(()) };
        let (size, opcode) = ((second >> 16) as usize, second as u16);
        if size < HEADER {
            return Err(Unreadable);
        }
        if self.head.len() < size.min(HEAD) {
            return Ok(());
        }
        match (word(8), word(12)) {
            // The library does not mind what is behind the arguments.
            (Some(registry), _) if object == DISPLAY && opcode == GET_REGISTRY => {
                if self.registries.len() >= MAX_REGISTRIES {
                    return Err(Unreadable);
                }
                self.registries.push(registry);
            }
            (_, None | Some(0)) if opcode == BIND && self.registries.contains(&object) => return Err(Unreadable),
            _ => {}
        }
        self.rest = size - self.head.len();
        self.head.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REGISTRY: u32 = 2;

    fn message(object: u32, opcode: u32, words: &[u32]) -> Vec<u8> {
        let size = HEADER + 4 * words.len();
        let head = [object, (size as u32) << 16 | opcode];
        head.iter().chain(words).flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn bind(registry: u32, length: u32) -> Vec<u8> {
        message(registry, 0, &[5, length, 0x61, 1, 9])
    }

    fn read(bytes: &[u8], piece: usize) -> Result<(), Unreadable> {
        let mut requests = Requests::default();
        bytes.chunks(piece).try_for_each(|bytes| requests.read(bytes))
    }

    #[test]
    fn binding_what_has_no_name_is_unreadable_in_pieces_of_any_size() {
        let registry = message(DISPLAY, 1, &[REGISTRY]);
        let sync = message(DISPLAY, 0, &[3]);
        for piece in 1..64 {
            assert_eq!(read(&[&registry[..], &sync, &bind(REGISTRY, 2)].concat(), piece), Ok(()));
            assert_eq!(read(&[&registry[..], &sync, &bind(REGISTRY, 0)].concat(), piece), Err(Unreadable));
            assert_eq!(read(&[registry.clone(), message(REGISTRY, 0, &[5])].concat(), piece), Err(Unreadable));
            assert_eq!(read(&[registry.clone(), message(REGISTRY, 0, &[])].concat(), piece), Err(Unreadable));
            // A registry that is asked for in more words than there are arguments.
            let longer = message(DISPLAY, 1, &[REGISTRY, 0]);
            assert_eq!(read(&[&longer[..], &bind(REGISTRY, 0)].concat(), piece), Err(Unreadable));
            // The same words are a request like others of another object.
            assert_eq!(read(&[&registry[..], &bind(REGISTRY + 1, 0)].concat(), piece), Ok(()));
        }
    }

    #[test]
    fn a_message_that_is_shorter_than_its_header_is_unreadable() {
        assert_eq!(read(&[[3u32, 7 << 16].map(u32::to_ne_bytes).concat(), vec![0; 64]].concat(), 5), Err(Unreadable));
        assert_eq!(read(&message(3, 0, &[]).repeat(20), 3), Ok(()));
    }

    #[test]
    fn registries_are_few() {
        let registries =
            |count: u32| (0..count).flat_map(|at| message(DISPLAY, 1, &[REGISTRY + at])).collect::<Vec<_>>();
        assert_eq!(read(&registries(MAX_REGISTRIES as u32), 16), Ok(()));
        assert_eq!(read(&registries(MAX_REGISTRIES as u32 + 1), 16), Err(Unreadable));
    }

    proptest! {
        /// However the bytes are cut, the verdict is the same.
        #[test]
        fn pieces_do_not_matter(
            messages in prop::collection::vec((1u32..5, 0u32..3, prop::collection::vec(0u32..4, 0..6)), 0..20),
            piece in 1usize..40,
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(object, opcode, words)| message(*object, *opcode, words)).collect();
            prop_assert_eq!(read(&bytes, piece), read(&bytes, bytes.len().max(1)));
        }
    }
}
