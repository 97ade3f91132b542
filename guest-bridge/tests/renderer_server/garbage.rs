//! Command streams that make no sense. The library is C: such a stream may end the process, and phyllome-guest lives
//! with that. What must not happen is that it hangs, or answers wrongly.

use crate::driver::{B8G8R8X8, Renderer, Said, texture, whole};
use phyllome_guest_bridge::renderer::wire::{Request, Transfer3d};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Names another seed: 64 hexadecimal digits.
const VARIABLE: &str = "PHYLLOME_SEED";
const CASES: u32 = 12;

fn seed() -> [u8; 32] {
    let given = std::env::var(VARIABLE).ok();
    let digits = given.unwrap_or_else(|| "7068796c6c6f6d6520676172626167652073747265616d7320697373756520342e".into());
    let mut seed = [0; 32];
    for (byte, at) in seed.iter_mut().zip((0..).step_by(2)) {
        *byte = digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
    }
    println!("{VARIABLE}={}", seed.map(|byte| format!("{byte:02x}")).concat());
    seed
}

/// A word as a stream might have it: small, a handle, a float, or anything.
fn word() -> impl Strategy<Value = u32> {
    prop_oneof![0u32..4, 0u32..70, Just(B8G8R8X8), Just(1.0f32.to_bits()), Just(u32::MAX), any::<u32>()]
}

/// A command with a good head, so that more than the first check is reached.
fn commands() -> impl Strategy<Value = Vec<u32>> {
    let one = (0u32..56, 0u32..12, prop::collection::vec(word(), 0..24)).prop_map(|(number, object, words)| {
        let mut all = vec![number | object << 8 | (words.len() as u32) << 16];
        all.extend(words);
        all
    });
    prop::collection::vec(one, 1..24).prop_map(|all| all.concat())
}

/// The result of a submit; `None` if the process died of it.
fn submitted(renderer: &mut Renderer, words: &[u32]) -> Option<i32> {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    renderer.send(&Request::Submit { context: 1, commands: &bytes });
    match renderer.next()? {
        Said::Done(errno) => Some(errno),
        other => panic!("instead of a result it said {other:?}"),
    }
}

#[test]
fn garbage_is_answered_or_ends_the_process() {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed()));
    let (mut answered, mut refused, mut deaths) = (0, 0, 0);
    let streams = prop::collection::vec(commands(), 1..12);
    let all: Vec<Vec<Vec<u32>>> = (0..CASES).map(|_| streams.new_tree(&mut runner).unwrap().current()).collect();
    for streams in all {
        let (mut renderer, _ram) = Renderer::with_memory();
        let what = texture(B8G8R8X8, 64, 64);
        assert_eq!(renderer.context(2, 0), 0);
        for resource in 1..4 {
            renderer.create_backed(resource, what);
        }
        for words in &streams {
            // A context is of no use after its first mistake.
            assert_eq!(renderer.context(1, 0), 0);
            for resource in 1..4 {
                assert_eq!(renderer.ask(&Request::ContextResource { context: 1, resource, attach: true }), 0);
            }
            let Some(errno) = submitted(&mut renderer, words) else { break };
            answered += 1;
            refused += u32::from(errno != 0);
            renderer.send(&Request::Fence { context: 0, ring: None, fence: 1 });
            renderer.send(&Request::DestroyContext(1));
            // In either order, or neither.
            if renderer.next().is_none() || renderer.next().is_none() {
                break;
            }
        }
        if renderer.send(&Request::TransferTo { resource: 1, transfer: Transfer3d { ..whole(&what) } })
            && renderer.next().is_some()
        {
            continue;
        }
        deaths += 1;
        println!("died ({}): {streams:x?}", renderer.exit());
    }
    println!("{answered} streams were answered, {refused} of them refused; the process died {deaths} times");
    assert!(answered > 0 && refused > 0);
}
