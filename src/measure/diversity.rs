//! How varied texts are.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use serde::{Deserialize, Serialize};

use super::{
    random::SplitMix64,
    vectors::{mean, squares},
};

/// How [`distinct_n`] draws, so that sets of different sizes can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resampling {
    /// How many n-grams a resample has; the same for all sets that are compared.
    pub size: usize,
    /// How many resamples there are.
    pub resamples: usize,
    /// The seed that they follow from.
    pub seed: u64,
}

/// Distinct-n: the share of n-grams that are distinct (Li et al., arXiv 1510.03055), the mean of resamples of one size.
///
/// A text is a sequence of units, such as words. The share falls as texts are added, because they run out of new
/// n-grams, so sets of different sizes cannot be compared by all their n-grams. Each resample puts the texts in a
/// random order and takes the first n-grams of them.
///
/// `None` if the texts have fewer n-grams than a resample, or n, the size or the number of resamples is 0.
///
/// ```
/// use safer_instruct::measure::{Resampling, distinct_n};
///
/// let resampling = Resampling { size: 3, resamples: 20, seed: 1 };
/// let varied = [vec!["a", "cat", "sat"], vec!["the", "dog", "ran"]];
/// assert_eq!(distinct_n(&varied, 2, resampling), Some(1.0));
/// assert_eq!(distinct_n(&[vec!["no"; 9]], 2, resampling), Some(1.0 / 3.0));
/// ```
#[must_use]
pub fn distinct_n<U: AsRef<[T]>, T: Eq + Hash>(
    texts: &[U],
    n: usize,
    resampling: Resampling,
) -> Option<f64> {
    let Resampling {
        size,
        resamples,
        seed,
    } = resampling;
    if n == 0 || size == 0 {
        return None;
    }
    let total: usize = texts
        .iter()
        .map(|text| text.as_ref().windows(n).len())
        .sum();
    if total < size {
        return None;
    }
    let mut random = SplitMix64::new(seed);
    let mut order: Vec<&[T]> = texts.iter().map(AsRef::as_ref).collect();
    let counts: Vec<f64> = (0..resamples)
        .map(|_| {
            random.shuffle(&mut order);
            let grams = order.iter().flat_map(|text| text.windows(n));
            let distinct: HashSet<&[T]> = grams.take(size).collect();
            distinct.len() as f64
        })
        .collect();
    Some(mean(&counts)? / size as f64)
}

/// The share of the most frequent item, such as one text that comes again and again. `None` if there is no item.
///
/// ```
/// use safer_instruct::measure::top_share;
///
/// assert_eq!(top_share(["I cannot help.", "Yes.", "I cannot help.", "No."]), Some(0.5));
/// ```
#[must_use]
pub fn top_share<T: Eq + Hash>(items: impl IntoIterator<Item = T>) -> Option<f64> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for item in items {
        *counts.entry(item).or_default() += 1;
    }
    let total: usize = counts.values().sum();
    let top = counts.into_values().max()?;
    Some(top as f64 / total as f64)
}

/// The share of the most frequent opening: the first `units` units of a text, or all of a shorter one.
///
/// `None` if there is no text, or no unit is taken.
///
/// ```
/// use safer_instruct::measure::top_opening_share;
///
/// let texts = [vec!["how", "do", "I"], vec!["how", "do", "they"], vec!["why"], vec!["how", "can", "I"]];
/// assert_eq!(top_opening_share(&texts, 2), Some(0.5));
/// ```
#[must_use]
pub fn top_opening_share<U: AsRef<[T]>, T: Eq + Hash>(texts: &[U], units: usize) -> Option<f64> {
    if units == 0 {
        return None;
    }
    let openings = texts.iter().map(|text| {
        let text = text.as_ref();
        text.get(..units).unwrap_or(text)
    });
    top_share(openings)
}

/// Cohen's d: the difference of two means in standard deviations, of the lengths of responses for instance.
///
/// `(mean(a) - mean(b)) / s`, with the pooled `s² = (SS_a + SS_b) / (n_a + n_b - 2)`, SS the squared distances from the
/// mean (Cohen, Statistical Power Analysis, 1988). Positive if the first are greater; 0.2 is called small, 0.8 large.
///
/// `None` if a list is empty, a value is not finite, or the values of each list are all equal.
///
/// ```
/// use safer_instruct::measure::cohens_d;
///
/// let (chosen, rejected) = ([120.0, 140.0, 160.0], [20.0, 40.0, 60.0]);
/// assert_eq!(cohens_d(&chosen, &rejected), Some(5.0));
/// ```
#[must_use]
pub fn cohens_d(first: &[f64], second: &[f64]) -> Option<f64> {
    let difference = mean(first)? - mean(second)?;
    let freedom = (first.len() + second.len()).checked_sub(2)? as f64;
    let d = difference / ((squares(first) + squares(second)) / freedom).sqrt();
    d.is_finite().then_some(d)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RESAMPLING: Resampling = Resampling {
        size: 50,
        resamples: 40,
        seed: 3,
    };

    #[test]
    fn the_number_of_texts_does_not_count() {
        let mut random = SplitMix64::new(1);
        let mut text = || -> Vec<usize> { (0..10).map(|_| random.below(12)).collect() };
        let many: Vec<_> = (0..300).map(|_| text()).collect();
        let few = &many[..30];
        let of = |texts: &[Vec<usize>], size| {
            distinct_n(texts, 2, Resampling { size, ..RESAMPLING }).unwrap()
        };
        assert!(of(few, 270) > 2.0 * of(&many, 2_700), "all n-grams");
        assert!((of(few, 50) - of(&many, 50)).abs() < 0.03, "as many");
    }

    #[test]
    fn what_has_no_share_is_none() {
        assert!(distinct_n(&[[1; 51]], 2, RESAMPLING).is_some());
        assert_eq!(distinct_n(&[[1; 50]], 2, RESAMPLING), None);
        assert_eq!(distinct_n(&[[1; 51]], 0, RESAMPLING), None);
        for none in [
            Resampling {
                size: 0,
                ..RESAMPLING
            },
            Resampling {
                resamples: 0,
                ..RESAMPLING
            },
        ] {
            assert_eq!(distinct_n(&[[1; 51]], 2, none), None);
        }
        assert_eq!(top_share::<u8>([]), None);
        assert_eq!(top_opening_share(&[[1]], 0), None);
        assert_eq!(cohens_d(&[], &[1.0]), None);
        assert_eq!(cohens_d(&[1.0], &[2.0]), None);
        assert_eq!(cohens_d(&[1.0, 1.0], &[2.0, 2.0]), None);
        assert_eq!(cohens_d(&[1.0, f64::NAN], &[2.0, 2.0]), None);
    }
}
