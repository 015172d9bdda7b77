//! A GGUF file: checked before anything of it is used.

use std::{
    fs::File,
    io::{BufReader, Read, Seek},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use candle_core::{
    DType, Device, Tensor,
    quantized::gguf_file::{Content, TensorInfo, Value},
};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// An open file whose header is sound and whose tensors all lie inside it.
pub(super) struct Gguf {
    name: String,
    content: Content,
    reader: BufReader<File>,
}

impl Gguf {
    /// Opens and checks a file.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read; [`Error::Model`] if it is empty, of another format or cut off.
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

        let mut reader = BufReader::new(file);
        let mut magic = [0; 4];
        let is_gguf = reader.read_exact(&mut magic).is_ok() && &magic == b"GGUF";
        if !is_gguf {
            return Err(Error::model(
                name,
                "is not a GGUF file; its first four bytes are not \"GGUF\"",
            ));
        }
        reader.rewind().map_err(|source| Error::io(path, source))?;

        // The parser divides by `general.alignment` as it stands in the file, so 0 is a panic there.
        let content = catch_unwind(AssertUnwindSafe(|| Content::read(&mut reader)))
            .map_err(|_| Error::model(name.as_str(), "the GGUF header is damaged"))?
            .map_err(|error| {
                let reason = format!("the GGUF header is damaged or cut off: {error}");
                Error::model(name.as_str(), reason)
            })?;

        let gguf = Self {
            name,
            content,
            reader,
        };
        gguf.check_extents(meta.len())?;
        Ok(gguf)
    }

    /// The file's name, for messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An error about this file.
    pub(super) fn error(&self, reason: impl Into<String>) -> Error {
        Error::model(self.name.as_str(), reason)
    }

    /// Names of all tensors.
    pub(super) fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.content.tensor_infos.keys().map(String::as_str)
    }

    /// Whether the file has this tensor.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        self.content.tensor_infos.contains_key(name)
    }

    /// A metadata value, whatever its type.
    pub(super) fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    /// A non-negative integer, if the key is there.
    pub(super) fn integer(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, "a non-negative integer", |value| {
            let wide = value.to_u64().ok().or_else(|| match value {
                Value::I8(v) => u64::try_from(*v).ok(),
                Value::I16(v) => u64::try_from(*v).ok(),
                Value::I32(v) => u64::try_from(*v).ok(),
                Value::I64(v) => u64::try_from(*v).ok(),
                _ => None,
            })?;
            usize::try_from(wide).ok()
        })
    }

    /// A number, if the key is there.
    pub(super) fn float(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, "a number", |value| match value {
            Value::F32(v) => Some(f64::from(*v)),
            Value::F64(v) => Some(*v),
            _ => None,
        })
    }

    /// A flag, if the key is there.
    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>> {
        self.typed(key, "true or false", |value| value.to_bool().ok())
    }

    /// A text, if the key is there.
    pub(super) fn text(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, "a text", |value| {
            value.to_string().ok().map(String::as_str)
        })
    }

    /// A list, if the key is there.
    pub(super) fn list(&self, key: &str) -> Result<Option<&[Value]>> {
        self.typed(key, "a list", |value| {
            value.to_vec().ok().map(Vec::as_slice)
        })
    }

    /// Reads a tensor of exactly this shape and dequantises it to F32 on `device`.
    pub(super) fn tensor(
        &mut self,
        name: &str,
        shape: &[usize],
        device: &Device,
    ) -> Result<Tensor> {
        let Some(info) = self.content.tensor_infos.get(name) else {
            return Err(self.error(format!("the tensor {name} is missing")));
        };
        if info.shape.dims() != shape {
            let found = info.shape.dims();
            return Err(self.error(format!(
                "the tensor {name} has the shape {found:?} where {shape:?} is expected"
            )));
        }
        info.read(&mut self.reader, self.content.tensor_data_offset, device)
            .and_then(|tensor| tensor.dequantize(device))
            .and_then(|tensor| tensor.to_dtype(DType::F32))
            .map_err(|error| self.error(format!("the tensor {name} cannot be read: {error}")))
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        expected: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match read(value) {
            Some(value) => Ok(Some(value)),
            None => Err(self.error(format!("{key} is not {expected}"))),
        }
    }

    fn check_extents(&self, file_size: u64) -> Result<()> {
        for (tensor, info) in &self.content.tensor_infos {
            let end = extent(info)
                .and_then(|size| size.checked_add(info.offset))
                .and_then(|end| end.checked_add(self.content.tensor_data_offset));
            match end {
                None => {
                    return Err(self.error(format!("the tensor {tensor} has an impossible shape")));
                }
                Some(end) if end > file_size => {
                    return Err(self.error(format!(
                        "the tensor {tensor} ends at byte {end}, but the file has {file_size}: it is cut off; fetch it again"
                    )));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

/// Bytes of a tensor in the file; `None` if its shape is none that the type can have.
fn extent(info: &TensorInfo) -> Option<u64> {
    let elements = info
        .shape
        .dims()
        .iter()
        .try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
    let block = info.ggml_dtype.block_size();
    if elements == 0 || !elements.is_multiple_of(block) {
        return None;
    }
    let size = (elements / block).checked_mul(info.ggml_dtype.type_size())?;
    u64::try_from(size).ok()
}

/// The last part of a path, for messages and [`ModelId`](crate::ModelId).
pub(super) fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy()
        .into_owned()
}

/// The hash of a file as `sha256:<hex>`.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let failed = |source| Error::io(path, source);
    let mut file = File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        hasher.update(bytes);
    }
    let hex: String = hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Ok(format!("sha256:{hex}"))
}
