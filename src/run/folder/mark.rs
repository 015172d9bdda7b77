//! The lines of `progress.jsonl`: what was made of the texts so far, in input order.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    dataset::Kind,
    error::{Error, Result},
    files::hex,
    record::PreferencePair,
    run::{manifest::Manifest, store::TextHash},
};

/// Increases whenever an older library could not read what a newer one writes.
const FORMAT: u32 = 2;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: u32,
    #[serde(flatten)]
    pub(super) manifest: Manifest,
}

impl Header {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self {
            format: FORMAT,
            manifest,
        }
    }

    /// Reads it; the error is a reason.
    pub(super) fn parse(line: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let damaged = |_| "the first line is damaged".to_owned();
        let Version { format } = serde_json::from_slice(line).map_err(damaged)?;
        if format != FORMAT {
            return Err(format!(
                "it has the format {format}, and this version of the library knows {FORMAT}: take the version that made it"
            ));
        }
        serde_json::from_slice(line).map_err(damaged)
    }
}

/// Every other line: one outcome.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Mark<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) draw: u32,
    pub(super) kind: Kind,
    /// The hash of the text, in hexadecimal digits.
    pub(super) sha256: Cow<'a, str>,
    /// The pair, if an ordered filter dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pair: Option<Cow<'a, PreferencePair>>,
}

pub(super) fn text_hash(text: &str) -> TextHash {
    Sha256::digest(text.as_bytes()).into()
}

pub(super) fn digits(hash: &TextHash) -> String {
    hex(hash)
}

/// The hash that these digits are of.
pub(super) fn parse_hash(digits: &str) -> Option<TextHash> {
    let mut hash = TextHash::default();
    if digits.len() != 2 * hash.len() {
        return None;
    }
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// A line with its line feed.
pub(super) fn line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value).map_err(|error| Error::Other(error.into()))?;
    line.push(b'\n');
    Ok(line)
}
