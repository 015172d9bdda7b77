//! A source text on its way to a pair.

use super::{
    Assessments, Instruction, Judged, Judgement, PreferencePair, Provenance, Response, Side,
    SourceText, Verdict,
};
use crate::error::{Error, Result};

/// A source text and what has been made of it so far.
///
/// Each stage adds its result: the instruction, the responses, the judgement. Filters look at the draft. A source text
/// that is dropped or fails keeps its draft in the [`Outcome`](crate::Outcome), so nothing that was paid for is lost.
///
/// The results of stages are read with `?`. An error says that the stage has not run yet: the filter that reads it was
/// added in the wrong place. The counterpart's response is an [`Option`], because most pipelines have no counterpart.
///
/// ```
/// use safer_instruct::{Decision, Draft, Filter, Instruction, Response, SourceText, filter_fn};
///
/// let filter = filter_fn(|draft: &Draft| {
///     let (instruction, response) = (draft.instruction()?, draft.response()?);
///     Ok(if response.text().starts_with(instruction.text()) {
///         Decision::drop("repeats_instruction")
///     } else {
///         Decision::Keep
///     })
/// });
///
/// # futures::executor::block_on(async {
/// let draft = Draft::new(SourceText::new("post-1", "You will never learn it."))
///     .with_instruction(Instruction::new("Can I learn it?"));
/// assert!(filter.assess(&draft).await.is_err(), "there is no response yet");
/// let draft = draft.with_response(Response::new("Of course."));
/// assert!(filter.assess(&draft).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    pub(crate) source: SourceText,
    pub(crate) instruction: Option<Instruction>,
    pub(crate) response: Option<Response>,
    pub(crate) counterpart: Option<Response>,
    pub(crate) assessments: Option<Box<Assessments>>,
    /// The judgement, and whether the judge saw the expert's response first.
    pub(crate) judged: Option<(Judgement, bool)>,
}

impl Draft {
    /// Makes a draft of a source text, of which nothing has been made yet.
    #[must_use]
    pub fn new(source: SourceText) -> Self {
        Self {
            source,
            instruction: None,
            response: None,
            counterpart: None,
            assessments: None,
            judged: None,
        }
    }

    /// Adds the induced instruction. By default there is none.
    #[must_use]
    pub fn with_instruction(mut self, instruction: Instruction) -> Self {
        self.instruction = Some(instruction);
        self
    }

    /// Adds the expert's response. By default there is none.
    #[must_use]
    pub fn with_response(mut self, response: Response) -> Self {
        self.response = Some(response);
        self
    }

    /// Adds the counterpart's response. By default there is none, and the source text is the other side.
    #[must_use]
    pub fn with_counterpart(mut self, counterpart: Response) -> Self {
        self.counterpart = Some(counterpart);
        self
    }

    /// Adds what a guard finds in the two sides. By default they are not assessed.
    #[must_use]
    pub fn with_assessments(mut self, assessments: Assessments) -> Self {
        self.assessments = Some(Box::new(assessments));
        self
    }

    /// Adds the judgement, and whether the judge saw the expert's response first. By default there is none.
    #[must_use]
    pub fn with_judgement(mut self, judgement: Judgement, expert_first: bool) -> Self {
        self.judged = Some((judgement, expert_first));
        self
    }

    /// The source text.
    #[must_use]
    pub fn source(&self) -> &SourceText {
        &self.source
    }

    /// The induced instruction.
    ///
    /// # Errors
    /// [`Error::Config`] if no instruction has been induced yet.
    pub fn instruction(&self) -> Result<&Instruction> {
        self.instruction
            .as_ref()
            .ok_or_else(|| missing("instruction"))
    }

    /// The expert's response.
    ///
    /// # Errors
    /// [`Error::Config`] if the expert has not responded yet.
    pub fn response(&self) -> Result<&Response> {
        self.response.as_ref().ok_or_else(|| missing("response"))
    }

    /// The counterpart's response, if the pipeline has a counterpart.
    #[must_use]
    pub fn counterpart(&self) -> Option<&Response> {
        self.counterpart.as_ref()
    }

    /// The text that the expert's response is compared with: the counterpart's response or, without one, the source
    /// text.
    #[must_use]
    pub fn other_text(&self) -> &str {
        self.counterpart
            .as_ref()
            .map_or_else(|| self.source.text(), Response::text)
    }

    /// What a guard finds in the two sides, if the pipeline has a guard.
    #[must_use]
    pub fn assessments(&self) -> Option<&Assessments> {
        self.assessments.as_deref()
    }

    /// The judgement. First and second are the places in which the judge saw the responses.
    ///
    /// # Errors
    /// [`Error::Config`] if the judge has not decided yet.
    pub fn judgement(&self) -> Result<&Judgement> {
        Ok(&self.judged()?.0)
    }

    /// Whether the judge saw the expert's response first.
    ///
    /// # Errors
    /// [`Error::Config`] if the judge has not decided yet.
    pub fn expert_first(&self) -> Result<bool> {
        Ok(self.judged()?.1)
    }

