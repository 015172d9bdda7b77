//! Tokens of a model, built from what its GGUF file holds.
//!
//! candle 0.11's own construction splits SmolLM2's texts wrongly, so this one is checked against llama.cpp, text by text
//! (`tests/candle_parity.rs`).

use std::{collections::HashMap, fmt, path::Path};

use candle_core::quantized::gguf_file::Value;
use tokenizers::{
    PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer as Encoder,
    models::bpe::{BPE, Vocab},
    pre_tokenizers::{
        byte_level::ByteLevel,
        digits::Digits,
        sequence::Sequence,
        split::{Split, SplitPattern},
    },
};

use super::gguf::Gguf;
use crate::error::{Error, Result};

/// The split of Qwen 2 (llama.cpp, `LLAMA_VOCAB_PRE_TYPE_QWEN2`).
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The split of Llama 3 (llama.cpp, `LLAMA_VOCAB_PRE_TYPE_LLAMA3`).
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Token types of GGUF that never stand for ordinary text.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// Names under which models end a turn, beside the ids that the file names.
const ENDS: [&str; 5] = [
    "<|im_end|>",
    "<|endoftext|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "</s>",
];

/// Turns text into token ids and back.
pub struct Tokenizer {
    /// Knows no added token at all: control and user-defined tokens are not in its vocabulary.
    encoder: Encoder,
    /// Control and user-defined tokens, the longest first.
    added: Vec<(String, u32)>,
    /// The bytes that a token stands for; none for a control token.
    bytes: Vec<Vec<u8>>,
    control: Vec<bool>,
    ends: Vec<u32>,
    bos: Option<u32>,
    bos_text: String,
    eos_text: String,
}

