//! The header of a file that is written (`ggml-org/ggml`, `docs/gguf.md`).

use super::{Gguf, encode::Encoding};

/// The version of the format that is written.
const VERSION: u32 = 3;
/// The type of a metadata value of 32 bits without sign.
const U32: u32 = 4;
/// What the blocks of quantised tensors look like: `GGML_QNT_VERSION`.
const QUANTIZATION_VERSION: u32 = 2;

/// A tensor of a file that is written.
pub(in super::super) struct Planned<'a> {
    pub(in super::super) name: &'a str,
    /// The dimension whose values are neighbours is the last one.
    pub(in super::super) shape: &'a [usize],
    pub(in super::super) encoding: Encoding,
}

impl Planned<'_> {
    /// Values of a row.
    pub(in super::super) fn width(&self) -> usize {
        self.shape.last().copied().unwrap_or_default()
    }

    /// Rows of all other dimensions.
    pub(in super::super) fn rows(&self) -> usize {
        rows(self.shape)
    }

    /// Bytes of all values.
    pub(in super::super) fn bytes(&self) -> usize {
        self.encoding.bytes(self.width()) * self.rows()
    }
}

/// Rows of a tensor of this shape.
pub(in super::super) fn rows(shape: &[usize]) -> usize {
    shape.iter().rev().skip(1).product()
}

/// All before the data of a file that has the metadata of `base` and these tensors, one after the other, each padded to
/// the alignment of `base`.
///
/// The metadata are the bytes of `base`, in its order; only `general.file_type` becomes `file_type`. Where it is
/// missing it comes last, as does `general.quantization_version` if a tensor asks for it.
pub(in super::super) fn write_header(
    base: &Gguf,
    file_type: u32,
    tensors: &[Planned<'_>],
) -> Vec<u8> {
    let mut entries: Vec<(&str, Vec<u8>)> = base
        .entries()
        .map(|(key, entry)| (key, entry.to_vec()))
        .collect();
    let mut set = |key: &'static str, value: u32, replace: bool| {
        let entry = [
            text(key),
            U32.to_le_bytes().into(),
            value.to_le_bytes().into(),
        ]
        .concat();
        match entries.iter_mut().find(|(other, _)| *other == key) {
            Some((_, old)) if replace => *old = entry,
            Some(_) => {}
            None => entries.push((key, entry)),
        }
    };
    set("general.file_type", file_type, true);
    if tensors
        .iter()
        .any(|tensor| tensor.encoding == Encoding::Q8_0)
    {
        set("general.quantization_version", QUANTIZATION_VERSION, false);
    }

    let mut header = b"GGUF".to_vec();
    header.extend(VERSION.to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((entries.len() as u64).to_le_bytes());
    header.extend(entries.iter().flat_map(|(_, entry)| entry));
    let mut offset = 0;
    for tensor in tensors {
        header.extend(text(tensor.name));
        header.extend((tensor.shape.len() as u32).to_le_bytes());
        for dim in tensor.shape.iter().rev() {
            header.extend((*dim as u64).to_le_bytes());
        }
        header.extend(tensor.encoding.number().to_le_bytes());
        header.extend((offset as u64).to_le_bytes());
        offset += tensor.bytes().next_multiple_of(base.alignment());
    }
    header.resize(header.len().next_multiple_of(base.alignment()), 0);
    header
}

/// A text as it stands in a file.
fn text(text: &str) -> Vec<u8> {
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend(text.as_bytes());
    bytes
}