    /// Where the better response comes from.
    ///
    /// # Errors
    /// [`Error::Config`] if the judge has not decided yet, or finds neither response better.
    pub fn chosen_from(&self) -> Result<Side> {
        let (judgement, expert_first) = self.judged()?;
        let expert_wins = match judgement.verdict() {
            Verdict::First => *expert_first,
            Verdict::Second => !expert_first,
            Verdict::Tie => return Err(missing("better response")),
        };
        Ok(if expert_wins {
            Side::Expert
        } else {
            self.other_side()
        })
    }

    /// Where the worse response comes from.
    ///
    /// # Errors
    /// As [`chosen_from`](Self::chosen_from).
    pub fn rejected_from(&self) -> Result<Side> {
        Ok(match self.chosen_from()? {
            Side::Expert => self.other_side(),
            Side::Source | Side::Counterpart => Side::Expert,
        })
    }

    /// The text of the better response.
    ///
    /// # Errors
    /// As [`chosen_from`](Self::chosen_from).
    pub fn chosen(&self) -> Result<&str> {
        self.text_of(self.chosen_from()?)
    }

    /// The text of the worse response.
    ///
    /// # Errors
    /// As [`chosen_from`](Self::chosen_from).
    pub fn rejected(&self) -> Result<&str> {
        self.text_of(self.rejected_from()?)
    }

    /// Moves the texts into a preference pair. With a counterpart, the source text is not part of it.
    ///
    /// # Errors
    /// Gives the draft back if it cannot become a pair: a part is missing, or neither response is better.
    pub fn into_pair(self) -> Result<PreferencePair, Box<Self>> {
        let (Ok(chosen_from), Ok(rejected_from)) = (self.chosen_from(), self.rejected_from())
        else {
            return Err(Box::new(self));
        };
        let Self {
            source,
            instruction: Some(instruction),
            response: Some(response),
            counterpart,
            assessments,
            judged: Some((judgement, expert_first)),
        } = self
        else {
            return Err(Box::new(self));
        };
        let (source_text, category, lineage) = source.into_parts();
        let (prompt, induction) = instruction.into_parts();
        let (expert_text, response) = response.into_parts();
        let (other_text, counterpart) = match counterpart {
            Some(counterpart) => counterpart.into_parts(),
            None => (source_text, None),
        };
        let (chosen, rejected) = match chosen_from {
            Side::Expert => (expert_text, other_text),
            Side::Source | Side::Counterpart => (other_text, expert_text),
        };
        let (of_expert, of_other) =
            assessments.map_or((None, None), |both| (Some(both.expert), Some(both.other)));
        let (chosen_assessment, rejected_assessment) = match chosen_from {
            Side::Expert => (of_expert, of_other),
            Side::Source | Side::Counterpart => (of_other, of_expert),
        };
        Ok(PreferencePair {
            prompt,
            chosen,
            rejected,
            provenance: Provenance {
                lineage,
                category,
                chosen_from,
                rejected_from,
                induction,
                response,
                counterpart,
                chosen_assessment,
                rejected_assessment,
                judgement: Judged {
                    verdict: judgement.verdict(),
                    expert_first,
                    margin: judgement.margin(),
                    flipped: judgement.flipped(),
                    origin: judgement.into_origin(),
                },
            },
        })
    }

    fn judged(&self) -> Result<&(Judgement, bool)> {
        self.judged.as_ref().ok_or_else(|| missing("judgement"))
    }

    /// The side that the expert's response is compared with.
    fn other_side(&self) -> Side {
        match self.counterpart {
            Some(_) => Side::Counterpart,
            None => Side::Source,
        }
    }

    fn text_of(&self, side: Side) -> Result<&str> {
        match side {
            Side::Expert => self.response().map(Response::text),
            Side::Source | Side::Counterpart => Ok(self.other_text()),
        }
    }
}

fn missing(part: &str) -> Error {
    let reason =
        format!("has no {part} yet; a filter that needs it goes behind the stage that makes it");
    Error::config("draft", reason)
}

/// Gives the newest text of an item: what a filter on texts looks at.
///
/// The text of a [`SourceText`]; the newest text of a [`Draft`], which is the instruction, then the response, and
/// `chosen` once it is judged; the `chosen` side of a [`PreferencePair`]. So one filter, such as
/// [`Length`](crate::filters::Length), can be used at every place.
pub trait Subject {
    /// The newest text.
    fn subject(&self) -> &str;
}

impl Subject for SourceText {
    fn subject(&self) -> &str {
        self.text()
    }
}

impl Subject for Draft {
    fn subject(&self) -> &str {
        if self.judged.is_some()
            && let Ok(chosen) = self.chosen()
        {
            return chosen;
        }
        match (&self.response, &self.instruction) {
            (Some(response), _) => response.text(),
            (None, Some(instruction)) => instruction.text(),
            (None, None) => self.source.text(),
        }
    }
}

impl Subject for PreferencePair {
    fn subject(&self) -> &str {
        &self.chosen
    }
}
