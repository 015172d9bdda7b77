//! Runs of training.

use std::{
    fmt,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    example::Example, objective::Objective, policy::Policy, progress::TrainingEvent,
    schedule::Schedule, settings::Settings,
};
use crate::{
    backends::candle::Numbers,
    dataset::Existing,
    error::{Error, Result},
};

/// Trains the adapter of a [`Policy`] towards an [`Objective`].
///
/// A run has a folder of its own:
///
/// | file | what |
/// |---|---|
/// | `adapter_model.safetensors`, `adapter_config.json` | the adapter: the best by held-out loss, or the last if nothing is held out; PEFT, vLLM and [`CandleModel`](crate::backends::candle::CandleModel) load the folder |
/// | `metrics.jsonl` | every step and every evaluation |
/// | `checkpoint.safetensors` | what the run goes on from; while it runs, also `checkpoint.before.safetensors`, the one before |
/// | `reference.bin` | log-probabilities by the model that the run began with, for objectives that need them |
///
/// The same model, examples and settings give the same adapter, byte for byte on one machine, at any number of threads,
/// however often the run was interrupted.
pub struct Trainer<O> {
    pub(super) objective: O,
    pub(super) settings: Settings,
    pub(super) existing: Existing,
    pub(super) numbers: Numbers,
    pub(super) observer: Observer,
    pub(super) clock: Box<dyn Fn() -> Duration + Send + Sync>,
}

/// Receives every event, and may stop the run.
type Observer = Box<dyn Fn(&TrainingEvent) -> ControlFlow<()> + Send + Sync>;

impl<O: Objective> Trainer<O> {
    /// One epoch in batches of 8 examples, learning rate 5e-4 with a warm-up and half a cosine, gradients clipped at 1.
    pub fn new(objective: O) -> Self {
        let begin = Instant::now();
        Self {
            objective,
            settings: Settings::default(),
            existing: Existing::Refuse,
            numbers: Numbers::default(),
            observer: Box::new(|_| ControlFlow::Continue(())),
            clock: Box::new(move || begin.elapsed()),
        }
    }

    /// Sets the highest learning rate. By default 5e-4, which suits low-rank adapters.
    #[must_use]
    pub fn with_learning_rate(mut self, learning_rate: f64) -> Self {
        self.settings.learning_rate = learning_rate;
        self
    }

