//! What several judges say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::vectors::softmax;

/// The category that a jury settles on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Consensus<T> {
    /// The category.
    pub category: T,
    /// How probable it is, between 0 and 1.
    pub probability: f64,
}

/// The category that most judges gave; `None` of no vote, or if two categories have the most.
///
/// ```
/// use safer_instruct::measure::majority_vote;
///
/// assert_eq!(majority_vote(["unsafe", "safe", "unsafe"]), Some("unsafe"));
/// assert_eq!(majority_vote(["unsafe", "safe"]), None);
/// ```
#[must_use]
pub fn majority_vote<T: Ord>(votes: impl IntoIterator<Item = T>) -> Option<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for vote in votes {
        *counts.entry(vote).or_default() += 1;
    }
    let top = *counts.values().max()?;
    let mut first = counts.into_iter().filter(|(_, count)| *count == top);
    let (category, _) = first.next()?;
    first.next().is_none().then_some(category)
}

/// The most probable category, if each judge is right as often as is known of it: a vote weighted by log-odds.
///
/// A vote is a category and the accuracy q of its judge on known items. With Q categories that can be given, a vote
/// weighs `ln((Q - 1) q / (1 - q))`, which is `ln(q / (1 - q))` of two (Nitzan and Paroush, International Economic
/// Review 1982); a judge worse than chance counts against what it says. The probability holds for judges that err
/// independently, all categories as frequent: judges that err together make it too high.
///
/// `None` of no vote; if an accuracy is not between 0 and 1, both excluded; if Q is below 2 or below the number of
/// categories that were given; or if two categories have the most, or one that nobody gave has.
///
/// ```
/// use safer_instruct::measure::log_odds_vote;
///
/// // One good judge against two poor ones.
/// let found = log_odds_vote([("unsafe", 0.95), ("safe", 0.6), ("safe", 0.6)], 2).unwrap();
/// assert_eq!(found.category, "unsafe");
/// assert!((found.probability - 19.0 / (19.0 + 2.25)).abs() < 1e-12);
/// ```
#[must_use]
pub fn log_odds_vote<T: Ord>(
    votes: impl IntoIterator<Item = (T, f64)>,
    categories: usize,
) -> Option<Consensus<T>> {
    let others = categories.checked_sub(1).filter(|others| *others > 0)?;
    let mut weights: BTreeMap<T, f64> = BTreeMap::new();
    for (category, accuracy) in votes {
        if !(accuracy > 0.0 && accuracy < 1.0) {
            return None;
        }
        let weight = (others as f64 * accuracy / (1.0 - accuracy)).ln();
        *weights.entry(category).or_insert(0.0) += weight;
    }
    let unnamed = categories.checked_sub(weights.len())?;
    let (named, mut logs): (Vec<T>, Vec<f64>) = weights.into_iter().unzip();
    // The logarithm of how many categories nobody gave, each of weight 0.
    logs.push((unnamed as f64).ln());
    let probabilities = softmax(&logs);
    let mut ranked: Vec<(T, f64)> = named.into_iter().zip(probabilities).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut ranked = ranked.into_iter();
    let (category, probability) = ranked.next()?;
    let second = ranked.next().map_or(0.0, |(_, probability)| probability);
    let best_log = logs
        .iter()
        .take(logs.len() - 1)
        .copied()
        .fold(f64::NEG_INFINITY, f64::max);
    let is_named = unnamed == 0 || best_log > 0.0;
    (probability > second && is_named).then_some(Consensus {
        category,
        probability,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_majority_is_none() {
        assert_eq!(majority_vote::<u8>([]), None);
        assert_eq!(majority_vote([1, 2, 2, 1, 3]), None);
        assert_eq!(majority_vote([3, 2, 3]), Some(3));
    }

    #[test]
    fn equal_judges_vote_as_the_majority() {
        for votes in [
            vec![0, 1, 1],
            vec![0, 0, 2, 1],
            vec![0, 1],
            vec![2, 2, 1, 1, 1],
        ] {
            let weighted = log_odds_vote(votes.iter().map(|vote| (*vote, 0.8)), 3);
            assert_eq!(weighted.map(|found| found.category), majority_vote(votes));
        }
    }

    #[test]
    fn a_judge_that_is_always_wrong_says_the_opposite_but_not_what() {
        let found = log_odds_vote([(true, 0.9), (false, 0.2)], 2).unwrap();
        assert!(found.category && (found.probability - 36.0 / 37.0).abs() < 1e-12);
        assert_eq!(log_odds_vote([("a", 0.1)], 3), None);
        let found = log_odds_vote([("a", 0.7)], 3).unwrap();
        assert!((found.probability - 0.7).abs() < 1e-12);
    }

    #[test]
    fn what_is_no_vote_is_none() {
        assert_eq!(log_odds_vote::<u8>([], 2), None);
        assert_eq!(log_odds_vote([(1, 1.0)], 2), None);
        assert_eq!(log_odds_vote([(1, f64::NAN)], 2), None);
        assert_eq!(log_odds_vote([(1, 0.9)], 1), None);
        assert_eq!(log_odds_vote([(1, 0.9), (2, 0.8), (3, 0.7)], 2), None);
    }
}
