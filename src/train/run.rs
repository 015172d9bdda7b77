//! One run: its steps, evaluations and checkpoints.

use std::{ops::ControlFlow, path::Path};

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};

use super::{
    Trainer,
    adam::{Adam, norm},
    checkpoint::{self, Place, State},
    example::{Example, hash, hash_of},
    folder,
    objective::{Loss, Objective, Rewards, Score},
    policy::{Policy, sequences, sums},
    progress::{Evaluation, Metrics, Reference, Step, TrainingEvent, TrainingReport},
    reference,
};
use crate::{
    dataset::Existing,
    error::{Error, Result},
};

/// The running mean runs away when it is so many times its lowest value, and so much above it.
const RUNAWAY: (f64, f64) = (2.0, 2.0);
/// From these values on, which are half of the way there, a checkpoint is in doubt: it never becomes the one before.
const DOUBT: (f64, f64) = (1.5, 1.0);
/// Micro-batches of log-probabilities by the reference that a kill can lose at most.
const UNSAVED: usize = 64;

struct Run<'a, O> {
    trainer: &'a Trainer<O>,
    policy: &'a Policy,
    examples: &'a [Example],
    held_out: &'a [Example],
    folder: &'a Path,
    fingerprint: Value,
    /// Of every sequence, those of `examples` first; empty if they are not needed.
    references: Vec<f64>,
    state: State,
    metrics: Metrics,
    steps: usize,
}

impl<O: Objective> Trainer<O> {
    /// Trains on the examples, into the folder, and blocks until it is done. What is held out is never trained on.
    ///
    /// # Errors
    /// [`Error::Config`] if there is nothing to train on or an option cannot work; [`Error::Input`] if the folder holds
    /// another run, or the adapter that training begins with is in it and is to be overwritten; [`Error::Io`] if a file
    /// cannot be written, or another process trains into the folder; [`Error::Model`] if the loss runs away (diverges):
    /// then the best adapter is there, or that of the checkpoint before the last one if nothing is held out. A loss
    /// runs away when its running mean (of the first ten, then keeping 0.9 of itself a step) is more than 2 times its
    /// lowest value and more than 2 above it; the first five, which can be easy ones, are compared with the first
    /// alone, and 2 more above it. A checkpoint that is written from half-way there on (1.5 times and 1 above), or
    /// because the run was stopped, never becomes the one before, so the one before was followed by enough steps to
    /// know that it is good.
    pub fn run(
        &self,
        policy: &Policy,
        examples: &[Example],
        held_out: &[Example],
        folder: &Path,
    ) -> Result<TrainingReport> {
        self.check(policy, examples, held_out)?;
        if self.existing == Existing::Overwrite && policy.begins_in(folder) {
            let reason = "training begins with the adapter in this folder, which overwriting would remove first; take another folder";
            return Err(Error::input(folder, None, reason));
        }
        Run::open(self, policy, examples, held_out, folder, self.existing)?.finish()
    }
}

impl<'a, O: Objective> Run<'a, O> {
    /// Begins a run, or goes on with the one in the folder.
    fn open(
        trainer: &'a Trainer<O>,
        policy: &'a Policy,
        examples: &'a [Example],
        held_out: &'a [Example],
        folder: &'a Path,
        existing: Existing,
    ) -> Result<Self> {
        let mut fingerprint = json!({
            "model": policy.model.hash(),
            "objective": trainer.objective.name(),
            "adapter": {
                "rank": policy.lora.rank,
                "alpha": policy.lora.alpha,
                "dropout": policy.lora.dropout,
                "targets": format!("{:?}", policy.lora.targets),
                "rank_stabilised": policy.lora.rank_stabilised,
                "initial adapter": hash_of(&policy.initial),
                "base": policy.base,
                "numbers": format!("{:?}", trainer.numbers),
            },
            "settings": trainer.settings.fingerprint(examples.len()),
            "examples": hash(examples),
            "held_out": hash(held_out),
        });
        // A build with other dependencies may keep keys in the order in which they were inserted.
        fingerprint.sort_all_objects();
        let metrics = folder::open(folder, existing)?;
        let len = policy.initial.len();
        let found = State::load(folder, &fingerprint, len)?;
        let has_best = |state: &State| state.place.best_step.is_some();
        if found.as_ref().is_some_and(has_best) && !folder::has_whole_adapter(folder) {
            let reason = "the adapter of its best evaluation is gone; overwrite this run, or take another folder";
            return Err(Error::input(folder, None, reason));
        }
        // Before its first step a run has nothing to go on from.
        let found = found.filter(|state| state.place.step > 0);
        let state = found.unwrap_or_else(|| State {
            place: Place::default(),
            parameters: policy.initial.clone(),
            adam: Adam::new(len),
        });
        let metrics = Metrics::open(folder, metrics, state.place.step)?;
        Ok(Self {
            trainer,
            policy,
            examples,
            held_out,
            folder,
            fingerprint,
            references: Vec::new(),
            state,
            metrics,
            steps: trainer.settings.total_steps(examples.len()),
        })
    }

