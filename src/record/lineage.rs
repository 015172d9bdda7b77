//! The lineage of a value: where it comes from, and the seeds that follow from it.

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The source text that a value comes from, the draw, and the seed of the run.
///
/// A stage derives every random choice from it with [`Lineage::seed`], so results depend neither on scheduling nor on
/// the other texts of the run.
///
/// ```
/// use safer_instruct::Lineage;
///
/// let lineage = Lineage::new("text-7", 0, 42);
/// assert_eq!(lineage.seed("induce"), lineage.clone().seed("induce"));
/// assert_ne!(lineage.seed("induce"), lineage.seed("respond"));
/// assert_ne!(lineage.seed("induce"), lineage.with_draw(1).seed("induce"));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lineage {
    source_id: Arc<str>,
    draw: u32,
    run_seed: u64,
}

impl Lineage {
    /// Makes the lineage of draw `draw` of the source text `source_id`, in a run with the seed `run_seed`.
    pub fn new(source_id: impl Into<Arc<str>>, draw: u32, run_seed: u64) -> Self {
        Self {
            source_id: source_id.into(),
            draw,
            run_seed,
        }
    }

    /// The id of the source text.
    #[must_use]
    pub fn source_id(&self) -> &str {
        &self.source_id
    }

    /// The number of the draw, counted from 0. A draw is one of several independent tries at the same source text.
    #[must_use]
    pub fn draw(&self) -> u32 {
        self.draw
    }

    /// The seed of the run.
    #[must_use]
    pub fn run_seed(&self) -> u64 {
        self.run_seed
    }

    /// Sets the draw.
    #[must_use]
    pub fn with_draw(mut self, draw: u32) -> Self {
        self.draw = draw;
        self
    }

    /// Sets the seed of the run.
    #[must_use]
    pub fn with_run_seed(mut self, run_seed: u64) -> Self {
        self.run_seed = run_seed;
        self
    }

    /// Derives a seed for one purpose: the first eight bytes (little-endian) of the SHA-256 of run seed, draw, purpose
    /// and id.
    ///
    /// The numbers are hashed as little-endian bytes, and a zero byte ends the purpose. So different inputs hash
    /// different bytes, unless a purpose holds a zero byte.
    #[must_use]
    pub fn seed(&self, purpose: &str) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.run_seed.to_le_bytes());
        hash.update(self.draw.to_le_bytes());
        hash.update(purpose.as_bytes());
        hash.update([0]);
        hash.update(self.source_id.as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Derives the seed of one try for a purpose: [`seed`](Self::seed) for try 0, and the numbers after it for later
    /// tries, so that they can be recognised in provenance.
    #[must_use]
    pub fn seed_for_attempt(&self, purpose: &str, attempt: u32) -> u64 {
        self.seed(purpose).wrapping_add(u64::from(attempt))
    }
}

impl Default for Lineage {
    /// Makes a lineage without a source text, for values made outside a pipeline.
    fn default() -> Self {
        // Every value begins with it, so the id is not allocated each time.
        static NONE: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(""));
        Self::new(Arc::clone(&NONE), 0, 0)
    }
}

impl fmt::Display for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.source_id, self.draw)
    }
}

impl fmt::Debug for Lineage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lineage({self}, run seed {})", self.run_seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pinned: files written by one release must be reproduced by the next.
    #[test]
    fn seeds_never_change_between_releases() {
        let lineage = Lineage::new("text-7", 1, 42);
        assert_eq!(lineage.seed("induce"), 12_469_450_815_361_401_256);
        assert_eq!(
            lineage.seed_for_attempt("induce", 2),
            lineage.seed("induce").wrapping_add(2)
        );
    }

    #[test]
    fn the_id_cannot_be_confused_with_the_purpose() {
        assert_ne!(
            Lineage::new("b", 0, 0).seed("a"),
            Lineage::new("", 0, 0).seed("ab")
        );
        assert_ne!(
            Lineage::new("x", 1, 0).seed("a"),
            Lineage::new("x", 0, 1).seed("a")
        );
    }
}
