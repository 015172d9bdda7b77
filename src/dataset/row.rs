//! The lines of `dropped.jsonl` and `failed.jsonl`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    outcome::{Outcome, Reason, Stage},
    record::{
        Assessment, Assessments, Draft, Instruction, Judgement, Origin, PreferencePair, Response,
        Usage,
    },
};

/// In which file an outcome ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Kept,
    Dropped,
    Failed,
}

/// What a summary counts of an outcome.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) kind: Kind,
    /// The stage at which it ended, and the code of the reason or the kind of the error.
    pub(crate) end: Option<(Stage, String)>,
    pub(crate) usage: Usage,
}

/// One outcome as a line of its file.
#[derive(Debug)]
pub(crate) enum Row<'a> {
    Kept(Cow<'a, PreferencePair>),
    Dropped(DroppedRow<'a>),
    Failed(FailedRow<'a>),
}

/// A line of `dropped.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DroppedRow<'a> {
    pub(crate) id: Cow<'a, str>,
    draw: u32,
    run_seed: u64,
    category: Option<Cow<'a, str>>,
    pub(crate) stage: Stage,
    pub(crate) reason: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<Cow<'a, str>>,
    #[serde(flatten)]
    pub(crate) draft: DraftRow<'a>,
}

/// A line of `failed.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct FailedRow<'a> {
    pub(crate) id: Cow<'a, str>,
    draw: u32,
    run_seed: u64,
    category: Option<Cow<'a, str>>,
    pub(crate) stage: Stage,
    pub(crate) error_kind: Cow<'a, str>,
    error: Cow<'a, str>,
    #[serde(flatten)]
    pub(crate) draft: DraftRow<'a>,
}

/// What had been made of a source text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DraftRow<'a> {
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instruction: Option<Made<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    response: Option<Made<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counterpart: Option<Made<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    assessments: Option<Cow<'a, Assessments>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    judgement: Option<Cow<'a, Judgement>>,
}

/// A text that a stage made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Made<'a> {
    text: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Cow<'a, Origin>>,
}

impl<'a> Row<'a> {
    /// The line of an outcome.
    pub(crate) fn of(outcome: &'a Outcome) -> Self {
        match outcome {
            Outcome::Kept(pair) => Self::Kept(Cow::Borrowed(pair)),
            Outcome::Dropped {
                stage,
                reason,
                draft,
            } => Self::dropped(*stage, reason, draft),
            Outcome::Failed {
                stage,
                error,
                draft,
            } => Self::failed(*stage, error, draft),
        }
    }

    fn dropped(stage: Stage, reason: &'a Reason, draft: &'a Draft) -> Self {
        let lineage = draft.source.lineage();
        Self::Dropped(DroppedRow {
            id: lineage.source_id().into(),
            draw: lineage.draw(),
            run_seed: lineage.run_seed(),
            category: draft.source.category().map(Cow::Borrowed),
            stage,
            reason: reason.code.as_ref().into(),
            detail: reason.detail.as_deref().map(Cow::Borrowed),
            draft: DraftRow::of(draft),
        })
    }

    fn failed(stage: Stage, error: &Error, draft: &'a Draft) -> Self {
        let lineage = draft.source.lineage();
        Self::Failed(FailedRow {
            id: lineage.source_id().into(),
            draw: lineage.draw(),
            run_seed: lineage.run_seed(),
            category: draft.source.category().map(Cow::Borrowed),
            stage,
            error_kind: error.kind().into(),
            error: error.report().into(),
            draft: DraftRow::of(draft),
        })
    }

    /// The line without its line feed.
    pub(crate) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        match self {
            Self::Kept(pair) => serde_json::to_vec(pair),
            Self::Dropped(row) => serde_json::to_vec(row),
            Self::Failed(row) => serde_json::to_vec(row),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Kept(_) => Kind::Kept,
            Self::Dropped(_) => Kind::Dropped,
            Self::Failed(_) => Kind::Failed,
        }
    }

    pub(crate) fn counted(&self) -> Counted {
        Counted {
            kind: self.kind(),
            end: match self {
                Self::Kept(_) => None,
                Self::Dropped(row) => Some((row.stage, row.reason.to_string())),
                Self::Failed(row) => Some((row.stage, row.error_kind.to_string())),
            },
            usage: self.usage(),
        }
    }

    /// Tokens of everything that was made of the source text.
    fn usage(&self) -> Usage {
        match self {
            Self::Kept(pair) => {
                let made = &pair.provenance;
                sum([
                    made.induction.as_ref(),
                    made.response.as_ref(),
                    made.counterpart.as_ref(),
                    made.judgement.origin.as_ref(),
                    made.chosen_assessment.as_ref().and_then(origin),
                    made.rejected_assessment.as_ref().and_then(origin),
                ])
            }
            Self::Dropped(row) => row.draft.usage(),
            Self::Failed(row) => row.draft.usage(),
        }
    }
}

impl<'a> DraftRow<'a> {
    fn of(draft: &'a Draft) -> Self {
        let response = |response: &'a Response| Made::of(response.text(), response.origin());
        let instruction = |made: &'a Instruction| Made::of(made.text(), made.origin());
        Self {
            text: draft.source.text().into(),
            instruction: draft.instruction.as_ref().map(instruction),
            response: draft.response.as_ref().map(response),
            counterpart: draft.counterpart.as_ref().map(response),
            assessments: draft.assessments.as_deref().map(Cow::Borrowed),
            judgement: draft
                .judged
                .as_ref()
                .map(|(judgement, _)| Cow::Borrowed(judgement)),
        }
    }

    fn usage(&self) -> Usage {
        let made = |made: &'_ Option<Made<'a>>| made.as_ref().and_then(|made| made.origin.clone());
        let judgement = self
            .judgement
            .as_ref()
            .and_then(|judgement| judgement.origin());
        sum([
            made(&self.instruction).as_deref(),
            made(&self.response).as_deref(),
            made(&self.counterpart).as_deref(),
            judgement,
            self.assessments
                .as_ref()
                .and_then(|both| origin(&both.expert)),
            self.assessments
                .as_ref()
                .and_then(|both| origin(&both.other)),
        ])
    }
}

impl<'a> Made<'a> {
    fn of(text: &'a str, origin: Option<&'a Origin>) -> Self {
        Self {
            text: text.into(),
            origin: origin.map(Cow::Borrowed),
        }
    }
}

fn origin(assessment: &Assessment) -> Option<&Origin> {
    assessment.origin.as_deref()
}

fn sum<const N: usize>(origins: [Option<&Origin>; N]) -> Usage {
    let mut total = Usage::default();
    for origin in origins.into_iter().flatten() {
        total += origin.usage;
    }
    total
}
