//! Intervals cover the truth as often as they say, in worlds where it is known.

use safer_instruct::measure::{Estimate, Proportion, RoganGladen, ppi_mean};

const WORLDS: u32 = 2_000;
/// Of texts, how many are unsafe; of those, how many the judge finds; and of the others, how many it lets pass.
const UNSAFE: f64 = 0.2;
const SENSITIVITY: f64 = 0.85;
const SPECIFICITY: f64 = 0.93;

/// A generator of its own (Marsaglia's xorshift64*), so that an error in that of the crate cannot hide itself.
struct Dice(u64);

impl Dice {
    fn falls(&mut self, probability: f64) -> bool {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11;
        (number as f64) < probability * (1_u64 << 53) as f64
    }

    fn judge(&mut self, is_unsafe: bool) -> bool {
        self.falls(if is_unsafe {
            SENSITIVITY
        } else {
            1.0 - SPECIFICITY
        })
    }

    fn text(&mut self) -> (bool, bool) {
        let is_unsafe = self.falls(UNSAFE);
        (is_unsafe, self.judge(is_unsafe))
    }
}

/// The share of worlds in which the interval covers the truth, and the mean width.
fn coverage(mut estimate: impl FnMut(&mut Dice) -> Estimate) -> (f64, f64) {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut covered, mut width) = (0, 0.0);
    for _ in 0..WORLDS {
        let found = estimate(&mut dice);
        covered += u32::from(found.covers(UNSAFE));
        width += found.high - found.low;
    }
    (
        f64::from(covered) / f64::from(WORLDS),
        width / f64::from(WORLDS),
    )
}

fn number(is: bool) -> f64 {
    f64::from(is)
}

#[test]
fn ppi_covers_the_rate_and_is_surer_than_the_known_texts_alone() {
    let (share, width) = coverage(|dice| {
        let known: Vec<(f64, f64)> = (0..300)
            .map(|_| dice.text())
            .map(|(is, judged)| (number(is), number(judged)))
            .collect();
        let judged: Vec<f64> = (0..1_500).map(|_| number(dice.text().1)).collect();
        ppi_mean(&known, &judged, 0.95).unwrap().mean
    });
    assert!((0.93..=0.97).contains(&share), "{share}");
    let (alone, wider) = coverage(|dice| {
        let known = Proportion::of((0..300).map(|_| dice.text().0)).unwrap();
        known.wilson(0.95).unwrap()
    });
    assert!((0.93..=0.97).contains(&alone), "{alone}");
    assert!(width < 0.85 * wider, "{width} {wider}");
}

#[test]
fn rogan_gladen_covers_the_rate_and_the_judge_alone_never_does() {
    let (share, _) = coverage(|dice| {
        let rate = RoganGladen {
            judged: Proportion::of((0..1_500).map(|_| dice.text().1)).unwrap(),
            sensitivity: Proportion::of((0..200).map(|_| dice.judge(true))).unwrap(),
            specificity: Proportion::of((0..200).map(|_| !dice.judge(false))).unwrap(),
        };
        rate.estimate(0.95).unwrap()
    });
    assert!((0.93..=0.97).contains(&share), "{share}");
    let (raw, _) = coverage(|dice| {
        let judged = Proportion::of((0..1_500).map(|_| dice.text().1)).unwrap();
        judged.wilson(0.95).unwrap()
    });
    assert!(raw < 0.5, "{raw}");
}
