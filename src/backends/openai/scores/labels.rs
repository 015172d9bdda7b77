//! Scores of labels from the most likely first tokens of an answer.

use crate::{
    backends::openai::Server,
    error::{Error, Result},
    model::TopLogprob,
};

/// Rejects labels that cannot be scored. White space before a label does not distinguish it from another.
pub(crate) fn check(server: Server, labels: &[String]) -> Result<()> {
    let refused = |at: usize, what: &str| {
        let reason = format!(
            "label {} {what}; {server} names first tokens only, so take labels of one token each, such as letters",
            at + 1
        );
        Err(Error::config("scores", reason))
    };
    for (at, label) in labels.iter().enumerate() {
        let text = label.trim();
        if text.is_empty() {
            return refused(at, "is empty");
        }
        if text.contains(char::is_whitespace) {
            return refused(at, "is of several words");
        }
        let before = labels.iter().take(at);
        if before.into_iter().any(|other| same(other, label)) {
            return refused(at, "is another one but for the white space before it");
        }
    }
    Ok(())
}

fn same(one: &str, other: &str) -> bool {
    one.trim_start() == other.trim_start()
}

/// The log-probability of each label. The error is the end of a sentence that says what cannot be scored.
///
/// Tokens that equal a label with any leading white space are summed. A label that equals none of the tokens is at most
/// as likely as the tokens that it may begin with plus all that are not listed; that bound is its score, unless another
/// label may begin with the same token.
pub(crate) fn scores(labels: &[String], top: &[TopLogprob]) -> Result<Vec<f64>, String> {
    let tokens: Vec<(String, f64)> = top
        .iter()
        .map(|top| (top.text().trim_start().to_owned(), top.logprob.exp()))
        .filter(|(token, _)| !token.is_empty())
        .collect();
    let all: f64 = top.iter().map(|top| top.logprob.exp()).sum();
    let least = top.last().map_or(0.0, |top| top.logprob.exp());
    let rest = (1.0 - all).clamp(f64::MIN_POSITIVE, least.max(f64::MIN_POSITIVE));

    let mut found = false;
    let mut scores = Vec::with_capacity(labels.len());
    for (at, label) in labels.iter().enumerate() {
        let sum = |is: &dyn Fn(&str) -> bool| -> f64 {
            let mine = tokens.iter().filter(|(token, _)| is(token));
            mine.map(|(_, probability)| probability).sum()
        };
        let mut probability = sum(&|token| same(token, label));
        if probability == 0.0 {
            let begins = |label: &str, token: &str| label.trim_start().starts_with(token);
            let shared = labels.iter().enumerate().find(|(other, text)| {
                let both = |token: &str| begins(label, token) && begins(text, token);
                *other != at && tokens.iter().any(|(token, _)| both(token))
            });
            if let Some((other, _)) = shared {
                return Err(format!(
                    "{} and {}, which begin with the same token",
                    at.min(other) + 1,
                    at.max(other) + 1
                ));
            }
            let beginning = sum(&|token| begins(label, token));
            found |= beginning > 0.0;
            probability = beginning + rest;
        } else {
            found = true;
        }
        scores.push(probability.ln().min(0.0));
    }
    if found || labels.is_empty() {
        Ok(scores)
    } else {
        Err("of which none is among the likeliest first tokens of an answer".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(labels: &[&str], top: &[(&str, f64)]) -> Result<Vec<f64>, String> {
        let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
        let top: Vec<TopLogprob> = top
            .iter()
            .map(|(token, probability)| TopLogprob::new(*token, probability.ln()))
            .collect();
        let scores = scores(&labels, &top)?;
        Ok(scores.into_iter().map(f64::exp).collect())
    }

    fn near(found: Result<Vec<f64>, String>, expected: &[f64]) {
        let found = found.unwrap();
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-9, "{found} and {expected}");
        }
    }

    #[test]
    fn a_label_is_as_likely_as_its_tokens_with_and_without_white_space() {
        let top = [
            ("A", 0.5),
            (" B", 0.2),
            (" A", 0.1),
            ("\nA", 0.05),
            ("a", 0.05),
        ];
        near(of(&["A", " B"], &top), &[0.65, 0.2]);
        // Case counts.
        near(of(&["a", "B"], &top), &[0.05, 0.2]);
    }

    #[test]
    fn a_label_that_is_no_token_has_what_is_left() {
        near(of(&["A", "B"], &[("A", 0.9), ("C", 0.06)]), &[0.9, 0.04]);
        // No more than the least likely of those named.
        near(of(&["A", "B"], &[("A", 0.5), ("C", 0.06)]), &[0.5, 0.06]);
        // And what it may begin with.
        let top = [("safe", 0.5), ("uns", 0.4), ("un", 0.02), ("x", 0.01)];
        near(of(&["safe", "unsafe"], &top), &[0.5, 0.43]);
        // Rounding leaves nothing, which is not impossible.
        let certain = of(&["A", "B"], &[("A", 1.0)]).unwrap();
        assert!(certain[1] > 0.0 && certain[1] < 1e-300);
    }

    #[test]
    fn labels_that_cannot_be_told_apart_are_an_error() {
        let top = [("1", 0.5), ("no", 0.3), ("x", 0.1)];
        for labels in [
            ["1", "10"],
            ["10", "1"],
            ["none", "nothing"],
            ["nobody", "no"],
        ] {
            let error = of(&labels, &top).unwrap_err();
            assert!(error.contains("the same token"), "{error}");
        }
        // Both are tokens.
        near(of(&["1", "10"], &[("1", 0.5), ("10", 0.3)]), &[0.5, 0.3]);
        let error = of(&["A", "B"], &top).unwrap_err();
        assert!(error.contains("none is among the likeliest"), "{error}");
        assert_eq!(of(&[], &top), Ok(vec![]));
    }

    #[test]
    fn what_no_label_may_be_is_said_before_anything_is_sent() {
        let checked = |labels: &[&str]| {
            let labels: Vec<String> = labels.iter().map(|label| (*label).to_owned()).collect();
            check(Server::OpenAi, &labels).map_err(|error| error.report())
        };
        assert_eq!(checked(&["A", " B", "b"]), Ok(()));
        for (labels, says) in [
            (["A", ""], "label 2 is empty"),
            ([" ", "A"], "label 1 is empty"),
            (["A", "the sea"], "label 2 is of several words"),
            (["A", " A"], "label 2 is another one"),
        ] {
            let error = checked(&labels).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
