//! Several induced instructions, of which the best is kept.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use futures::future::join_all;

use crate::{
    error::{Error, Result},
    model::{Message, Prompt, ScoreRequest, ScoringModel},
    record::{Draft, Instruction, SourceText, Usage},
    stage::{Filter, InstructionGenerator},
};

/// Induces several times and keeps the instruction that fits the source text best.
///
/// Candidate `i` is asked for under a lineage whose run seed is `lineage.seed("best_of/i")`; the inner stage must
/// sample (temperature above 0), or all candidates are the same. Each distinct candidate `x` is scored once by
/// log P(y | x) per token, `x` being the user's message and the source text `y` the model's. If the inner stage says how
/// likely each candidate is ([`Origin::logprob`](crate::Origin::logprob)), log P(x | y) per token is added with a weight:
/// the first term alone prefers far-fetched candidates, the second alone those that fit any text (maximum mutual
/// information, Li et al., NAACL 2016, arXiv 1510.03055). The highest score wins, the earlier one of two equal ones.
///
/// A candidate that cannot be made or scored is left out. So is one that a filter drops, because a candidate that quotes
/// the source text or states what it says makes it likely too; if the filters drop all of them, all stay.
///
/// # Errors
/// If no candidate is left: the last error.
///
/// ```
/// use std::sync::Arc;
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let names = ["Name a colour.", "Name a fruit."];
/// let induce = induce_fn(move |source: SourceText| async move {
///     Ok(Instruction::new(names[(source.lineage().seed("induce") % 2) as usize]))
/// });
/// let scorer = score_fn(|request: ScoreRequest| async move {
///     let fruit = request.prompt == Prompt::Chat(vec![Message::user("Name a fruit.")]);
///     let score = Continuation { logprob: if fruit { -2.0 } else { -9.0 }, tokens: 2 };
///     let model = Arc::new(ModelId::new("scripted"));
///     Ok(Scores { continuations: vec![score], usage: Usage::default(), model })
/// });
/// let stage = stages::BestOf::new(induce, scorer, 8);
/// let instruction = stage.induce(&SourceText::new("a", "A ripe pear.")).await?;
/// assert_eq!(instruction.text(), "Name a fruit.");
/// assert_eq!(instruction.origin().unwrap().method, "best_of_8");
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone)]
pub struct BestOf<G, S> {
    generator: G,
    scorer: S,
    candidates: u32,
    filters: Vec<Arc<dyn Filter<Draft>>>,
    likelihood_weight: f64,
}

impl<G, S> BestOf<G, S> {
    /// The weight of log P(x | y) by default.
    pub const DEFAULT_LIKELIHOOD_WEIGHT: f64 = 1.5;

    /// Keeps the best of `candidates` (at least 1) instructions of `generator`, by the scores of `scorer`.
    pub fn new(generator: G, scorer: S, candidates: u32) -> Self {
        Self {
            generator,
            scorer,
            candidates: candidates.max(1),
            filters: Vec::new(),
            likelihood_weight: Self::DEFAULT_LIKELIHOOD_WEIGHT,
        }
    }

    /// Sets the weight of log P(x | y) per token, which counts where the inner stage gives it for every candidate. By
    /// default [`DEFAULT_LIKELIHOOD_WEIGHT`](Self::DEFAULT_LIKELIHOOD_WEIGHT).
    #[must_use]
    pub fn with_likelihood_weight(mut self, weight: f64) -> Self {
        self.likelihood_weight = weight;
        self
    }

    /// Adds a filter that candidates should pass, such as those of
    /// [`Recommended::instruction_filters`](crate::filters::Recommended::instruction_filters). By default there is
    /// none.
    #[must_use]
    pub fn with_filter(mut self, filter: impl Filter<Draft> + 'static) -> Self {
        self.filters.push(Arc::new(filter));
        self
    }

    /// How many instructions are induced for each source text.
    #[must_use]
    pub fn candidates(&self) -> u32 {
        self.candidates
    }
}

