//! A random sample of items that come one by one.

use crate::measure::SplitMix64;

/// Keeps a uniform random sample of at most `most` items, in the order in which they came (Vitter's algorithm R, ACM
/// Transactions on Mathematical Software 1985).
#[derive(Clone, Debug)]
pub(super) struct Reservoir<T> {
    random: SplitMix64,
    most: usize,
    seen: usize,
    kept: Vec<(usize, T)>,
}

impl<T> Reservoir<T> {
    pub(super) fn new(most: usize, seed: u64) -> Self {
        Self {
            random: SplitMix64::new(seed),
            most,
            seen: 0,
            kept: Vec::new(),
        }
    }

    /// Shows the next item, which is only made if it is kept.
    pub(super) fn show(&mut self, make: impl FnOnce() -> T) {
        let number = self.seen;
        self.seen += 1;
        if self.kept.len() < self.most {
            self.kept.push((number, make()));
            return;
        }
        let place = self.random.below(self.seen);
        if let Some(slot) = self.kept.get_mut(place) {
            *slot = (number, make());
        }
    }

    /// The sample, in the order in which the items came.
    pub(super) fn items(&self) -> Vec<&T> {
        let mut kept: Vec<&(usize, T)> = self.kept.iter().collect();
        kept.sort_unstable_by_key(|(number, _)| *number);
        kept.into_iter().map(|(_, item)| item).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_items_are_all_kept() {
        let mut sample = Reservoir::new(5, 1);
        (0..5).for_each(|item| sample.show(|| item));
        assert_eq!(sample.items(), [&0, &1, &2, &3, &4]);
    }

    #[test]
    fn every_item_is_kept_about_equally_often_and_in_order() {
        let mut counts = [0; 10];
        for seed in 0..3_000 {
            let mut sample = Reservoir::new(3, seed);
            (0..10).for_each(|item| sample.show(|| item));
            let items = sample.items();
            assert_eq!(items.len(), 3);
            assert!(items.is_sorted());
            items.into_iter().for_each(|item| counts[*item] += 1);
        }
        assert!(
            counts.iter().all(|count| (800..1_000).contains(count)),
            "{counts:?}"
        );
    }
}
