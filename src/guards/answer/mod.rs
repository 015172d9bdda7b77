//! The shapes of answers. Each is read strictly: what is not exactly a verdict gives nothing.

mod fields;
mod first_line;
mod json;
mod labels;
mod lines;
mod rubric;
mod word;

use serde::Deserialize;

use super::categories::Categories;
use crate::record::Safety;

pub(super) use labels::Labels;

/// What an answer says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Finding {
    pub(super) safety: Safety,
    pub(super) categories: Vec<String>,
    pub(super) refusal: Option<bool>,
    pub(super) p_unsafe: Option<f64>,
}

impl Finding {
    fn bare(safety: Safety) -> Self {
        Self {
            safety,
            categories: Vec::new(),
            refusal: None,
            p_unsafe: None,
        }
    }
}

/// The shape of an answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Shape {
    /// Lines with labels, such as `Safety: Unsafe`.
    Lines(lines::Lines),
    /// A verdict in the first line, and the codes of categories in the second.
    FirstLine(first_line::FirstLine),
    /// One word.
    Word(word::Word),
    /// One word in a tag, such as `<score>yes</score>`.
    Tagged(word::Tagged),
    /// A JSON object.
    Json(json::Json),
    /// Lines with grades, from which a score is computed.
    Rubric(rubric::Rubric),
}

impl Shape {
    /// Reads an answer without white space around it.
    pub(super) fn read(&self, answer: &str, categories: Option<&Categories>) -> Option<Finding> {
        match self {
            Self::Lines(shape) => shape.read(answer, categories),
            Self::FirstLine(shape) => shape.read(answer, categories),
            Self::Word(shape) => shape.read(answer),
            Self::Tagged(shape) => shape.read(answer),
            Self::Json(shape) => shape.read(answer, categories),
            Self::Rubric(shape) => shape.read(answer),
        }
    }

    /// The words for a verdict, if it is a word.
    pub(super) fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Lines(shape) => fields::labels(&shape.fields),
            Self::Json(shape) => fields::labels(&shape.fields),
            Self::FirstLine(shape) => Some(&shape.labels),
            Self::Word(shape) => Some(&shape.labels),
            Self::Tagged(shape) => Some(&shape.labels),
            Self::Rubric(_) => None,
        }
    }

    /// What is wrong with the shape, and what to do.
    pub(super) fn check(&self, has_categories: bool) -> Result<(), String> {
        match self {
            Self::Lines(shape) => fields::check(&shape.fields, has_categories, true),
            Self::Json(shape) => fields::check(&shape.fields, has_categories, false),
            Self::FirstLine(shape) => shape.check(has_categories),
            Self::Word(shape) => shape.labels.check(),
            Self::Tagged(shape) => shape.check(),
            Self::Rubric(shape) => shape.check(),
        }
    }
}
