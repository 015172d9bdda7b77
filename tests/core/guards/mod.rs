//! The dialects of the crate: what they ask, what they read, and what they refuse.

mod answers;
mod engine;
mod files;

use safer_instruct::guards::Dialect;
use serde::Deserialize;

/// A documented answer, and what is read of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Documented {
    of: Of,
    answer: Lines,
    safety: safer_instruct::Safety,
    #[serde(default)]
    categories: Vec<String>,
    p_refusal: Option<f64>,
    p_unsafe: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Of {
    Response,
    Instruction,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Lines {
    One(String),
    Many(Vec<String>),
}

impl Documented {
    fn answer(&self) -> String {
        match &self.answer {
            Lines::One(line) => line.clone(),
            Lines::Many(lines) => lines.join("\n"),
        }
    }
}

/// The documented answers of every dialect.
fn documented() -> Vec<(&'static Dialect, Vec<Documented>)> {
    let file = include_str!("../../golden/guards/answers.json");
    let mut all: std::collections::BTreeMap<String, Vec<Documented>> =
        serde_json::from_str(file).unwrap();
    let found = Dialect::all()
        .iter()
        .map(|dialect| (dialect, all.remove(dialect.id()).unwrap_or_default()))
        .collect();
    assert!(
        all.is_empty(),
        "answers of {:?}, which are no dialects",
        all.keys()
    );
    found
}

fn read(dialect: &Dialect, of: Of, answer: &str) -> safer_instruct::Assessment {
    match of {
        Of::Response => dialect.read(answer),
        Of::Instruction => dialect.read_instruction(answer).unwrap(),
    }
}
