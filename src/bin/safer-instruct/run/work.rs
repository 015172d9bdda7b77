//! The work of a run, from its first text to its last one, and its progress.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use safer_instruct::{
    Cache, Decorate, Error, Result, RetryPolicy,
    dataset::{Summary, into_stream},
    guards::Probe,
    profiles::{GuardForm, JudgeForm},
    run::{Budget, End, Journal, RunProgress, RunReport, Runner},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    closing::Closing,
    folder::Folder,
    models::{Model, Models, StageModel},
    stages::{Parts, Prompts, StateProbe},
    texts,
};
use crate::{
    ended::Ended,
    progress::Progress,
    settings::{Settings, millionths, money},
    stop::Stop,
};

/// What is tried again, and how long: some minutes, so that a server may be restarted meanwhile.
const RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 8,
    base: Duration::from_secs(1),
    max_wait: Duration::from_secs(60),
    max_asked: Duration::from_secs(300),
    seed: 0,
};

/// Which texts are worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those whose outcomes are not there.
    Left,
    /// Those that failed.
    Failed,
}

/// A run that is ready.
pub(crate) struct Work<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) settings: &'a Settings,
    pub(crate) models: &'a Models,
    pub(crate) prompts: &'a Prompts,
    pub(crate) total: u64,
    /// The message about texts that no model handles.
    pub(crate) uncovered: String,
    pub(crate) json: bool,
}

