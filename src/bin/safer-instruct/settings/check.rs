//! Values of a file that an option of the command line would refuse.

use safer_instruct::{Error, Result};

use super::{Field, Judging, Settings};

impl Settings {
    /// Refuses what cannot work before any work is done.
    pub(super) fn check(&self) -> Result<()> {
        let (run, filters) = (&self.run, &self.filters);
        for (key, count) in [
            ("input.limit", self.input.limit),
            ("model.timeout", Some(self.model.timeout)),
            ("induce.candidates", self.induce.candidates.map(u64::from)),
            ("induce.max_tokens", Some(self.induce.max_tokens.into())),
            ("respond.candidates", self.respond.candidates.map(u64::from)),
            ("respond.max_tokens", self.respond.max_tokens.map(u64::from)),
            ("run.draws", Some(run.draws.into())),
            ("run.concurrency", Some(run.concurrency.into())),
        ] {
            if count == Some(0) {
                return Err(Error::config(key, "it must be 1 or more"));
            }
        }
        let prices = [
            &self.induce.by,
            &self.respond.by,
            &self.judge.by,
            &self.guard.by,
        ]
        .map(|stage| [stage.price_read, stage.price_written]);
        for (key, number) in [
            ("model.price_read", Some(self.model.price_read)),
            ("model.price_written", Some(self.model.price_written)),
            ("induce.temperature", self.induce.temperature),
            ("respond.temperature", self.respond.temperature),
            ("judge.tie_margin", self.judge.tie_margin),
            ("budget.money", self.budget.money),
        ]
        .into_iter()
        .chain(prices.into_iter().flatten().map(|price| ("price", price)))
        {
            if number.is_some_and(|number| !number.is_finite() || number < 0.0) {
                return Err(Error::config(key, "it must be 0 or more"));
            }
        }
        let free = [self.model.price_read, self.model.price_written]
            .into_iter()
            .chain(prices.into_iter().flatten().flatten())
            .all(|price| price == 0.0);
        if self.budget.money.is_some() && free {
            let reason = "it limits nothing as long as all prices are 0: give --price-read and --price-written, the prices of \
                          a million tokens, or a limit of tokens or requests";
            return Err(Error::config("budget.money", reason));
        }
        for (key, share) in [
            ("filters.max_quoted_share", filters.max_quoted_share),
            ("filters.min_distinct_share", filters.min_distinct_share),
            ("guard.max_chosen", self.guard.max_chosen),
            ("guard.min_rejected", self.guard.min_rejected),
            ("guard.max_refusal", self.guard.max_refusal),
        ] {
            if !(0.0..=1.0).contains(&share) {
                return Err(Error::config(key, "it must be between 0 and 1"));
            }
        }
        if self.judge.form == Some(Judging::Probe) {
            for (key, file) in [
                ("judge.policy_file", &self.judge.policy_file),
                ("judge.prompt_file", &self.judge.prompt_file),
            ] {
                if file.is_some() {
                    let reason = "a probe reads no policy and no prompt; take the judge `likelihood` or `pairwise`";
                    return Err(Error::config(key, reason));
                }
            }
        }
        for field in &self.model.fields {
            Field::parse(field)?;
        }
        Ok(())
    }
}
