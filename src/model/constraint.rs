//! Constraints on the text of a completion.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form that the whole text of a completion must have.
///
/// A backend that cannot meet it refuses the request. It never answers with a text of another form.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Constraint {
    /// The text is exactly one of these. None may be empty.
    Choice(Vec<String>),
    /// The text is JSON that satisfies this schema.
    JsonSchema(Value),
}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(choices) => write!(f, "Choice(<{} texts>)", choices.len()),
            Self::JsonSchema(_) => f.write_str("JsonSchema(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{ChatRequest, Prompt};

    fn request() -> ChatRequest {
        ChatRequest::new(Prompt::Raw("once".to_owned()))
    }

    #[test]
    fn requests_without_one_are_written_as_before() {
        let json = serde_json::to_string(&request()).unwrap();
        assert!(
            !json.contains("constraint") && !json.contains("logprobs"),
            "{json}"
        );
        assert_eq!(
            serde_json::from_str::<ChatRequest>(&json).unwrap(),
            request()
        );
        let asked = request()
            .with_choices(["kettle", "cup"])
            .with_top_logprobs(2);
        let json = serde_json::to_string(&asked).unwrap();
        assert!(
            json.contains(r#""constraint":{"choice":["kettle","cup"]}"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<ChatRequest>(&json).unwrap(), asked);
    }

    #[test]
    fn debug_shows_no_text() {
        let shown = format!("{:?}", request().with_choices(["kettle", "cup"]));
        assert!(
            shown.contains("Choice(<2 texts>)") && !shown.contains("kettle"),
            "{shown}"
        );
        let shown = format!(
            "{:?}",
            request().with_json_schema(serde_json::json!({"const": "cup"}))
        );
        assert!(!shown.contains("cup"), "{shown}");
    }

    #[test]
    fn a_backend_can_refuse_in_one_line() {
        assert!(request().refuse_constraint("mine").is_ok());
        let error = request()
            .with_choices(["cup"])
            .refuse_constraint("mine")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "constraint: mine cannot hold its completions to one; ask without it"
        );
    }
}
