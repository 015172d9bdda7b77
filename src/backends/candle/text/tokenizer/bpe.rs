//! The byte-level byte-pair tokenizer (`tokenizer.ggml.model` = "gpt2"): merges by rank inside of words.

use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::{
    Kind,
    pre_tokenizer::{KNOWN, leaving_out, pre_tokenizer},
};
use crate::{backends::candle::gguf::Gguf, error::Result};

/// Merges by rank.
pub(super) struct Bpe(tokenizers::Tokenizer);

impl Bpe {
    /// Reads what the file says beside its tokens.
    ///
    /// # Errors
    /// Refuses pre-tokenizers that it does not know.
    pub(super) fn read(gguf: &Gguf, vocabulary: &[(&str, Kind)]) -> Result<Self> {
        let pre = pre_name(gguf)?;
        let Some(pre_tokenizer) = pre_tokenizer(pre) else {
            return Err(gguf.error(format!(
                "its pre-tokenizer \"{pre}\" is not known; known are {KNOWN}"
            )));
        };
        let vocab: Vocab = (0u32..)
            .zip(vocabulary)
            .filter(|(_, (_, kind))| !kind.is_special())
            .map(|(id, (token, _))| ((*token).to_owned(), id))
            .collect();
        let without_token: String = ('\0'..='\u{200}')
            .filter(|c| byte_of(*c).is_some() && !vocab.contains_key(&c.to_string()))
            .collect();
        let merges = merges(gguf, &vocab)?;
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(takes_whole_words(pre))
            .build();
        let encoder = bpe.and_then(|bpe| {
            let mut encoder = tokenizers::Tokenizer::new(bpe);
            encoder.with_pre_tokenizer(Some(leaving_out(&without_token, pre_tokenizer?)?));
            Ok(encoder)
        });
        encoder
            .map(Self)
            .map_err(|error| gguf.error(format!("its tokenizer is damaged: {error}")))
    }

    /// Whether a beginning-of-text token comes first if the file does not say so.
    pub(super) fn adds_bos(gguf: &Gguf) -> Result<bool> {
        pre_name(gguf).map(takes_whole_words)
    }

    /// Token ids of a text.
    pub(super) fn encode(&self, text: &str) -> tokenizers::Result<Vec<u32>> {
        let encoding = self.0.encode_fast(text, false)?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// What a token writes.
pub(super) fn bytes(token: &str, kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Control => Vec::new(),
        Kind::UserDefined => token.as_bytes().to_vec(),
        Kind::Normal | Kind::Byte => token.chars().filter_map(byte_of).collect(),
    }
}

fn pre_name(gguf: &Gguf) -> Result<&str> {
    Ok(gguf.text("tokenizer.ggml.pre")?.unwrap_or("gpt-2"))
}

/// Whether a word that is a token is taken without merges, and a beginning-of-text token comes first; as in llama.cpp.
fn takes_whole_words(pre: &str) -> bool {
    matches!(pre, "llama-bpe" | "llama3" | "llama-v3" | "tekken")
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

/// The byte that a character of GPT-2's alphabet stands for: printable Latin-1 stands for itself, the other 68 bytes
/// are U+0100 and following, in order (`openai/gpt-2`, `src/encoder.py`, `bytes_to_unicode`).
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
    use std::collections::BTreeSet;

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
