//! A verdict in the first line, and the codes of categories in the second: Llama Guard and its descendants.

use serde::Deserialize;

use super::{Finding, Labels};
use crate::{guards::categories::Categories, record::Safety};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guards) struct FirstLine {
    pub(super) labels: Labels,
    codes: Codes,
}

/// Whether an unsafe verdict has a second line with codes.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Codes {
    Required,
    Optional,
    Absent,
}

impl FirstLine {
    pub(super) fn read(&self, answer: &str, known: Option<&Categories>) -> Option<Finding> {
        let mut lines = answer.lines().filter(|line| !line.trim().is_empty());
        let safety = self.labels.read(lines.next()?)?;
        let codes = lines.next();
        if lines.next().is_some() {
            return None;
        }
        let categories = match (codes, self.codes) {
            (None, Codes::Required) if safety != Safety::Safe => return None,
            (None, _) => Vec::new(),
            (Some(_), Codes::Absent) => return None,
            (Some(codes), _) if safety != Safety::Safe => known?.list(codes, &[])?,
            (Some(_), _) => return None,
        };
        Some(Finding {
            categories,
            ..Finding::bare(safety)
        })
    }

    pub(super) fn check(&self, has_categories: bool) -> Result<(), String> {
        if self.codes != Codes::Absent && !has_categories {
            return Err("`codes` needs a list: add `categories` to the file".to_owned());
        }
        self.labels.check()
    }
}
