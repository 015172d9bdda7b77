//! Sets of questions that people wrote, and what they or others answered.

use serde::Deserialize;

use super::{FreePair, number};

/// A row of one of the sets. They are told apart by their columns.
#[derive(Deserialize)]
#[serde(untagged)]
enum Row {
    BoolQ {
        question: String,
        #[serde(rename = "title")]
        _title: String,
        answer: String,
        passage: String,
    },
    Clause {
        contract: String,
        question: String,
        answer: String,
    },
    Piqa {
        question: String,
        #[serde(rename = "options")]
        _options: String,
        answer: String,
    },
    TruthfulQa {
        question: String,
        answer: Vec<String>,
    },
}

/// BoolQ, clauses of LegalBench, PIQA and TruthfulQA, one after the other.
pub(super) fn question_sets(bytes: &[u8], seed: u64) -> serde_json::Result<Vec<FreePair>> {
    let rows = serde_json::Deserializer::from_slice(bytes).into_iter();
    rows.filter_map(|row| row.map(|row| pair(row, seed)).transpose())
        .collect()
}

/// Word problems of GSM8K with their solutions.
pub(super) fn gsm8k(bytes: &[u8], _seed: u64) -> serde_json::Result<Vec<FreePair>> {
    #[derive(Deserialize)]
    struct Problem {
        question: String,
        answer: String,
    }
    let problems = serde_json::Deserializer::from_slice(bytes).into_iter();
    problems
        .map(|problem| {
            let Problem { question, answer } = problem?;
            // The last line repeats the number alone, and calculations stand twice: 9 * 2 = <<9*2=18>>18.
            let (solution, _) = answer.split_once("\n####").unwrap_or((&answer, ""));
            let mut parts = solution.split("<<");
            let mut plain = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                plain.push_str(part.split_once(">>").map_or(part, |(_, after)| after));
            }
            Ok(FreePair::new("GSM8K", question, plain))
        })
        .collect()
}

fn pair(row: Row, seed: u64) -> Option<FreePair> {
    match row {
        Row::BoolQ {
            question,
            answer,
            passage,
            ..
        } => {
            let verdict = if answer == "True" { "Yes" } else { "No" };
            let question = format!("{}?", capitalized(&question));
            let response = format!("{verdict}. {}", passage.trim().replace("--", "–"));
            Some(FreePair::new("BoolQ", question, response))
        }
        Row::Clause {
            contract,
            question,
            answer,
        } => {
            let form = number(&contract, seed, "form") as usize;
            let instruction = (answer == "True").then(|| draft(&question, form))??;
            Some(FreePair::new("LegalBench", instruction, contract))
        }
        Row::Piqa {
            question, answer, ..
        } => how_to(&question, answer.get(3..)?),
        Row::TruthfulQa { question, answer } => {
            // A single word answers only together with its question, and an empty comment is no answer.
            let whole = answer
                .iter()
                .filter(|answer| answer.contains(' ') && *answer != "I have no comment");
            let answer = whole.map(|answer| sentence(answer)).collect::<Vec<_>>();
            let answer = answer.get(..answer.len().min(4))?.join(" ");
            Some(FreePair::new("TruthfulQA", question, answer))
        }
    }
}

/// A goal of PIQA as a request: some are questions, some begin with a verb, some with "to", some are mere things.
fn how_to(goal: &str, solution: &str) -> Option<FreePair> {
    let goal = goal.trim().trim_end_matches(['.', ',', ':', ';']);
    let goal = goal.strip_suffix(", you can").unwrap_or(goal);
    // Of "ice pick" or "Use a knife" nobody can tell what was asked.
    if goal.split_whitespace().count() < 4 || solution.len() < 60 {
        return None;
    }
    let instruction = match goal.split_once(' ') {
        Some(("To" | "to", rest)) => format!("Explain how to {rest}."),
        Some((first, _)) if goal.ends_with('?') || !is_question_word(first) => sentence(goal),
        _ => format!("{}?", capitalized(goal)),
    };
    Some(FreePair::new("PIQA", instruction, sentence(solution)))
}

fn is_question_word(word: &str) -> bool {
    let words = [
        "how", "what", "when", "where", "which", "who", "why", "can", "do", "does", "is",
    ];
    words.contains(&word.to_lowercase().as_str())
}

/// The request that a clause of a contract answers, made of the question what it is about.
fn draft(question: &str, form: usize) -> Option<String> {
    let question = question.strip_suffix('?')?;
    let forms = ["Write", "Draft", "Give me an example of"];
    let write = forms.get(form % forms.len())?;
    if let Some(kind) = question.strip_prefix("Is this a ") {
        return Some(format!("{write} a {kind} for a contract."));
    }
    let about = question.strip_prefix("Does the clause ")?;
    if let Some(what) = about.strip_prefix("waive ") {
        return Some(format!("{write} a contract clause that waives {what}."));
    }
    let (_, what) = about.split_once(' ')?;
    Some(format!("{write} a contract clause about {what}."))
}

fn capitalized(text: &str) -> String {
    let mut chars = text.trim().chars();
    chars
        .next()
        .into_iter()
        .flat_map(char::to_uppercase)
        .chain(chars)
        .collect()
}

/// With a capital letter at its beginning and a mark at its end.
fn sentence(text: &str) -> String {
    let mut text = capitalized(text);
    if !text.ends_with(['.', '!', '?', '"']) {
        text.push('.');
    }
    text
}
