//! Chooses the next token.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::{
    error::{Error, Result},
    model::Sampling,
};

/// Chooses the tokens of one completion: the same logits and seed give the same tokens, on every machine.
///
/// The order is that of Hugging Face's `generate`: repetition penalty, temperature, `top_k`, `top_p`, `min_p`. Each token
/// takes one number from the generator, whatever the settings.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    /// Boxed: its state is larger than all the rest of a request.
    rng: Box<ChaCha8Rng>,
}

/// A token that may come next, and its probability, not normalised.
type Candidate = (u32, f64);

impl Sampler {
    /// A sampler at the start of its stream.
    ///
    /// # Errors
    /// [`Error::Config`] if a setting has a value that cannot work.
    pub(super) fn new(sampling: &Sampling) -> Result<Self> {
        let Sampling {
            temperature,
            top_p,
            min_p,
            repetition_penalty,
            ..
        } = *sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(wrong("temperature", temperature, "0 or a positive number"));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(wrong("top_p", top_p, "above 0 and at most 1"));
        }
        if !(0.0..=1.0).contains(&min_p) {
            return Err(wrong("min_p", min_p, "between 0 and 1"));
        }
        if !(repetition_penalty.is_finite() && repetition_penalty > 0.0) {
            let expected = "a positive number";
            return Err(wrong("repetition_penalty", repetition_penalty, expected));
        }
        Ok(Self {
            rng: Box::new(ChaCha8Rng::seed_from_u64(sampling.seed)),
            sampling: sampling.clone(),
        })
    }

    /// The next token after `history`, which is the prompt and what has been written; `None` if no logit is a number.
    pub(super) fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Option<u32> {
        self.penalize(logits, history);
        let best = argmax(logits)?;
        // 53 random bits make a number in [0, 1).
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        if self.sampling.temperature == 0.0 {
            return Some(best);
        }

        let top = f64::from(*logits.get(best as usize)?);
        let mut candidates: Vec<Candidate> = (0u32..)
            .zip(logits.iter())
            .map(|(id, logit)| (id, (f64::from(*logit) - top) / self.sampling.temperature))
            .map(|(id, scaled)| (id, if scaled.is_nan() { 0.0 } else { scaled.exp() }))
            .collect();
        if self.sampling.top_k > 0 && self.sampling.top_k < candidates.len() {
            keep_likeliest(&mut candidates, self.sampling.top_k);
        }
        if self.sampling.top_p < 1.0 {
            keep_mass(&mut candidates, self.sampling.top_p);
        }
        // The likeliest token has the probability 1 here.
        candidates.retain(|(_, probability)| *probability >= self.sampling.min_p);
        Some(draw(&candidates, uniform).unwrap_or(best))
    }

    fn penalize(&self, logits: &mut [f32], history: &[u32]) {
        if self.sampling.repetition_penalty == 1.0 {
            return;
        }
        let penalty = self.sampling.repetition_penalty as f32;
        let mut seen = history.to_vec();
        seen.sort_unstable();
        seen.dedup();
        for id in seen {
            if let Some(logit) = logits.get_mut(id as usize) {
                *logit = if *logit > 0.0 {
                    *logit / penalty
                } else {
                    *logit * penalty
                };
            }
        }
    }
}

/// The likeliest token, the lowest id on ties.
fn argmax(logits: &[f32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (id, logit) in (0u32..).zip(logits) {
        if !logit.is_nan() && best.is_none_or(|(_, top)| *logit > top) {
            best = Some((id, *logit));
        }
    }
    best.map(|(id, _)| id)
}

fn likelier(a: &Candidate, b: &Candidate) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

/// Keeps the `count` likeliest, likeliest first.
fn keep_likeliest(candidates: &mut Vec<Candidate>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count, likelier);
        candidates.truncate(count);
    }
    candidates.sort_unstable_by(likelier);
}

/// Keeps the fewest likeliest whose probabilities reach `top_p` of all.
fn keep_mass(candidates: &mut Vec<Candidate>, top_p: f64) {
    let target = top_p * candidates.iter().map(|(_, p)| p).sum::<f64>();
    // A vocabulary has tens of thousands of tokens and the mass lies in a few: sort no more of them than needed.
    let mut count = 256;
    loop {
        let mut head = candidates.clone();
        keep_likeliest(&mut head, count);
        let mut mass = 0.0;
        let reached = head.iter().position(|(_, p)| {
            mass += p;
            mass >= target
        });
        if let Some(last) = reached {
            head.truncate(last + 1);
        }
        if reached.is_some() || count >= candidates.len() {
            *candidates = head;
            return;
        }
        count *= 16;
    }
}