impl<G: InstructionGenerator, S: ScoringModel> BestOf<G, S> {
    async fn draw(&self, source: &SourceText, i: u32) -> Result<Instruction> {
        let lineage = source.lineage();
        let seed = lineage.seed(&format!("best_of/{i}"));
        let source = source
            .clone()
            .with_lineage(lineage.clone().with_run_seed(seed));
        self.generator.induce(&source).await
    }

    /// The candidates that pass all filters; all candidates if none does.
    async fn passing(
        &self,
        candidates: Vec<Instruction>,
        source: &SourceText,
    ) -> Result<Vec<Instruction>> {
        let mut passing = Vec::new();
        for candidate in &candidates {
            let draft = Draft::new(source.clone()).with_instruction(candidate.clone());
            let mut passes = true;
            for filter in &self.filters {
                passes = passes && filter.assess(&draft).await?.is_keep();
            }
            if passes {
                passing.push(candidate.clone());
            }
        }
        Ok(if passing.is_empty() {
            candidates
        } else {
            passing
        })
    }

    /// log P(source text | instruction) per token. A score that is not a number never wins.
    async fn score(&self, instruction: &Instruction, source: &SourceText) -> Result<(f64, Usage)> {
        let prompt = Prompt::Chat(vec![Message::user(instruction.text().to_owned())]);
        let request = ScoreRequest::new(prompt, [source.text()]);
        let scores = self.scorer.score(&request).await?;
        match scores.continuations.as_slice() {
            [score] if score.per_token().is_nan() => Ok((f64::NEG_INFINITY, scores.usage)),
            [score] => Ok((score.per_token(), scores.usage)),
            _ => Err(Error::malformed("one score for one continuation")),
        }
    }
}

/// log P(instruction | source text) per token, if the inner stage gives it.
fn likelihood(instruction: &Instruction) -> Option<f64> {
    let logprob = instruction.origin()?.logprob;
    logprob.filter(|logprob| logprob.is_finite())
}

impl<G: fmt::Debug, S: fmt::Debug> fmt::Debug for BestOf<G, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BestOf")
            .field("generator", &self.generator)
            .field("scorer", &self.scorer)
            .field("candidates", &self.candidates)
            .field("filters", &self.filters.len())
            .field("likelihood_weight", &self.likelihood_weight)
            .finish()
    }
}

#[async_trait]
impl<G: InstructionGenerator, S: ScoringModel> InstructionGenerator for BestOf<G, S> {
    async fn induce(&self, source: &SourceText) -> Result<Instruction> {
        let draws = join_all((0..self.candidates).map(|i| self.draw(source, i))).await;

        let mut usage = Usage::default();
        let mut distinct: Vec<Instruction> = Vec::new();
        let mut last_error = None;
        for draw in draws {
            match draw {
                Ok(instruction) => {
                    usage += instruction
                        .origin()
                        .map(|origin| origin.usage)
                        .unwrap_or_default();
                    if distinct
                        .iter()
                        .all(|known| known.text() != instruction.text())
                    {
                        distinct.push(instruction);
                    }
                }
                Err(error) => last_error = Some(error),
            }
        }

        let distinct = self.passing(distinct, source).await?;
        let scores = join_all(distinct.iter().map(|x| self.score(x, source))).await;
        let weight = if distinct.iter().all(|x| likelihood(x).is_some()) {
            self.likelihood_weight
        } else {
            0.0
        };
        let mut best: Option<(f64, Instruction)> = None;
        for (instruction, score) in distinct.into_iter().zip(scores) {
            match score {
                Ok((score, cost)) => {
                    usage += cost;
                    let score = score + weight * likelihood(&instruction).unwrap_or_default();
                    if best.as_ref().is_none_or(|(leader, _)| score > *leader) {
                        best = Some((score, instruction));
                    }
                }
                Err(error) => last_error = Some(error),
            }
        }

        match (best, last_error) {
            (Some((_, instruction)), _) => {
                let (text, origin) = instruction.into_parts();
                let mut origin = origin.unwrap_or_default();
                origin.method = format!("best_of_{}", self.candidates);
                origin.usage = usage;
                Ok(Instruction::new(text)
                    .with_lineage(source.lineage().clone())
                    .with_origin(origin))
            }
            (None, Some(error)) => Err(error),
            (None, None) => Err(Error::malformed("an instruction")),
        }
    }
}
