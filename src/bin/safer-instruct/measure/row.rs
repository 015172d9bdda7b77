//! What is measured of induced instructions.

use std::{collections::HashSet, fmt::Write};

use safer_instruct::{Result, dataset::InstructionPair, filters::NotAboutTask};

use super::MiniLm;

/// Words that an English instruction begins with: questions, and verbs of request.
const BEGINNINGS: &[&str] = &[
    "what",
    "how",
    "why",
    "when",
    "where",
    "who",
    "which",
    "can",
    "could",
    "would",
    "should",
    "do",
    "does",
    "did",
    "is",
    "are",
    "will",
    "write",
    "create",
    "explain",
    "describe",
    "give",
    "list",
    "make",
    "tell",
    "provide",
    "generate",
    "summarize",
    "translate",
    "find",
    "show",
    "help",
    "suggest",
    "compare",
    "design",
    "develop",
    "please",
    "act",
    "imagine",
    "rewrite",
    "answer",
    "name",
    "identify",
    "define",
    "discuss",
    "calculate",
    "solve",
    "convert",
    "draft",
    "compose",
    "outline",
    "analyze",
    "classify",
    "edit",
    "use",
    "let",
];

/// One line of the table.
pub(crate) struct Row {
    cosine: f64,
    standard_error: f64,
    hit: f64,
    copied: f64,
    asks: f64,
    about_task: f64,
    words: f64,
}

impl Row {
    /// The head of the table.
    pub(crate) const HEADER: &str = "| induced by | cos (s.e.) | hit | copied | asks | about_task | words | seconds | failed |\n|---|---|---|---|---|---|---|---|---|";

    /// What the columns are.
    pub(crate) const LEGEND: &str = "\
cos     mean cosine of the embeddings of the induced and the true instruction (standard error); 1 is the same meaning
hit     how often the true instruction is the nearest one among those of all pairs
copied  share of the induced word 3-grams that stand in the response; people copy a little
asks    how often the text ends in a question mark or begins like a request
about_task  share that the filter `NotAboutTask` drops";

    /// Compares what was induced with the truth, in the order of the pairs.
    pub(crate) fn measure(
        pairs: &[InstructionPair],
        truth: &[Vec<f32>],
        induced: &[String],
        embedding: &MiniLm,
    ) -> Result<Self> {
        let embedded = embedding.embed(induced)?;
        let mut cosines = Vec::new();
        let mut hits = 0_u32;
        for (place, vector) in embedded.iter().enumerate() {
            let all: Vec<f64> = truth.iter().map(|other| dot(vector, other)).collect();
            let own = all.get(place).copied().unwrap_or_default();
            hits += u32::from(all.iter().all(|other| *other <= own));
            cosines.push(own);
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let cosine = mean(&cosines);
        let squares: f64 = cosines.iter().map(|c| (c - cosine).powi(2)).sum();
        let count = cosines.len().max(2) as f64;
        let copied: Vec<f64> = pairs
            .iter()
            .zip(induced)
            .filter_map(|(pair, text)| copied(text, &pair.response))
            .collect();
        let per_text = |f: fn(&str) -> f64| induced.iter().map(|text| f(text)).collect::<Vec<_>>();
        let filter = NotAboutTask::new();
        let dropped: Vec<f64> = induced
            .iter()
            .map(|text| f64::from(u8::from(filter.rule(text).is_some())))
            .collect();
        Ok(Self {
            cosine,
            standard_error: (squares / (count - 1.0) / count).sqrt(),
            hit: f64::from(hits) / cosines.len().max(1) as f64,
            copied: mean(&copied),
            asks: mean(&per_text(|text| f64::from(u8::from(asks(text))))),
            about_task: mean(&dropped),
            words: mean(&per_text(|text| text.split_whitespace().count() as f64)),
        })
    }

    /// The row as a line of a Markdown table.
    pub(crate) fn line(&self, name: &str, run: Option<(f64, usize)>) -> String {
        let mut line = format!(
            "| {name} | {:.3} ({:.3}) | {:.3} | {:.3} | {:.3} | {:.3} | {:.1} | ",
            self.cosine,
            self.standard_error,
            self.hit,
            self.copied,
            self.asks,
            self.about_task,
            self.words
        );
        let _ = match run {
            Some((seconds, failed)) => write!(line, "{seconds:.0} | {failed} |"),
            None => write!(line, "| |"),
        };
        line
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

/// The share of the word 3-grams of `text` that stand in `response`; none if it has no 3 words.
fn copied(text: &str, response: &str) -> Option<f64> {
    let (text, response) = (words(text), words(response));
    let known: HashSet<&[String]> = response.windows(3).collect();
    let grams = text.windows(3);
    let count = grams.len();
    let copied = grams.filter(|gram| known.contains(gram)).count();
    (count > 0).then(|| copied as f64 / count as f64)
}

fn asks(text: &str) -> bool {
    let first = words(text).into_iter().next().unwrap_or_default();
    text.trim_end().ends_with('?') || BEGINNINGS.contains(&first.as_str())
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
