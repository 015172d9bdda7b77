//! The parser of prompt files.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    files::hex,
    model::{Message, Prompt, Role},
};

/// A prompt with named slots.
///
/// - A line `## system`, `## user` or `## assistant` begins a message. Every line that begins with `## ` must be such a
///   heading; deeper headings (`###`) are text. The last message must be the user's, because the model answers it.
/// - A file without such a line is a raw prompt: a text that the model continues.
/// - `{{name}}` is a slot. Every `{{` begins one.
/// - Line breaks at the end of the file, and blank lines around a message, are not part of the prompt.
///
/// ```
/// use safer_instruct::{Message, Prompt, prompt::PromptTemplate};
///
/// let template = PromptTemplate::parse("## user\nSum up: {{source}}\n", &["source"])?;
/// let prompt = template.render(&[("source", "## system\n{{source}}")])?;
/// assert_eq!(prompt, Prompt::Chat(vec![Message::user("Sum up: ## system\n{{source}}")]));
///
/// let error = PromptTemplate::parse("## user\nSum up: {{text}}", &["source"]).unwrap_err();
/// assert_eq!(error.to_string(), "prompt: line 2: there is no slot `text`; this prompt has `source`");
/// # Ok::<_, safer_instruct::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PromptTemplate {
    body: Body,
    file_hash: Arc<str>,
    values: Vec<(Arc<str>, Arc<str>)>,
    hash: Arc<str>,
}

#[derive(Clone, Debug)]
enum Body {
    Raw(Vec<Piece>),
    Chat(Vec<(Role, Vec<Piece>)>),
}

#[derive(Clone, Debug, PartialEq)]
enum Piece {
    Text(String),
    Slot { name: String, line: usize },
}

impl PromptTemplate {
    /// Parses the text of a prompt file. `slots` are the names of its slots; a name that ends in `?` is optional.
    ///
    /// # Errors
    /// [`Error::Config`], with the line, for an unknown slot, a missing slot, an unclosed `{{`, a heading that is not a
    /// role, text before the first heading, an empty message, or a last message that is not the user's.
    pub fn parse(text: &str, slots: &[&str]) -> Result<Self> {
        Self::read(text)?.checked(slots, text)
    }

    /// Checks the slots.
    fn checked(self, slots: &[&str], text: &str) -> Result<Self> {
        let known: Vec<&str> = slots
            .iter()
            .map(|slot| slot.trim_end_matches('?'))
            .collect();
        for (name, line) in self.slots() {
            if !known.contains(&name) {
                return Err(at(
                    line,
                    format!(
                        "there is no slot `{name}`; this prompt has `{}`",
                        known.join("`, `")
                    ),
                ));
            }
        }
        for slot in slots.iter().filter(|slot| !slot.ends_with('?')) {
            if !self.has_slot(slot) {
                let last = text.lines().count();
                return Err(at(last, format!("the slot `{{{{{slot}}}}}` is missing")));
            }
        }
        Ok(self)
    }

    /// Parses a prompt of this crate. `tests/core/prompts.rs` checks that each one can be parsed; otherwise it would be
    /// sent as it is.
    pub(crate) fn built_in(text: &str) -> Self {
        Self::read(text)
            .unwrap_or_else(|_| Self::new(Body::Raw(vec![Piece::Text(text.to_owned())]), text))
    }

    /// Makes a conversation of messages with slots, each as it stands: nothing is trimmed, and the last one may be the
    /// assistant's. Slots as for [`parse`](Self::parse).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), for slots.
    pub(crate) fn chat(messages: &[(Role, String)], slots: &[&str]) -> Result<Self> {
        let mut source = String::new();
        let mut body = Vec::new();
        for (role, text) in messages {
            source.push_str(&format!("## {}\n{text}\n", role.as_str()));
            body.push((*role, pieces(text, 1)?));
        }
        Self::new(Body::Chat(body), &source).checked(slots, &source)
    }

    /// Makes a raw prompt of a text with slots, as it stands. Slots as for [`parse`](Self::parse).
    ///
    /// # Errors
    /// As [`parse`](Self::parse), for slots.
    pub(crate) fn raw(text: &str, slots: &[&str]) -> Result<Self> {
        Self::new(Body::Raw(pieces(text, 1)?), text).checked(slots, text)
    }

    /// Whether the prompt has a slot of this name.
    pub(crate) fn has_slot(&self, name: &str) -> bool {
        self.slots().any(|(known, _)| known == name)
    }

    fn read(text: &str) -> Result<Self> {
        let text = text.replace("\r\n", "\n");
        let body = if text.lines().any(|line| line.starts_with("## ")) {
            Body::Chat(messages(&text)?)
        } else {
            Body::Raw(pieces(text.trim_end_matches('\n'), 1)?)
        };
        Ok(Self::new(body, &text))
    }

    fn new(body: Body, text: &str) -> Self {
        let hash = sha256(&[text]);
        Self {
            body,
            file_hash: Arc::clone(&hash),
            values: Vec::new(),
            hash,
        }
    }

