//! Scores from the log-probabilities of an echoed prompt.

use crate::{backends::openai::wire::answer::TextLogprobs, model::Continuation};

/// Why an echo gives no score, as the end of a sentence that says what cannot be scored.
pub(crate) const NO_ECHO: &str = "without an echo of the prompt";
const NOT_SPELLED: &str =
    "of a text that the tokens in its answer do not spell, unless it says where each begins";
const FIRST: &str = "that begin with the first token of all, which has no log-probability; give a prompt before them";

/// The score of what follows `begin` (in bytes) in an echoed text, including a token that begins before it. `written`
/// is the number of tokens that were generated after the text.
pub(crate) fn behind(
    echoed: &TextLogprobs,
    written: u64,
    text: &str,
    begin: usize,
) -> Result<Continuation, &'static str> {
    if echoed.tokens.len() != echoed.token_logprobs.len() {
        return Err(NO_ECHO);
    }
    // What is spelled is sure. Places may count a `<s>` that stands before the text.
    let ours = spelled(&echoed.tokens, written, text, begin)
        .or_else(|| placed(&places(echoed)?, text, begin))
        .ok_or(NOT_SPELLED)?;
    let said = echoed.token_logprobs.get(ours).ok_or(NO_ECHO)?;
    Ok(Continuation {
        logprob: said.iter().copied().sum::<Option<f64>>().ok_or(FIRST)?,
        tokens: said.len(),
    })
}

/// Where each token begins, in characters, if the server says so. SGLang gives -1 for all.
fn places(echoed: &TextLogprobs) -> Option<Vec<usize>> {
    let places = echoed.text_offset.as_ref()?;
    let places: Vec<usize> = places
        .iter()
        .map(|place| usize::try_from(*place).ok())
        .collect::<Option<_>>()?;
    (places.len() == echoed.tokens.len()).then_some(places)
}

fn placed(starts: &[usize], text: &str, begin: usize) -> Option<std::ops::Range<usize>> {
    let end = text.chars().count();
    let begin = text.get(..begin)?.chars().count();
    // Pieces of one character begin at the same place.
    let first = match starts.iter().position(|start| *start == begin) {
        Some(first) if begin > 0 => first,
        _ => starts.iter().rposition(|start| *start <= begin)?,
    };
    let last = starts.iter().rposition(|start| *start < end)?;
    (first <= last).then_some(first..last + 1)
}

/// Matches tokens from the end, since a text may begin with a token that it does not contain.
fn spelled(
    tokens: &[String],
    written: u64,
    text: &str,
    begin: usize,
) -> Option<std::ops::Range<usize>> {
    let end = tokens.len().checked_sub(usize::try_from(written).ok()?)?;
    let mut left = text;
    for (at, token) in tokens.get(..end)?.iter().enumerate().rev() {
        left = match left.strip_suffix(token.as_str()) {
            Some(left) => left,
            // Some tokenizers leave out the space before a word that is decoded alone. It is the next token's.
            None => {
                let left = left.strip_suffix(' ').filter(|_| at + 1 < end)?;
                if left.len() <= begin {
                    return Some(at + 1..end);
                }
                left.strip_suffix(token.as_str())?
            }
        };
        if left.len() <= begin {
            return Some(at..end);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echoed(tokens: &[&str], places: Option<Vec<i64>>) -> TextLogprobs {
        TextLogprobs {
            tokens: tokens.iter().map(|token| (*token).to_owned()).collect(),
            token_logprobs: (0..tokens.len())
                .map(|at| (at > 0).then(|| -(at as f64)))
                .collect(),
            top_logprobs: None,
            text_offset: places,
        }
    }

    fn score(
        tokens: &[&str],
        places: Option<Vec<i64>>,
        prompt: &str,
        text: &str,
    ) -> Result<(f64, usize), &'static str> {
        let echoed = echoed(tokens, places);
        behind(&echoed, 1, &format!("{prompt}{text}"), prompt.len())
            .map(|score| (score.logprob, score.tokens))
    }

    #[test]
    fn tokens_are_found_by_their_places_or_by_what_they_spell() {
        let tokens = ["川", " is", " a", " wide", " river", "."];
        let places = vec![0, 1, 4, 6, 11, 17];
        let shifted = places.iter().map(|place| place + 3).collect();
        for places in [
            Some(places),
            Some(shifted),
            Some(vec![-1; 6]),
            Some(vec![]),
            None,
        ] {
            let found = |prompt, text| score(&tokens, places.clone(), prompt, text);
            assert_eq!(found("川 is a", " wide river"), Ok((-7.0, 2)), "{places:?}");
            // A token that only begins before the text counts.
            assert_eq!(found("川 is a wide ri", "ver"), Ok((-4.0, 1)), "{places:?}");
            assert_eq!(found("", "川 is a wide river"), Err(FIRST), "{places:?}");
        }
    }

    #[test]
    fn a_token_that_begins_all_texts_and_spaces_left_out_are_no_obstacle() {
        let tokens = [
            "<s>", "a", "river", "is", "\u{fffd}", "\u{fffd}", "wide", "x",
        ];
        assert_eq!(score(&tokens[..4], None, "a", " river"), Ok((-2.0, 1)));
        assert_eq!(score(&tokens[..4], None, "", "a river"), Ok((-3.0, 2)));
        assert_eq!(score(&tokens[..4], None, "a ", "river"), Ok((-2.0, 1)));
        // A prompt in pieces of characters is skipped, a continuation is not.
        assert_eq!(
            score(&tokens, None, "a river is 川", " wide"),
            Ok((-6.0, 1))
        );
        assert_eq!(
            score(&tokens[..7], None, "a river is", " 川"),
            Err(NOT_SPELLED)
        );
        assert_eq!(score(&["a", "b"], None, "", "c"), Err(NOT_SPELLED));
        // Unless there are places.
        let places = Some(vec![0, 0, 1, 7, 10, 10, 12]);
        assert_eq!(
            score(&tokens[..7], places, "a river is", " 川"),
            Ok((-9.0, 2))
        );
    }
}
