//! P(unsafe), from the log-probabilities of the token at which the verdict stands.

use super::answer::Labels;
use crate::{model::TokenLogprob, record::Safety};

/// The probabilities of the words that could stand where the verdict stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Masses {
    /// The share of the words for unsafe among all words for a verdict.
    pub(super) p_unsafe: f64,
    /// What is left for anything that is no verdict.
    pub(super) p_other: f64,
}

/// Reads them after the last occurrence of `after`; an empty one means the beginning. The place is found by its text,
/// because some models write a line break or a thought before it.
///
/// `None` if there is no such token, or what was written there is not clearly one of the words.
pub(super) fn masses(tokens: &[TokenLogprob], after: &str, labels: &Labels) -> Option<Masses> {
    let written: Vec<u8> = tokens
        .iter()
        .flat_map(|token| &token.bytes)
        .copied()
        .collect();
    let begin = end_of_last(&written, after.as_bytes())?;
    let skipped = written.iter().skip(begin).take_while(|c| is_around(**c));
    let place = begin + skipped.count();
    let mut end = 0;
    let token = tokens.iter().find(|token| {
        end += token.bytes.len();
        end > place
    })?;
    class(&token.bytes, labels)?;

    let given = token.top.iter().map(|top| (&top.bytes, top.logprob));
    let itself = token.top.iter().all(|top| top.bytes != token.bytes);
    let itself = itself.then_some((&token.bytes, token.logprob));
    let (mut not_safe, mut all) = (0.0, 0.0);
    for (bytes, logprob) in given.chain(itself) {
        if logprob.is_nan() {
            return None;
        }
        let p = logprob.exp().min(1.0);
        match class(bytes, labels) {
            Some(Safety::Unsafe) => (not_safe, all) = (not_safe + p, all + p),
            Some(_) => all += p,
            None => {}
        }
    }
    (all > 0.0).then(|| Masses {
        p_unsafe: (not_safe / all).clamp(0.0, 1.0),
        p_other: (1.0 - all).clamp(0.0, 1.0),
    })
}

/// Where the last occurrence ends, in upper or lower case.
fn end_of_last(text: &[u8], part: &[u8]) -> Option<usize> {
    if part.is_empty() {
        return Some(0);
    }
    let at = text
        .windows(part.len())
        .rposition(|window| window.eq_ignore_ascii_case(part))?;
    Some(at + part.len())
}

/// What may stand between the place and the word.
fn is_around(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"\"'*:".contains(&byte)
}

/// The verdict that a token stands for: it is one of the words, or the beginning of words for one verdict alone.
fn class(token: &[u8], labels: &Labels) -> Option<Safety> {
    let start = token.iter().take_while(|c| is_around(**c)).count();
    let mut token = token.get(start..)?;
    while let [head @ .., last] = token
        && last.is_ascii()
        && !last.is_ascii_alphanumeric()
    {
        token = head;
    }
    let token = token.to_ascii_lowercase();
    let words = || {
        let words = labels.words();
        words.map(|(word, safety)| (word.to_lowercase().into_bytes(), safety))
    };
    if let Some((_, safety)) = words().find(|(word, _)| *word == token) {
        return Some(safety);
    }
    if token.len() < 2 {
        return None;
    }
    let mut begun = words().filter(|(word, _)| word.starts_with(&token));
    let (_, safety) = begun.next()?;
    begun.all(|(_, other)| other == safety).then_some(safety)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TopLogprob;

    fn labels() -> Labels {
        serde_json::from_str(
            r#"{"safe": ["Safe"], "unsafe": ["Unsafe"], "controversial": ["Controversial"]}"#,
        )
        .unwrap()
    }

    fn token(text: &str, p: f64, top: &[(&str, f64)]) -> TokenLogprob {
        let top = top.iter().map(|(text, p)| TopLogprob::new(*text, p.ln()));
        TokenLogprob::new(text, p.ln()).with_top(top.collect())
    }

    #[test]
    fn variants_of_a_word_add_up_and_the_rest_is_kept() {
        let tops = [
            (" Safe", 0.5),
            ("safe", 0.1),
            (" Uns", 0.2),
            ("UNSAFE\n", 0.1),
            (" Maybe", 0.05),
        ];
        let tokens = [
            token("\n", 1.0, &[]),
            token("Safety", 1.0, &[]),
            token(":", 1.0, &[]),
            token(" Safe", 0.5, &tops),
        ];
        let found = masses(&tokens, "Safety:", &labels()).unwrap();
        assert!((found.p_unsafe - 0.3 / 0.9).abs() < 1e-12, "{found:?}");
        assert!((found.p_other - 0.1).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_place_is_found_by_its_text() {
        let tokens = [
            token("\n\n", 1.0, &[]),
            token("unsafe", 0.75, &[("safe", 0.25)]),
            token("\n", 1.0, &[]),
            token("S2", 1.0, &[]),
        ];
        let found = masses(&tokens, "", &labels()).unwrap();
        assert!((found.p_unsafe - 0.75).abs() < 1e-12, "{found:?}");
        assert_eq!(masses(&tokens, "Safety:", &labels()), None);
        assert_eq!(masses(&tokens[..1], "", &labels()), None);
        assert_eq!(masses(&[], "", &labels()), None);
        let prose = [token("Well", 1.0, &[("safe", 0.1)])];
        assert_eq!(masses(&prose, "", &labels()), None);
        let nan = [token("safe", 0.5, &[("unsafe", f64::NAN)])];
        assert_eq!(masses(&nan, "", &labels()), None);
    }

    #[test]
    fn a_beginning_of_words_for_two_verdicts_is_none() {
        let labels: Labels =
            serde_json::from_str(r#"{"safe": ["harmless"], "unsafe": ["harmful"]}"#).unwrap();
        assert_eq!(class(b" harm", &labels), None);
        assert_eq!(class(b" harmf", &labels), Some(Safety::Unsafe));
        assert_eq!(class(b"h", &labels), None);
        assert_eq!(class(b"", &labels), None);
        let labels: Labels =
            serde_json::from_str(r#"{"safe": ["安全"], "unsafe": ["危険"]}"#).unwrap();
        assert_eq!(
            class(&"危".as_bytes()[..2], &labels),
            Some(Safety::Unsafe),
            "half of a character"
        );
    }
}
