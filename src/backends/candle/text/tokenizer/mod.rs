//! Text to token ids and back, from the vocabulary in a GGUF file.

mod bpe;
mod pre_tokenizer;
mod spm;

use std::{collections::BTreeSet, fmt};

use self::{bpe::Bpe, spm::Spm};
use crate::{
    backends::candle::gguf::Gguf,
    error::{Error, Result},
};

/// A piece of a prompt.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    /// The template's own.
    Template(String),
    /// A message's content, as it is.
    Content(&'a str),
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Characters of a text.
    Normal,
    /// A control token, which writes no text; also the token for unknown text.
    Control,
    /// A text that templates take as one token.
    UserDefined,
    /// One byte, written `<0xXX>`.
    Byte,
}

impl Kind {
    /// By its number in `tokenizer.ggml.token_type` (`llama_token_type` of llama.cpp).
    fn of(number: &u64) -> Self {
        match number {
            2 | 3 => Self::Control,
            4 => Self::UserDefined,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }

    /// Whether it is never part of a text.
    fn is_special(self) -> bool {
        matches!(self, Self::Control | Self::UserDefined)
    }
}

/// Control tokens that end a model's turn, beside the one that the file names.
const END_OF_TURN: [&str; 7] = [
    "</s>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|end|>",
];

/// Metadata that names an end of turn.
const END_KEYS: [&str; 3] = ["eos_token_id", "eot_token_id", "eom_token_id"];

/// A byte-pair tokenizer: byte-level BPE, or SentencePiece's.
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
    /// Control and user-defined tokens.
    special: BTreeSet<u32>,
    ends: BTreeSet<u32>,
    /// The end that the file names first.
    #[cfg_attr(not(feature = "train"), allow(dead_code))]
    eos: Option<u32>,
    bos: Option<u32>,
    prepends_bos: bool,
}

enum Encoder {
    Bpe(Box<Bpe>),
    Spm(Spm),
}

impl Tokenizer {
    /// Builds the tokenizer that the file describes.
    ///
    /// # Errors
    /// Refuses kinds of tokenizers and pre-tokenizers that it does not know.
    pub(in super::super) fn read(gguf: &Gguf) -> Result<Self> {
        let tokens = gguf.texts("tokenizer.ggml.tokens")?.unwrap_or_default();
        let types = gguf
            .integers("tokenizer.ggml.token_type")?
            .unwrap_or_default();
        let kinds = types.iter().map(Kind::of);
        let kinds = kinds.chain(std::iter::repeat(Kind::Normal));
        let mut vocabulary: Vec<(&str, Kind)> = tokens.into_iter().zip(kinds).collect();
        // What ends a turn or begins a text is a control token, whatever else the file calls it: no text may hold it.
        let mut ends = BTreeSet::new();
        let mut eos = None;
        for key in END_KEYS {
            let end = id(gguf, key, vocabulary.len())?;
            ends.extend(end);
            eos = eos.or(end);
        }
        let bos = id(gguf, "bos_token_id", vocabulary.len())?;
        for (id, (token, kind)) in (0u32..).zip(&mut vocabulary) {
            // `</s>` is a tag of HTML too, and an ordinary word of models for code, such as Qwen2.5-Coder.
            let named = END_OF_TURN.contains(token) && (*token != "</s>" || *kind != Kind::Normal);
            if ends.contains(&id) || bos == Some(id) || named {
                *kind = Kind::Control;
            }
        }

        let (encoder, bytes, adds_bos): (_, fn(&str, Kind) -> Vec<u8>, _) = match gguf
            .text("tokenizer.ggml.model")?
            .unwrap_or_default()
        {
            "gpt2" => {
                let bpe = Box::new(Bpe::read(gguf, &vocabulary)?);
                (Encoder::Bpe(bpe), bpe::bytes, Bpe::adds_bos(gguf)?)
            }
            "llama" => (
                Encoder::Spm(Spm::read(gguf, &vocabulary)?),
                spm::bytes,
                true,
            ),
            kind => {
                return Err(gguf.error(format!(
                        "its tokenizer is of the kind \"{kind}\"; supported are byte-level BPE (\"gpt2\") and SentencePiece's \
                         byte-pair models (\"llama\")"
                    )));
            }
        };
        let mut added = Vec::new();
        for (id, (token, kind)) in (0u32..).zip(&vocabulary) {
            if *kind == Kind::Control && END_OF_TURN.contains(token) {
                ends.insert(id);
            }
            if kind.is_special() {
                added.push(((*token).to_owned(), id));
            }
        }
        let special = added.iter().map(|(_, id)| *id).collect();
        added.retain(|(token, _)| !token.is_empty());
        added.sort_by_key(|(token, _)| std::cmp::Reverse(token.len()));
        Ok(Self {
            model: gguf.name().to_owned(),
            encoder,
            added,
            bytes: vocabulary
                .iter()
                .map(|(token, kind)| bytes(token, *kind))
                .collect(),
            special,
            eos: eos.or(ends.first().copied()),
            ends,
            bos,
            prepends_bos: gguf
                .flag("tokenizer.ggml.add_bos_token")?
                .unwrap_or(adds_bos),
        })
    }

