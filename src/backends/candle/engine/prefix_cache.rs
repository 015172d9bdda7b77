//! Beginnings that prompts share, kept so that they are read once.
//!
//! The requests of a stage begin with the same system text, examples or rubric. Prompts are cut into blocks; a block is
//! known by its tokens and by the block before it, which makes a radix tree over blocks (as in SGLang, arXiv
//! 2312.07104, section 3). A prompt that differs from others within a block reuses the tokens before the difference.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
    sync::Arc,
};

use crate::backends::candle::kernels::blocks::{BLOCK, Block};

/// A place in the tree: the blocks up to here, by number. 0 is the beginning.
pub(super) type Place = u64;

/// The time of use of a block that a sequence holds.
const HELD: u64 = u64::MAX;

/// Blocks that were read, by what was read.
#[derive(Debug)]
pub(super) struct PrefixCache {
    /// In order, so that the tokens most like others are their neighbours.
    blocks: BTreeMap<(Place, Box<[u32]>), Entry>,
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

/// A block whose first tokens are those that were looked for.
#[derive(Debug)]
pub(super) struct Found {
    /// How many they are, at least one.
    pub(super) tokens: usize,
    pub(super) block: Arc<Block>,
    /// The place after it.
    pub(super) place: Place,
}

impl PrefixCache {
    /// Makes a tree for `most` blocks. More are kept while sequences use them.
    pub(super) fn new(most: usize) -> Self {
        Self {
            blocks: BTreeMap::new(),
            most,
            next: 1,
            clock: 0,
        }
    }

    /// The block after `place` that has the most of `tokens`, from the first on.
    pub(super) fn find(&mut self, place: Place, tokens: &[u32]) -> Option<Found> {
        self.clock += 1;
        let key = (place, Box::from(tokens));
        let before = self.blocks.range(..=&key).next_back();
        let after = (Bound::Excluded(&key), Bound::Unbounded);
        let likest = before
            .into_iter()
            .chain(self.blocks.range(after).next())
            .filter(|((there, _), _)| *there == place)
            .map(|(key, _)| (common(&key.1, tokens), key))
            .max_by_key(|(common, _)| *common)
            .filter(|(common, _)| *common > 0);
        let (tokens, key) = likest.map(|(common, key)| (common, key.clone()))?;
        let entry = self.blocks.get_mut(&key)?;
        entry.used = self.clock;
        Some(Found {
            tokens,
            block: Arc::clone(&entry.block),
            place: entry.place,
        })
    }

    /// Keeps a block of `tokens` after `place`, at most [`BLOCK`]; gives the place after it.
    pub(super) fn keep(&mut self, place: Place, tokens: &[u32], block: Arc<Block>) -> Place {
        debug_assert!(tokens.len() <= BLOCK);
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

    /// Removes the blocks that were not used for longest, until the limit is kept. What a sequence holds stays, and so
    /// does what comes before a block that stays: without it, that block could not be found.
    pub(super) fn trim(&mut self) {
        let excess = self.blocks.len().saturating_sub(self.most);
        if excess == 0 {
            return;
        }
        // A block counts as used when it or one after it was. Places after others have higher numbers.
        let mut blocks: Vec<(Place, Place, u64)> = self
            .blocks
            .iter()
            .map(|((before, _), entry)| {
                let is_held = Arc::strong_count(&entry.block) > 1;
                (
                    entry.place,
                    *before,
                    if is_held { HELD } else { entry.used },
                )
            })
            .collect();
        blocks.sort_unstable_by_key(|(place, ..)| Reverse(*place));
        let mut latest: HashMap<Place, u64> = HashMap::new();
        for (place, before, used) in &mut blocks {
            *used = (*used).max(latest.get(place).copied().unwrap_or(0));
            let before = latest.entry(*before).or_default();
            *before = (*before).max(*used);
        }
        // The longest unused first, and of those that go together the last.
        blocks.retain(|(.., used)| *used != HELD);
        blocks.sort_unstable_by_key(|(place, _, used)| (*used, Reverse(*place)));
        let forgotten: HashSet<Place> = blocks
            .iter()
            .take(excess)
            .map(|(place, ..)| *place)
            .collect();
        self.blocks
            .retain(|_, entry| !forgotten.contains(&entry.place));
    }
}

/// How many tokens are the same before the first that are not.
fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::kernels::{
        blocks::{Blocks, Form, Shape},
        rows::Pairs,
    };

