//! Which weights are trained.

use crate::{
    backends::candle::training::Branches,
    error::{Error, Result},
};

/// A linear layer that an adapter may change, named as in PEFT's `target_modules`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// `q_proj`
    Q,
    /// `k_proj`
    K,
    /// `v_proj`
    V,
    /// `o_proj`
    O,
    /// `gate_proj`
    Gate,
    /// `up_proj`
    Up,
    /// `down_proj`
    Down,
}

impl Target {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Q,
        Self::K,
        Self::V,
        Self::O,
        Self::Gate,
        Self::Up,
        Self::Down,
    ];
}

/// A low-rank adapter: each target computes `W x + (alpha / rank) B A x`, where only `A` `(rank, in)` and `B`
/// `(out, rank)` are trained (arXiv 2106.09685, section 4.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    pub(super) dropout: f32,
    pub(super) targets: Vec<Target>,
    pub(super) rank_stabilised: bool,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 16,
            alpha: 32.0,
            dropout: 0.0,
            targets: Target::ALL.to_vec(),
            rank_stabilised: false,
        }
    }
}

impl Lora {
    /// Rank 16, alpha 32, no dropout, all targets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the rank: how much an adapter can change, and how large it is. By default 16.
    #[must_use]
    pub fn with_rank(mut self, rank: usize) -> Self {
        self.rank = rank;
        self
    }

    /// Sets alpha; what is learnt is multiplied by `alpha / rank`. By default 32.
    #[must_use]
    pub fn with_alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets how likely an input of a branch is left out of a step, against overfitting. By default 0.
    ///
    /// Projections that share their inputs (q, k and v; gate and up) leave out the same ones.
    #[must_use]
    pub fn with_dropout(mut self, dropout: f32) -> Self {
        self.dropout = dropout;
        self
    }

    /// Sets which linear layers are changed, in every layer of the model. By default all.
    #[must_use]
    pub fn with_targets(mut self, targets: impl IntoIterator<Item = Target>) -> Self {
        self.targets = targets.into_iter().collect();
        self.targets.sort_unstable();
        self.targets.dedup();
        self
    }

    /// Multiplies by `alpha / sqrt(rank)` instead, which suits high ranks (arXiv 2312.03732). By default false.
    #[must_use]
    pub fn with_rank_stabilised(mut self, rank_stabilised: bool) -> Self {
        self.rank_stabilised = rank_stabilised;
        self
    }

    /// Places in the table of targets of the backend.
    pub(super) fn places(&self) -> Vec<usize> {
        self.targets.iter().map(|target| *target as usize).collect()
    }

    pub(super) fn branches(&self) -> Result<Branches> {
        let divisor = if self.rank_stabilised {
            (self.rank as f64).sqrt()
        } else {
            self.rank as f64
        };
        let scale = (self.alpha / divisor) as f32;
        if self.rank == 0 || self.rank > 1024 {
            return Err(Error::config(
                "rank",
                format!("{} cannot be; it is 1 to 1024", self.rank),
            ));
        }
        if !(scale > 0.0 && scale.is_finite()) {
            return Err(Error::config(
                "alpha",
                format!("{} cannot be; it is above 0", self.alpha),
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let reason = format!("{} cannot be; it is at least 0 and below 1", self.dropout);
            return Err(Error::config("dropout", reason));
        }
        if self.targets.is_empty() {
            return Err(Error::config(
                "targets",
                "there is nothing to train; name at least one",
            ));
        }
        Ok(Branches {
            targets: self.places(),
            rank: self.rank,
            scale,
            dropout: self.dropout,
        })
    }
}
