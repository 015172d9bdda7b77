//! What became of every text of a run.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{
    manifest::sorted,
    row::{Counted, Kind, Row},
};
use crate::{
    outcome::{Outcome, Stage},
    record::Usage,
};

/// Counts of a run: kept + dropped + failed = read. It is the content of `summary.json`.
///
/// ```
/// use safer_instruct::{Draft, Outcome, Reason, SourceText, Stage, dataset::Summary};
///
/// let mut summary = Summary::new();
/// let draft = Box::new(Draft::new(SourceText::new("a", "Short.")));
/// summary.add(&Outcome::Dropped { stage: Stage::Source, reason: Reason::new("too_short"), draft });
/// assert_eq!((summary.read(), summary.kept(), summary.dropped(), summary.failed()), (1, 0, 1, 0));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    complete: bool,
    read: u64,
    kept: u64,
    dropped: Counts,
    failed: Counts,
    usage: Usage,
    manifest: serde_json::Value,
}

/// How many, by stage and by reason code or kind of error.
type Counts = BTreeMap<Stage, BTreeMap<String, u64>>;

impl Summary {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets what the run was made with, as the caller describes it. By default `null`.
    #[must_use]
    pub fn with_manifest(mut self, manifest: serde_json::Value) -> Self {
        self.manifest = sorted(manifest);
        self
    }

    /// Says whether the whole input was worked on. By default it was not.
    #[must_use]
    pub fn with_complete(mut self, complete: bool) -> Self {
        self.set_complete(complete);
        self
    }

    /// Counts one outcome.
    pub fn add(&mut self, outcome: &Outcome) {
        self.add_row(&Row::of(outcome));
    }

    /// Whether the whole input was worked on.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Outcomes altogether.
    #[must_use]
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Pairs.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.kept
    }

    /// Texts that were dropped.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        total(&self.dropped)
    }

    /// Texts that were dropped at `stage` for the reason `code`.
    #[must_use]
    pub fn dropped_for(&self, stage: Stage, code: &str) -> u64 {
        count(&self.dropped, stage, code)
    }

    /// Texts that failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        total(&self.failed)
    }

    /// Texts that failed at `stage` with an error of this [`kind`](crate::Error::kind).
    #[must_use]
    pub fn failed_with(&self, stage: Stage, kind: &str) -> u64 {
        count(&self.failed, stage, kind)
    }

    /// Tokens of everything that the outcomes hold, as far as backends tell. Calls that failed are not in it.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// What the run was made with.
    #[must_use]
    pub fn manifest(&self) -> &serde_json::Value {
        &self.manifest
    }

    pub(crate) fn set_complete(&mut self, complete: bool) {
        self.complete = complete;
    }

    pub(crate) fn add_row(&mut self, row: &Row<'_>) {
        self.count(row.counted());
    }

    pub(crate) fn count(&mut self, outcome: Counted) {
        self.read += 1;
        self.usage += outcome.usage;
        let counts = match outcome.kind {
            Kind::Kept => {
                self.kept += 1;
                return;
            }
            Kind::Dropped => &mut self.dropped,
            Kind::Failed => &mut self.failed,
        };
        if let Some((stage, code)) = outcome.end {
            *counts.entry(stage).or_default().entry(code).or_default() += 1;
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<34}{:>10}", "read", self.read)?;
        self.line(f, "kept", self.kept)?;
        self.line(f, "dropped", self.dropped())?;
        lines(f, &self.dropped)?;
        self.line(f, "failed", self.failed())?;
        lines(f, &self.failed)?;
        writeln!(f, "{:<34}{:>10}", "prompt tokens", self.usage.prompt_tokens)?;
        write!(
            f,
            "{:<34}{:>10}",
            "completion tokens", self.usage.completion_tokens
        )?;
        if !self.complete {
            write!(f, "\nthe run is not complete")?;
        }
        Ok(())
    }
}

impl Summary {
    fn line(&self, f: &mut fmt::Formatter<'_>, name: &str, count: u64) -> fmt::Result {
        let percent = 100.0 * count as f64 / self.read.max(1) as f64;
        writeln!(f, "{name:<34}{count:>10}{percent:>8.1} %")
    }
}

fn lines(f: &mut fmt::Formatter<'_>, counts: &Counts) -> fmt::Result {
    for (stage, reasons) in counts {
        for (reason, count) in reasons {
            writeln!(f, "  {:<8} {reason:<23}{count:>10}", stage.as_str())?;
        }
    }
    Ok(())
}

fn total(counts: &Counts) -> u64 {
    counts.values().flat_map(BTreeMap::values).sum()
}

fn count(counts: &Counts, stage: Stage, key: &str) -> u64 {
    counts
        .get(&stage)
        .and_then(|reasons| reasons.get(key))
        .copied()
        .unwrap_or(0)
}
