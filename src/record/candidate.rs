//! What filters look at between the stages.

use super::{Instruction, PreferencePair, Response, SourceText};

/// A source text with its induced instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Induced {
    /// The source text.
    pub source: SourceText,
    /// The instruction that it could be an answer to.
    pub instruction: Instruction,
}

/// An instruction with the two responses that a judge will compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The source text.
    pub source: SourceText,
    /// The instruction.
    pub instruction: Instruction,
    /// The expert's response.
    pub response: Response,
    /// The counterpart's response; without one, the source text is the other side.
    pub counterpart: Option<Response>,
}

impl Candidate {
    /// The text that the expert's response is compared with.
    #[must_use]
    pub fn other_text(&self) -> &str {
        self.counterpart
            .as_ref()
            .map_or_else(|| self.source.text(), Response::text)
    }
}

/// The text that a stage has just made: what a filter on texts looks at.
///
/// The source text of a [`SourceText`], the instruction of an [`Induced`], the response of a [`Candidate`], and the
/// `chosen` side of a [`PreferencePair`]. One filter, such as [`Length`](crate::filters::Length), thus serves at every place.
pub trait Subject {
    /// The newest text.
    fn subject(&self) -> &str;
}

impl Subject for SourceText {
    fn subject(&self) -> &str {
        self.text()
    }
}

impl Subject for Induced {
    fn subject(&self) -> &str {
        self.instruction.text()
    }
}

impl Subject for Candidate {
    fn subject(&self) -> &str {
        self.response.text()
    }
}

impl Subject for PreferencePair {
    fn subject(&self) -> &str {
        &self.chosen
    }
}
