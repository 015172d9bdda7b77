//! Objectives: what training minimises.

use crate::error::{Error, Result};

/// What a model says of one sequence of an [`Example`](super::Example).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The log-probability of the completion: the sum over its tokens, in nats.
    pub logprob: f64,
    /// The same by the model that training began with; 0 if the objective does not ask for it.
    pub reference: f64,
    /// Tokens of the completion.
    pub tokens: usize,
}

/// The loss of one example and its slope.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// The loss, times what the example weighs in a step.
    pub value: f64,
    /// What it weighs, above 0. It may depend on [`Score::tokens`], not on log-probabilities.
    pub weight: f64,
    /// The derivative of `value` in the log-probability of each sequence.
    pub slopes: Vec<f64>,
    /// What a preference says of the two sequences, if the objective knows one.
    pub rewards: Option<Rewards>,
}

/// The implicit rewards of a preference pair, `beta (log p - log p_reference)` (arXiv 2305.18290, equation 5).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rewards {
    /// Of the better response.
    pub chosen: f64,
    /// Of the worse one.
    pub rejected: f64,
}

/// A loss of log-probabilities.
///
/// The loss of a step is the sum of the [`value`](Loss::value)s of its examples over the sum of their
/// [`weight`](Loss::weight)s, and training follows its gradient. An objective of your own needs the formula and its
/// derivative, and no tensors; [`check_slopes`] tells whether the two fit each other.
///
/// ```
/// use safer_instruct::train::{Loss, Objective, Score, check_slopes};
///
/// /// SimPO (arXiv 2405.14734, equation 6): no reference, rewards by length, a margin between them.
/// struct SimPo {
///     beta: f64,
///     gamma: f64,
/// }
///
/// impl Objective for SimPo {
///     fn name(&self) -> String {
///         format!("simpo(beta={}, gamma={})", self.beta, self.gamma)
///     }
///
///     fn sequences(&self) -> usize {
///         2
///     }
///
///     fn needs_reference(&self) -> bool {
///         false
///     }
///
///     fn loss(&self, scores: &[Score]) -> Loss {
///         let length = |score: &Score| score.tokens as f64;
///         let (chosen, rejected) = (&scores[0], &scores[1]);
///         let reward = |score: &Score| self.beta * score.logprob / length(score);
///         let margin = reward(chosen) - reward(rejected) - self.gamma;
///         let slope = -1.0 / (1.0 + margin.exp());
///         Loss {
///             value: (-margin).exp().ln_1p(),
///             weight: 1.0,
///             slopes: vec![slope * self.beta / length(chosen), -slope * self.beta / length(rejected)],
///             rewards: None,
///         }
///     }
/// }
///
/// check_slopes(&SimPo { beta: 2.0, gamma: 1.0 })?;
/// # Ok::<_, safer_instruct::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no objective of training",
    note = "take `Sft`, `Dpo` or `Ipo`, or implement `loss` and its slopes"
)]
pub trait Objective: Send + Sync {
    /// Its name and settings, which a run is known by: a run goes on only with the objective that it began with.
    fn name(&self) -> String;
    /// How many sequences an example has: 1, or 2 for a preference, the chosen one first.
    fn sequences(&self) -> usize;
    /// Whether [`Score::reference`] is needed.
    fn needs_reference(&self) -> bool;
    /// The loss of one example, of so many scores.
    fn loss(&self, scores: &[Score]) -> Loss;
}

macro_rules! forward {
    ($($pointer:ty),+) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<O: Objective + ?Sized> Objective for $pointer {
            fn name(&self) -> String {
                (**self).name()
            }

            fn sequences(&self) -> usize {
                (**self).sequences()
            }

            fn needs_reference(&self) -> bool {
                (**self).needs_reference()
            }

            fn loss(&self, scores: &[Score]) -> Loss {
                (**self).loss(scores)
            }
        }
    )+};
}
forward!(&O, Box<O>, std::sync::Arc<O>);

/// Supervised fine-tuning: the mean negative log-probability of a completion's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sft;

impl Objective for Sft {
    fn name(&self) -> String {
        "sft".to_owned()
    }

    fn sequences(&self) -> usize {
        1
    }

    fn needs_reference(&self) -> bool {
        false
    }

    fn loss(&self, scores: &[Score]) -> Loss {
        Loss {
            value: -scores.iter().map(|score| score.logprob).sum::<f64>(),
            weight: scores.iter().map(|score| score.tokens as f64).sum(),
            slopes: vec![-1.0; scores.len()],
            rewards: None,
        }
    }
}

