//! What 8 bits cost in quality: the same text, the same weights, in both precisions.

use futures::future::join_all;
use safer_instruct::{Prompt, ScoreRequest, ScoringModel, backends::candle::CandleModel};

use crate::candle_support::{block_on, model, reference};

/// English and Japanese, written for these tests, and English that never changes. `SAFER_INSTRUCT_TEXT` names another
/// file.
fn text() -> String {
    match std::env::var_os("SAFER_INSTRUCT_TEXT") {
        Some(path) => std::fs::read_to_string(path).expect("the text can be read"),
        None => [
            include_str!("../data/mild.txt"),
            include_str!("../../LICENSE-APACHE"),
        ]
        .join("\n\n"),
    }
}

/// The perplexity of a text in windows of about 2,000 bytes, and its tokens.
fn perplexity(model: &CandleModel, text: &str) -> (f64, usize) {
    let mut windows = vec![String::new()];
    for line in text.lines() {
        let last = windows.last_mut().unwrap();
        if last.len() + line.len() > 2_000 && !last.is_empty() {
            windows.push(String::new());
        }
        let last = windows.last_mut().unwrap();
        last.push_str(line);
        last.push('\n');
    }
    let scores = block_on(join_all(windows.iter().map(|window| async {
        let request = ScoreRequest::new(Prompt::Raw("\n".to_owned()), [window.as_str()]);
        model.score(&request).await.unwrap().continuations
    })));
    let scores: Vec<_> = scores.into_iter().flatten().collect();
    let tokens: usize = scores.iter().map(|score| score.tokens).sum();
    let logprob: f64 = scores.iter().map(|score| score.logprob).sum();
    ((-logprob / tokens as f64).exp(), tokens)
}

#[test]
fn eight_bits_cost_about_a_hundredth_of_perplexity() {
    let text = text();
    let (exact, tokens) = perplexity(reference(), &text);
    let (rounded, _) = perplexity(model(), &text);
    let cost = rounded / exact - 1.0;
    eprintln!(
        "perplexity of {tokens} tokens: F32 {exact:.4}, Int8 {rounded:.4}, {:+.3} %",
        cost * 100.0
    );
    assert!(tokens > 4_000);
    // Over 20,000 tokens of either language it is below a hundredth (docs/measurements.md); short texts vary more.
    assert!(cost.abs() < 0.015, "{exact} {rounded}");
}