    /// Sets how the learning rate falls. By default [`Schedule::Cosine`].
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.settings.schedule = schedule;
        self
    }

    /// Sets in how many steps the learning rate rises, from 0 in the first of them; fewer than the run has. By default
    /// 10, or a tenth of all if that is less.
    #[must_use]
    pub fn with_warm_up(mut self, steps: usize) -> Self {
        self.settings.warm_up = Some(steps);
        self
    }

    /// Sets the examples of a step. By default 8.
    #[must_use]
    pub fn with_batch(mut self, examples: usize) -> Self {
        self.settings.batch = examples;
        self
    }

    /// Sets how many tokens run together; a batch of more is split, and its gradients are added up. It bounds memory: a
    /// token takes about 64 bytes for each value of the residual stream and each layer, 1.1 MB in SmolLM2-135M. By
    /// default 512. An example is never split.
    #[must_use]
    pub fn with_micro_batch(mut self, tokens: usize) -> Self {
        self.settings.micro_batch = tokens;
        self
    }

    /// Sets how often every example is seen. By default once.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.settings.epochs = epochs;
        self
    }

    /// Sets the number of steps; examples come again if they are too few. By default what the epochs need.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.settings.steps = Some(steps);
        self
    }

    /// Sets whether each epoch has an order of its own, chosen by the seed. By default true.
    #[must_use]
    pub fn with_shuffle(mut self, shuffle: bool) -> Self {
        self.settings.shuffle = shuffle;
        self
    }

    /// Sets how much of each parameter decays at a learning rate of 1 (arXiv 1711.05101). By default 0.
    #[must_use]
    pub fn with_weight_decay(mut self, weight_decay: f64) -> Self {
        self.settings.rates.weight_decay = weight_decay;
        self
    }

    /// Sets the length that a longer gradient is cut to. By default 1.
    #[must_use]
    pub fn with_max_gradient_norm(mut self, norm: f64) -> Self {
        self.settings.max_gradient_norm = norm;
        self
    }

    /// Sets the seed of the order of examples and of dropout. By default 0.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Sets the number of steps between two evaluations on the held-out examples; there is one more before the first
    /// step and after the last. By default 50; 0 leaves only these two.
    #[must_use]
    pub fn with_evaluation(mut self, every: usize) -> Self {
        self.settings.evaluate_every = every;
        self
    }

    /// Ends the run when so many evaluations in a row were no better than the best before. By default it goes to its
    /// end.
    #[must_use]
    pub fn with_patience(mut self, evaluations: usize) -> Self {
        self.settings.patience = Some(evaluations);
        self
    }

    /// Sets the number of steps between two checkpoints, which is what a kill can lose. By default 25.
    #[must_use]
    pub fn with_checkpoints(mut self, every: usize) -> Self {
        self.settings.checkpoint_every = every;
        self
    }

    /// Sets what to do if the folder holds a run already. By default it is refused.
    #[must_use]
    pub fn with_existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Sets in what numbers the adapter is written. By default [`Numbers::F32`].
    #[must_use]
    pub fn with_numbers(mut self, numbers: Numbers) -> Self {
        self.numbers = numbers;
        self
    }

    /// Sets an observer that receives every event; it stops the run, after a checkpoint, with [`ControlFlow::Break`].
    /// By default there is none.
    #[must_use]
    pub fn with_observer(
        mut self,
        observer: impl Fn(&TrainingEvent) -> ControlFlow<()> + Send + Sync + 'static,
    ) -> Self {
        self.observer = Box::new(observer);
        self
    }

    /// Sets the clock that steps are timed with: it gives the time since any fixed moment. By default the system's
    /// monotonic one. It has no part in the result.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// Whether the settings can work, before examples are made.
    ///
    /// # Errors
    /// [`Error::Config`] if an option cannot.
    pub fn check_settings(&self) -> Result<()> {
        self.settings.check()
    }

    /// Whether [`run`](Self::run) can begin, as far as settings and examples say.
    ///
    /// # Errors
    /// [`Error::Config`] if there is nothing to train on or an option cannot work.
    pub fn check(&self, policy: &Policy, examples: &[Example], held_out: &[Example]) -> Result<()> {
        self.settings.check()?;
        if examples.is_empty() {
            return Err(Error::config("examples", "there is nothing to train on"));
        }
        for (field, examples) in [("examples", examples), ("held_out", held_out)] {
            for (at, example) in examples.iter().enumerate() {
                self.check_example(policy, field, at, example)?;
            }
        }
        self.settings.check_warm_up(examples.len())
    }

    fn check_example(
        &self,
        policy: &Policy,
        field: &'static str,
        at: usize,
        example: &Example,
    ) -> Result<()> {
        let vocabulary = policy.model.vocabulary();
        let reason = if example.sequences.len() != self.objective.sequences() {
            format!(
                "it has {} completions, and {} needs {}",
                example.sequences.len(),
                self.objective.name(),
                self.objective.sequences()
            )
        } else if !example.is_whole() {
            "its prompt or a completion is empty".to_owned()
        } else if example.longest() > policy.model.positions() {
            format!(
                "it has {} tokens, more than the context of {}",
                example.longest(),
                policy.model.positions()
            )
        } else if let Some(id) = example.highest().filter(|id| *id as usize >= vocabulary) {
            format!("it has the token {id}, and the model has {vocabulary} tokens, counted from 0")
        } else {
            return Ok(());
        };
        Err(Error::config(
            field,
            format!("example {at} cannot be trained on: {reason}"),
        ))
    }
}

impl<O: Objective> fmt::Debug for Trainer<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer")
            .field("objective", &self.objective.name())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
