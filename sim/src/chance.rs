//! All chance in the simulator: numbers drawn from a seed, and from nothing else.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of numbers. Each part of the world has its own, forked by name, so
/// that one part that draws once more does not change what all others see.
#[derive(Clone, Debug)]
pub struct Chance {
    seed: u64,
    numbers: ChaCha8Rng,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance { seed, numbers: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The stream of a part: the same seed and name, the same stream.
    pub fn fork(&self, name: &str) -> Chance {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes());
        hasher.update(name.as_bytes());
        let hash = hasher.finalize();
        let (first, _) = hash.as_bytes().split_first_chunk::<8>().expect("a hash has 32 bytes");
        Chance::new(u64::from_le_bytes(*first))
    }

    pub fn number(&mut self) -> u64 {
        self.numbers.next_u64()
    }

    /// From 0 up to, but not including, `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing is below zero");
        // The bias of a remainder is below limit / 2^64: no run can see it.
        self.number() % limit
    }

    /// From `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).expect("a short duration");
        Duration::from_micros(self.between(micros(least), micros(most)))
    }

    /// True in `per_million` of a million cases.
    pub fn per_million(&mut self, per_million: u32) -> bool {
        // No draw for "never": a perfect network costs nothing.
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// True in `percent` of a hundred cases.
    pub fn percent(&mut self, percent: u32) -> bool {
        self.per_million(percent * 10_000)
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len() as u64);
        &from[usize::try_from(at).expect("an index")]
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let with = self.below(at as u64 + 1);
            list.swap(at, usize::try_from(with).expect("an index"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_depends_on_seed_and_name_alone() {
        let mut drawn = Chance::new(7);
        drawn.number();
        assert_eq!(drawn.fork("disk").number(), Chance::new(7).fork("disk").number());
        assert_ne!(drawn.fork("disk").number(), drawn.fork("network").number());
    }
}
