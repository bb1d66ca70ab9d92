//! All randomness in the simulator: numbers that are drawn from a seed alone.

use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of random numbers. Each part of the world forks its own by name, so
/// that one more draw in one part does not change what the other parts draw.
#[derive(Clone, Debug)]
pub struct Chance {
    seed: u64,
    numbers: ChaCha8Rng,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance { seed, numbers: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Returns the stream of a part. The same seed and name always give the
    /// same stream.
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

    /// Draws a number from 0 up to, but not including, `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing is below zero");
        // The modulo bias is below limit / 2^64, too small to matter in any
        // run.
        self.number() % limit
    }

    /// Draws a number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    pub fn duration(&mut self, least: Duration, most: Duration) -> Duration {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).expect("a short duration");
        Duration::from_micros(self.between(micros(least), micros(most)))
    }

    /// Returns true with a probability of `per_million` in a million.
    pub fn per_million(&mut self, per_million: u32) -> bool {
        // A probability of 0 draws nothing, so a perfect network costs nothing.
        per_million > 0 && self.below(1_000_000) < u64::from(per_million)
    }

    /// Returns true with a probability of `percent` in a hundred.
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
