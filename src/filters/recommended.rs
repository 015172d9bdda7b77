//! The filters that a run should have, with their limits.

use serde::{Deserialize, Serialize};

use super::{
    Distinct, Finished, InLanguages, Length, NotAboutTask, NotCanned, NotEmpty, NotQuoting,
    NotRepetitive, SameLanguage,
};
use crate::{
    pipeline::Pipeline,
    profiles::Languages,
    record::Draft,
    stage::{Filter, InstructionGenerator, PreferenceJudge, ResponseGenerator},
};

/// The recommended filters, in the order of their cost, with their limits.
///
/// | place | filters |
/// |---|---|
/// | source texts | [`Distinct`], [`Length`], [`InLanguages`] |
/// | instructions | [`NotEmpty`], [`Length`], [`NotAboutTask`], [`NotQuoting`], [`NotRepetitive`], [`SameLanguage`] |
/// | responses | [`Finished`], [`NotCanned`], [`NotRepetitive`], [`SameLanguage`] |
/// | pairs | [`Distinct`] |
///
/// It can be read from a settings file: every field may be left out, and an unknown one is an error.
///
/// ```
/// use safer_instruct::{
///     Instruction, Judgement, Pipeline, Response, filters::Recommended, induce_fn, judge_fn, profiles::Languages,
///     respond_fn,
/// };
///
/// let pipeline = Pipeline::new(
///     induce_fn(|_| async { Ok(Instruction::new("Can I learn it?")) }),
///     respond_fn(|_| async { Ok(Response::new("Of course. The first weeks are the hardest.")) }),
///     judge_fn(|_, _, _| async { Ok(Judgement::first()) }),
/// );
/// let filters = Recommended { languages: Languages::of(["en"])?, ..Recommended::default() };
/// let pipeline = filters.apply(pipeline);
/// # let _ = pipeline;
/// # Ok::<_, safer_instruct::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recommended {
    /// Languages of the source texts that are kept. By default any; a [`Profile`](crate::profiles::Profile) says which
    /// ones its model handles.
    pub languages: Languages,
    /// The fewest characters of a source text. By default 8.
    pub min_source_chars: usize,
    /// The most characters of a source text. By default 8,000.
    pub max_source_chars: usize,
    /// The fewest characters of an instruction. By default 4.
    pub min_instruction_chars: usize,
    /// The most characters of an instruction. By default 400.
    pub max_instruction_chars: usize,
    /// Keeps instructions that speak of the task itself. By default off.
    pub keep_about_task: bool,
    /// The share of n-grams from which an instruction quotes its source text, between 0 and 1. By default 0.5.
    pub max_quoted_share: f64,
    /// The least share of distinct n-grams of an instruction or a response, between 0 and 1. By default 0.6.
    pub min_distinct_share: f64,
    /// Keeps responses that were cut off at their most tokens. By default off.
    pub keep_truncated: bool,
    /// The fewest words that a response must have beside a refusal. By default 8.
    pub min_words_beside_refusal: usize,
}

impl Default for Recommended {
    fn default() -> Self {
        Self {
            languages: Languages::ANY,
            min_source_chars: 8,
            max_source_chars: 8_000,
            min_instruction_chars: 4,
            max_instruction_chars: 400,
            keep_about_task: false,
            max_quoted_share: 0.5,
            min_distinct_share: 0.6,
            keep_truncated: false,
            min_words_beside_refusal: 8,
        }
    }
}

impl Recommended {
    /// Adds the filters to a pipeline, after those that it has.
    #[must_use]
    pub fn apply<I, R, J>(&self, pipeline: Pipeline<I, R, J>) -> Pipeline<I, R, J>
    where
        I: InstructionGenerator,
        R: ResponseGenerator,
        J: PreferenceJudge,
    {
        let length = Length::chars()
            .with_min(self.min_source_chars)
            .with_max(self.max_source_chars);
        let mut pipeline = pipeline
            .with_ordered_source_filter(Distinct::new)
            .with_source_filter(length)
            .with_source_filter(InLanguages::new(self.languages.clone()));
        for filter in self.instruction_filters() {
            pipeline = pipeline.with_instruction_filter(filter);
        }
        if !self.keep_truncated {
            pipeline = pipeline.with_response_filter(Finished);
        }
        pipeline
            .with_response_filter(NotCanned::new().with_min_words(self.min_words_beside_refusal))
            .with_response_filter(self.not_repetitive())
            .with_response_filter(SameLanguage)
            .with_ordered_pair_filter(Distinct::new)
    }

    /// The filters on instructions alone, such as for the candidates of [`BestOf`](crate::stages::BestOf).
    #[must_use]
    pub fn instruction_filters(&self) -> Vec<Box<dyn Filter<Draft>>> {
        let length = Length::chars()
            .with_min(self.min_instruction_chars)
            .with_max(self.max_instruction_chars);
        let mut filters: Vec<Box<dyn Filter<Draft>>> = vec![Box::new(NotEmpty), Box::new(length)];
        if !self.keep_about_task {
            filters.push(Box::new(NotAboutTask::new()));
        }
        filters.push(Box::new(
            NotQuoting::new().with_share(self.max_quoted_share),
        ));
        filters.push(Box::new(self.not_repetitive()));
        filters.push(Box::new(SameLanguage));
        filters
    }

    fn not_repetitive(&self) -> NotRepetitive {
        NotRepetitive::new().with_share(self.min_distinct_share)
    }
}