    /// Makes the steps that are left.
    fn finish(mut self) -> Result<TrainingReport> {
        let mut stopped = false;
        if self.trainer.objective.needs_reference() && self.add_references()?.is_break() {
            return Ok(self.report(self.state.place.best_step.unwrap_or_default(), true));
        }
        if self.state.place.step == 0 {
            // Before the first adapter, so that an adapter without a checkpoint is never a run that was killed.
            self.state.place.sound = true;
            self.save()?;
        }
        if self.state.place.step == 0 && !self.held_out.is_empty() {
            stopped = self.evaluate()?.is_break();
            self.save()?;
        }
        while !stopped && !self.state.place.ended && self.state.place.step < self.steps {
            let event = self.step()?;
            stopped = self.tell(&TrainingEvent::Step(event))?.is_break();
            let (step, settings) = (self.state.place.step, &self.trainer.settings);
            let last = step == self.steps;
            let due = settings.evaluate_every > 0 && step.is_multiple_of(settings.evaluate_every);
            if !self.held_out.is_empty() && (last || due) {
                stopped |= self.evaluate()?.is_break();
            }
            let over = last || self.state.place.ended;
            let due = step.is_multiple_of(self.trainer.settings.checkpoint_every);
            if over {
                self.save()?;
                checkpoint::forget(self.folder)?;
            } else if due || stopped {
                // Only a sound one becomes the one before, and only when the next sound one comes: one that is written
                // because the run is stopped, or while the loss is in doubt, is followed by too little.
                let sound = due && !self.state.place.rises(DOUBT);
                let was_sound = std::mem::replace(&mut self.state.place.sound, sound);
                if was_sound && (sound || !checkpoint::has_before(self.folder)) {
                    checkpoint::keep(self.folder)?;
                }
                self.save()?;
            }
        }
        let best_step = if self.held_out.is_empty() {
            self.write()?;
            self.state.place.step
        } else {
            self.state.place.best_step.unwrap_or_default()
        };
        Ok(self.report(best_step, stopped))
    }

    fn report(&self, best_step: usize, stopped: bool) -> TrainingReport {
        let place = &self.state.place;
        TrainingReport {
            steps: place.step,
            tokens: place.tokens,
            loss: place.smooth_loss,
            held_out_before: place.held_out_first,
            held_out_best: place.best_loss,
            best_step,
            stopped: stopped && !place.ended && place.step < self.steps,
        }
    }

