//! The work of a run, from its first text to its last one, and its progress.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use safer_instruct::{
    Decorate, Error, Result, RetryPolicy,
    dataset::{Summary, into_stream},
    run::{Budget, End, Journal, RunProgress, RunReport, Runner},
};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{
    closing::Closing,
    folder::Folder,
    models::{Model, Models, StageModel},
    stages::{Parts, Prompts},
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
                "judge": self.models.judge.manifest,
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
        let pipeline = parts.pipeline(
            parts.inducer(recorded(&self.models.induce), Arc::clone(&expert))?,
            parts.expert(Arc::clone(&expert))?,
            parts.judge(recorded(&self.models.judge))?,
            expert,
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
