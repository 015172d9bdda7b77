//! Answers of one word, bare or in a tag.

use serde::Deserialize;

use super::{Finding, Labels};
use crate::guards::categories::same;

/// One word, which may be followed by a tag with one of given values.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guards) struct Word {
    pub(super) labels: Labels,
    tag: Option<Tag>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tag {
    name: String,
    values: Vec<String>,
}

impl Word {
    pub(super) fn read(&self, answer: &str) -> Option<Finding> {
        let word = match (&self.tag, answer.split_once('<')) {
            (Some(tag), Some((word, _))) => {
                let rest = answer.get(word.len()..)?;
                let value = inside(rest, &tag.name)?;
                tag.values.iter().find(|known| same(known, value))?;
                word
            }
            _ => answer,
        };
        let word = word.trim();
        let word = word.strip_suffix('.').unwrap_or(word);
        self.labels.read(word).map(Finding::bare)
    }
}

/// One word in a tag.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guards) struct Tagged {
    tag: String,
    pub(super) labels: Labels,
}

impl Tagged {
    pub(super) fn read(&self, answer: &str) -> Option<Finding> {
        let word = inside(answer, &self.tag)?;
        self.labels.read(word).map(Finding::bare)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.tag.is_empty() || !self.tag.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err("`tag` must be a name of letters and digits, such as `score`".to_owned());
        }
        self.labels.check()
    }
}

/// What stands in the tag, if the text is that tag and nothing else.
fn inside<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let rest = text.trim().strip_prefix('<')?.strip_prefix(tag)?;
    let rest = rest.strip_prefix('>')?.strip_suffix('>')?;
    rest.strip_suffix(tag)?.strip_suffix("</").map(str::trim)
}
