//! The tokenizer of SentencePiece's byte-pair models (`tokenizer.ggml.model` = "llama"): Llama 2, Mistral 7B.
//!
//! Of all neighbours whose text together is a token, the two that make the token of the highest score become one, the
//! first such two if several do, until none are left; a character that is no token is written as its bytes. As in
//! SentencePiece (arXiv 1808.06226; `google/sentencepiece`, `src/bpe_model.cc`) and llama.cpp (`src/llama-vocab.cpp`,
//! `llm_tokenizer_spm`). The `tokenizers` crate has merges by rank alone, which such a file does not hold.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
};

use super::Kind;
use crate::{backends::candle::gguf::Gguf, error::Result};

/// What stands for a space in tokens.
const SPACE: &str = "\u{2581}";

/// Merges by score.
pub(super) struct Spm {
    /// The tokens that texts are made of, with the rank of their score: the higher, the sooner.
    tokens: HashMap<String, (u32, u32)>,
    /// The token of each byte.
    bytes: Vec<u32>,
    /// Whether a space is put in front of a text.
    space_prefix: bool,
}

/// A part of the text, empty once it belongs to the one before it.
struct Part {
    start: usize,
    end: usize,
    before: Option<usize>,
    after: Option<usize>,
}

/// A pair that may be merged: rank, the left part, the right part, and their bytes together.
type Pair = (u32, Reverse<usize>, usize, usize);

impl Spm {
    /// Reads what the file says beside its tokens.
    ///
    /// # Errors
    /// Fails if scores or tokens of bytes are missing: then some texts would have no tokens.
    pub(super) fn read(gguf: &Gguf, vocabulary: &[(&str, Kind)]) -> Result<Self> {
        let scores = scores(gguf, vocabulary.len())?;
        let space_prefix = gguf.flag("tokenizer.ggml.add_space_prefix")?;
        Self::new(vocabulary, &scores, space_prefix.unwrap_or(true)).map_err(|byte| {
            gguf.error(format!(
                "its vocabulary has no token <0x{byte:02X}> for that byte: that is not supported"
            ))
        })
    }

    /// From the tokens and their scores; fails with a byte that has no token.
    fn new(
        vocabulary: &[(&str, Kind)],
        scores: &[f32],
        space_prefix: bool,
    ) -> std::result::Result<Self, u8> {
        let mut order = scores.to_vec();
        order.sort_unstable_by(f32::total_cmp);
        order.dedup();
        let rank = |score: f32| order.partition_point(|other| *other < score) as u32;

        let mut tokens = HashMap::new();
        let mut of_bytes = HashMap::new();
        for ((id, (token, kind)), score) in (0u32..).zip(vocabulary).zip(scores) {
            match kind {
                Kind::Normal => {
                    tokens.insert((*token).to_owned(), (id, rank(*score)));
                }
                Kind::Byte => of_bytes.extend(byte(token).map(|byte| (byte, id))),
                // Whatever a text says, it never becomes one of these.
                Kind::Control | Kind::UserDefined => {}
            }
        }
        let bytes = (0..=u8::MAX).map(|byte| of_bytes.get(&byte).copied().ok_or(byte));
        Ok(Self {
            tokens,
            bytes: bytes.collect::<std::result::Result<_, _>>()?,
            space_prefix,
        })
    }

    /// Whether a space is put in front of a text.
    pub(super) fn space_prefix(&self) -> bool {
        self.space_prefix
    }

    /// Token ids of a text, which begins here or goes on from another one.
    pub(super) fn encode(&self, text: &str, begins: bool) -> Vec<u32> {
        let prefix = if begins && self.space_prefix {
            SPACE
        } else {
            ""
        };
        let text = format!("{prefix}{}", text.replace(' ', SPACE));
        let mut parts = characters(&text);
        let mut queue: BinaryHeap<Pair> = (1..parts.len())
            .filter_map(|right| self.pair(&text, &parts, right - 1, right))
            .collect();
        while let Some((_, Reverse(left), right, len)) = queue.pop() {
            let Ok([a, b]) = parts.get_disjoint_mut([left, right]) else {
                continue;
            };
            // Parts only grow, so another length tells that one of them has become part of another pair.
            if a.start == a.end || b.start == b.end || b.end - a.start != len {
                continue;
            }
            a.end = b.end;
            b.start = b.end;
            a.after = b.after;
            let (before, after) = (a.before, a.after);
            if let Some(next) = after.and_then(|after| parts.get_mut(after)) {
                next.before = Some(left);
            }
            let parts = &parts;
            queue.extend(before.and_then(|before| self.pair(&text, parts, before, left)));
            queue.extend(after.and_then(|after| self.pair(&text, parts, left, after)));
        }

        let mut ids = Vec::new();
        for part in parts.iter().filter(|part| part.start < part.end) {
            let part = text.get(part.start..part.end).unwrap_or_default();
            match self.tokens.get(part) {
                Some((id, _)) => ids.push(*id),
                None => ids.extend(
                    part.bytes()
                        .filter_map(|byte| self.bytes.get(byte as usize)),
                ),
            }
        }
        ids
    }

    fn pair(&self, text: &str, parts: &[Part], left: usize, right: usize) -> Option<Pair> {
        let (start, end) = (parts.get(left)?.start, parts.get(right)?.end);
        let (_, rank) = self.tokens.get(text.get(start..end)?)?;
        Some((*rank, Reverse(left), right, end - start))
    }
}