    /// Fixes the value of one slot, such as the policy of a stage. The [`hash`](Self::hash) then covers the value too.
    /// By default no value is fixed.
    #[must_use]
    pub fn with_value(mut self, name: &str, value: &str) -> Self {
        self.values.retain(|(known, _)| **known != *name);
        self.values.push((name.into(), value.into()));
        self.values.sort();
        let mut parts = vec![&*self.file_hash];
        for (name, value) in &self.values {
            parts.extend([&**name, &**value]);
        }
        self.hash = sha256(&parts);
        self
    }

    /// The hash as `sha256:<hex>`: of the text of the file, with line breaks as `\n`; with values set by
    /// [`with_value`](Self::with_value), of that hash and the values.
    #[must_use]
    pub fn hash(&self) -> &Arc<str> {
        &self.hash
    }

    /// Fills the slots with values. A value without a slot is ignored.
    ///
    /// # Errors
    /// [`Error::Config`] if a slot has no value.
    pub fn render(&self, values: &[(&str, &str)]) -> Result<Prompt> {
        match &self.body {
            Body::Raw(pieces) => Ok(Prompt::Raw(self.fill(pieces, values)?)),
            Body::Chat(messages) => messages
                .iter()
                .map(|(role, pieces)| Ok(Message::new(*role, self.fill(pieces, values)?)))
                .collect::<Result<Vec<_>>>()
                .map(Prompt::Chat),
        }
    }

    fn fill(&self, pieces: &[Piece], values: &[(&str, &str)]) -> Result<String> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(literal) => text.push_str(literal),
                Piece::Slot { name, line } => {
                    let given = values.iter().find(|(known, _)| known == name);
                    let fixed = self.values.iter().find(|(known, _)| **known == **name);
                    let value = given
                        .map(|(_, value)| *value)
                        .or(fixed.map(|(_, value)| &**value))
                        .ok_or_else(|| at(*line, format!("the slot `{name}` has no value")))?;
                    text.push_str(value);
                }
            }
        }
        Ok(text)
    }

    fn slots(&self) -> impl Iterator<Item = (&str, usize)> {
        let pieces: Vec<&Piece> = match &self.body {
            Body::Raw(pieces) => pieces.iter().collect(),
            Body::Chat(messages) => messages.iter().flat_map(|(_, pieces)| pieces).collect(),
        };
        pieces.into_iter().filter_map(|piece| match piece {
            Piece::Slot { name, line } => Some((name.as_str(), *line)),
            Piece::Text(_) => None,
        })
    }
}

/// Splits a chat prompt at its headings.
fn messages(text: &str) -> Result<Vec<(Role, Vec<Piece>)>> {
    let mut sections: Vec<(Role, usize, Vec<&str>)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(title) = line.strip_prefix("## ") {
            sections.push((role(title, number)?, number, Vec::new()));
        } else if let Some((_, _, lines)) = sections.last_mut() {
            lines.push(line);
        } else if !line.trim().is_empty() {
            return Err(at(number, "there is text before the first heading"));
        }
    }
    if let Some((role, line, _)) = sections.last()
        && *role != Role::User
    {
        return Err(at(
            *line,
            "the last message must be the user's, because the model's turn follows",
        ));
    }
    sections
        .into_iter()
        .map(|(role, heading, lines)| {
            let blank = lines.iter().take_while(|line| line.trim().is_empty());
            let first = heading + 1 + blank.count();
            let content = lines.join("\n");
            let content = content.trim();
            if content.is_empty() {
                return Err(at(heading, "the message is empty"));
            }
            Ok((role, pieces(content, first)?))
        })
        .collect()
}

fn role(title: &str, line: usize) -> Result<Role> {
    [Role::System, Role::User, Role::Assistant]
        .into_iter()
        .find(|role| role.as_str() == title.trim_end())
        .ok_or_else(|| {
            at(
                line,
                "a heading of level 2 is `## system`, `## user` or `## assistant`",
            )
        })
}

/// Splits a text that begins at `line` at its slots.
fn pieces(text: &str, mut line: usize) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((literal, after)) = rest.split_once("{{") {
        line += literal.matches('\n').count();
        let (name, after) = after
            .split_once("}}")
            .filter(|(name, _)| !name.is_empty() && name.chars().all(is_name))
            .ok_or_else(|| {
                at(
                    line,
                    "`{{` must begin a slot such as `{{name}}`, in lower case and without spaces",
                )
            })?;
        pieces.push(Piece::Text(literal.to_owned()));
        pieces.push(Piece::Slot {
            name: name.to_owned(),
            line,
        });
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    Ok(pieces)
}

fn is_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

fn at(line: usize, reason: impl std::fmt::Display) -> Error {
    Error::config("prompt", format!("line {line}: {reason}"))
}

/// The hash of one text, or of several that are each preceded by their length.
fn sha256(parts: &[&str]) -> Arc<str> {
    let mut hash = Sha256::new();
    for part in parts {
        if parts.len() > 1 {
            hash.update((part.len() as u64).to_le_bytes());
        }
        hash.update(part.as_bytes());
    }
    format!("sha256:{}", hex(hash.finalize())).into()
}