    fn block() -> Arc<Block> {
        let shape = Shape {
            heads: 1,
            kv_heads: 1,
            head_dim: 2,
            pairs: Pairs::Halves,
        };
        Blocks::new(&shape, 1, Form::F32).block()
    }

    /// How many of the tokens are found, and the place after them.
    fn find(cache: &mut PrefixCache, place: Place, tokens: &[u32]) -> Option<(usize, Place)> {
        let found = cache.find(place, tokens);
        found.map(|found| (found.tokens, found.place))
    }

    #[test]
    fn a_block_is_found_after_the_same_beginning_alone() {
        let mut cache = PrefixCache::new(10);
        let (a, b) = ([1; BLOCK], [2; BLOCK]);
        let after_a = cache.keep(0, &a, block());
        let after_ab = cache.keep(after_a, &b, block());
        assert_eq!(cache.keep(0, &a, block()), after_a);
        assert_eq!(find(&mut cache, after_a, &b), Some((BLOCK, after_ab)));
        assert_eq!(find(&mut cache, 0, &b), None);
        assert_eq!(find(&mut cache, after_ab, &b), None);
    }

    #[test]
    fn the_block_with_most_of_the_tokens_is_found() {
        let mut cache = PrefixCache::new(10);
        let blocks: [&[u32]; 4] = [&[1, 2, 3, 4, 5], &[1, 2, 4, 9], &[1, 2], &[2, 7]];
        let places = blocks.map(|tokens| cache.keep(0, tokens, block()));
        for (tokens, likest) in [
            (&[1u32, 2, 3, 9] as &[u32], Some((3, 0))),
            (&[1, 2, 4], Some((3, 1))),
            (&[1, 2, 4, 9, 9], Some((4, 1))),
            (&[2, 8], Some((1, 3))),
            (&[3], None),
        ] {
            let found = find(&mut cache, 0, tokens);
            assert_eq!(found, likest.map(|(common, at)| (common, places[at])));
        }
        let (common, _) = find(&mut cache, 0, &[1, 9]).unwrap();
        assert_eq!(common, 1);
    }

    #[test]
    fn what_is_idle_for_longest_goes_first() {
        let mut cache = PrefixCache::new(2);
        let held = block();
        cache.keep(0, &[1; BLOCK], Arc::clone(&held));
        for n in 2..6 {
            cache.keep(0, &[n; BLOCK], block());
        }
        cache.find(0, &[2; BLOCK]);
        cache.trim();
        let known: Vec<u32> = (1..6)
            .filter(|n| cache.find(0, &[*n; BLOCK]).is_some())
            .collect();
        assert_eq!(known, [1, 2]);
    }

    /// A prompt is kept from its first block to its last, so the first is the one whose own last use is the longest
    /// ago.
    #[test]
    fn the_end_of_a_beginning_goes_before_what_comes_before_it() {
        let mut cache = PrefixCache::new(2);
        let (a, b, c) = ([1; BLOCK], [2; BLOCK], [3; BLOCK]);
        let after_a = cache.keep(0, &a, block());
        let after_b = cache.keep(after_a, &b, block());
        cache.keep(after_b, &c, block());
        cache.trim();
        assert_eq!(find(&mut cache, 0, &a), Some((BLOCK, after_a)));
        assert_eq!(find(&mut cache, after_a, &b), Some((BLOCK, after_b)));
        assert_eq!(find(&mut cache, after_b, &c), None);
    }

    #[test]
    fn what_comes_before_a_held_block_stays() {
        let mut cache = PrefixCache::new(0);
        let held = block();
        let after_a = cache.keep(0, &[1; BLOCK], block());
        let after_b = cache.keep(after_a, &[2; BLOCK], Arc::clone(&held));
        cache.keep(after_b, &[3; BLOCK], block());
        cache.keep(0, &[4; BLOCK], block());
        cache.trim();
        assert!(find(&mut cache, 0, &[1; BLOCK]).is_some());
        assert!(find(&mut cache, after_a, &[2; BLOCK]).is_some());
        assert_eq!(cache.blocks.len(), 2);
        drop(held);
        cache.trim();
        assert!(cache.blocks.is_empty());
    }
}