impl Tokenizer {
    /// Reads the tokenizer of a GGUF file, without its weights.
    ///
    /// # Errors
    /// As [`CandleModel::load`](super::CandleModel::load).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let gguf = Gguf::open(path.as_ref())?;
        Self::from_gguf(gguf.name(), gguf.metadata())
    }

    /// Builds the tokenizer that the metadata describe.
    pub(super) fn from_gguf(model: &str, metadata: &HashMap<String, Value>) -> Result<Self> {
        let fields = Fields { model, metadata };
        let kind = fields.text("tokenizer.ggml.model").unwrap_or_default();
        if kind != "gpt2" {
            return Err(Error::model(
                model,
                format!(
                    "the tokenizer \"{kind}\" is not supported; supported is gpt2 (byte-level BPE)"
                ),
            ));
        }
        let tokens = fields.texts("tokenizer.ggml.tokens")?;
        let merges = fields.texts("tokenizer.ggml.merges")?;
        let types = fields.numbers("tokenizer.ggml.token_type");

        let mut vocab = Vocab::default();
        let mut added = Vec::new();
        let mut bytes = Vec::with_capacity(tokens.len());
        let mut control = Vec::with_capacity(tokens.len());
        let alphabet = byte_alphabet();
        for (index, token) in tokens.iter().enumerate() {
            let id = u32::try_from(index)
                .map_err(|_| Error::model(model, "the vocabulary is too large"))?;
            let kind = types.get(index).copied().unwrap_or(1);
            control.push(kind == CONTROL);
            match kind {
                CONTROL | USER_DEFINED => {
                    added.push(((*token).to_owned(), id));
                    let shown = if kind == CONTROL { "" } else { *token };
                    bytes.push(shown.as_bytes().to_vec());
                }
                _ => {
                    vocab.insert((*token).to_owned(), id);
                    bytes.push(
                        token
                            .chars()
                            .filter_map(|c| alphabet.get(&c).copied())
                            .collect(),
                    );
                }
            }
        }
        added.sort_by(|a, b| b.0.len().cmp(&a.0.len()).then(a.0.cmp(&b.0)));
        let merges = merges
            .iter()
            .map(|merge| {
                let pair = merge.split_once(' ');
                pair.map(|(left, right)| (left.to_owned(), right.to_owned()))
                    .ok_or_else(|| {
                        Error::model(
                            model,
                            "tokenizer.ggml.merges holds an entry without a space",
                        )
                    })
            })
            .collect::<Result<Vec<_>>>()?;

        let name = fields.text("tokenizer.ggml.pre").unwrap_or("default");
        let (pre, ignore_merges) = pre_tokenizer(model, name)?;
        let bpe = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .ignore_merges(ignore_merges)
            .build()
            .map_err(|error| {
                Error::model(
                    model,
                    format!("the merges do not fit the vocabulary: {error}"),
                )
            })?;
        let mut encoder = Encoder::new(bpe);
        encoder.with_pre_tokenizer(Some(pre));

        let mut ends: Vec<u32> = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"]
            .iter()
            .filter_map(|key| fields.id(key))
            .collect();
        ends.extend(
            added
                .iter()
                .filter(|(text, _)| ENDS.contains(&text.as_str()))
                .map(|(_, id)| *id),
        );
        let bos_id = fields.id("tokenizer.ggml.bos_token_id");
        // Files of the Llama 3 family leave the flag out and mean yes.
        let adds_bos = fields
            .flag("tokenizer.ggml.add_bos_token")
            .unwrap_or(name == "llama-bpe");
        let text_of = |id: Option<u32>| {
            id.and_then(|id| tokens.get(id as usize))
                .map(|text| (*text).to_owned())
                .unwrap_or_default()
        };
        Ok(Self {
            bos_text: text_of(bos_id),
            eos_text: text_of(fields.id("tokenizer.ggml.eos_token_id")),
            bos: bos_id.filter(|_| adds_bos),
            encoder,
            added,
            bytes,
            control,
            ends,
        })
    }

    /// The ids of an untrusted text. Control and user-defined tokens inside it become ordinary characters.
    ///
    /// # Errors
    /// Fails if the text cannot be encoded, which no text is known to do.
    pub fn encode_text(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .encoder
            .encode_fast(text, false)
            .map_err(Error::Other)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// How many tokens a text has.
    #[must_use]
    pub fn count(&self, text: &str) -> usize {
        self.encode_text(text).map_or(0, |ids| ids.len())
    }

    /// The text that the ids stand for; control tokens are left out, bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| self.token_bytes(*id))
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Whether the id is a control or user-defined token, which [`encode_text`](Self::encode_text) never gives.
    #[must_use]
    pub fn is_added(&self, id: u32) -> bool {
        self.added.iter().any(|(_, added)| *added == id)
    }

    /// The ids of a piece of a chat template, in which control tokens mean what they say.
    pub(super) fn encode_template(&self, piece: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut rest = piece;
        while let Some((place, token, id)) = self.first_added(rest) {
            let (before, after) = rest.split_at(place);
            ids.extend(self.encode_text(before)?);
            ids.push(id);
            rest = after.get(token.len()..).unwrap_or_default();
        }
        ids.extend(self.encode_text(rest)?);
        Ok(ids)
    }

    /// The first added token in a text, the longest if several begin there.
    fn first_added(&self, text: &str) -> Option<(usize, &str, u32)> {
        let found = self.added.iter().filter_map(|(token, id)| {
            (!token.is_empty())
                .then(|| text.find(token.as_str()))
                .flatten()
                .map(|place| (place, token.as_str(), *id))
        });
        found.min_by_key(|(place, token, _)| (*place, std::cmp::Reverse(token.len())))
    }

    /// The bytes that a token stands for.
    pub(super) fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes
            .get(id as usize)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Whether the model ends its turn with this token.
    pub(super) fn is_end(&self, id: u32) -> bool {
        self.ends.contains(&id)
    }

    /// Whether the token is a control token.
    pub(super) fn is_control(&self, id: u32) -> bool {
        self.control.get(id as usize).copied().unwrap_or(true)
    }

    /// The token that every prompt begins with, if the model wants one.
    pub(super) fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The texts of the begin and end tokens, for chat templates.
    pub(super) fn bos_and_eos(&self) -> (&str, &str) {
        (&self.bos_text, &self.eos_text)
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("tokens", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// How a text is cut before the merges, and whether a whole word in the vocabulary is taken without merging.
fn pre_tokenizer(model: &str, name: &str) -> Result<(PreTokenizerWrapper, bool)> {
    let bytes = |regex: bool| ByteLevel::new(false, false, regex).into();
    let split = |pattern: &str| -> Result<PreTokenizerWrapper> {
        let pattern = SplitPattern::Regex(pattern.to_owned());
        let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
        Ok(split.map_err(Error::Other)?.into())
    };
    let (parts, ignore_merges): (Vec<PreTokenizerWrapper>, bool) = match name {
        "smollm" => (vec![Digits::new(true).into(), bytes(true)], false),
        "gpt-2" => (vec![bytes(true)], false),
        "qwen2" => (vec![split(QWEN2)?, bytes(false)], false),
        "llama-bpe" => (vec![split(LLAMA3)?, bytes(false)], true),
        other => {
            return Err(Error::model(
                model,
                format!(
                    "the pre-tokenizer \"{other}\" is not supported; supported are smollm, gpt-2, qwen2 and llama-bpe"
                ),
            ));
        }
    };
    Ok((Sequence::new(parts).into(), ignore_merges))
}

/// The bytes behind the characters of a byte-level vocabulary (GPT-2, `bytes_to_unicode`): printable bytes stand for
/// themselves, the others for the characters from U+0100 on.
fn byte_alphabet() -> HashMap<char, u8> {
    let mut next = 0x100;
    (0..=u8::MAX)
        .filter_map(|byte| {
            let printable = matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
            let character = if printable {
                Some(char::from(byte))
            } else {
                next += 1;
                char::from_u32(next - 1)
            };
            character.map(|character| (character, byte))
        })
        .collect()
}

/// Metadata about the tokenizer.
struct Fields<'a> {
    model: &'a str,
    metadata: &'a HashMap<String, Value>,
}

impl<'a> Fields<'a> {
    fn text(&self, key: &str) -> Option<&'a str> {
        self.metadata.get(key)?.to_string().ok().map(String::as_str)
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.metadata.get(key)?.to_bool().ok()
    }

    fn id(&self, key: &str) -> Option<u32> {
        self.metadata.get(key)?.to_u32().ok()
    }

    fn texts(&self, key: &str) -> Result<Vec<&'a str>> {
        let values = self.metadata.get(key).and_then(|value| value.to_vec().ok());
        let Some(values) = values else {
            return Err(Error::model(
                self.model,
                format!("the metadata {key} is missing"),
            ));
        };
        let texts = values
            .iter()
            .map(|value| value.to_string().ok().map(String::as_str));
        texts
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| Error::model(self.model, format!("{key} is not a list of texts")))
    }

    fn numbers(&self, key: &str) -> Vec<u64> {
        let values = self.metadata.get(key).and_then(|value| value.to_vec().ok());
        let number = |value: &Value| match value {
            Value::I32(number) => u64::try_from(*number).unwrap_or_default(),
            other => other.to_u64().unwrap_or_default(),
        };
        values
            .map(|values| values.iter().map(number).collect())
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_that_of_gpt2() {
        let alphabet = byte_alphabet();
        assert_eq!(alphabet.len(), 256);
        assert_eq!(alphabet.get(&'Ġ'), Some(&b' '));
        assert_eq!(alphabet.get(&'Ċ'), Some(&b'\n'));
        assert_eq!(alphabet.get(&'a'), Some(&b'a'));
        assert_eq!(alphabet.get(&'Ń'), Some(&0xAD));
    }

    #[test]
    fn an_unknown_split_is_refused_by_name() {
        let error = pre_tokenizer("m.gguf", "mystery").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("model m.gguf: the pre-tokenizer \"mystery\""),
            "{error}"
        );
    }
}