    /// Token ids of an untrusted text: none of them is a control or a user-defined token, whatever the text says.
    ///
    /// SentencePiece's tokenizers put a space in front, unless the file says otherwise.
    ///
    /// # Errors
    /// Fails if the encoder does.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_part(text, true)
    }

    /// Token ids of an untrusted text that follows a prompt. An answer `begins` as a text of its own; another text goes
    /// on.
    pub(crate) fn encode_part(&self, text: &str, begins: bool) -> Result<Vec<u32>> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        match &self.encoder {
            Encoder::Spm(spm) => Ok(spm.encode(text, begins)),
            Encoder::Bpe(bpe) => bpe.encode(text).map_err(|error| {
                Error::model(
                    self.model.as_str(),
                    format!("a text cannot be encoded: {error}"),
                )
            }),
        }
    }

    /// Token ids of a prompt: control tokens are what they say in the template's own pieces, and nowhere else.
    ///
    /// What stands between two control tokens is encoded as one text, wherever it comes from, as models have learnt it.
    pub(crate) fn encode_pieces(&self, pieces: &[Piece<'_>]) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut text = String::new();
        for piece in pieces {
            let mut rest = match piece {
                Piece::Template(template) => template.as_str(),
                Piece::Content(content) => {
                    text.push_str(content);
                    continue;
                }
            };
            while !rest.is_empty() {
                let found = self.added.iter().find_map(|(token, id)| {
                    let behind = rest.strip_prefix(token.as_str())?;
                    Some((id, behind))
                });
                if let Some((id, behind)) = found {
                    ids.extend(self.encode(&std::mem::take(&mut text))?);
                    ids.push(*id);
                    rest = behind;
                } else {
                    let mut characters = rest.chars();
                    text.extend(characters.next());
                    rest = characters.as_str();
                }
            }
        }
        ids.extend(self.encode(&text)?);
        Ok(ids)
    }

    /// Whether an answer to this chat prompt begins with the space that the tokenizer puts in front of texts.
    ///
    /// It does after `[/INST]`; where the template ends in white space, such as a new line, that is in its place.
    pub(crate) fn answers_with_space(&self, prompt: &[u32]) -> bool {
        let written = prompt.last().map_or(&[][..], |last| self.bytes(*last));
        self.space_prefix() && !written.last().is_some_and(u8::is_ascii_whitespace)
    }

    fn space_prefix(&self) -> bool {
        match &self.encoder {
            Encoder::Spm(spm) => spm.space_prefix(),
            Encoder::Bpe(_) => false,
        }
    }

    /// Puts the beginning-of-text token in front where the model wants it and the template has not set it.
    pub(crate) fn with_bos(&self, mut ids: Vec<u32>) -> Vec<u32> {
        if let Some(bos) = self.bos.filter(|_| self.prepends_bos)
            && ids.first() != Some(&bos)
        {
            ids.insert(0, bos);
        }
        ids
    }

    /// The text of tokens, without control tokens and the space that [`encode`](Self::encode) puts in front; bytes that
    /// are no characters come out as U+FFFD.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().flat_map(|id| self.bytes(*id)).copied().collect();
        let text = match bytes.strip_prefix(b" ") {
            Some(text) if self.space_prefix() => text,
            _ => &bytes,
        };
        String::from_utf8_lossy(text).into_owned()
    }

    /// What a token writes: nothing for a control token.
    pub(crate) fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// The number of tokens.
    #[cfg(feature = "llguidance")]
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The tokens that texts are made of, and what each writes.
    pub(crate) fn text_tokens(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let tokens = (0u32..).zip(self.bytes.iter().map(Vec::as_slice));
        tokens.filter(|(id, _)| !self.is_special(*id))
    }

    /// The token that a model writes at the end of its turn; `None` if the file names none.
    #[cfg(feature = "train")]
    pub(crate) fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The tokens that end the model's turn.
    pub(crate) fn ends(&self) -> impl Iterator<Item = u32> {
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
    pub(crate) fn model(&self) -> &str {
        &self.model
    }

    /// The id of a control or user-defined token.
    pub(crate) fn special_id(&self, token: &str) -> Option<u32> {
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
