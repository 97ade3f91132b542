//! Mutations of known inputs, always the same ones for the same seed: small changes of the kinds that fuzzers make.

/// Longest input that is made, bytes.
pub const LONGEST: usize = 4096;

const NUMBERS: [u64; 12] =
    [0, 1, 2, 3, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 0x7fff_ffff_ffff_ffff, u64::MAX];

/// Numbers that look random (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`; 0 if there is none.
    pub fn below(&mut self, end: usize) -> usize {
        let end = end as u64;
        (self.number() >> 11).checked_rem(end).unwrap_or(0) as usize
    }
}

/// One of `inputs`, with one to six changes; some take a part of another of them.
pub fn mutated(inputs: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = pick(inputs, random).to_vec();
    for _ in 0..=random.below(6) {
        change(&mut input, inputs, random);
    }
    input.truncate(LONGEST);
    input
}

fn pick<'a>(inputs: &'a [Vec<u8>], random: &mut Random) -> &'a [u8] {
    inputs.get(random.below(inputs.len())).map_or(&[], Vec::as_slice)
}

fn change(input: &mut Vec<u8>, inputs: &[Vec<u8>], random: &mut Random) {
    let at = random.below(input.len() + 1);
    let end = (at + 1 + random.below(16)).min(input.len());
    match random.below(8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = random.number() as u8;
            }
        }
        2 => {
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            let width = [1, 2, 4, 8][random.below(4)];
            for (byte, new) in input.iter_mut().skip(at).zip(number.iter().take(width)) {
                *byte = *new;
            }
        }
        3 => {
            let count = 1 + random.below(8);
            let bytes: Vec<u8> = (0..count).map(|_| random.number() as u8).collect();
            input.splice(at..at, bytes);
        }
        4 if at < end => drop(input.drain(at..end)),
        5 if at < end => {
            let copy = input[at..end].to_vec();
            let to = random.below(input.len() + 1);
            input.splice(to..to, copy);
        }
        6 => {
            let other = pick(inputs, random);
            let from = random.below(other.len() + 1);
            let to = (from + 1 + random.below(64)).min(other.len());
            input.splice(at..at, other[from..to].to_vec());
        }
        _ => input.truncate(at),
    }
}
