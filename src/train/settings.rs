//! How a run is made.

use serde_json::{Value, json};

use super::{adam::Rates, schedule::Schedule};
use crate::error::{Error, Result};

/// What a run is made with; see the setters of [`Trainer`](super::Trainer).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Settings {
    pub(super) learning_rate: f64,
    pub(super) schedule: Schedule,
    pub(super) warm_up: Option<usize>,
    pub(super) batch: usize,
    pub(super) micro_batch: usize,
    pub(super) epochs: usize,
    pub(super) steps: Option<usize>,
    pub(super) shuffle: bool,
    pub(super) rates: Rates,
    pub(super) max_gradient_norm: f64,
    pub(super) seed: u64,
    pub(super) evaluate_every: usize,
    pub(super) patience: Option<usize>,
    pub(super) checkpoint_every: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            learning_rate: 5e-4,
            schedule: Schedule::Cosine,
            warm_up: None,
            batch: 8,
            micro_batch: 512,
            epochs: 1,
            steps: None,
            shuffle: true,
            rates: Rates {
                betas: (0.9, 0.999),
                epsilon: 1e-8,
                weight_decay: 0.0,
            },
            max_gradient_norm: 1.0,
            seed: 0,
            evaluate_every: 50,
            patience: None,
            checkpoint_every: 25,
        }
    }
}

impl Settings {
    pub(super) fn check(&self) -> Result<()> {
        let rate = self.learning_rate;
        if !(rate > 0.0 && rate.is_finite()) {
            return Err(Error::config(
                "learning_rate",
                format!("{rate} cannot be; it is above 0"),
            ));
        }
        for (field, value) in [
            ("batch", self.batch),
            ("micro_batch", self.micro_batch),
            ("epochs", self.epochs),
            ("steps", self.steps.unwrap_or(1)),
            ("checkpoint_every", self.checkpoint_every),
        ] {
            if value == 0 {
                return Err(Error::config(field, "0 cannot be; set at least 1"));
            }
        }
        let norm = self.max_gradient_norm;
        if norm.is_nan() || norm <= 0.0 {
            return Err(Error::config(
                "max_gradient_norm",
                format!("{norm} cannot be; it is above 0"),
            ));
        }
        let decay = self.rates.weight_decay;
        if !(0.0..1.0).contains(&decay) {
            return Err(Error::config(
                "weight_decay",
                format!("{decay} cannot be; it is at least 0 and below 1"),
            ));
        }
        Ok(())
    }

    /// Refuses a warm-up that is all of a run over so many examples.
    pub(super) fn check_warm_up(&self, examples: usize) -> Result<()> {
        let steps = self.total_steps(examples);
        let warm_up = self.warm_up(steps);
        if warm_up < steps {
            return Ok(());
        }
        let reason =
            format!("{warm_up} steps are not fewer than the {steps} of the run; set fewer");
        Err(Error::config("warm_up", reason))
    }

    /// Steps of a run over so many examples.
    pub(super) fn total_steps(&self, examples: usize) -> usize {
        let all = self.epochs.saturating_mul(examples.div_ceil(self.batch));
        self.steps.unwrap_or(all)
    }

    /// Steps of the warm-up of a run of so many steps.
    pub(super) fn warm_up(&self, steps: usize) -> usize {
        self.warm_up.unwrap_or(10.min(steps / 10))
    }

    /// What the result depends on. So a run may go on with other checkpoints.
    pub(super) fn fingerprint(&self, examples: usize) -> Value {
        json!({
            "learning_rate": self.learning_rate,
            "schedule": format!("{:?}", self.schedule),
            "warm_up": self.warm_up(self.total_steps(examples)),
            "batch": self.batch,
            "micro_batch": self.micro_batch,
            "steps": self.total_steps(examples),
            "shuffle": self.shuffle,
            "betas": self.rates.betas,
            "epsilon": self.rates.epsilon,
            "weight_decay": self.rates.weight_decay,
            "max_gradient_norm": self.max_gradient_norm,
            "seed": self.seed,
            "evaluate_every": self.evaluate_every,
            "patience": self.patience,
        })
    }
}
