//! Krippendorff's alpha.

use std::collections::BTreeMap;

use super::vectors::{midranks, squares};

/// How ratings compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Categories: two ratings are equal or not. Any numbers stand for them.
    Nominal,
    /// Grades: two ratings are as far apart as there are ratings between them.
    Ordinal,
    /// Measurements: two ratings are as far apart as their difference.
    Interval,
}

/// Krippendorff's alpha (Content Analysis, 2004), of any number of judges, with ratings missing.
///
/// Each item is the ratings that its judges gave it; a judge that gave none is left out, and so is an item with a
/// single rating. `1 - D_o / D_e`: the mean squared distance of two ratings of one item, by that of two ratings of any
/// items. 1 is agreement, 0 is chance, and judges that contradict each other are below 0.
///
/// `None` if a rating is not finite or too great to be squared, or all ratings of items with two or more are equal.
///
/// ```
/// use safer_instruct::measure::{Scale, krippendorff_alpha};
///
/// let items = [vec![1.0, 1.0], vec![3.0, 3.0, 2.0], vec![5.0, 5.0], vec![4.0]];
/// assert!(krippendorff_alpha(&items, Scale::Interval) > krippendorff_alpha(&items, Scale::Nominal));
/// ```
#[must_use]
pub fn krippendorff_alpha<U: AsRef<[f64]>>(items: &[U], scale: Scale) -> Option<f64> {
    let rated = items.iter().map(AsRef::as_ref);
    let rated: Vec<&[f64]> = rated.filter(|ratings| ratings.len() > 1).collect();
    let mut all: Vec<f64> = rated.concat();
    if all.is_empty() || !all.iter().all(|rating| rating.is_finite()) {
        return None;
    }
    // The distance of two grades is that of their ranks among all ratings.
    if scale == Scale::Ordinal {
        all = midranks(&all);
    }
    let expected = disagreement(&all, scale);
    let mut rest = all.as_slice();
    let mut observed = 0.0;
    for ratings in &rated {
        let (own, others) = rest.split_at_checked(ratings.len())?;
        observed += disagreement(own, scale) / (own.len() - 1) as f64;
        rest = others;
    }
    let alpha = 1.0 - (all.len() - 1) as f64 * observed / expected;
    (expected > 0.0 && expected.is_finite()).then_some(alpha)
}

/// The sum of the squared distances of all ordered pairs.
fn disagreement(ratings: &[f64], scale: Scale) -> f64 {
    let n = ratings.len() as f64;
    if scale != Scale::Nominal {
        return 2.0 * n * squares(ratings);
    }
    let mut counts = BTreeMap::new();
    for rating in ratings {
        // Both zeros are one number.
        *counts.entry((rating + 0.0).to_bits()).or_insert(0.0) += 1.0;
    }
    n * n
        - counts
            .values()
            .map(|count: &f64| count * count)
            .sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_alpha_is_none() {
        for scale in [Scale::Nominal, Scale::Ordinal, Scale::Interval] {
            assert_eq!(krippendorff_alpha::<Vec<f64>>(&[], scale), None);
            assert_eq!(krippendorff_alpha(&[[0.0, -0.0], [0.0, 0.0]], scale), None);
            assert_eq!(krippendorff_alpha(&[[f64::NAN, 1.0]], scale), None);
            assert_eq!(
                krippendorff_alpha(&[[1.0, 1.0], [2.0, 2.0]], scale),
                Some(1.0)
            );
        }
    }
}
