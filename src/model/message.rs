//! Prompts: a conversation, or a text to go on with.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::record::Redacted;

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of the operator.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name in chat templates and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One message of a conversation. Its content is untrusted text: no backend lets it become a control token.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: Cow<'static, str>,
}

impl Message {
    /// A message.
    pub fn new(role: Role, content: impl Into<Cow<'static, str>>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }

    /// A message of the operator.
    pub fn system(content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Role::System, content)
    }

    /// A message of the person.
    pub fn user(content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Role::User, content)
    }

    /// A message of the model.
    pub fn assistant(content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Role::Assistant, content)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.role.as_str(), Redacted(&self.content))
    }
}

/// What a model goes on from.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A conversation, put into the model's own chat template; the model's turn follows.
    Chat(Vec<Message>),
    /// A text that the model goes on with, without a template. Encoded as ordinary characters throughout.
    Raw(String),
    /// A conversation whose last message the model goes on with, whoever says it, up to its end; `continue_final_message` elsewhere. With
    /// an empty message of the person a model that was tuned on conversations asks something itself (Magpie, arXiv 2406.08464).
    Unfinished(Vec<Message>),
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chat(messages) => f.debug_tuple("Chat").field(messages).finish(),
            Self::Raw(text) => f.debug_tuple("Raw").field(&Redacted(text)).finish(),
            Self::Unfinished(messages) => f.debug_tuple("Unfinished").field(messages).finish(),
        }
    }
}

impl From<Vec<Message>> for Prompt {
    fn from(messages: Vec<Message>) -> Self {
        Self::Chat(messages)
    }
}
