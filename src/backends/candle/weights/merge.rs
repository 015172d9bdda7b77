//! A LoRA adapter and its base as one model file.

use std::{
    fmt,
    io::{self, Write},
    path::{Path, PathBuf},
};

use rayon::prelude::*;

use super::{
    adapter::Adapter,
    matrix::{Matrix, Part},
};
use crate::{
    backends::candle::{
        gguf::{Encoding, Gguf, Planned, rows, write_header},
        graph::config::Config,
        threads::thread_pool,
    },
    error::{Error, Result},
    files::Partial,
};

/// Values that are held in memory at a time, unless a row has more: a strip of rows.
const STRIP: usize = 1 << 21;

/// The numbers that the matrices of a written model are stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelForm {
    /// 16-bit floating point, 2 bytes a weight. The default.
    #[default]
    F16,
    /// 8-bit integers with a 16-bit scale for each 32 of them, 1.06 bytes a weight; as `quantize_row_q8_0_ref` of ggml
    /// (`ggml-org/ggml`, `src/ggml-quants.c`) makes them. A matrix whose rows are no multiple of 32 values is stored in
    /// F16.
    Q8_0,
}

/// Adds a LoRA adapter to the weights of its base and writes them as a GGUF file, which llama.cpp and all that builds
/// on it can run.
///
/// ```no_run
/// use safer_instruct::backends::candle::{Merge, ModelForm};
///
/// # fn main() -> safer_instruct::Result<()> {
/// Merge::new("SmolLM2-135M-Instruct.Q4_1.gguf", "adapter")
///     .with_form(ModelForm::Q8_0)
///     .write("merged.gguf")?;
/// # Ok(())
/// # }
/// ```
///
/// The weights become what [`with_adapter`](crate::backends::candle::CandleModelBuilder::with_adapter) makes of them,
/// `W + (lora_alpha / r) B A` (arXiv 2106.09685), and are then rounded to the [`ModelForm`]. All matrices of the file
/// get that form, changed or not; vectors, such as the gains of norms, stay in F32. The metadata are those of the base,
/// byte by byte: only `general.file_type` says the new form, and `general.quantization_version` is added to a Q8_0 file
/// that lacks it, as the format asks for (`ggml-org/ggml`, `docs/gguf.md`).
///
/// The same files give the same bytes, with any number of threads. What the base lost when it was quantised, to Q4_1
/// for instance, does not come back: take a base in F16, BF16 or F32 if there is one.
pub struct Merge {
    base: PathBuf,
    adapter: PathBuf,
    form: ModelForm,
    overwrite: bool,
    threads: Option<usize>,
    progress: Box<dyn FnMut(usize, usize)>,
}

impl Merge {
    /// Merges into the GGUF file `base` the folder `adapter`, with `adapter_config.json` and
    /// `adapter_model.safetensors` as PEFT saves them.
    pub fn new(base: impl AsRef<Path>, adapter: impl AsRef<Path>) -> Self {
        Self {
            base: base.as_ref().to_owned(),
            adapter: adapter.as_ref().to_owned(),
            form: ModelForm::default(),
            overwrite: false,
            threads: None,
            progress: Box::new(|_, _| {}),
        }
    }

    /// Sets the form of the matrices. By default [`ModelForm::F16`].
    #[must_use]
    pub fn with_form(mut self, form: ModelForm) -> Self {
        self.form = form;
        self
    }

    /// Sets whether a file of the same name is replaced. By default it is left alone, and [`write`](Self::write) fails.
    #[must_use]
    pub fn with_overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Sets how many threads work, at least 1. By default one for each core, or as many as the environment variable
    /// `RAYON_NUM_THREADS` says. The file does not depend on it.
    #[must_use]
    pub fn with_threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Sets a callback that receives how many tensors are written, and how many there are. By default there is none.
    #[must_use]
    pub fn with_progress(mut self, progress: impl FnMut(usize, usize) + 'static) -> Self {
        self.progress = Box::new(progress);
        self
    }