impl Work<'_> {
    /// What the result depends on, and nothing else: the run may go on with another server of the same model, at
    /// another speed or with more texts.
    pub(crate) fn manifest(&self) -> Result<Value> {
        let Settings {
            input,
            induce,
            filters,
            run,
            judge,
            guard,
            ..
        } = self.settings;
        let to_json =
            |value: serde_json::Result<Value>| value.map_err(|error| Error::Other(error.into()));
        let path = input.path.as_deref().and_then(|path| path.file_name());
        Ok(json!({
            "input": path.map_or("demo".into(), |name| name.to_string_lossy()),
            "text_column": input.text_column,
            "id_column": input.id_column,
            "category_column": input.category_column,
            "skip_bad": input.skip_bad,
            "models": {
                "induce": self.models.induce.manifest,
                "respond": self.models.respond.manifest,
                "scores": self.models.scores.as_ref().map(|scores| &scores.manifest),
                "judge": self.models.judge.manifest,
                "guard": self.models.guard.as_ref().map(|guard| &guard.manifest),
            },
            "probe": self.models.probe.as_ref().map(|probe| probe.hash()).transpose()?,
            "gate": {
                "max_chosen": guard.max_chosen,
                "min_rejected": guard.min_rejected,
                "max_refusal": guard.max_refusal,
            },
            "profile": to_json(serde_json::to_value(&self.models.profile))?,
            "instruction_max_tokens": induce.max_tokens,
            "prompts": to_json(serde_json::to_value(self.prompts))?,
            "source_wins": judge.source_wins,
            "filters": to_json(serde_json::to_value(filters))?,
            "draws": run.draws,
            "seed": run.seed,
        }))
    }

    /// Works until all is done, the budget is spent, or a signal comes.
    pub(crate) async fn run(
        &self,
        mut journal: Journal,
        which: Which,
        stop: &Stop,
    ) -> Result<Ended> {
        journal.set_budget(self.budget()).await?;
        let recorded = |stage: &StageModel| -> Arc<dyn Model> {
            // Outside of the journal, so that it counts every try.
            let model = journal
                .record(Arc::clone(&stage.model), stage.label.as_str())
                .with_price(stage.price)
                .with_retry(RETRY, sleep);
            Arc::new(model)
        };
        let parts = Parts {
            settings: self.settings,
            profile: &self.models.profile,
            prompts: self.prompts,
        };
        let expert = recorded(&self.models.respond);
        let scorer = self.models.scores.as_ref().map(recorded);
        let scorer = scorer.unwrap_or_else(|| Arc::clone(&expert));
        let probe = self.probe();
        let judge = || parts.judge(recorded(&self.models.judge), probe.clone());
        let pipeline = parts.pipeline(
            parts.inducer(recorded(&self.models.induce), Arc::clone(&scorer))?,
            parts.expert(expert, judge()?)?,
            judge()?,
            parts.guard(self.models.guard.as_ref().map(recorded), probe)?,
            scorer,
        );
        // A bad record was named when the texts were counted.
        let sources = into_stream(texts::open(&self.settings.input, |_| {})?)?;
        let begun = Instant::now();
        let progress = Progress::of("outcomes");
        progress.begin_at(journal.done());
        stop.end_in_order("stopping after the texts in work; Ctrl-C again ends at once");
        let report = {
            let progress = progress.clone();
            let runner = Runner::new(&mut journal, &pipeline, || begun.elapsed(), sleep)
                .with_total(self.total)
                .with_drain(Duration::from_secs(self.settings.run.drain))
                .with_stop(stop.asked())
                .with_observer(move |now| show(&progress, now));
            match which {
                Which::Left => runner.run(sources).await,
                Which::Failed => runner.retry(sources).await,
            }
        };
        // Also ends what is in flight.
        drop(pipeline);
        progress.end();
        if report.is_err() {
            // If the journal is the cause, this fails too, and the first error says more.
            let _ = journal.export(self.folder.path());
            let command = match which {
                Which::Left => self.folder.command("resume"),
                Which::Failed => self.folder.command("retry"),
            };
            eprintln!("what was made is safe; when the cause is removed: {command}");
        }
        let report = report?;
        let summary = journal.export(self.folder.path())?;
        self.close(&report, &summary)
    }

    /// The probe, on states that are not in the journal: they cost nothing, and would be the most of it.
    fn probe(&self) -> Option<StateProbe> {
        let states = self.models.judge.states.as_ref()?;
        let weights = self.models.probe.as_ref()?;
        // Both sides of every text in work, and some that come again.
        let capacity = 4 * self.settings.run.concurrency as usize;
        let model = Arc::new(Cache::new(Arc::clone(states), capacity));
        Some(Probe::new(model, Arc::clone(weights)))
    }

    /// How far judge and guard can be trusted, as far as it is known.
    fn trust(&self) -> Vec<String> {
        let profile = &self.models.profile;
        let by_probe = profile.judge == JudgeForm::Probe || profile.guard == Some(GuardForm::Probe);
        let mut lines = Vec::new();
        if let Some(probe) = self.models.probe.as_ref().filter(|_| by_probe) {
            // The first measure of each head is the one with each source left out.
            let mut named = BTreeSet::new();
            let measures = probe.card().measures.iter();
            lines.extend(measures.filter(|of| named.insert(&of.head)).map(|of| {
                format!(
                    "the probe's {}: {:.2} (95 % between {:.2} and {:.2}; {}: {:.2}), {}",
                    of.head,
                    of.value,
                    of.interval[0],
                    of.interval[1],
                    of.baseline,
                    of.baseline_value,
                    of.what
                )
            }));
        }
        if profile.guard.is_none() {
            lines.push(
                "no side of a pair was assessed by itself: give --guard, or read the pairs before you train on them"
                    .to_owned(),
            );
        }
        lines
    }

    fn budget(&self) -> Budget {
        let given = &self.settings.budget;
        let mut budget = Budget::new();
        if let Some(limit) = given.money {
            budget = budget.with_money(millionths(limit));
        }
        if let Some(tokens) = given.tokens {
            budget = budget.with_tokens(tokens);
        }
        if let Some(requests) = given.requests {
            budget = budget.with_requests(requests);
        }
        if let Some(minutes) = given.minutes {
            budget = budget.with_wall_time(Duration::from_secs(minutes.saturating_mul(60)));
        }
        budget
    }

    /// Prints the result.
    fn close(&self, report: &RunReport, summary: &Summary) -> Result<Ended> {
        let closing = Closing {
            folder: self.folder,
            report,
            summary,
            uncovered: &self.uncovered,
            trust: self.trust(),
        };
        if self.json {
            closing.print_json()?;
        } else {
            closing.print()?;
        }
        Ok(match report.end {
            End::Complete => Ended::Done,
            End::Stopped => Ended::Stopped,
            End::OverBudget(_) => Ended::OverBudget,
        })
    }
}

fn show(progress: &Progress, now: &RunProgress) {
    let mut message = format!("{} pairs", now.kept);
    if now.failed > 0 {
        message.push_str(&format!(", {} failed", now.failed));
    }
    if now.cost > 0 {
        message.push_str(&format!(", {} spent", money(now.cost)));
    }
    if let Some(left) = now.seconds_left.filter(|left| *left >= 1.0) {
        message.push_str(&format!(", {left:.0} s left"));
    }
    progress.go_to(now.done, now.total, &message);
}
