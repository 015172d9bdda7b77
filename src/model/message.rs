//! Prompts: a conversation, or a text that the model continues.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::record::Redacted;

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The operator, who gives general instructions.
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

/// One message of a conversation. Its content is untrusted: no backend lets it become a control token.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Message {
    /// The author.
    pub role: Role,
    /// The text.
    pub content: Cow<'static, str>,
}

impl Message {
    /// Makes a message.
    pub fn new(role: Role, content: impl Into<Cow<'static, str>>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }

    /// Makes a message of the operator.
    pub fn system(content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Role::System, content)
    }

    /// Makes a message of the person.
    pub fn user(content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Role::User, content)
    }

    /// Makes a message of the model.
    pub fn assistant(content: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Role::Assistant, content)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.role.as_str(), Redacted(&self.content))
    }
}

/// The text or the conversation that a model continues.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    /// A conversation in the model's own chat template. The model answers it.
    Chat(Vec<Message>),
    /// A text that the model continues, without a template. All of it is encoded as ordinary characters.
    Raw(String),
    /// A conversation whose last message the model continues, up to the end of that message. Other libraries call it
    /// `continue_final_message`. If the last message is an empty one of the user, a model that was tuned on
    /// conversations writes an instruction (Magpie, arXiv 2406.08464).
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
