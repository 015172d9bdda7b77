//! Agreement of judges in categories.

use std::collections::BTreeMap;

/// The share of pairs of judges that agree, over all items: the raw agreement `p_o`.
///
/// Each item is the categories that its judges gave it; a judge that gave none is left out. Of an item with r ratings,
/// r_k of them k, the share is `Σ_k r_k (r_k - 1) / (r (r - 1))`, and the figure is the mean of the items with two
/// ratings or more. `None` if there is no such item.
///
/// ```
/// use safer_instruct::measure::observed_agreement;
///
/// let items = [vec!["safe", "safe"], vec!["safe", "unsafe"], vec!["unsafe"]];
/// assert_eq!(observed_agreement(&items), Some(0.5));
/// ```
#[must_use]
pub fn observed_agreement<U: AsRef<[T]>, T: Ord>(items: &[U]) -> Option<f64> {
    let rated = items.iter().map(AsRef::as_ref);
    let rated = rated.filter(|ratings| ratings.len() > 1);
    let (mut sum, mut count) = (0.0, 0_usize);
    for ratings in rated {
        let r = ratings.len() as f64;
        let counts = counts(ratings);
        let pairs: f64 = counts.values().map(|count| count * (count - 1.0)).sum();
        sum += pairs / (r * (r - 1.0));
        count += 1;
    }
    (count > 0).then(|| sum / count as f64)
}

/// Cohen's kappa of two judges (Educational and Psychological Measurement 1960).
///
/// `(p_o - p_e) / (1 - p_e)`, where `p_e = Σ_k p_k q_k` is the agreement of judges that give the categories as often,
/// but at random. Where one category is frequent, kappa is low although the judges agree: see [`gwet_ac1`].
///
/// `None` if there is no item, or both judges gave one and the same category to all.
///
/// ```
/// use safer_instruct::measure::cohen_kappa;
///
/// let pairs = [("safe", "safe"), ("safe", "safe"), ("safe", "unsafe"), ("unsafe", "unsafe")];
/// assert_eq!(cohen_kappa(&pairs), Some(0.5));
/// ```
#[must_use]
pub fn cohen_kappa<T: Ord>(pairs: &[(T, T)]) -> Option<f64> {
    if pairs.is_empty() {
        return None;
    }
    let n = pairs.len() as f64;
    let agreed = pairs.iter().filter(|(a, b)| a == b).count() as f64 / n;
    let first = counts(pairs.iter().map(|(a, _)| a));
    let second = counts(pairs.iter().map(|(_, b)| b));
    let chance: f64 = first
        .iter()
        .filter_map(|(category, count)| Some(count / n * (second.get(category)? / n)))
        .sum();
    beyond(agreed, chance)
}

/// Gwet's AC1 (British Journal of Mathematical and Statistical Psychology 2008), of two judges or more.
///
/// `(p_o - p_e) / (1 - p_e)` with `p_e = Σ_k π_k (1 - π_k) / (Q - 1)`: `π_k` is the mean share of k in the ratings of
/// an item, and Q the number of categories that can be given, whether or not they occur. `p_o` is
/// [`observed_agreement`], and items with a single rating count in `π_k` alone. AC1 stays high where the judges agree
/// on a category that is frequent.
///
/// `None` if no item has two ratings, Q is below 2, or more than Q categories occur.
///
/// ```
/// use safer_instruct::measure::{cohen_kappa, gwet_ac1};
///
/// // 90 items are safe to both judges, and each finds five others unsafe.
/// let pairs = [vec![("safe", "safe"); 90], vec![("safe", "unsafe"); 5], vec![("unsafe", "safe"); 5]].concat();
/// let items: Vec<[&str; 2]> = pairs.iter().map(|(a, b)| [*a, *b]).collect();
/// assert!(cohen_kappa(&pairs).unwrap() < 0.0);
/// assert!(gwet_ac1(&items, 2).unwrap() > 0.88);
/// ```
#[must_use]
pub fn gwet_ac1<U: AsRef<[T]>, T: Ord>(items: &[U], categories: usize) -> Option<f64> {
    let agreed = observed_agreement(items)?;
    let mut shares = BTreeMap::new();
    let mut rated = 0_usize;
    for ratings in items.iter().map(AsRef::as_ref) {
        rated += usize::from(!ratings.is_empty());
        for (category, count) in counts(ratings) {
            *shares.entry(category).or_insert(0.0) += count / ratings.len() as f64;
        }
    }
    if categories < 2 || shares.len() > categories {
        return None;
    }
    let shares = shares.into_values().map(|sum| sum / rated as f64);
    let chance: f64 = shares.map(|share| share * (1.0 - share)).sum();
    beyond(agreed, chance / (categories - 1) as f64)
}

/// How far agreement goes beyond chance, of the way that it could go.
fn beyond(agreed: f64, chance: f64) -> Option<f64> {
    (chance < 1.0).then(|| (agreed - chance) / (1.0 - chance))
}

fn counts<'a, T: Ord + 'a>(ratings: impl IntoIterator<Item = &'a T>) -> BTreeMap<&'a T, f64> {
    let mut counts = BTreeMap::new();
    for rating in ratings {
        *counts.entry(rating).or_insert(0.0) += 1.0;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_agreement_is_none() {
        assert_eq!(observed_agreement::<Vec<u8>, u8>(&[vec![], vec![1]]), None);
        assert_eq!(cohen_kappa::<u8>(&[]), None);
        assert_eq!(cohen_kappa(&[(1, 1), (1, 1)]), None);
        assert_eq!(gwet_ac1(&[[1, 2], [2, 3]], 2), None);
        assert_eq!(gwet_ac1(&[[1, 1]], 1), None);
    }

    #[test]
    fn a_category_that_never_occurs_is_known_to_ac1() {
        assert_eq!(
            gwet_ac1(&[["safe", "safe"], ["safe", "safe"]], 2),
            Some(1.0)
        );
    }
}