/// The candidate at `uniform` of the whole mass.
fn draw(candidates: &[Candidate], uniform: f64) -> Option<u32> {
    let target = uniform * candidates.iter().map(|(_, p)| p).sum::<f64>();
    let mut mass = 0.0;
    let drawn = candidates.iter().find(|(_, p)| {
        mass += p;
        mass > target
    });
    drawn.map(|(id, _)| *id)
}

fn wrong(field: &str, value: f64, expected: &str) -> Error {
    Error::config(field, format!("{value} cannot be; it must be {expected}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Probabilities 0.5, 0.25, 0.125, … of the tokens 3, 0, 4, 1, 2.
    const LOGITS: [f32; 5] = [
        -std::f32::consts::LN_2,
        -2.079_441,
        -2.772_588,
        0.0,
        -1.386_294,
    ];

    fn tokens(sampling: &Sampling) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling).unwrap();
        (0..12)
            .map(|_| sampler.sample(&mut LOGITS.clone(), &[]).unwrap())
            .collect()
    }

    fn warm(change: impl FnOnce(&mut Sampling)) -> Vec<u32> {
        let mut sampling = Sampling {
            temperature: 1.0,
            seed: 7,
            ..Sampling::default()
        };
        change(&mut sampling);
        tokens(&sampling)
    }

    #[test]
    fn zero_temperature_takes_the_likeliest_and_the_lowest_on_ties() {
        let mut sampler = Sampler::new(&Sampling::default()).unwrap();
        assert_eq!(sampler.sample(&mut [1.0, 3.0, 3.0], &[]), Some(1));
        assert_eq!(sampler.sample(&mut [f32::NAN, -1.0], &[]), Some(1));
        assert_eq!(sampler.sample(&mut [f32::NAN], &[]), None);
    }

    #[test]
    fn tokens_are_pinned() {
        assert_eq!(warm(|_| {}), PINNED);
        assert_ne!(warm(|s| s.seed = 8), PINNED);
        assert_eq!(warm(|s| s.top_k = 1), [3; 12]);
        assert_eq!(warm(|s| s.min_p = 1.0), [3; 12]);
        assert_eq!(warm(|s| s.top_p = 0.1), [3; 12]);
    }

    const PINNED: [u32; 12] = [0, 0, 3, 3, 3, 3, 0, 3, 3, 4, 0, 3];

    #[test]
    fn cuts_keep_the_likeliest() {
        let kept = |change: fn(&mut Sampling)| {
            let mut seen = std::collections::BTreeSet::new();
            for seed in 0..60 {
                seen.extend(warm(|s| {
                    change(s);
                    s.seed = seed;
                }));
            }
            seen.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(kept(|_| {}), [0, 1, 2, 3, 4]);
        assert_eq!(kept(|s| s.top_k = 3), [0, 3, 4]);
        assert_eq!(kept(|s| s.top_p = 0.6), [0, 3]);
        assert_eq!(kept(|s| s.min_p = 0.2), [0, 3, 4]);
    }

    #[test]
    fn the_penalty_divides_positive_and_multiplies_negative_logits() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Sampling::default()
        };
        let mut logits = [4.0, -4.0, 1.0];
        let mut sampler = Sampler::new(&sampling).unwrap();
        assert_eq!(sampler.sample(&mut logits, &[0, 1, 0]), Some(0));
        assert_eq!(logits, [2.0, -8.0, 1.0]);
    }

    #[test]
    fn settings_that_cannot_work_are_named() {
        let error = |change: fn(&mut Sampling)| {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            Sampler::new(&sampling).unwrap_err().to_string()
        };
        assert_eq!(
            error(|s| s.temperature = f64::NAN),
            "temperature: NaN cannot be; it must be 0 or a positive number"
        );
        assert_eq!(
            error(|s| s.temperature = -1.0),
            "temperature: -1 cannot be; it must be 0 or a positive number"
        );
        assert_eq!(
            error(|s| s.top_p = 0.0),
            "top_p: 0 cannot be; it must be above 0 and at most 1"
        );
        assert_eq!(
            error(|s| s.min_p = 1.5),
            "min_p: 1.5 cannot be; it must be between 0 and 1"
        );
        assert_eq!(
            error(|s| s.repetition_penalty = 0.0),
            "repetition_penalty: 0 cannot be; it must be a positive number"
        );
    }
}
