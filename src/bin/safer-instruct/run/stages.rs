//! The pipeline of a run: stages, judge and filters.

use std::{fs, path::Path, sync::Arc};

use safer_instruct::{
    Cache, DynPipeline, Error, Gate, Guard, InstructionGenerator, OnSourceWins, Pipeline,
    PreferenceJudge, ResponseGenerator, Result, StateModel,
    filters::{Recommended, Related},
    guards::{Dialect, DialectGuard, Probe},
    judges::{LikelihoodJudge, PairwiseJudge},
    profiles::{GuardForm, InductionForm, JudgeForm, Profile},
    stages::{BestOf, BestResponse, ChatInduction, ExpertResponse, ReversedInduction},
};
use serde::Serialize;

use super::models::Model;
use crate::settings::{Filters, Settings, SourceWins};

/// The prompts and policies that are not those of the crate.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Prompts {
    induce: Option<String>,
    respond: Option<String>,
    judge: Option<String>,
    policy: Option<String>,
    judge_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard_policy: Option<String>,
}

impl Prompts {
    /// Reads their files.
    pub(crate) fn read(settings: &Settings) -> Result<Self> {
        Ok(Self {
            induce: read(settings.induce.prompt_file.as_deref())?,
            respond: read(settings.respond.prompt_file.as_deref())?,
            judge: read(settings.judge.prompt_file.as_deref())?,
            policy: read(settings.respond.policy_file.as_deref())?,
            judge_policy: read(settings.judge.policy_file.as_deref())?,
            guard_policy: read(settings.guard.policy_file.as_deref())?,
        })
    }
}

fn read(path: Option<&Path>) -> Result<Option<String>> {
    let read = |path| fs::read_to_string(path).map_err(|error| Error::io(path, error));
    path.map(read).transpose()
}

/// A probe of the model that judges. The guard and the judge share what was read of a response.
pub(crate) type StateProbe = Probe<Arc<Cache<Arc<dyn StateModel>>>>;

/// What the stages are made of.
pub(crate) struct Parts<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) profile: &'a Profile,
    pub(crate) prompts: &'a Prompts,
}

