//! Named fields of an answer, in lines or in a JSON object.

use serde::Deserialize;

use super::{Finding, Labels};
use crate::{
    guards::categories::{Categories, same},
    record::Safety,
};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Field {
    pub(super) label: String,
    pub(super) reads: Reads,
    /// Whether the answer may lack it.
    #[serde(default)]
    pub(super) optional: bool,
}

/// What a field says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reads {
    /// The verdict.
    Verdict(Labels),
    /// The verdict on the instruction, of which only contradictions count.
    Instruction(Labels),
    /// The categories.
    Categories(List),
    /// The categories of the instruction, of which only contradictions count.
    InstructionCategories(List),
    /// Whether the response refuses.
    Refusal { yes: Vec<String>, no: Vec<String> },
    /// One of these words, which says nothing of the response.
    Words(Vec<String>),
    /// Anything.
    Ignored,
    /// An object that says of each category whether it is met. Only in JSON.
    Flags,
    /// An object with a number from 0 to 1 for each category, of which the largest is P(unsafe). Only in JSON.
    Scores,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// The words for an empty list.
    none: Vec<String>,
    /// Whether a category may be that of the instruction instead.
    #[serde(default)]
    shared: bool,
}

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// A text, a number or a truth value, as it is written.
    Word(String),
    Null,
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// The words for the verdict.
pub(super) fn labels(fields: &[Field]) -> Option<&Labels> {
    fields.iter().find_map(|field| match &field.reads {
        Reads::Verdict(labels) => Some(labels),
        _ => None,
    })
}

pub(super) fn check(fields: &[Field], has_categories: bool, lines: bool) -> Result<(), String> {
    let verdicts = |field: &&Field| matches!(field.reads, Reads::Verdict(_)) && !field.optional;
    if fields.iter().filter(verdicts).count() != 1 {
        return Err("exactly one field must read `verdict`, and not be optional".to_owned());
    }
    for (at, field) in fields.iter().enumerate() {
        let label = &field.label;
        let mut earlier = fields.iter().take(at);
        if label.trim().is_empty() || earlier.any(|other| same(&other.label, label)) {
            return Err(format!(
                "field {}: its label is empty or came before",
                at + 1
            ));
        }
        match &field.reads {
            Reads::Verdict(labels) | Reads::Instruction(labels) => labels.check()?,
            Reads::Flags | Reads::Scores if lines => {
                return Err(format!("`{label}`: flags and scores are for `json` only"));
            }
            Reads::Categories(_)
            | Reads::InstructionCategories(_)
            | Reads::Flags
            | Reads::Scores
                if !has_categories =>
            {
                return Err(format!(
                    "`{label}` needs a list: add `categories` to the file"
                ));
            }
            Reads::Refusal { yes, no } => {
                let both = yes
                    .iter()
                    .any(|word| no.iter().any(|other| same(word, other)));
                if yes.is_empty() || no.is_empty() || both {
                    return Err(format!("`{label}`: `yes` and `no` need words of their own"));
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// What the fields of one answer said so far.
#[derive(Default)]
pub(super) struct Gathered<'f> {
    seen: Vec<&'f Field>,
    verdict: Option<Safety>,
    instruction: Option<Safety>,
    categories: Vec<String>,
    shared: bool,
    instruction_categories: Vec<String>,
    refusal: Option<bool>,
    flagged: Option<bool>,
    score: Option<f64>,
}

impl<'f> Gathered<'f> {
    /// Takes a field; `None` if it came before or does not say what it should.
    pub(super) fn take(
        &mut self,
        field: &'f Field,
        value: &Value,
        known: Option<&Categories>,
    ) -> Option<()> {
        if self.seen.iter().any(|seen| std::ptr::eq(*seen, field)) {
            return None;
        }
        self.seen.push(field);
        match &field.reads {
            Reads::Verdict(labels) => self.verdict = Some(labels.read(value.word()?)?),
            Reads::Instruction(labels) => self.instruction = Some(labels.read(value.word()?)?),
            Reads::Categories(list) => {
                self.categories.extend(list.read(value, known?)?);
                self.shared |= list.shared;
            }
            Reads::InstructionCategories(list) => {
                self.instruction_categories = list.read(value, known?)?;
            }
            Reads::Refusal { yes, no } => {
                let word = value.word()?;
                let is = |words: &[String]| words.iter().any(|known| same(known, word));
                self.refusal = Some(is(yes));
                if is(yes) == is(no) {
                    return None;
                }
            }
            Reads::Words(words) => {
                let word = value.word()?;
                words.iter().find(|known| same(known, word))?;
            }
            Reads::Ignored => {}
            Reads::Flags => {
                let met = flags(value, known?)?;
                self.flagged = Some(!met.is_empty());
                self.categories.extend(met);
            }
            Reads::Scores => self.score = Some(largest(value, known?)?),
        }
        Some(())
    }

    /// The finding, if nothing is missing and nothing contradicts anything.
    pub(super) fn finish(self, fields: &[Field]) -> Option<Finding> {
        let seen = |field: &Field| self.seen.iter().any(|seen| std::ptr::eq(*seen, field));
        if !fields.iter().all(|field| field.optional || seen(field)) {
            return None;
        }
        let safety = self.verdict?;
        if self.instruction == Some(Safety::Safe) && !self.instruction_categories.is_empty() {
            return None;
        }
        if self
            .flagged
            .is_some_and(|flagged| flagged == (safety == Safety::Safe))
        {
            return None;
        }
        let mut categories = self.categories;
        if safety == Safety::Safe && !categories.is_empty() {
            let of_instruction =
                self.shared && self.instruction.is_some_and(|it| it != Safety::Safe);
            if !of_instruction {
                return None;
            }
            categories.clear();
        }
        Some(Finding {
            safety,
            categories,
            refusal: self.refusal,
            p_unsafe: self.score,
        })
    }
}

impl List {
    fn read(&self, value: &Value, known: &Categories) -> Option<Vec<String>> {
        match value {
            Value::Word(text) => known.list(text, &self.none),
            Value::Null => Some(Vec::new()),
            Value::List(values) => {
                let found = values.iter().map(|value| known.find(value.word()?));
                found.collect()
            }
            Value::Object(_) => None,
        }
    }
}

impl Value {
    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    fn object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) if !members.is_empty() => Some(members),
            _ => None,
        }
    }
}

/// The categories that are met.
fn flags(value: &Value, known: &Categories) -> Option<Vec<String>> {
    let mut met = Vec::new();
    for (name, value) in value.object()? {
        let category = known.find(name)?;
        match value {
            Value::Word(word) if word == "true" => met.push(category),
            Value::Word(word) if word == "false" => {}
            Value::Null => {}
            _ => return None,
        }
    }
    Some(met)
}

/// The largest of the scores.
fn largest(value: &Value, known: &Categories) -> Option<f64> {
    let mut largest: Option<f64> = None;
    for (name, value) in value.object()? {
        known.find(name)?;
        if *value == Value::Null {
            continue;
        }
        let score: f64 = value.word()?.parse().ok()?;
        if !(0.0..=1.0).contains(&score) {
            return None;
        }
        largest = Some(largest.map_or(score, |most| most.max(score)));
    }
    largest
}