    /// Writes the file. Blocks meanwhile.
    ///
    /// A temporary file in the same folder gets the name `to` when all of it is on the disk, so `to` is whole or not
    /// there. Memory holds the adapter and a strip of rows, whatever the size of the model. The base is mapped; it must
    /// not be written to or truncated meanwhile.
    ///
    /// # Errors
    /// [`Error::Config`] if `to` is there and may not be replaced; [`Error::Io`] if a file cannot be read or written,
    /// for instance because the disk is full; [`Error::Model`] if a file is damaged or of a kind that is not supported,
    /// if the adapter does not fit the base, or if a weight is not a number or, beyond 65,504, too large for F16.
    pub fn write(mut self, to: impl AsRef<Path>) -> Result<()> {
        let to = to.as_ref();
        self.check_target(to)?;
        let mut file = Partial::create(to)?;
        self.write_into(&mut file, to)?;
        if self.overwrite {
            return file.commit();
        }
        match file.commit_new() {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Err(is_there(to))
            }
            done => done,
        }
    }

    /// Checks first what would otherwise fail after all the work.
    fn check_target(&self, to: &Path) -> Result<()> {
        match to.symlink_metadata() {
            Ok(_) if !self.overwrite => Err(is_there(to)),
            Ok(there) if !there.is_file() => Err(Error::config(
                "output",
                format!("{} is not a file; choose another name", to.display()),
            )),
            _ => Ok(()),
        }
    }

    /// Writes all of the file; `to` is for messages.
    pub(crate) fn write_into(&mut self, out: &mut impl Write, to: &Path) -> Result<()> {
        let gguf = Gguf::open(&self.base)?;
        let adapter = Adapter::read(&self.adapter, &gguf, &Config::read(&gguf)?)?;
        check_base(&gguf, &adapter)?;
        let threads = thread_pool(gguf.name(), self.threads)?;
        let mut put = |bytes: &[u8]| out.write_all(bytes).map_err(|error| Error::io(to, error));

        let tensors: Vec<_> = gguf
            .tensors()
            .into_iter()
            .map(|(name, shape)| Planned {
                name,
                shape,
                encoding: self.form.encoding(shape),
            })
            .collect();
        put(&write_header(&gguf, self.form.file_type(), &tensors))?;
        for (written, tensor) in tensors.iter().enumerate() {
            (self.progress)(written, tensors.len());
            let (rows, width) = (tensor.rows(), tensor.width());
            let weights = tensor.name.strip_suffix(".weight");
            let part = Part {
                rows: gguf.rows(tensor.name, tensor.shape)?,
                outputs: rows,
                update: weights.and_then(|name| adapter.update(name)),
            };
            let matrix = Matrix::new(vec![part], width);
            let strip = (STRIP / width).max(1);
            for first in (0..rows).step_by(strip) {
                let count = strip.min(rows - first);
                let bytes = threads.install(|| encoded(&matrix, first, count, tensor.encoding));
                put(&bytes.ok_or_else(|| does_not_hold(&gguf, tensor))?)?;
            }
            let bytes = tensor.bytes();
            put(&vec![0; bytes.next_multiple_of(gguf.alignment()) - bytes])?;
        }
        (self.progress)(tensors.len(), tensors.len());
        Ok(())
    }
}

impl ModelForm {
    /// The form of a tensor of this shape. What has one row is a vector, as in ggml.
    fn encoding(self, shape: &[usize]) -> Encoding {
        let width = shape.last().copied().unwrap_or_default();
        match self {
            _ if rows(shape) == 1 => Encoding::F32,
            Self::Q8_0 if width.is_multiple_of(Encoding::Q8_0.block_len()) => Encoding::Q8_0,
            Self::Q8_0 | Self::F16 => Encoding::F16,
        }
    }

    /// What `general.file_type` says: `LLAMA_FTYPE_MOSTLY_*` (`ggml-org/llama.cpp`, `include/llama.h`).
    fn file_type(self) -> u32 {
        match self {
            Self::F16 => 1,
            Self::Q8_0 => 7,
        }
    }
}

/// Rows of a matrix in another form; `None` if it cannot hold one of the values.
fn encoded(matrix: &Matrix<'_>, first: usize, count: usize, to: Encoding) -> Option<Vec<u8>> {
    let width = matrix.width();
    let row_bytes = to.bytes(width);
    let mut bytes = vec![0; count * row_bytes];
    let fine = bytes
        .par_chunks_mut(row_bytes)
        .enumerate()
        .map_init(
            || vec![0.0; width],
            |values, (row, bytes)| {
                matrix.read_part(first + row, 0, values);
                to.encode(values, bytes)
            },
        )
        .all(|fine| fine);
    fine.then_some(bytes)
}

/// Whether the base is one whole file that has all that the adapter changes.
fn check_base(gguf: &Gguf, adapter: &Adapter) -> Result<()> {
    let parts = gguf.integer("split.count")?.unwrap_or(1);
    if parts > 1 {
        return Err(gguf.error(format!(
            "is one of {parts} parts of a model; join them with llama-gguf-split --merge"
        )));
    }
    for (name, update) in adapter.updates() {
        gguf.rows(&format!("{name}.weight"), &update.shape())?;
    }
    Ok(())
}

fn does_not_hold(gguf: &Gguf, tensor: &Planned<'_>) -> Error {
    gguf.error(format!(
        "the tensor {} has, with the adapter added, a value that is not a number or too large for {}",
        tensor.name,
        tensor.encoding.name()
    ))
}

fn is_there(to: &Path) -> Error {
    let reason = format!(
        "{} is already there; choose another name or overwrite it",
        to.display()
    );
    Error::config("output", reason)
}

impl fmt::Debug for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merge")
            .field("base", &self.base)
            .field("adapter", &self.adapter)
            .field("form", &self.form)
            .field("overwrite", &self.overwrite)
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}