/// Direct preference optimization with the sigmoid loss (arXiv 2305.18290, equation 7):
/// `-log sigmoid(m)` with `m = beta ((log p - log p_reference)(chosen) - (log p - log p_reference)(rejected))`.
///
/// With label smoothing `e` it is `-(1 - e) log sigmoid(m) - e log sigmoid(-m)`, for preferences of which a share `e`
/// is wrong (conservative DPO; `huggingface/trl`, `DPOTrainer`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dpo {
    beta: f64,
    label_smoothing: f64,
}

impl Default for Dpo {
    fn default() -> Self {
        Self {
            beta: 0.1,
            label_smoothing: 0.0,
        }
    }
}

impl Dpo {
    /// With a beta of 0.1 and no label smoothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how near the model is held to where it began; higher is nearer. By default 0.1.
    ///
    /// # Errors
    /// [`Error::Config`] unless it is a number above 0.
    pub fn with_beta(mut self, beta: f64) -> Result<Self> {
        self.beta = positive("beta", beta)?;
        Ok(self)
    }

    /// Sets the share of preferences that is taken to be wrong. By default 0.
    ///
    /// # Errors
    /// [`Error::Config`] unless it is at least 0 and below 0.5.
    pub fn with_label_smoothing(mut self, share: f64) -> Result<Self> {
        if !(0.0..0.5).contains(&share) {
            let reason = format!("{share} cannot be; it is at least 0 and below 0.5");
            return Err(Error::config("label_smoothing", reason));
        }
        self.label_smoothing = share;
        Ok(self)
    }
}

impl Objective for Dpo {
    fn name(&self) -> String {
        let Self {
            beta,
            label_smoothing,
        } = self;
        format!("dpo(beta={beta}, label_smoothing={label_smoothing})")
    }

    fn sequences(&self) -> usize {
        2
    }

    fn needs_reference(&self) -> bool {
        true
    }

    fn loss(&self, scores: &[Score]) -> Loss {
        let rewards = rewards(scores, self.beta);
        let margin = rewards.chosen - rewards.rejected;
        let wrong = self.label_smoothing;
        let value = (1.0 - wrong) * softplus(-margin) + wrong * softplus(margin);
        let slope = wrong * sigmoid(margin) - (1.0 - wrong) * sigmoid(-margin);
        Loss {
            value,
            weight: 1.0,
            slopes: vec![slope * self.beta, -slope * self.beta],
            rewards: Some(rewards),
        }
    }
}

/// Identity preference optimization (arXiv 2310.12036, equation 17): `(h - 1 / (2 beta))^2`, where `h` is how much more
/// the model prefers the chosen response than its reference does. It does not diverge where preferences are certain.
///
/// `h` is taken of mean log-probabilities of tokens, so that long responses do not weigh more (as in `huggingface/trl`,
/// `DPOTrainer` with `loss_type="ipo"`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ipo {
    beta: f64,
}

impl Default for Ipo {
    fn default() -> Self {
        Self { beta: 0.1 }
    }
}

impl Ipo {
    /// With a beta of 0.1.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets beta, called tau in the paper: the margin that is aimed at is `1 / (2 beta)`. By default 0.1.
    ///
    /// # Errors
    /// [`Error::Config`] unless it is a number above 0.
    pub fn with_beta(mut self, beta: f64) -> Result<Self> {
        self.beta = positive("beta", beta)?;
        Ok(self)
    }
}

impl Objective for Ipo {
    fn name(&self) -> String {
        format!("ipo(beta={})", self.beta)
    }

    fn sequences(&self) -> usize {
        2
    }

    fn needs_reference(&self) -> bool {
        true
    }

    fn loss(&self, scores: &[Score]) -> Loss {
        let length = |score: &Score| score.tokens.max(1) as f64;
        let ratio = |score: &Score| (score.logprob - score.reference) / length(score);
        let mut ratios = scores.iter().map(ratio);
        let mut next = || ratios.next().unwrap_or_default();
        let off = next() - next() - 1.0 / (2.0 * self.beta);
        let signs = [2.0 * off, -2.0 * off];
        Loss {
            value: off * off,
            weight: 1.0,
            slopes: signs
                .iter()
                .zip(scores)
                .map(|(sign, score)| sign / length(score))
                .collect(),
            rewards: Some(rewards(scores, self.beta)),
        }
    }
}

fn rewards(scores: &[Score], beta: f64) -> Rewards {
    let mut rewards = scores
        .iter()
        .map(|score| beta * (score.logprob - score.reference));
    Rewards {
        chosen: rewards.next().unwrap_or_default(),
        rejected: rewards.next().unwrap_or_default(),
    }
}

