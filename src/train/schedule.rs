//! The learning rate over a run.

/// How the learning rate falls after the warm-up, in which it rises from 0 in equal steps.
///
/// The factors are those of `huggingface/transformers` (`optimization.py`), so that the first step of a warm-up changes
/// nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// Along half a cosine to 0 (arXiv 1608.03983, equation 5, without restarts).
    #[default]
    Cosine,
    /// In a straight line to 0.
    Linear,
    /// The learning rate does not fall.
    Constant,
}

impl Schedule {
    /// What the learning rate is multiplied with at a step, counted from 0.
    #[must_use]
    pub fn factor(self, step: usize, warm_up: usize, steps: usize) -> f64 {
        if step < warm_up {
            return step as f64 / warm_up as f64;
        }
        let rest = steps.saturating_sub(warm_up).max(1) as f64;
        let done = ((step - warm_up) as f64 / rest).min(1.0);
        match self {
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
            Self::Linear => 1.0 - done,
            Self::Constant => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_and_falls() {
        let at = |schedule: Schedule, step| schedule.factor(step, 4, 12);
        assert_eq!(
            [0, 1, 4].map(|step| at(Schedule::Cosine, step)),
            [0.0, 0.25, 1.0]
        );
        assert!((at(Schedule::Cosine, 8) - 0.5).abs() < 1e-12);
        assert_eq!(
            [8, 11, 12, 20].map(|step| at(Schedule::Linear, step)),
            [0.5, 0.125, 0.0, 0.0]
        );
        assert_eq!(at(Schedule::Constant, 11), 1.0);
        // Nothing but a warm-up.
        assert_eq!(Schedule::Cosine.factor(5, 5, 5), 1.0);
    }
}
