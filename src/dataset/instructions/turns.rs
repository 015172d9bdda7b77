//! The first exchange of a conversation. Later turns depend on what came before, so they are not pairs by themselves.

use serde_json::Value;

use super::{
    found::{Found, found},
    report::PassedOver,
};
use crate::dataset::checks::{kind, wrong_type};

/// The first turn of a person and the model's answer, after system texts. White space around both is removed.
pub(super) fn first_exchange(list: &str, turns: Value) -> Result<Found, String> {
    let turns = match turns {
        Value::Array(turns) => turns,
        other => return Err(wrong_type(list, &other, "an array")),
    };
    let mut turns = turns.into_iter().zip(1_u64..).map(|(turn, number)| {
        Turn::new(turn).map_err(|reason| format!("turn {number} of {list} {reason}"))
    });
    let mut first = turns.next().transpose()?;
    while first
        .as_ref()
        .is_some_and(|turn| turn.speaker == Speaker::System)
    {
        first = turns.next().transpose()?;
    }
    match (first, turns.next().transpose()?) {
        (Some(first), Some(second))
            if (first.speaker, second.speaker) == (Speaker::Person, Speaker::Model) =>
        {
            match (first.text, second.text) {
                (Some(instruction), Some(response)) => {
                    found(instruction.trim().to_owned(), response.trim().to_owned())
                }
                _ => Ok(Found::PassedOver(PassedOver::NotText)),
            }
        }
        _ => Ok(Found::PassedOver(PassedOver::NoExchange)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Speaker {
    System,
    Person,
    Model,
    Other,
}

/// One turn; without a text if it holds something else.
struct Turn {
    speaker: Speaker,
    text: Option<String>,
}

impl Turn {
    /// A turn in the words of ShareGPT (`from`, `value`) or of chat models (`role`, `content`).
    fn new(turn: Value) -> Result<Self, String> {
        let mut turn = match turn {
            Value::Object(turn) => turn,
            other => return Err(format!("is {}, not an object", kind(&other))),
        };
        let speaker = match turn.get("from").or_else(|| turn.get("role")) {
            Some(Value::String(name)) => match name.as_str() {
                "system" => Speaker::System,
                "human" | "user" => Speaker::Person,
                "gpt" | "assistant" => Speaker::Model,
                _ => Speaker::Other,
            },
            Some(other) => return Err(format!("is from {}, not a string", kind(other))),
            None => return Err("has neither from nor role".to_owned()),
        };
        let text = match turn.remove("value").or_else(|| turn.remove("content")) {
            Some(Value::String(text)) => Some(text),
            // What a model writes that only calls a tool.
            Some(Value::Null) => Some(String::new()),
            Some(Value::Array(parts)) => text_of_parts(&parts)?,
            Some(other) => return Err(format!("holds {}, not a text", kind(&other))),
            None => return Err("has neither value nor content".to_owned()),
        };
        Ok(Self { speaker, text })
    }
}

/// The texts of all parts, one after the other, as chat templates join them. `None` if a part is no text.
fn text_of_parts(parts: &[Value]) -> Result<Option<String>, String> {
    let mut whole = String::new();
    for part in parts {
        match (part.get("type").and_then(Value::as_str), part.get("text")) {
            (Some("text"), Some(Value::String(text))) => whole.push_str(text),
            (Some("text"), _) | (None, _) => {
                return Err("has a part without type or without text".to_owned());
            }
            (Some(_), _) => return Ok(None),
        }
    }
    Ok(Some(whole))
}
