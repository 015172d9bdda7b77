//! What calls cost, and what a run may spend.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    record::Usage,
    run::limit::{Limit, Spent},
};

/// What a model costs, in millionths of a unit of money for a million tokens.
///
/// So 0.15 dollars for a million tokens are 150,000. The cost of a call is rounded up to a whole millionth, so sums are
/// exact and a budget is never undercounted.
///
/// ```
/// use safer_instruct::{Usage, run::Price};
///
/// let price = Price::per_million(150_000, 600_000);
/// assert_eq!(price.cost(Usage { prompt_tokens: 1_000, completion_tokens: 500 }), 450);
/// assert_eq!(price.cost(Usage { prompt_tokens: 1, completion_tokens: 0 }), 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    prompt: u64,
    completion: u64,
}

impl Price {
    /// The price of a million tokens read and of a million tokens written.
    #[must_use]
    pub fn per_million(prompt: u64, completion: u64) -> Self {
        Self { prompt, completion }
    }

    /// What a call with this usage costs, in millionths of a unit of money.
    #[must_use]
    pub fn cost(self, usage: Usage) -> u64 {
        let part = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let whole = part(usage.prompt_tokens, self.prompt)
            .saturating_add(part(usage.completion_tokens, self.completion));
        u64::try_from(whole.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

/// What a run may spend, all its sessions together. Without a limit it may spend anything.
///
/// A call is refused once a limit is reached, and the run ends before the first outcome that it would have led to.
/// Calls that are in flight then still end, so tokens and money may be overdrawn by what those cost; requests are never
/// overdrawn. Calls that are in the journal cost nothing, and so do those that a fork takes along.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Budget {
    pub(super) tokens: Option<u64>,
    pub(super) money: Option<u64>,
    pub(super) requests: Option<u64>,
    pub(super) wall_time: Option<Duration>,
}

impl Budget {
    /// No limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Limits the tokens read and written. By default there is no limit.
    #[must_use]
    pub fn with_tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Limits the cost, in millionths of a unit of money; see [`Price`]. By default there is no limit.
    #[must_use]
    pub fn with_money(mut self, millionths: u64) -> Self {
        self.money = Some(millionths);
        self
    }

    /// Limits the calls made, those that failed or were cut off included. By default there is no limit.
    #[must_use]
    pub fn with_requests(mut self, requests: u64) -> Self {
        self.requests = Some(requests);
        self
    }

    /// Limits the time in which a [`Runner`](crate::run::Runner) runs, counted in whole milliseconds. Texts in work
    /// then still have the time of [`with_drain`](crate::run::Runner::with_drain) to end. By default there is no limit.
    #[must_use]
    pub fn with_wall_time(mut self, time: Duration) -> Self {
        self.wall_time = Some(time);
        self
    }

    /// The limit that refuses one more call.
    pub(super) fn refusal(&self, spent: &Spent) -> Option<Overdraft> {
        [
            (Limit::Tokens, spent.usage.total(), self.tokens),
            (Limit::Money, spent.money, self.money),
            (Limit::Requests, spent.requests, self.requests),
        ]
        .into_iter()
        .find_map(|(limit, spent, most)| {
            let most = most.filter(|most| spent >= *most)?;
            Some(Overdraft { limit, spent, most })
        })
    }
}

/// A limit that is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Overdraft {
    pub(super) limit: Limit,
    spent: u64,
    most: u64,
}

impl Overdraft {
    pub(super) fn error(self) -> Error {
        Error::OverBudget {
            budget: self.limit.unit(),
            spent: self.spent,
            limit: self.most,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_beyond_all_numbers_does_not_wrap() {
        let usage = Usage {
            prompt_tokens: u64::MAX,
            completion_tokens: u64::MAX,
        };
        assert_eq!(Price::per_million(u64::MAX, u64::MAX).cost(usage), u64::MAX);
    }

    #[test]
    fn a_limit_refuses_when_it_is_reached_and_not_before() {
        let spent = |requests| Spent {
            requests,
            ..Spent::default()
        };
        let budget = Budget::new().with_requests(3);
        assert_eq!(budget.refusal(&spent(2)), None);
        let refusal = budget.refusal(&spent(3)).unwrap();
        assert_eq!(
            refusal.error().to_string(),
            "the budget of 3 requests is used up (3 spent); raise it and go on"
        );
        assert_eq!(Budget::new().refusal(&spent(u64::MAX)), None);
    }
}
