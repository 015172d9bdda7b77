//! Text to token ids and back, from the vocabulary in a GGUF file.

use std::{collections::BTreeSet, fmt};

use tokenizers::{
    Tokenizer as Encoder,
    models::bpe::{BPE, Merges, Vocab},
};

use super::{
    gguf::Gguf,
    pre_tokenizer::{KNOWN, leaving_out, pre_tokenizer},
};
use crate::error::{Error, Result};

/// What a token is, as numbered by llama.cpp.
const NORMAL: u64 = 1;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Control tokens that end a model's turn, beside the one that the file names.
const END_OF_TURN: [&str; 6] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
];

/// Metadata that names an end of turn.
const END_KEYS: [&str; 3] = ["eos_token_id", "eot_token_id", "eom_token_id"];

/// A byte-pair tokenizer.
///
/// Texts and templates are encoded apart: the encoder of texts does not know the control tokens, so nothing that stands
/// in a text can become one.
pub struct Tokenizer {
    model: String,
    encoder: Encoder,
    /// Tokens that are found in templates as they stand, longest first.
    added: Vec<(String, u32)>,
    /// What each token writes; nothing for control tokens.
    bytes: Vec<Vec<u8>>,
    /// Tokens that are not characters of a text: control and user-defined ones.
    special: BTreeSet<u32>,
    ends: BTreeSet<u32>,
    bos: Option<u32>,
    prepends_bos: bool,
}

impl Tokenizer {
    /// Builds the tokenizer that the file describes.
    ///
    /// # Errors
    /// Refuses kinds of tokenizers and pre-tokenizers that it does not know.
    pub(super) fn read(gguf: &Gguf) -> Result<Self> {
        let kind = gguf.text("tokenizer.ggml.model")?.unwrap_or_default();
        if kind != "gpt2" {
            return Err(gguf.error(format!(
                "its tokenizer is of the kind \"{kind}\"; only byte-level BPE (\"gpt2\") is supported"
            )));
        }
        let pre = gguf.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2");
        let Some(pre_tokenizer) = pre_tokenizer(pre) else {
            return Err(gguf.error(format!(
                "its pre-tokenizer \"{pre}\" is not known; known are {KNOWN}"
            )));
        };

        let tokens = gguf.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
        let types = gguf
            .integers("tokenizer.ggml.token_type")?
            .unwrap_or_default();
        let mut vocab = Vocab::new();
        let mut added = Vec::new();
        let mut bytes = Vec::new();
        let mut ends = BTreeSet::new();
        for (id, token) in (0u32..).zip(&tokens) {
            let kind = types.get(id as usize).copied().unwrap_or(NORMAL);
            match kind {
                CONTROL => {
                    if END_OF_TURN.contains(token) {
                        ends.insert(id);
                    }
                    bytes.push(Vec::new());
                }
                USER_DEFINED => bytes.push(token.as_bytes().to_vec()),
                _ => bytes.push(token.chars().filter_map(byte_of).collect()),
            }
            if matches!(kind, CONTROL | USER_DEFINED) {
                added.push(((*token).to_owned(), id));
            } else {
                vocab.insert((*token).to_owned(), id);
            }
        }
        added.retain(|(token, _)| !token.is_empty());
        added.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        for key in END_KEYS {
            ends.extend(id(gguf, key, tokens.len())?);
        }

        let without_token: String = ('\0'..='\u{200}')
            .filter(|c| byte_of(*c).is_some() && !vocab.contains_key(&c.to_string()))
            .collect();
        let merges = merges(gguf, &vocab)?;
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(pre == "llama-bpe")
            .build();
        let encoder = bpe.and_then(|bpe| {
            let mut encoder = Encoder::new(bpe);
            encoder.with_pre_tokenizer(Some(leaving_out(&without_token, pre_tokenizer?)?));
            Ok(encoder)
        });
        Ok(Self {
            model: gguf.name().to_owned(),
            encoder: encoder
                .map_err(|error| gguf.error(format!("its tokenizer is damaged: {error}")))?,
            special: added.iter().map(|(_, id)| *id).collect(),
            added,
            bytes,
            ends,
            bos: id(gguf, "bos_token_id", tokens.len())?,
            prepends_bos: gguf
                .flag("tokenizer.ggml.add_bos_token")?
                .unwrap_or(pre == "llama-bpe"),
        })
    }

