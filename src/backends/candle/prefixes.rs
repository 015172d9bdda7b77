//! Beginnings that prompts share, kept so that they are read once.
//!
//! The requests of a stage begin with the same system text, examples or rubric. Prompts are cut into blocks; a block is known by
//! its tokens and by the block before it, which makes a radix tree over blocks (as in SGLang, arXiv 2312.07104, section 3).

use std::{collections::HashMap, sync::Arc};

use super::kernels::attention::{BLOCK, Block};

/// A place in the tree: the blocks up to here, by number. 0 is the beginning.
pub(super) type Place = u64;

/// Blocks that were read, by what was read.
#[derive(Debug)]
pub(super) struct Prefixes {
    blocks: HashMap<(Place, Box<[u32]>), Entry>,
    most: usize,
    next: Place,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    place: Place,
    block: Arc<Block>,
    used: u64,
}

impl Prefixes {
    /// Room for `most` blocks. More are kept while sequences use them.
    pub(super) fn new(most: usize) -> Self {
        Self {
            blocks: HashMap::new(),
            most,
            next: 1,
            clock: 0,
        }
    }

    /// The block of `tokens` after `place`, if it was read before.
    pub(super) fn find(&mut self, place: Place, tokens: &[u32]) -> Option<(Place, Arc<Block>)> {
        self.clock += 1;
        let entry = self.blocks.get_mut(&(place, tokens.into()))?;
        entry.used = self.clock;
        Some((entry.place, Arc::clone(&entry.block)))
    }

    /// Keeps a block of `tokens` after `place`; gives the place after it.
    pub(super) fn keep(&mut self, place: Place, tokens: &[u32], block: Arc<Block>) -> Place {
        debug_assert_eq!(tokens.len(), BLOCK);
        self.clock += 1;
        let (clock, next) = (self.clock, self.next);
        let entry = self
            .blocks
            .entry((place, tokens.into()))
            .or_insert_with(|| Entry {
                place: next,
                block,
                used: clock,
            });
        entry.used = clock;
        let after = entry.place;
        if after == next {
            self.next += 1;
        }
        after
    }

    /// Forgets what was not used for longest, down to the room that there is. What a sequence holds stays.
    pub(super) fn trim(&mut self) {
        let excess = self.blocks.len().saturating_sub(self.most);
        if excess == 0 {
            return;
        }
        let mut idle: Vec<u64> = self
            .blocks
            .values()
            .filter(|entry| Arc::strong_count(&entry.block) == 1)
            .map(|entry| entry.used)
            .collect();
        idle.sort_unstable();
        // Times of use differ, so that the last of the oldest is where to cut.
        if let Some(last) = idle.get(..excess.min(idle.len())).and_then(<[_]>::last) {
            self.blocks
                .retain(|_, entry| Arc::strong_count(&entry.block) > 1 || entry.used > *last);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::{attention::Shape, rows::Pairs};

    fn block() -> Arc<Block> {
        let shape = Shape {
            heads: 1,
            kv_heads: 1,
            head_dim: 2,
            pairs: Pairs::Halves,
        };
        Arc::new(Block::new(&shape, 1))
    }

    #[test]
    fn a_block_is_found_after_the_same_beginning_alone() {
        let mut prefixes = Prefixes::new(10);
        let (a, b) = ([1; BLOCK], [2; BLOCK]);
        let after_a = prefixes.keep(0, &a, block());
        let after_ab = prefixes.keep(after_a, &b, block());
        assert_eq!(prefixes.keep(0, &a, block()), after_a);
        assert_eq!(
            prefixes.find(after_a, &b).map(|found| found.0),
            Some(after_ab)
        );
        assert!(prefixes.find(0, &b).is_none());
        assert!(prefixes.find(after_ab, &b).is_none());
    }

    #[test]
    fn what_is_idle_for_longest_goes_first() {
        let mut prefixes = Prefixes::new(2);
        let held = block();
        prefixes.keep(0, &[1; BLOCK], Arc::clone(&held));
        for n in 2..6 {
            prefixes.keep(0, &[n; BLOCK], block());
        }
        prefixes.find(0, &[2; BLOCK]);
        prefixes.trim();
        let known: Vec<u32> = (1..6)
            .filter(|n| prefixes.find(0, &[*n; BLOCK]).is_some())
            .collect();
        assert_eq!(known, [1, 2]);
    }
}
