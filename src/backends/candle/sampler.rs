//! Choosing the next token.
//!
//! The steps and their order are those of Hugging Face's transformers: repetition penalty, temperature, top-k, top-p, min-p. Everything is
//! in f64 and in a fixed order, so the same logits and seed give the same token everywhere.

use std::collections::HashSet;

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng as _, SeedableRng as _},
};

use crate::{
    error::{Error, Result},
    model::Sampling,
};

/// Chooses the tokens of one completion.
pub(super) struct Sampler {
    sampling: Sampling,
    rng: ChaCha8Rng,
    /// Tokens of the prompt and of the completion, for the repetition penalty.
    seen: HashSet<u32>,
}

impl Sampler {
    /// Checks the options.
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Result<Self> {
        let Sampling {
            temperature,
            top_p,
            min_p,
            repetition_penalty,
            seed,
            ..
        } = *sampling;
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(Error::config(
                "temperature",
                format!("is {temperature}; it must be 0 or more"),
            ));
        }
        if !(top_p > 0.0 && top_p <= 1.0) {
            return Err(Error::config(
                "top_p",
                format!("is {top_p}; it must be above 0 and at most 1"),
            ));
        }
        if !(0.0..=1.0).contains(&min_p) {
            return Err(Error::config(
                "min_p",
                format!("is {min_p}; it must be from 0 to 1"),
            ));
        }
        if !(repetition_penalty.is_finite() && repetition_penalty > 0.0) {
            return Err(Error::config(
                "repetition_penalty",
                format!("is {repetition_penalty}; it must be above 0"),
            ));
        }
        let penalized = repetition_penalty != 1.0;
        Ok(Self {
            sampling: sampling.clone(),
            rng: ChaCha8Rng::seed_from_u64(seed),
            seen: if penalized {
                prompt.iter().copied().collect()
            } else {
                HashSet::new()
            },
        })
    }

    /// Chooses the token that follows, given one logit for each token of the vocabulary.
    pub(super) fn sample(&mut self, logits: &[f32]) -> Result<u32> {
        let token = if self.sampling.temperature == 0.0 {
            self.likeliest(logits)
        } else {
            let draw = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            self.drawn(logits, draw)
        };
        let token = token.ok_or_else(|| {
            Error::model(
                "sampling",
                "the model gave no finite logit; its weights may be damaged",
            )
        })?;
        if self.sampling.repetition_penalty != 1.0 {
            self.seen.insert(token);
        }
        Ok(token)
    }

    fn logit(&self, token: u32, logit: f32) -> f64 {
        let logit = f64::from(logit);
        if self.seen.contains(&token) {
            let penalty = self.sampling.repetition_penalty;
            if logit > 0.0 {
                logit / penalty
            } else {
                logit * penalty
            }
        } else {
            logit
        }
    }

    /// The greatest logit, the lowest id on a tie.
    fn likeliest(&self, logits: &[f32]) -> Option<u32> {
        let mut best: Option<(u32, f64)> = None;
        for (token, logit) in (0u32..).zip(logits) {
            let logit = self.logit(token, *logit);
            if logit.is_finite() && best.is_none_or(|(_, most)| logit > most) {
                best = Some((token, logit));
            }
        }
        best.map(|(token, _)| token)
    }

    /// The token at the place `draw` (0 to 1) of the distribution that the options leave.
    fn drawn(&self, logits: &[f32], draw: f64) -> Option<u32> {
        let Sampling {
            temperature,
            top_p,
            top_k,
            min_p,
            ..
        } = self.sampling;
        let mut kept: Vec<(u32, f64)> = (0u32..)
            .zip(logits)
            .map(|(token, logit)| (token, self.logit(token, *logit) / temperature))
            .filter(|(_, logit)| logit.is_finite())
            .collect();
        let by_logit = |a: &(u32, f64), b: &(u32, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        if top_k > 0 && top_k < kept.len() {
            kept.select_nth_unstable_by(top_k - 1, by_logit);
            kept.truncate(top_k);
        }
        kept.sort_unstable_by(by_logit);
        let max = kept.first()?.1;
        for (_, weight) in &mut kept {
            *weight = (*weight - max).exp();
        }
        // Weights are relative to the likeliest token, so min-p compares with them directly.
        let total: f64 = kept.iter().map(|(_, weight)| weight).sum();
        let mut sum = 0.0;
        let mut keep = kept.len();
        for (index, (_, weight)) in kept.iter().enumerate() {
            if index > 0 && (*weight < min_p || sum >= top_p * total) {
                keep = index;
                break;
            }
            sum += weight;
        }
        kept.truncate(keep);
        let mut rest = draw * sum;
        for (token, weight) in &kept {
            rest -= weight;
            if rest < 0.0 {
                return Some(*token);
            }
        }
        kept.last().map(|(token, _)| *token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    fn draws(sampling: &Sampling, times: u64) -> Vec<u32> {
        (0..times)
            .map(|seed| {
                let sampling = Sampling {
                    seed,
                    ..sampling.clone()
                };
                Sampler::new(&sampling, &[])
                    .unwrap()
                    .sample(&LOGITS)
                    .unwrap()
            })
            .collect()
    }

    fn hot() -> Sampling {
        Sampling {
            temperature: 1.0,
            ..Default::default()
        }
    }

    #[test]
    fn temperature_zero_takes_the_likeliest_and_the_lowest_id_on_a_tie() {
        let mut sampler = Sampler::new(&Sampling::default(), &[]).unwrap();
        assert_eq!(sampler.sample(&LOGITS).unwrap(), 1);
    }

    #[test]
    fn the_same_seed_gives_the_same_tokens() {
        let sampling = Sampling { seed: 7, ..hot() };
        let mut sampler = Sampler::new(&sampling, &[]).unwrap();
        let tokens: Vec<u32> = (0..8).map(|_| sampler.sample(&LOGITS).unwrap()).collect();
        assert_eq!(tokens, [0; 8], "pinned");
    }

    #[test]
    fn the_draws_follow_the_distribution() {
        let total: f64 = LOGITS.iter().map(|logit| f64::from(*logit).exp()).sum();
        let drawn = draws(&hot(), 4_000);
        for (token, logit) in (0u32..).zip(LOGITS) {
            let share = drawn.iter().filter(|other| **other == token).count() as f64 / 4_000.0;
            let expected = f64::from(logit).exp() / total;
            assert!(
                (share - expected).abs() < 0.03,
                "{token}: {share} and not {expected}"
            );
        }
    }

    #[test]
    fn each_option_leaves_what_it_says() {
        let left = |sampling| {
            let mut tokens = draws(&sampling, 400);
            tokens.sort_unstable();
            tokens.dedup();
            tokens
        };
        assert_eq!(left(Sampling { top_k: 1, ..hot() }), [1]);
        assert_eq!(left(Sampling { top_k: 2, ..hot() }), [1, 3]);
        assert_eq!(
            left(Sampling {
                top_p: 0.5,
                ..hot()
            }),
            [1, 3]
        );
        assert_eq!(
            left(Sampling {
                min_p: 0.3,
                ..hot()
            }),
            [1, 2, 3]
        );
        assert_eq!(
            left(Sampling {
                temperature: 0.01,
                ..hot()
            }),
            [1, 3]
        );
    }

    #[test]
    fn the_penalty_reaches_tokens_of_prompt_and_completion() {
        let sampling = Sampling {
            repetition_penalty: 2.0,
            ..Default::default()
        };
        let mut sampler = Sampler::new(&sampling, &[1]).unwrap();
        let tokens: Vec<u32> = (0..3).map(|_| sampler.sample(&LOGITS).unwrap()).collect();
        assert_eq!(
            tokens,
            [3, 2, 1],
            "3 is fresh, then 2, then 1 and 3 tie at 1.5"
        );
    }

    #[test]
    fn options_that_cannot_work_are_named() {
        let wrong = [
            (
                Sampling {
                    temperature: -1.0,
                    ..hot()
                },
                "temperature: is -1; it must be 0 or more",
            ),
            (
                Sampling {
                    temperature: f64::NAN,
                    ..hot()
                },
                "temperature: is NaN; it must be 0 or more",
            ),
            (
                Sampling {
                    top_p: 0.0,
                    ..hot()
                },
                "top_p: is 0; it must be above 0 and at most 1",
            ),
            (
                Sampling {
                    min_p: 2.0,
                    ..hot()
                },
                "min_p: is 2; it must be from 0 to 1",
            ),
            (
                Sampling {
                    repetition_penalty: 0.0,
                    ..hot()
                },
                "repetition_penalty: is 0; it must be above 0",
            ),
        ];
        for (sampling, text) in wrong {
            assert_eq!(
                Sampler::new(&sampling, &[]).err().unwrap().to_string(),
                text
            );
        }
    }

    #[test]
    fn damaged_logits_are_an_error() {
        for sampling in [Sampling::default(), hot()] {
            assert!(
                Sampler::new(&sampling, &[])
                    .unwrap()
                    .sample(&[f32::NAN; 3])
                    .is_err()
            );
        }
    }
}