    /// Token ids of an untrusted text: none of them is a control or a user-defined token, whatever the text says.
    ///
    /// # Errors
    /// Fails if the encoder does.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        match self.encoder.encode_fast(text, false) {
            Ok(encoding) => Ok(encoding.get_ids().to_vec()),
            Err(error) => Err(Error::model(
                self.model.as_str(),
                format!("a text cannot be encoded: {error}"),
            )),
        }
    }

    /// Token ids of a piece of a template, in which control tokens are what they say.
    pub(super) fn encode_template(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let (mut plain, mut at) = (0, 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some((token, id)) = self.added.iter().find(|(token, _)| rest.starts_with(token))
            {
                ids.extend(self.encode(text.get(plain..at).unwrap_or_default())?);
                ids.push(*id);
                at += token.len();
                plain = at;
            } else {
                at += rest.chars().next().map_or(1, char::len_utf8);
            }
        }
        ids.extend(self.encode(text.get(plain..).unwrap_or_default())?);
        Ok(ids)
    }

    /// Puts the beginning-of-text token in front where the model wants it and the template has not set it.
    pub(super) fn with_bos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(bos) = self.bos.filter(|_| self.prepends_bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }

    /// The text of tokens, without control tokens; bytes that are no characters come out as U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id)).copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// What a token writes: nothing for a control token.
    pub(super) fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The number of tokens.
    #[cfg(feature = "llguidance")]
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The tokens that texts are made of, and what each writes.
    pub(super) fn text_tokens(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let tokens = (0u32..).zip(self.bytes.iter().map(Vec::as_slice));
        tokens.filter(|(id, _)| !self.is_special(*id))
    }

    /// The tokens that end the model's turn.
    pub(super) fn ends(&self) -> impl Iterator<Item = u32> {
        self.ends.iter().copied()
    }

    /// Whether a token is a control or a user-defined token: never part of an encoded text.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }

    /// Whether a token ends the model's turn.
    #[must_use]
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// Name of the model's file, for messages.
    pub(super) fn model(&self) -> &str {
        &self.model
    }

    /// The id of a control or user-defined token.
    pub(super) fn special_id(&self, token: &str) -> Option<u32> {
        self.added
            .iter()
            .find_map(|(added, id)| (added == token).then_some(*id))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.bytes.len())
            .field("special", &self.special.len())
            .finish_non_exhaustive()
    }
}

fn merges(gguf: &Gguf, vocab: &Vocab) -> Result<Merges> {
    let key = "tokenizer.ggml.merges";
    let longest = vocab.keys().map(String::len).max().unwrap_or_default();
    let merges = gguf.texts(key)?.unwrap_or_default();
    merges
        .into_iter()
        .map(|merge| {
            // The first character may be a space in damaged files only: the alphabet has none.
            let (left, right) = merge.split_once(' ')?;
            // The builder looks for what they make among the tokens, in a buffer for the longest one.
            (left.len() + right.len() <= longest).then(|| (left.to_owned(), right.to_owned()))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| gguf.error(format!("{key} has an entry that is no pair of tokens")))
}

fn id(gguf: &Gguf, key: &str, vocab: usize) -> Result<Option<u32>> {
    let key = format!("tokenizer.ggml.{key}");
    match gguf.integer(&key)? {
        None => Ok(None),
        Some(id) => match u32::try_from(id) {
            Ok(small) if id < vocab => Ok(Some(small)),
            _ => Err(gguf.error(format!("{key} is {id}, but there are {vocab} tokens"))),
        },
    }
}

/// The byte that a character of GPT-2's alphabet stands for: printable Latin-1 stands for itself, the other 68 bytes are
/// U+0100 and following, in order (`openai/gpt-2`, `src/encoder.py`, `bytes_to_unicode`).
fn byte_of(character: char) -> Option<u8> {
    let code = u32::from(character);
    let byte = match code {
        0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff => code,
        0x100..=0x120 => code - 0x100,
        0x121..=0x142 => code - 0x121 + 0x7f,
        0x143 => 0xad,
        _ => return None,
    };
    u8::try_from(byte).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_covers_every_byte_once() {
        let bytes: Vec<u8> = (0..0x400)
            .filter_map(char::from_u32)
            .filter_map(byte_of)
            .collect();
        assert_eq!(bytes.len(), 256);
        assert_eq!(bytes.iter().collect::<BTreeSet<_>>().len(), 256);
        assert_eq!(byte_of('Ġ'), Some(b' '));
        assert_eq!(byte_of('Ċ'), Some(b'\n'));
        assert_eq!(byte_of('\u{ad}'), None);
        assert_eq!(byte_of('語'), None);
    }
}