impl Parts<'_> {
    /// The stage that induces; `scorer` chooses among several candidates.
    pub(crate) fn inducer(
        &self,
        model: Arc<dyn Model>,
        scorer: Arc<dyn Model>,
    ) -> Result<Box<dyn InstructionGenerator>> {
        let sampling = self.profile.induction_sampling.clone();
        let most = self.settings.induce.max_tokens as usize;
        let prompt = self.prompts.induce.as_deref();
        Ok(match self.profile.induction {
            InductionForm::Reversed => {
                let stage = ReversedInduction::new(model)
                    .with_logprob(self.profile.candidates > 1)
                    .with_sampling(sampling)
                    .with_max_tokens(most);
                let stage = match prompt {
                    Some(prompt) => stage.with_prompt(prompt)?,
                    None => stage,
                };
                self.best_of(stage, scorer)
            }
            InductionForm::Chat => {
                // An untuned model's candidates are far-fetched if their own likelihood does not count (docs/measurements.md).
                let stage = ChatInduction::new(model)
                    .with_logprob(self.profile.candidates > 1)
                    .with_sampling(sampling)
                    .with_max_tokens(most);
                let stage = match prompt {
                    Some(prompt) => stage.with_prompt(prompt)?,
                    None => stage,
                };
                self.best_of(stage, scorer)
            }
        })
    }

    /// The stage that responds; `judge` chooses among several responses.
    pub(crate) fn expert(
        &self,
        model: Arc<dyn Model>,
        judge: Box<dyn PreferenceJudge>,
    ) -> Result<Box<dyn ResponseGenerator>> {
        let mut stage = ExpertResponse::new(model)
            .with_sampling(self.profile.response_sampling.clone())
            .with_max_tokens(self.profile.max_tokens);
        if let Some(policy) = &self.prompts.policy {
            stage = stage.with_policy(policy.trim_end());
        }
        if let Some(prompt) = &self.prompts.respond {
            stage = stage.with_prompt(prompt)?;
        }
        Ok(match self.profile.responses {
            0 | 1 => Box::new(stage),
            count => Box::new(BestResponse::new(stage, judge, count)),
        })
    }

    /// The stage that judges; `probe` reads the states of the model.
    pub(crate) fn judge(
        &self,
        model: Arc<dyn Model>,
        probe: Option<StateProbe>,
    ) -> Result<Box<dyn PreferenceJudge>> {
        let policy = self.prompts.judge_policy.as_deref().map(str::trim_end);
        let prompt = self.prompts.judge.as_deref();
        Ok(match self.profile.judge {
            JudgeForm::Likelihood => {
                let mut judge =
                    LikelihoodJudge::new(model).with_tie_margin(self.profile.tie_margin);
                if let Some(policy) = policy {
                    judge = judge.with_policy(policy);
                }
                if let Some(prompt) = prompt {
                    judge = judge.with_prompt(prompt)?;
                }
                Box::new(judge)
            }
            JudgeForm::Pairwise => {
                let mut judge = PairwiseJudge::new(model);
                if let Some(policy) = policy {
                    judge = judge.with_policy(policy);
                }
                if let Some(prompt) = prompt {
                    judge = judge.with_prompt(prompt)?;
                }
                Box::new(judge.both_orders())
            }
            JudgeForm::Probe => {
                let probe = probe.ok_or_else(|| Error::config("judge", "there is no probe"))?;
                Box::new(probe.with_tie_margin(self.profile.tie_margin))
            }
        })
    }

    /// What assesses each response by itself.
    pub(crate) fn guard(
        &self,
        model: Option<Arc<dyn Model>>,
        probe: Option<StateProbe>,
    ) -> Result<Option<Box<dyn Guard>>> {
        let missing = |what| Error::config("guard", format!("there is no {what}"));
        Ok(match &self.profile.guard {
            None => None,
            Some(GuardForm::Probe) => Some(Box::new(probe.ok_or_else(|| missing("probe"))?)),
            Some(GuardForm::Dialect(name)) => {
                let model = model.ok_or_else(|| missing("model"))?;
                let guard = DialectGuard::new(Dialect::named(name)?, model);
                Some(Box::new(match self.prompts.guard_policy.as_deref() {
                    Some(policy) => guard.with_policy(policy.trim_end()),
                    None => guard,
                }))
            }
        })
    }

    /// The whole pipeline, with its filters; `scorer` says how likely a text is after an instruction.
    pub(crate) fn pipeline(
        &self,
        induce: Box<dyn InstructionGenerator>,
        respond: Box<dyn ResponseGenerator>,
        judge: Box<dyn PreferenceJudge>,
        guard: Option<Box<dyn Guard>>,
        scorer: Arc<dyn Model>,
    ) -> DynPipeline {
        let run = &self.settings.run;
        let pipeline = Pipeline::new(induce, respond, judge)
            .with_seed(run.seed)
            .with_draws(run.draws)
            .with_concurrency(run.concurrency as usize)
            .with_on_source_wins(match self.settings.judge.source_wins {
                SourceWins::Drop => OnSourceWins::Drop,
                SourceWins::Flip => OnSourceWins::Flip,
            });
        let limits = &self.settings.guard;
        let pipeline = match guard {
            Some(guard) => pipeline.with_guard(guard).with_gate(Gate {
                max_chosen: limits.max_chosen,
                min_rejected: limits.min_rejected,
                max_refusal: limits.max_refusal,
            }),
            None => pipeline,
        };
        let pipeline = self.filters().apply(pipeline);
        match self.related(scorer) {
            Some(filter) => pipeline.with_instruction_filter(filter),
            None => pipeline,
        }
    }

    /// The filter that asks a model whether the instruction belongs to its text, if there is one.
    pub(crate) fn related(&self, scorer: Arc<dyn Model>) -> Option<Related<Arc<dyn Model>>> {
        let nats = self.profile.min_gain?;
        Some(Related::new(scorer).with_min_gain(nats))
    }

    fn filters(&self) -> Recommended {
        let Filters {
            languages: _,
            min_source_chars,
            max_source_chars,
            min_instruction_chars,
            max_instruction_chars,
            keep_about_task,
            max_quoted_share,
            min_distinct_share,
            keep_truncated,
            min_words_beside_refusal,
        } = self.settings.filters;
        Recommended {
            languages: self.profile.languages.clone(),
            min_source_chars,
            max_source_chars,
            min_instruction_chars,
            max_instruction_chars,
            keep_about_task,
            max_quoted_share,
            min_distinct_share,
            keep_truncated,
            min_words_beside_refusal,
        }
    }

    /// The stage, or the best of several candidates of it; candidates that the filters would drop come last.
    fn best_of(
        &self,
        stage: impl InstructionGenerator + 'static,
        scorer: Arc<dyn Model>,
    ) -> Box<dyn InstructionGenerator> {
        if self.profile.candidates <= 1 {
            return Box::new(stage);
        }
        let best = BestOf::new(stage, scorer, self.profile.candidates);
        let filters = self.filters().instruction_filters().into_iter();
        Box::new(filters.fold(best, BestOf::with_filter))
    }
}
