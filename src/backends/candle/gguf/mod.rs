//! A GGUF file: checked before anything of it is used.

mod encode;
mod header;
mod map;
mod types;
mod writer;

use std::{fs::File, path::Path};

use sha2::{Digest, Sha256};

pub(super) use encode::Encoding;
use header::{Header, Value};
use map::Map;
pub(super) use types::TensorType;
pub(super) use writer::{Planned, rows, write_header};

use crate::{
    error::{Error, Result},
    files::hex,
};

/// An open file whose header is sound and whose tensors all lie inside it.
pub(super) struct Gguf {
    name: String,
    map: Map,
    header: Header,
}

impl Gguf {
    /// Maps and checks a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Model`] if it is empty, of another format or cut off, or holds
    /// tensors of types that are not read.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let name = file_name(path);
        let file = File::open(path).map_err(|source| Error::io(path, source))?;
        let meta = file.metadata().map_err(|source| Error::io(path, source))?;
        if !meta.is_file() {
            return Err(Error::model(name, "is not a file"));
        }
        if meta.len() == 0 {
            return Err(Error::model(name, "the file is empty; fetch it again"));
        }
        let map = Map::new(&file).map_err(|source| Error::io(path, source))?;
        if !map.bytes().starts_with(b"GGUF") {
            return Err(Error::model(
                name,
                "is not a GGUF file; its first four bytes are not \"GGUF\"",
            ));
        }
        match Header::read(map.bytes()) {
            Ok(header) => Ok(Self { name, map, header }),
            Err(reason) => Err(Error::model(name, reason)),
        }
    }

    /// The file's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The hash of the file as `sha256:<hex>`.
    pub(super) fn sha256(&self) -> String {
        sha256([self.map.bytes()])
    }

    /// An error about this file.
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::model(self.name.as_str(), reason)
    }

    /// Names of all tensors.
    pub(super) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.keys().map(String::as_str)
    }

    /// Names and shapes of all tensors, in the order in which they lie in the file.
    pub(super) fn tensors(&self) -> Vec<(&str, &[usize])> {
        let mut tensors: Vec<_> = self.header.tensors.iter().collect();
        tensors.sort_unstable_by_key(|(_, info)| info.bytes.start);
        let parts = tensors.into_iter();
        parts
            .map(|(name, info)| (name.as_str(), info.shape.as_slice()))
            .collect()
    }

    /// What ggml calls the type of a tensor.
    #[cfg(test)]
    pub(super) fn type_name(&self, name: &str) -> Option<&'static str> {
        let info = self.header.tensors.get(name);
        info.map(|info| info.kind.name())
    }

    /// What the places of tensors are multiples of.
    pub(super) fn alignment(&self) -> usize {
        self.header.alignment
    }

    /// Each metadata key with the bytes of its whole entry, in the order of the file.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let bytes = self.map.bytes();
        let entries = self.header.entries().into_iter();
        entries.map(|(key, range)| (key, bytes.get(range).unwrap_or_default()))
    }

    /// Whether the file has this tensor.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        self.header.tensors.contains_key(name)
    }

    /// A metadata value, whatever its type.
    pub(super) fn value(&self, key: &str) -> Option<Value<'_>> {
        self.header.value(self.map.bytes(), key)
    }

    /// A non-negative integer, if the key is there.
    pub(super) fn integer(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a non-negative integer", |value| {
            usize::try_from(value.as_u64()?).ok()
        })
    }

    /// A number, if the key is there.
    pub(super) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", Value::as_f64)
    }

    /// A flag, if the key is there.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", |value| match value {
            Value::Flag(flag) => Some(flag),
            _ => None,
        })
    }

    /// A text, if the key is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", Value::as_str)
    }

    /// A list of texts, if the key is there.
    pub(super) fn texts(&self, key: &str) -> Result<Option<Vec<&str>>> {
        self.list(key, "a list of texts", Value::as_str)
    }

    /// A list of non-negative integers, if the key is there.
    pub(super) fn integers(&self, key: &str) -> Result<Option<Vec<u64>>> {
        self.list(key, "a list of non-negative integers", Value::as_u64)
    }

    /// A list of numbers, if the key is there.
    pub(super) fn floats(&self, key: &str) -> Result<Option<Vec<f64>>> {
        self.list(key, "a list of numbers", Value::as_f64)
    }

    /// The rows of a tensor of exactly this shape; a tensor of one dimension is one row.
    pub(super) fn rows(&self, name: &str, shape: &[usize]) -> Result<Rows<'_>> {
        let Some(info) = self.header.tensors.get(name) else {
            return Err(self.error(format!("the tensor {name} is missing")));
        };
        if info.shape != shape {
            let found = &info.shape;
            return Err(self.error(format!(
                "the tensor {name} has the shape {found:?} where {shape:?} is expected"
            )));
        }
        let bytes = self.map.bytes().get(info.bytes.clone());
        Ok(Rows {
            kind: info.kind,
            width: shape.last().copied().unwrap_or_default(),
            bytes: bytes.unwrap_or_default(),
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(format!("{key} is not {expected}"))),
        }
    }

    fn list<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        self.typed(key, expected, |value| match value {
            Value::List(list) => list.iter().map(read).collect(),
            _ => None,
        })
    }
}

/// The rows of a matrix, as they lie in the file.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    kind: TensorType,
    /// Values of a row: whole blocks.
    width: usize,
    bytes: &'a [u8],
}

impl Rows<'_> {
    /// Values that lie in a block together: a part of a row begins and ends with one.
    pub(super) fn block(&self) -> usize {
        self.kind.block_len()
    }

    /// Writes the values of a row that follow the column `column`, as many as there is room for: whole blocks.
    pub(super) fn read(&self, row: usize, column: usize, to: &mut [f32]) {
        let start = (row * self.width + column) / self.block() * self.kind.block_bytes();
        let bytes = self.bytes.get(start..).unwrap_or_default();
        self.kind.dequantize(bytes, to);
    }
}

/// The hash of bytes, one part after the other, as `sha256:<hex>`.
pub(super) fn sha256<const PARTS: usize>(parts: [&[u8]; PARTS]) -> String {
    let hash = parts.into_iter().fold(Sha256::new(), Sha256::chain_update);
    format!("sha256:{}", hex(hash.finalize()))
}

/// The last part of a path, for messages and [`ModelId`](crate::ModelId).
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}
