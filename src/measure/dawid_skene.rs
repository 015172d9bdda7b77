//! The accuracy of judges without known items.

use serde::{Deserialize, Serialize};

use super::{jury::Consensus, vectors::softmax};

const MAX_ITERATIONS: usize = 2_000;
/// The greatest change of a probability at which the fit is over.
const TOLERANCE: f64 = 1e-12;

/// What votes alone say about judges and items (Dawid and Skene, Applied Statistics 1979).
///
/// Each judge has a table of how often it gives each category to items of each true one; all that is known of the true
/// ones is what the judges say. The fit of the greatest likelihood alternates between the two (EM), from the shares of
/// the votes of each item. It supposes that judges err independently: judges that make the same mistakes pass for
/// right. With a few items the tables are rough.
///
/// ```
/// use safer_instruct::measure::DawidSkene;
///
/// // Two judges that agree and one that says the opposite half of the time. One vote is missing.
/// let votes: Vec<[Option<usize>; 3]> =
///     (0..40).map(|n| [Some(n % 2), (n != 3).then_some(n % 2), Some(n / 2 % 2)]).collect();
/// let jury = DawidSkene::fit(&votes, 2).unwrap();
/// assert!(jury.accuracy(0).unwrap() > 0.99 && jury.accuracy(2).unwrap() < 0.6);
/// assert_eq!(jury.consensus(3).unwrap().category, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DawidSkene {
    /// How frequent each category is among the items.
    pub prevalence: Vec<f64>,
    /// Of each judge, for each true category, the probabilities of what it says: `confusion[judge][true][said]`. The
    /// row of a true category of which it saw nothing is even.
    pub confusion: Vec<Vec<Vec<f64>>>,
    /// Of each item, the probabilities of the categories: `posteriors[item][category]`.
    pub posteriors: Vec<Vec<f64>>,
    /// How many rounds were made.
    pub iterations: usize,
    /// Whether the last round changed nothing more; otherwise it is as far as 2,000 rounds come.
    pub converged: bool,
}

impl DawidSkene {
    /// Fits judges and items to votes: of each item, the category that each judge gave, counted from 0, or `None`.
    ///
    /// `None` if there is no vote at all, fewer than two categories, a vote for another one, or not the same number of
    /// judges for every item.
    #[must_use]
    pub fn fit<V: AsRef<[Option<usize>]>>(votes: &[V], categories: usize) -> Option<Self> {
        let judges = votes.first()?.as_ref().len();
        let even = votes.iter().all(|item| item.as_ref().len() == judges);
        let mut given = votes.iter().flat_map(|item| item.as_ref()).flatten();
        let known = given.clone().all(|vote| *vote < categories);
        if !even || !known || categories < 2 || given.next().is_none() {
            return None;
        }
        let shares = |item: &V| -> Vec<f64> {
            let mut counts = vec![0.0; categories];
            for vote in item.as_ref().iter().flatten() {
                add(&mut counts, *vote, 1.0);
            }
            normalised(counts)
        };
        let posteriors = votes.iter().map(shares).collect();
        let mut fit = Self {
            prevalence: Vec::new(),
            confusion: Vec::new(),
            posteriors,
            iterations: 0,
            converged: false,
        };
        fit.judge_the_judges(votes, judges, categories);
        while !fit.converged && fit.iterations < MAX_ITERATIONS {
            let change = fit.judge_the_items(votes);
            fit.judge_the_judges(votes, judges, categories);
            fit.iterations += 1;
            fit.converged = change < TOLERANCE;
        }
        Some(fit)
    }

    /// The share of items that a judge gives their true category, over the categories as frequent as they are; `None`
    /// if there is no such judge.
    #[must_use]
    pub fn accuracy(&self, judge: usize) -> Option<f64> {
        let table = self.confusion.get(judge)?.iter().enumerate();
        let right = table.map(|(category, row)| row.get(category).copied().unwrap_or(0.0));
        let weighted = right.zip(&self.prevalence).map(|(right, p)| right * p);
        Some(weighted.sum())
    }