fn characters(text: &str) -> Vec<Part> {
    let count = text.chars().count();
    text.char_indices()
        .enumerate()
        .map(|(index, (start, c))| Part {
            start,
            end: start + c.len_utf8(),
            before: index.checked_sub(1),
            after: Some(index + 1).filter(|next| *next < count),
        })
        .collect()
}

/// What a token writes.
pub(super) fn bytes(token: &str, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Control => Vec::new(),
        Kind::UserDefined => token.as_bytes().to_vec(),
        Kind::Byte => byte(token).into_iter().collect(),
        Kind::Normal => token.replace(SPACE, " ").into_bytes(),
    }
}

/// The byte of `<0xXX>`.
fn byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    // A sign would be read too.
    let plain = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    u8::from_str_radix(digits, 16).ok().filter(|_| plain)
}

fn scores(gguf: &Gguf, tokens: usize) -> Result<Vec<f32>> {
    let key = "tokenizer.ggml.scores";
    let scores = gguf.floats(key)?.unwrap_or_default().into_iter();
    let scores: Option<Vec<f32>> = scores
        // A negative zero becomes one like the others.
        .map(|score| Some(score as f32 + 0.0).filter(|score| !score.is_nan()))
        .collect();
    match scores {
        Some(scores) if scores.len() == tokens => Ok(scores),
        _ => Err(gguf.error(format!(
            "{key} is not a list of {tokens} numbers, one for each token"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ids are places in the list; the bytes follow.
    fn spm(tokens: &[(&str, f32)]) -> Spm {
        let bytes: Vec<String> = (0..256).map(|byte| format!("<0x{byte:02X}>")).collect();
        let kind = |token: &str| match token {
            "<s>" => Kind::Control,
            "<t>" => Kind::UserDefined,
            _ => Kind::Normal,
        };
        let mut vocabulary: Vec<_> = tokens
            .iter()
            .map(|(token, _)| (*token, kind(token)))
            .collect();
        vocabulary.extend(bytes.iter().map(|token| (token.as_str(), Kind::Byte)));
        let mut scores: Vec<f32> = tokens.iter().map(|(_, score)| *score).collect();
        scores.resize(vocabulary.len(), 0.0);
        Spm::new(&vocabulary, &scores, true).unwrap()
    }

    #[test]
    fn no_text_becomes_a_control_a_user_defined_or_a_byte_token() {
        // The parts are there, and the whole has the best score of all.
        let parts = [
            "<", "s", ">", "<s", "t", "<t", "0", "x", "A", "<0", "<0x", "<0x0", "A>",
        ];
        let parts = parts.iter().map(|token| (*token, -1.0));
        let tokens: Vec<_> = parts.chain([("<s>", 9.0), ("<t>", 9.0)]).collect();
        let spm = spm(&tokens);
        let encode = |text: &str| -> Vec<&str> {
            let ids = spm.encode(text, false);
            ids.iter()
                .map(|id| tokens.get(*id as usize).map_or("byte", |(token, _)| *token))
                .collect()
        };
        assert_eq!(encode("<s>"), ["<s", ">"]);
        assert_eq!(encode("<t>"), ["<t", ">"]);
        assert_eq!(encode("<0x0A>"), ["<0x0", "A>"]);
    }

    #[test]
    fn a_byte_without_a_token_is_seen() {
        let vocabulary = [("<0x00>", Kind::Byte), ("a", Kind::Normal)];
        assert_eq!(Spm::new(&vocabulary, &[0.0, 0.0], true).err(), Some(1));
    }

    #[test]
    fn the_highest_score_is_merged_first_and_of_equals_the_leftmost() {
        let spm = spm(&[
            ("a", 0.0),
            ("b", 0.0),
            ("ab", 5.0),
            ("ba", 5.0),
            ("aab", 9.0),
            ("\u{2581}", 0.0),
        ]);
        let encode = |text: &str| spm.encode(text, false);
        assert_eq!(encode("aba"), [2, 0]);
        assert_eq!(encode("bab"), [3, 1]);
        // `aab` has the highest score, but its parts are `a` and `ab`, of which the second must be there first.
        assert_eq!(encode("aab"), [4]);
        assert_eq!(encode("aabab"), [4, 2]);
    }

    #[test]
    fn what_is_no_token_is_written_as_bytes_and_spaces_as_their_sign() {
        let spm = spm(&[("a", 0.0), ("\u{2581}", 0.0), ("\u{2581}a", 3.0)]);
        assert_eq!(spm.encode("a", true), [2]);
        assert_eq!(spm.encode("a", false), [0]);
        assert_eq!(spm.encode(" a", true), [1, 2]);
        assert_eq!(spm.encode("a\n", false), [0, 3 + 0x0a]);
        assert_eq!(spm.encode("é", false), [3 + 0xc3, 3 + 0xa9]);
    }

    #[test]
    fn a_long_text_takes_no_longer_than_its_length_says() {
        let spm = spm(&[("a", 0.0), ("aa", 1.0), ("aaaa", 2.0)]);
        let ids = spm.encode(&"a".repeat(1 << 20), false);
        assert_eq!(ids, vec![2; 1 << 18]);
    }

    #[test]
    fn tokens_write_their_bytes() {
        assert_eq!(bytes("\u{2581}a\u{2581}", Kind::Normal), b" a ");
        assert_eq!(bytes("<0x0A>", Kind::Byte), b"\n");
        assert_eq!(bytes("<0x+A>", Kind::Byte), b"");
        assert_eq!(bytes("<s>", Kind::Control), b"");
        assert_eq!(bytes("<tool>", Kind::UserDefined), b"<tool>");
    }
}