    fn step(&mut self) -> Result<Step> {
        let settings = &self.trainer.settings;
        let begin = (self.trainer.clock)();
        let at = self.state.place.step;
        let batch = self.batch(at);
        let weight = self.weight(&batch);
        let dropout = (self.policy.lora.dropout > 0.0)
            .then(|| settings.seed ^ (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut gradient = vec![0.0; self.state.parameters.len()];
        let mut losses = Vec::new();
        for (number, part) in self.micro_batches(&batch).into_iter().enumerate() {
            let examples: Vec<&Example> = part
                .iter()
                .filter_map(|at| self.examples.get(*at))
                .collect();
            let sequences = sequences(&examples);
            let seed = dropout.map(|seed| seed.wrapping_add((number as u64) << 32));
            let (objective, references) = (&self.trainer.objective, self.of(part, 0));
            let part_losses = &mut losses;
            self.policy.model.gradient(
                &sequences,
                &self.state.parameters,
                seed,
                &mut gradient,
                |logprobs| {
                    let sums = sums(&sequences, logprobs);
                    let scores = scores(&examples, &sums, &references);
                    let found: Vec<Loss> =
                        scores.iter().map(|scores| objective.loss(scores)).collect();
                    let slopes = found.iter().flat_map(|loss| &loss.slopes);
                    let spread = slopes.zip(&sequences).flat_map(|(slope, sequence)| {
                        std::iter::repeat_n(slope / weight, sequence.scored)
                    });
                    let spread = spread.collect();
                    part_losses.extend(found);
                    spread
                },
            )?;
        }
        let each = self.trainer.objective.sequences();
        if let Some(loss) = losses.iter().find(|loss| loss.slopes.len() != each) {
            let count = loss.slopes.len();
            let name = self.trainer.objective.name();
            let reason = format!("the objective {name} gives {count} slopes for {each} sequences");
            return Err(Error::Other(reason.into()));
        }
        let loss = losses.iter().map(|loss| loss.value).sum::<f64>() / weight;
        let gradient_norm = norm(&gradient);
        self.check_loss(loss, gradient_norm)?;
        let learning_rate = settings.learning_rate
            * settings
                .schedule
                .factor(at, settings.warm_up(self.steps), self.steps);
        // As `torch.nn.utils.clip_grad_norm_`.
        let clip = (settings.max_gradient_norm / (gradient_norm + 1e-6)).min(1.0);
        let State {
            parameters,
            adam,
            place,
        } = &mut self.state;
        adam.step(
            parameters,
            &gradient,
            clip,
            learning_rate,
            at as u64 + 1,
            settings.rates,
        );
        let tokens: usize = batch
            .iter()
            .filter_map(|at| self.examples.get(*at))
            .map(Example::tokens)
            .sum();
        place.step += 1;
        place.tokens += tokens as u64;
        let (reward_margin, reward_accuracy) = margin(&losses);
        Ok(Step {
            step: place.step,
            steps: self.steps,
            loss,
            gradient_norm,
            learning_rate,
            tokens,
            seconds: (self.trainer.clock)().saturating_sub(begin).as_secs_f64(),
            reward_margin,
            reward_accuracy,
        })
    }

    /// Refuses a loss that is no number or runs away, before it changes anything.
    fn check_loss(&mut self, loss: f64, gradient_norm: f64) -> Result<()> {
        let place = &mut self.state.place;
        place.hear(loss);
        if loss.is_finite() && gradient_norm.is_finite() && !place.rises(RUNAWAY) {
            return Ok(());
        }
        let (step, lowest) = (place.step + 1, place.lowest_loss.unwrap_or(loss));
        let kept = self.go_back();
        let reason = format!(
            "its loss runs away at step {step}: it is {loss:.3} after a running mean of {lowest:.3}, and the gradient's length is \
             {gradient_norm:.3}; begin anew with a lower learning rate. {kept}"
        );
        Err(Error::model(self.policy.model.name(), reason))
    }

    /// Makes the checkpoint that is known to be good the last one, and returns a sentence about what is kept. If
    /// nothing is held out, its adapter is written, so that what was learnt until then can be used.
    fn go_back(&self) -> String {
        self.try_go_back().unwrap_or_else(|error| {
            format!(
                "Nothing could be written of what was learnt: {}",
                error.report()
            )
        })
    }

    fn try_go_back(&self) -> Result<String> {
        checkpoint::go_back(self.folder)?;
        if !self.held_out.is_empty() {
            return Ok(
                "The adapter of the best evaluation is kept, and a checkpoint from before"
                    .to_owned(),
            );
        }
        let good = State::load(self.folder, &self.fingerprint, self.state.parameters.len())?;
        Ok(match good {
            Some(good) if good.place.step > 0 => {
                let numbers = self.trainer.numbers;
                self.policy.write(&good.parameters, self.folder, numbers)?;
                format!("The adapter of step {} is kept", good.place.step)
            }
            _ => "No adapter from before is kept: it began too early".to_owned(),
        })
    }

    /// Evaluates the adapter, as it would be written, on the held-out examples, and writes it if it is the best so far.
    fn evaluate(&mut self) -> Result<ControlFlow<()>> {
        let all: Vec<usize> = (0..self.held_out.len()).collect();
        let first = self.examples.len();
        let written = self.trainer.numbers.rounded(&self.state.parameters);
        let mut losses = Vec::new();
        for part in parts(&all, self.held_out, self.trainer.settings.micro_batch) {
            let examples: Vec<&Example> = part
                .iter()
                .filter_map(|at| self.held_out.get(*at))
                .collect();
            let sums = self.policy.logprobs(&examples, &written)?;
            let scores = scores(&examples, &sums, &self.of(part, first));
            losses.extend(
                scores
                    .iter()
                    .map(|scores| self.trainer.objective.loss(scores)),
            );
        }
        let weight: f64 = losses.iter().map(|loss| loss.weight).sum();
        let held_out_loss = losses.iter().map(|loss| loss.value).sum::<f64>() / weight;
        if !held_out_loss.is_finite() {
            return Err(self.no_held_out_loss(held_out_loss));
        }
        let place = &mut self.state.place;
        let best = place.best_loss.is_none_or(|best| held_out_loss < best);
        place.held_out_first.get_or_insert(held_out_loss);
        if best {
            (place.best_step, place.best_loss) = (Some(place.step), Some(held_out_loss));
            place.waited = 0;
        } else {
            place.waited += 1;
            place.ended = self
                .trainer
                .settings
                .patience
                .is_some_and(|most| place.waited >= most);
        }
        let step = place.step;
        if best {
            self.write()?;
        }
        let (held_out_reward_margin, held_out_reward_accuracy) = margin(&losses);
        self.tell(&TrainingEvent::Evaluation(Evaluation {
            step,
            held_out_loss,
            best,
            held_out_reward_margin,
            held_out_reward_accuracy,
        }))
    }

    /// Says what is kept where the held-out loss is not a number. Before the first step there is nothing: its
    /// checkpoint is removed, so that the folder holds no run.
    fn no_held_out_loss(&self, loss: f64) -> Error {
        let step = self.state.place.step;
        let reason = if step > 0 {
            let kept = self.go_back();
            format!("its held-out loss is {loss} at step {step}; lower the learning rate. {kept}")
        } else if let Err(error) = checkpoint::remove(self.folder) {
            return error;
        } else {
            format!(
                "its held-out loss is {loss} before the first step, so nothing was trained and nothing is kept; see that the model \
                 file is whole and that the objective fits the examples"
            )
        };
        Error::model(self.policy.model.name(), reason)
    }

    fn tell(&mut self, event: &TrainingEvent) -> Result<ControlFlow<()>> {
        self.metrics.write(event)?;
        Ok((self.trainer.observer)(event))
    }

    fn save(&self) -> Result<()> {
        self.state.save(self.folder, &self.fingerprint)
    }

    fn write(&self) -> Result<()> {
        self.policy
            .write(&self.state.parameters, self.folder, self.trainer.numbers)
    }

    /// Computes the log-probabilities of all sequences by the parameters that the run began with, once. The observer
    /// gets an event for every part and may stop the run; what is computed is kept in the folder, so a resumed run goes
    /// on from there.
    fn add_references(&mut self) -> Result<ControlFlow<()>> {
        let fingerprint = self.fingerprint.to_string();
        let each = self.trainer.objective.sequences();
        let total = (self.examples.len() + self.held_out.len()) * each;
        let known = reference::load(self.folder, &fingerprint, total);
        let mut unsaved = 0;
        for examples in [self.examples, self.held_out] {
            let all: Vec<usize> = (0..examples.len()).collect();
            // Always the same parts, so that a resumed run computes the same numbers.
            for part in parts(&all, examples, self.trainer.settings.micro_batch) {
                let begin = self.references.len();
                if let Some(known) = known.get(begin..begin + part.len() * each) {
                    self.references.extend(known);
                    continue;
                }
                let examples: Vec<&Example> =
                    part.iter().filter_map(|at| examples.get(*at)).collect();
                let logprobs = self.policy.logprobs(&examples, &self.policy.initial)?;
                self.references.extend(logprobs);
                let done = self.references.len();
                let event = TrainingEvent::Reference(Reference { done, total });
                let heard = (self.trainer.observer)(&event);
                unsaved += 1;
                if heard.is_break() || done == total || unsaved == UNSAVED {
                    reference::save(self.folder, &fingerprint, &self.references)?;
                    unsaved = 0;
                }
                if heard.is_break() {
                    return Ok(heard);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The references of some examples, of which `first` others come before.
    fn of(&self, part: &[usize], first: usize) -> Vec<f64> {
        let each = self.trainer.objective.sequences();
        let places = part.iter().flat_map(|at| {
            let start = (first + at) * each;
            start..start + each
        });
        places
            .map(|at| self.references.get(at).copied().unwrap_or_default())
            .collect()
    }

    /// The examples of a step, counted from 0.
    fn batch(&self, step: usize) -> Vec<usize> {
        let (settings, count) = (&self.trainer.settings, self.examples.len());
        let each = count.div_ceil(settings.batch);
        let (epoch, at) = (step / each, step % each);
        let mut order: Vec<usize> = (0..count).collect();
        if settings.shuffle {
            shuffle(
                &mut order,
                settings.seed ^ (epoch as u64 + 1).wrapping_mul(0xd1b5_4a32_d192_ed03),
            );
        }
        order
            .into_iter()
            .skip(at * settings.batch)
            .take(settings.batch)
            .collect()
    }

    fn weight(&self, batch: &[usize]) -> f64 {
        let tokens = batch.iter().filter_map(|at| self.examples.get(*at));
        let weights = tokens.map(|example| {
            let score = |scored: usize| Score {
                logprob: 0.0,
                reference: 0.0,
                tokens: scored,
            };
            let scores: Vec<Score> = example.sequences.iter().map(|t| score(t.scored)).collect();
            self.trainer.objective.loss(&scores).weight
        });
        weights.sum()
    }

    fn micro_batches<'b>(&self, batch: &'b [usize]) -> Vec<&'b [usize]> {
        parts(batch, self.examples, self.trainer.settings.micro_batch)
    }
}

/// Parts of some examples that have at most so many tokens, or one example.
fn parts<'b>(places: &'b [usize], examples: &[Example], most: usize) -> Vec<&'b [usize]> {
    let mut parts = Vec::new();
    let mut rest = places;
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|at| {
            tokens += examples.get(**at).map_or(0, Example::tokens);
            tokens <= most
        });
        let count = fits.count().max(1);
        let (part, others) = rest.split_at(count.min(rest.len()));
        parts.push(part);
        rest = others;
    }
    parts
}

