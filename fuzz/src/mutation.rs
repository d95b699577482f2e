// SPDX-License-Identifier: Apache-2.0
//! Changes inputs at random, always in the same order for the same seed: for runs without libFuzzer.

/// A generator of numbers (xorshift64*).
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// One that gives the same numbers for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below `limit`, 0 for a limit of 0.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or(0) % limit.max(1)
    }
}

/// Numbers at which lengths and kinds turn into something else.
const EDGES: [u8; 10] = [0, 1, 2, 7, 15, 16, 0x7f, 0x80, 0xfe, 0xff];

/// Longest input that is made.
const LONGEST: usize = 4096;

/// Changes `data` in a few places; `other` is another input, of which a part may be taken.
pub fn mutate(data: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        match random.below(7) {
            0 if at < data.len() => data[at] = u8::try_from(random.below(256)).unwrap_or(0),
            1 if at < data.len() => data[at] = EDGES[random.below(EDGES.len())],
            2 if at < data.len() => data[at] ^= 1 << random.below(8),
            3 => data.insert(at, EDGES[random.below(EDGES.len())]),
            4 => data.truncate(at),
            5 => {
                let end = (at + random.below(16)).min(data.len());
                data.drain(at..end);
            }
            _ => {
                let start = random.below(other.len() + 1);
                let end = (start + random.below(64)).min(other.len());
                data.splice(at..at, other[start..end].iter().copied());
            }
        }
    }
    data.truncate(LONGEST);
}
