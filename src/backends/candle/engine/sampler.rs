//! Chooses the next token.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

use crate::{
    backends::candle::kernels::logits::{
        BLOCK, Candidate, argmax, at_least, likelier, likeliest, weights,
    },
    error::{Error, Result},
    model::Sampling,
};

/// Chooses the tokens of one completion: the same logits and seed give the same tokens, on every machine.
///
/// The order is that of Hugging Face's `generate`: repetition penalty, temperature, `top_k`, `top_p`, `min_p`. Each
/// token takes one number from the generator, whatever the settings. Nothing is sorted but what may come next: without
/// a cut the number falls into a block of the vocabulary and then onto a token, and a cut first looks for a bound.
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    /// Boxed: its state is larger than all the rest of a request.
    rng: Box<ChaCha8Rng>,
}

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
    ///
    /// Leaves in `logits` what it has made of them. A logit of negative infinity never comes next.
    pub(super) fn sample(&mut self, logits: &mut [f32], history: &[u32]) -> Option<u32> {
        self.penalize(logits, history);
        let (best, top) = argmax(logits)?;
        // 53 random bits make a number in [0, 1).
        let uniform = (self.rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        if self.sampling.temperature == 0.0 {
            return Some(best);
        }
        // Not infinite, because the likeliest token is 0 times this from the top.
        let scale = (1.0 / self.sampling.temperature).min(f64::from(f32::MAX)) as f32;
        let masses = weights(logits, top, scale);
        let drawn = match self.cut(logits, &masses) {
            Some(kept) => {
                let total: f64 = mass(&kept);
                pick(kept.into_iter(), uniform * total)
            }
            None => draw(logits, &masses, uniform),
        };
        Some(drawn.unwrap_or(best))
    }

    /// What `top_k`, `top_p` and `min_p` leave; `None` if they are not set. The likeliest token has the weight 1.
    fn cut(&self, weights: &[f32], masses: &[f64]) -> Option<Vec<Candidate>> {
        let Sampling {
            top_k,
            top_p,
            min_p,
            ..
        } = self.sampling;
        let min_p = (min_p as f32).max(LEAST);
        let mut kept = if top_k > 0 && top_k < weights.len() {
            let mut kept = likeliest(weights, top_k, LEAST);
            if top_p < 1.0 {
                let target = top_p * mass(&kept);
                keep_mass(&mut kept, target);
            }
            kept
        } else if top_p < 1.0 {
            nucleus(weights, top_p * masses.iter().sum::<f64>())
        } else if min_p > LEAST {
            return Some(at_least(weights, min_p));
        } else {
            return None;
        };
        kept.retain(|(_, weight)| *weight >= min_p);
        Some(kept)
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

/// A weight of 0 never comes next.
const LEAST: f32 = f32::MIN_POSITIVE;

fn mass(candidates: &[Candidate]) -> f64 {
    candidates
        .iter()
        .map(|(_, weight)| f64::from(*weight))
        .sum()
}

/// The fewest likeliest tokens whose weights reach `target`.
fn nucleus(weights: &[f32], target: f64) -> Vec<Candidate> {
    // The mass lies in a few tokens, so a bound that many of them pass is tried first.
    let mut floor = 1.0f32;
    loop {
        floor = (floor / 64.0).max(LEAST);
        let mut kept = at_least(weights, floor);
        if floor == LEAST || mass(&kept) >= target {
            kept.sort_unstable_by(likelier);
            keep_mass(&mut kept, target);
            return kept;
        }
    }
}

/// Keeps as many from the beginning as reach `target`.
fn keep_mass(candidates: &mut Vec<Candidate>, target: f64) {
    let mut mass = 0.0;
    let last = candidates.iter().position(|(_, weight)| {
        mass += f64::from(*weight);
        mass >= target
    });
    if let Some(last) = last {
        candidates.truncate(last + 1);
    }
}

/// The token at `uniform` of the whole mass.
fn draw(weights: &[f32], masses: &[f64], uniform: f64) -> Option<u32> {
    let target = uniform * masses.iter().sum::<f64>();
    let mut before = 0.0;
    let blocks = (0u32..).step_by(BLOCK).zip(weights.chunks(BLOCK));
    for ((first, block), mass) in blocks.zip(masses) {
        if before + mass > target {
            return pick((first..).zip(block.iter().copied()), target - before);
        }
        before += mass;
    }
    None
}

/// The first candidate at which the mass is above `target`, or the last one if rounding keeps it from getting there.
fn pick(candidates: impl Iterator<Item = Candidate>, target: f64) -> Option<u32> {
    let (mut mass, mut last) = (0.0, None);
    for (id, weight) in candidates.filter(|(_, weight)| *weight > 0.0) {
        mass += f64::from(weight);
        last = Some(id);
        if mass > target {
            break;
        }
    }
    last
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

    /// What the settings say, in double precision and with everything sorted.
    fn by_the_book(sampling: &Sampling, logits: &[f32], uniform: f64) -> u32 {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let weight = |l: &f32| ((f64::from(*l) - f64::from(top)) / sampling.temperature).exp();
        let mut kept: Vec<(u32, f64)> = (0..).zip(logits.iter().map(weight)).collect();
        let all = |kept: &[(u32, f64)]| kept.iter().map(|(_, w)| w).sum::<f64>();
        if sampling.top_k > 0 || sampling.top_p < 1.0 {
            kept.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        }
        if sampling.top_k > 0 {
            kept.truncate(sampling.top_k);
        }
        let target = sampling.top_p * all(&kept);
        if sampling.top_p < 1.0 {
            let mut mass = 0.0;
            let last = kept.iter().position(|(_, w)| {
                mass += w;
                mass >= target
            });
            kept.truncate(last.unwrap() + 1);
        }
        kept.retain(|(_, w)| *w >= sampling.min_p);
        let (mut mass, target) = (0.0, uniform * all(&kept));
        let mut drawn = kept.iter().skip_while(|(_, w)| {
            mass += w;
            mass <= target
        });
        drawn.next().unwrap().0
    }

    #[test]
    fn a_large_vocabulary_is_sampled_by_the_book() {
        let noise = crate::backends::candle::kernels::tests::values(50_003, 17);
        let mut seen = std::collections::BTreeSet::new();
        for (temperature, width) in [(1.0, 14.0), (0.7, 30.0), (1.0, 1.0), (3.0, 14.0)] {
            let logits: Vec<f32> = noise.iter().map(|x| x * x * x * width).collect();
            for (top_k, top_p, min_p) in [
                (0, 1.0, 0.0),
                (40, 1.0, 0.0),
                (1_000, 1.0, 0.0),
                (0, 0.9, 0.0),
                (0, 0.999_999, 0.0),
                (100, 0.8, 0.05),
                (0, 1.0, 0.1),
            ] {
                for seed in 0..6 {
                    let sampling = Sampling {
                        temperature,
                        top_k,
                        top_p,
                        min_p,
                        seed,
                        ..Sampling::default()
                    };
                    let mut rng = ChaCha8Rng::seed_from_u64(seed);
                    let uniform = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
                    let mut sampler = Sampler::new(&sampling).unwrap();
                    let token = sampler.sample(&mut logits.clone(), &[]).unwrap();
                    let right = by_the_book(&sampling, &logits, uniform);
                    // Where thousands are sorted, single precision may take a neighbour.
                    let off = logits[token as usize] - logits[right as usize];
                    assert!(token == right || off.abs() < 1e-4, "{sampling:?}: {off}");
                    seen.insert(right);
                }
            }
        }
        assert!(seen.len() > 100, "{}", seen.len());
    }

    #[test]
    fn what_is_out_of_reach_never_comes() {
        let mut logits = vec![f32::NEG_INFINITY; 3_000];
        (logits[70], logits[2_900]) = (-3.0, -3.5);
        for seed in 0..40 {
            for (top_k, top_p) in [(0, 1.0), (50, 1.0), (0, 0.95)] {
                let sampling = Sampling {
                    temperature: 5.0,
                    top_k,
                    top_p,
                    seed,
                    ..Sampling::default()
                };
                let token = Sampler::new(&sampling)
                    .unwrap()
                    .sample(&mut logits.clone(), &[]);
                assert!(matches!(token, Some(70 | 2_900)), "{token:?}");
            }
        }
        let mut nothing = [f32::NEG_INFINITY; 3];
        let mut sampler = Sampler::new(&Sampling::default()).unwrap();
        assert_eq!(sampler.sample(&mut nothing, &[]), None);
    }

    #[test]
    fn a_temperature_near_zero_takes_the_likeliest() {
        assert_eq!(warm(|s| s.temperature = 1e-60), [3; 12]);
        let mut endless = [0.0, f32::INFINITY, 1.0];
        let mut sampler = Sampler::new(&Sampling {
            temperature: 1.0,
            ..Sampling::default()
        })
        .unwrap();
        assert_eq!(sampler.sample(&mut endless, &[]), Some(1));
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