/// The scores of each example.
fn scores(examples: &[&Example], sums: &[f64], references: &[f64]) -> Vec<Vec<Score>> {
    let mut values = sums.iter().zip(references);
    let of = |example: &&Example| {
        let sequences = example.sequences.iter().zip(&mut values);
        let scores = sequences.map(|(tokens, (logprob, reference))| Score {
            logprob: *logprob,
            reference: *reference,
            tokens: tokens.scored,
        });
        scores.collect()
    };
    examples.iter().map(of).collect()
}

/// Mean margin of the rewards and the share of pairs whose margin is above 0.
fn margin(losses: &[Loss]) -> (Option<f64>, Option<f64>) {
    let rewards: Vec<Rewards> = losses.iter().filter_map(|loss| loss.rewards).collect();
    if rewards.is_empty() {
        return (None, None);
    }
    let margins = || {
        rewards
            .iter()
            .map(|rewards| rewards.chosen - rewards.rejected)
    };
    let count = rewards.len() as f64;
    let right = margins().filter(|margin| *margin > 0.0).count() as f64;
    (Some(margins().sum::<f64>() / count), Some(right / count))
}

/// An order that the seed chooses (Fisher and Yates).
fn shuffle(order: &mut [usize], seed: u64) {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for at in (1..order.len()).rev() {
        let other = random.next_u64() % (at as u64 + 1);
        order.swap(at, other as usize);
    }
}