    /// The most probable category of an item; `None` if there is no such item, or two are as probable.
    #[must_use]
    pub fn consensus(&self, item: usize) -> Option<Consensus<usize>> {
        let probabilities = self.posteriors.get(item)?;
        let top = probabilities.iter().copied().fold(0.0, f64::max);
        let mut best = (0..).zip(probabilities).filter(|(_, p)| **p == top);
        let (category, probability) = best.next().map(|(category, p)| (category, *p))?;
        best.next().is_none().then_some(Consensus {
            category,
            probability,
        })
    }

    /// The step M: prevalence and tables from what is thought of the items.
    fn judge_the_judges<V: AsRef<[Option<usize>]>>(
        &mut self,
        votes: &[V],
        judges: usize,
        categories: usize,
    ) {
        let mut prevalence = vec![0.0; categories];
        let mut confusion = vec![vec![vec![0.0; categories]; categories]; judges];
        for (item, posterior) in votes.iter().zip(&self.posteriors) {
            for (sum, p) in prevalence.iter_mut().zip(posterior) {
                *sum += p;
            }
            for (table, vote) in confusion.iter_mut().zip(item.as_ref()) {
                let Some(vote) = vote else { continue };
                for (row, p) in table.iter_mut().zip(posterior) {
                    add(row, *vote, *p);
                }
            }
        }
        let tables = confusion.into_iter();
        let rows = |table: Vec<Vec<f64>>| table.into_iter().map(normalised).collect();
        self.confusion = tables.map(rows).collect();
        self.prevalence = normalised(prevalence);
    }

    /// The step E: what is thought of the items from prevalence and tables. Gives the greatest change.
    fn judge_the_items<V: AsRef<[Option<usize>]>>(&mut self, votes: &[V]) -> f64 {
        let prior: Vec<f64> = self.prevalence.iter().map(|p| p.ln()).collect();
        let logs = |table: &Vec<Vec<f64>>| -> Vec<Vec<f64>> {
            let rows = table.iter();
            rows.map(|row| row.iter().map(|p| p.ln()).collect())
                .collect()
        };
        let tables: Vec<Vec<Vec<f64>>> = self.confusion.iter().map(logs).collect();
        let mut change = 0.0_f64;
        for (item, posterior) in votes.iter().zip(&mut self.posteriors) {
            let mut weights = prior.clone();
            for (table, vote) in tables.iter().zip(item.as_ref()) {
                let Some(vote) = vote else { continue };
                for (weight, row) in weights.iter_mut().zip(table) {
                    *weight += row.get(*vote).copied().unwrap_or(0.0);
                }
            }
            let next = softmax(&weights);
            let changes = next
                .iter()
                .zip(posterior.iter())
                .map(|(new, old)| (new - old).abs());
            change = changes.fold(change, f64::max);
            *posterior = next;
        }
        change
    }
}

fn add(counts: &mut [f64], at: usize, amount: f64) {
    if let Some(count) = counts.get_mut(at) {
        *count += amount;
    }
}

/// Shares of the sum; even ones if it is 0.
fn normalised(counts: Vec<f64>) -> Vec<f64> {
    let (sum, n) = (counts.iter().sum::<f64>(), counts.len() as f64);
    let share = |count: f64| if sum > 0.0 { count / sum } else { 1.0 / n };
    counts.into_iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_fitted_is_none() {
        assert_eq!(DawidSkene::fit::<Vec<Option<usize>>>(&[], 2), None);
        assert_eq!(DawidSkene::fit(&[[None, None]], 2), None);
        assert_eq!(DawidSkene::fit(&[[Some(0), Some(2)]], 2), None);
        assert_eq!(DawidSkene::fit(&[[Some(0)]], 1), None);
        assert_eq!(
            DawidSkene::fit(&[vec![Some(0)], vec![Some(0), Some(1)]], 2),
            None
        );
    }

    #[test]
    fn zeros_are_no_trouble() {
        let fit = DawidSkene::fit(&[[Some(0), Some(0)], [Some(0), None], [None, None]], 3).unwrap();
        assert!(fit.converged);
        assert!((fit.prevalence.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(fit.consensus(0).unwrap().category, 0);
        assert!(fit.posteriors.iter().flatten().all(|p| p.is_finite()));
        assert_eq!(fit.consensus(3), None);
        assert_eq!(fit.accuracy(2), None);
    }
}
