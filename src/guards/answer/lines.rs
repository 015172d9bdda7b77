//! Lines with labels: each exactly once, and no other line.

use serde::Deserialize;

use super::{
    Finding,
    fields::{Field, Gathered, Value},
};
use crate::guards::categories::{Categories, same};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::guards) struct Lines {
    pub(super) fields: Vec<Field>,
    /// What stands between a label and its value.
    #[serde(default = "colon")]
    separators: Vec<char>,
}

fn colon() -> Vec<char> {
    vec![':']
}

impl Lines {
    pub(super) fn read(&self, answer: &str, known: Option<&Categories>) -> Option<Finding> {
        let mut gathered = Gathered::default();
        for line in answer.lines().filter(|line| !line.trim().is_empty()) {
            let (label, value) = line.split_once(self.separators.as_slice())?;
            let field = self.fields.iter().find(|field| same(&field.label, label))?;
            let value = Value::Word(value.trim().to_owned());
            gathered.take(field, &value, known)?;
        }
        gathered.finish(&self.fields)
    }
}