fn positive(field: &str, value: f64) -> Result<f64> {
    if value > 0.0 && value.is_finite() {
        Ok(value)
    } else {
        Err(Error::config(
            field,
            format!("{value} cannot be; it is a number above 0"),
        ))
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `log(1 + exp(x))`, without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// Compares the slopes of an objective with finite differences of its loss, at a few log-probabilities.
///
/// # Errors
/// [`Error::Other`] if one is off by more than a thousandth, or if there are not as many slopes as sequences.
pub fn check_slopes<O: Objective + ?Sized>(objective: &O) -> Result<()> {
    let wrong = |reason: String| Err(Error::Other(reason.into()));
    for case in 0..24u32 {
        let scores: Vec<Score> = (0..objective.sequences() as u32)
            .map(|at| {
                let spread = f64::from((case * 37 + at * 61) % 29);
                Score {
                    logprob: -5.0 - spread,
                    reference: if objective.needs_reference() {
                        -18.0 + f64::from(case % 5)
                    } else {
                        0.0
                    },
                    tokens: 3 + (case + 2 * at) as usize,
                }
            })
            .collect();
        let loss = objective.loss(&scores);
        if loss.slopes.len() != scores.len() {
            return wrong(format!(
                "{} sequences have {} slopes",
                scores.len(),
                loss.slopes.len()
            ));
        }
        for (at, slope) in loss.slopes.iter().enumerate() {
            let moved = |by: f64| {
                let mut moved = scores.clone();
                if let Some(score) = moved.get_mut(at) {
                    score.logprob += by;
                }
                objective.loss(&moved).value
            };
            let step = 1e-4;
            let right = (moved(step) - moved(-step)) / (2.0 * step);
            let fits = (right - slope).abs() <= 1e-3 * right.abs().max(1e-3);
            // A NaN fits nothing.
            if !fits {
                return wrong(format!(
                    "the slope in the log-probability of sequence {at} is {slope}, but the loss rises by {right}"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(logprob: f64, reference: f64, tokens: usize) -> Score {
        Score {
            logprob,
            reference,
            tokens,
        }
    }

    #[test]
    fn slopes_fit_their_losses() {
        check_slopes(&Sft).unwrap();
        check_slopes(&Dpo::new()).unwrap();
        check_slopes(
            &Dpo::new()
                .with_beta(0.5)
                .unwrap()
                .with_label_smoothing(0.2)
                .unwrap(),
        )
        .unwrap();
        check_slopes(&Ipo::new().with_beta(0.3).unwrap()).unwrap();
    }

    #[test]
    fn a_wrong_slope_is_found() {
        struct Wrong;
        impl Objective for Wrong {
            fn name(&self) -> String {
                "wrong".to_owned()
            }
            fn sequences(&self) -> usize {
                2
            }
            fn needs_reference(&self) -> bool {
                true
            }
            fn loss(&self, scores: &[Score]) -> Loss {
                let mut loss = Dpo::new().loss(scores);
                loss.slopes[1] *= -1.0;
                loss
            }
        }
        assert!(check_slopes(&Wrong).is_err());
    }

    #[test]
    fn losses_are_the_formulas() {
        let sft = Sft.loss(&[score(-12.0, 0.0, 4)]);
        assert_eq!((sft.value, sft.weight), (12.0, 4.0));

        let scores = [score(-10.0, -12.0, 5), score(-20.0, -19.0, 8)];
        let dpo = Dpo::new().loss(&scores);
        // m = 0.1 (2 + 1)
        assert!((dpo.value - (1.0 + (-0.3f64).exp()).ln()).abs() < 1e-12);
        let rewards = dpo.rewards.unwrap();
        assert!((rewards.chosen - 0.2).abs() < 1e-12 && (rewards.rejected + 0.1).abs() < 1e-12);
        let smooth = Dpo::new().with_label_smoothing(0.1).unwrap().loss(&scores);
        let right = 0.9 * (1.0 + (-0.3f64).exp()).ln() + 0.1 * (1.0 + 0.3f64.exp()).ln();
        assert!((smooth.value - right).abs() < 1e-12);

        // h = 2 / 5 + 1 / 8
        let ipo = Ipo::new().loss(&scores);
        assert!((ipo.value - (0.525f64 - 5.0).powi(2)).abs() < 1e-9);
        // Far away nothing overflows.
        let far = [score(0.0, -1e6, 1), score(-1e6, 0.0, 1)];
        assert_eq!(Dpo::new().loss(&far).value, 0.0);
        assert!(Dpo::new().with_beta(f64::NAN).is_err());
        assert!(Dpo::new().with_label_smoothing(0.5).is_err());
    }
}
