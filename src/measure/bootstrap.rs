//! Intervals by resampling.

use std::collections::BTreeMap;

use super::{estimate::Estimate, random::SplitMix64, special::z_of, vectors::variance};

/// The bootstrap of clusters: the interval of any figure of items that come in groups, such as texts of one source.
///
/// Items of a cluster resemble each other, so an interval that takes them for independent is too narrow. Each resample
/// draws as many clusters as there are, with replacement, and takes all items of each (Davison and Hinkley, Bootstrap
/// Methods and their Application, 1997, section 3.8). The interval is that of the percentiles; it is too narrow for
/// fewer than about 20 clusters.
///
/// ```
/// use safer_instruct::measure::{Bootstrap, cohen_kappa};
///
/// // The source of each text, and what two judges say about it.
/// let items: Vec<(usize, (bool, bool))> = (0..90).map(|n| (n / 3, (n % 2 == 0, n % 5 < 3))).collect();
/// let kappa = Bootstrap::new(42).estimate(&items, cohen_kappa).unwrap();
/// assert!(kappa.low < kappa.value && kappa.value < kappa.high);
/// ```
#[derive(Clone, Debug)]
pub struct Bootstrap {
    seed: u64,
    resamples: usize,
    confidence: f64,
}

impl Bootstrap {
    /// Makes a bootstrap whose resamples follow from the seed alone.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            resamples: 2_000,
            confidence: 0.95,
        }
    }

    /// Sets the number of resamples. By default 2,000.
    #[must_use]
    pub fn with_resamples(mut self, resamples: usize) -> Self {
        self.resamples = resamples;
        self
    }

    /// Sets the confidence of the interval. By default 0.95.
    #[must_use]
    pub fn with_confidence(mut self, confidence: f64) -> Self {
        self.confidence = confidence;
        self
    }

    /// The figure of all items, with the interval and the variance of the figures of the resamples.
    ///
    /// Each item comes with its cluster. Resamples in which the figure is not defined are left out. `None` if the
    /// figure is not defined for all items, or for more than one resample in ten; if there are fewer than two clusters
    /// or resamples; or if the confidence is none.
    #[must_use]
    pub fn estimate<K: Ord, T: Clone>(
        &self,
        items: &[(K, T)],
        figure: impl Fn(&[T]) -> Option<f64>,
    ) -> Option<Estimate> {
        z_of(self.confidence)?;
        let mut clusters: BTreeMap<&K, Vec<T>> = BTreeMap::new();
        for (cluster, item) in items {
            clusters.entry(cluster).or_default().push(item.clone());
        }
        let clusters: Vec<Vec<T>> = clusters.into_values().collect();
        if clusters.len() < 2 {
            return None;
        }
        let value = figure(&clusters.concat()).filter(|value| value.is_finite())?;
        let mut random = SplitMix64::new(self.seed);
        let mut figures = Vec::with_capacity(self.resamples);
        let mut drawn = Vec::with_capacity(items.len());
        for _ in 0..self.resamples {
            drawn.clear();
            for _ in 0..clusters.len() {
                let cluster = clusters.get(random.below(clusters.len()));
                drawn.extend(cluster.into_iter().flatten().cloned());
            }
            figures.extend(figure(&drawn).filter(|figure| figure.is_finite()));
        }
        if figures.len() * 10 < self.resamples * 9 {
            return None;
        }
        figures.sort_by(f64::total_cmp);
        let outside = (1.0 - self.confidence) / 2.0;
        Some(Estimate {
            value,
            variance: variance(&figures)?,
            low: quantile(&figures, outside)?,
            high: quantile(&figures, 1.0 - outside)?,
        })
    }
}

/// The quantile of sorted values, linear between two of them.
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let place = (sorted.len().checked_sub(1)? as f64 * share).max(0.0);
    let below = sorted.get(place.floor() as usize)?;
    let above = sorted.get(place.ceil() as usize)?;
    Some(below + (above - below) * place.fract())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn average(values: &[f64]) -> Option<f64> {
        crate::measure::vectors::mean(values)
    }

    #[test]
    fn what_cannot_be_resampled_is_none() {
        let items = [(1, 1.0), (1, 2.0), (2, 3.0), (2, 4.0)];
        let bootstrap = Bootstrap::new(1).with_resamples(50);
        assert!(bootstrap.estimate(&items, average).is_some());
        assert_eq!(bootstrap.estimate(&items[..2], average), None);
        assert_eq!(bootstrap.estimate(&items, |_| None), None);
        let all = |values: &[f64]| (values.contains(&1.0) && values.contains(&3.0)).then_some(1.0);
        assert_eq!(
            bootstrap.estimate(&items, all),
            None,
            "half of the resamples have no figure"
        );
        assert_eq!(
            bootstrap
                .clone()
                .with_resamples(1)
                .estimate(&items, average),
            None
        );
        assert_eq!(
            bootstrap.with_confidence(1.0).estimate(&items, average),
            None
        );
    }

    #[test]
    fn clusters_widen_the_interval() {
        let values: Vec<(usize, f64)> = (0..400)
            .map(|n| (n, f64::from(n as u32 / 10 % 2)))
            .collect();
        let alone = Bootstrap::new(1).estimate(&values, average).unwrap();
        let groups: Vec<(usize, f64)> = values.iter().map(|(n, value)| (n / 10, *value)).collect();
        let grouped = Bootstrap::new(1).estimate(&groups, average).unwrap();
        let ratio = grouped.std_error() / alone.std_error();
        assert!((ratio - 10_f64.sqrt()).abs() < 0.3, "{ratio}");
    }

    #[test]
    fn the_order_of_items_does_not_count_but_the_seed_does() {
        let mut items: Vec<(u32, f64)> = (0..30).map(|n| (n / 3, f64::from(n % 7))).collect();
        let first = Bootstrap::new(9).estimate(&items, average);
        items.reverse();
        let second = Bootstrap::new(9).estimate(&items, average);
        assert_eq!(first.unwrap().low, second.unwrap().low);
        assert_ne!(first, Bootstrap::new(10).estimate(&items, average));
    }
}
