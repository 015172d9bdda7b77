//! The header of a GGUF file: counts, metadata and the list of tensors
//! (`ggml-org/ggml`, `docs/gguf.md`).
//!
//! Nothing in it can be trusted. Bytes are taken through a [`Cursor`] that ends where the file does, nothing is
//! allocated by a count that the file gives, and texts and lists stay where they are in the file. So reading takes
//! memory and time in proportion to the header, whatever it says.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Range,
};

use super::types::TensorType;

/// Dimensions that a tensor has at most (`GGML_MAX_DIMS`).
const MAX_DIMS: u32 = 4;
/// Bytes of a name at most: names come up in messages. The longest that is in use has less than a hundred.
const MAX_NAME: usize = 255;
/// `general.alignment` where it is not set.
const ALIGNMENT: usize = 32;

/// Why a header cannot be read.
type Result<T> = std::result::Result<T, String>;

/// What a header says.
pub(super) struct Header {
    /// The type and the bytes of each value, whose lengths are sound.
    metadata: BTreeMap<String, (u32, Range<usize>)>,
    pub(super) alignment: usize,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
}

/// Where a tensor lies and what it is.
pub(super) struct TensorInfo {
    pub(super) kind: TensorType,
    /// As in the rest of the crate, the dimension whose values are neighbours is the last one; in GGUF it is the first.
    pub(super) shape: Vec<usize>,
    pub(super) bytes: Range<usize>,
}

impl Header {
    /// Reads the header of a whole file, which begins with the magic number.
    pub(super) fn read(file: &[u8]) -> Result<Self> {
        let mut cursor = Cursor { file, at: 4 };
        let version = cursor.u32("version")?;
        match version {
            2 | 3 => {}
            _ if matches!(version.swap_bytes(), 1..=3) => {
                return Err("is big-endian; little-endian files are supported".to_owned());
            }
            _ => {
                return Err(format!(
                    "is of GGUF version {version}; 2 and 3 are supported"
                ));
            }
        }
        let tensors = cursor.u64("number of tensors")?;
        let entries = cursor.u64("number of metadata")?;

        let mut metadata = BTreeMap::new();
        for number in 0..entries {
            let key = cursor.name(&format!("metadata key {number}"))?;
            let kind = cursor.u32(&key)?;
            let start = cursor.at;
            Value::read(&mut cursor, kind, &key)?;
            insert(&mut metadata, key, (kind, start..cursor.at))?;
        }
        let mut header = Self {
            metadata,
            alignment: ALIGNMENT,
            tensors: BTreeMap::new(),
        };
        header.alignment = header.read_alignment(file)?;

        let mut infos = BTreeMap::new();
        for number in 0..tensors {
            let name = cursor.name(&format!("name of tensor {number}"))?;
            let info = Info::read(&mut cursor, &name)?;
            insert(&mut infos, name, info)?;
        }
        let data = cursor.at.next_multiple_of(header.alignment);
        for (name, info) in infos {
            let placed = info.place(data, header.alignment, file.len());
            let placed = placed.map_err(|reason| format!("the tensor {name} {reason}"))?;
            header.tensors.insert(name, placed);
        }
        header.check_overlap()?;
        Ok(header)
    }

    /// A metadata value. `file` is the one that was read.
    pub(super) fn value<'a>(&self, file: &'a [u8], key: &str) -> Option<Value<'a>> {
        let (kind, range) = self.metadata.get(key)?;
        let at = range.start;
        Value::read(&mut Cursor { file, at }, *kind, key).ok()
    }

    /// Each metadata key with the place of its whole entry, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&str, Range<usize>)> {
        let entries = self.metadata.iter().map(|(key, (_, value))| {
            // In front of a value stand the length of the key, the key and the type.
            let start = value.start - (8 + key.len() + 4);
            (key.as_str(), start..value.end)
        });
        let mut entries: Vec<_> = entries.collect();
        entries.sort_unstable_by_key(|(_, range)| range.start);
        entries
    }

    fn read_alignment(&self, file: &[u8]) -> Result<usize> {
        let key = "general.alignment";
        match self.value(file, key) {
            None => Ok(ALIGNMENT),
            Some(value) => value
                .as_u64()
                .and_then(|alignment| u16::try_from(alignment).ok())
                .filter(|alignment| alignment.is_power_of_two())
                .map(usize::from)
                .ok_or_else(|| format!("{key} is no power of two below 2^16")),
        }
    }

    fn check_overlap(&self) -> Result<()> {
        let mut places: Vec<_> = self
            .tensors
            .iter()
            .map(|(name, info)| (info.bytes.start, info.bytes.end, name))
            .collect();
        places.sort_unstable();
        for pair in places.windows(2) {
            if let [(_, end, one), (start, _, other)] = pair
                && start < end
            {
                return Err(format!("the tensors {one} and {other} overlap"));
            }
        }
        Ok(())
    }
}

fn insert<T>(map: &mut BTreeMap<String, T>, name: String, value: T) -> Result<()> {
    match map.entry(name) {
        Entry::Occupied(entry) => Err(format!("{} is there twice", entry.key())),
        Entry::Vacant(entry) => {
            entry.insert(value);
            Ok(())
        }
    }
}

/// What the header says about a tensor, as it stands there.
struct Info {
    /// The first dimension is the one whose values are neighbours.
    dims: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Info {
    fn read(cursor: &mut Cursor<'_>, name: &str) -> Result<Self> {
        let count = cursor.u32(name)?;
        if count == 0 || count > MAX_DIMS {
            return Err(format!(
                "the tensor {name} has {count} dimensions; 1 to {MAX_DIMS} can be"
            ));
        }
        Ok(Self {
            dims: (0..count)
                .map(|_| cursor.u64(name))
                .collect::<Result<_>>()?,
            kind: cursor.u32(name)?,
            offset: cursor.u64(name)?,
        })
    }

    /// Checks it against the file.
    fn place(self, data: usize, alignment: usize, file_len: usize) -> Result<TensorInfo> {
        let kind = TensorType::from_number(self.kind)?;
        let mut shape = self
            .dims
            .iter()
            .map(|dim| usize::try_from(*dim).ok().filter(|dim| *dim > 0))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("has the shape {:?}, which cannot be", self.dims))?;
        let width = shape.first().copied().unwrap_or_default();
        let block = kind.block_len();
        if !width.is_multiple_of(block) {
            return Err(format!(
                "has rows of {width} values, but {} comes in blocks of {block}",
                kind.name()
            ));
        }
        let size = shape
            .iter()
            .try_fold(1usize, |product, dim| product.checked_mul(*dim))
            .and_then(|count| (count / block).checked_mul(kind.block_bytes()))
            .ok_or_else(|| format!("has the shape {:?}, which cannot be", self.dims))?;
        let offset = usize::try_from(self.offset)
            .ok()
            .filter(|offset| offset.is_multiple_of(alignment))
            .ok_or_else(|| {
                format!(
                    "begins at {}, which is not aligned to {alignment} bytes",
                    self.offset
                )
            })?;
        let start = data.checked_add(offset);
        match start.and_then(|start| Some(start..start.checked_add(size)?)) {
            Some(bytes) if bytes.end <= file_len => {
                shape.reverse();
                Ok(TensorInfo { kind, shape, bytes })
            }
            _ => Err(format!(
                "has {size} bytes from {offset} after the header, but the file ends after {}: it is cut off; fetch it again",
                file_len.saturating_sub(data)
            )),
        }
    }
}

/// A metadata value. Texts and lists are those of the file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) enum Value<'a> {
    /// An integer without sign, of any width.
    Unsigned(u64),
    /// An integer with sign, of any width.
    Signed(i64),
    /// A floating-point number of either width.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A text, which need not be UTF-8.
    Text(&'a [u8]),
    /// Values of one type.
    List(List<'a>),
}

impl<'a> Value<'a> {
    /// An integer that is not negative; a flag counts as 0 or 1.
    pub(in super::super) fn as_u64(self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            Self::Flag(value) => Some(u64::from(value)),
            _ => None,
        }
    }

    /// A floating-point number.
    pub(in super::super) fn as_f64(self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    /// A text in UTF-8.
    pub(in super::super) fn as_str(self) -> Option<&'a str> {
        match self {
            Self::Text(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// Reads a value of the type of this number; `what` is for messages.
    fn read(cursor: &mut Cursor<'a>, kind: u32, what: &str) -> Result<Self> {
        if kind == LIST {
            let kind = cursor.u32(what)?;
            if kind == LIST {
                return Err(format!("{what} is a list of lists, which is not supported"));
            }
            let count = cursor.u64(what)?;
            let start = cursor.at;
            match fixed_width(kind) {
                Some(width) => {
                    let bytes = usize::try_from(count)
                        .ok()
                        .and_then(|count| count.checked_mul(width));
                    cursor.take(bytes.unwrap_or(usize::MAX), what)?;
                }
                None if kind == TEXT => {
                    for _ in 0..count {
                        cursor.text(what)?;
                    }
                }
                None => return Err(unknown(kind, what)),
            }
            let bytes = cursor.file.get(start..cursor.at).unwrap_or_default();
            return Ok(Self::List(List { kind, bytes }));
        }
        Ok(match kind {
            0 => Self::Unsigned(u64::from(u8::from_le_bytes(cursor.array(what)?))),
            1 => Self::Signed(i64::from(i8::from_le_bytes(cursor.array(what)?))),
            2 => Self::Unsigned(u64::from(u16::from_le_bytes(cursor.array(what)?))),
            3 => Self::Signed(i64::from(i16::from_le_bytes(cursor.array(what)?))),
            4 => Self::Unsigned(u64::from(cursor.u32(what)?)),
            5 => Self::Signed(i64::from(i32::from_le_bytes(cursor.array(what)?))),
            6 => Self::Float(f64::from(f32::from_le_bytes(cursor.array(what)?))),
            7 => Self::Flag(u8::from_le_bytes(cursor.array(what)?) != 0),
            TEXT => Self::Text(cursor.text(what)?),
            10 => Self::Unsigned(cursor.u64(what)?),
            11 => Self::Signed(i64::from_le_bytes(cursor.array(what)?)),
            12 => Self::Float(f64::from_le_bytes(cursor.array(what)?)),
            _ => return Err(unknown(kind, what)),
        })
    }
}

const TEXT: u32 = 8;
const LIST: u32 = 9;

fn unknown(kind: u32, what: &str) -> String {
    format!("{what} is of a type {kind}, which does not exist")
}

/// Bytes of a value of this type, if all have as many.
fn fixed_width(kind: u32) -> Option<usize> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

/// Values of one type, one after the other, whose lengths are sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in super::super) struct List<'a> {
    kind: u32,
    bytes: &'a [u8],
}

impl<'a> List<'a> {
    /// Goes through the values.
    pub(in super::super) fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut cursor = Cursor {
            file: self.bytes,
            at: 0,
        };
        std::iter::from_fn(move || {
            (cursor.at < cursor.file.len())
                .then(|| Value::read(&mut cursor, self.kind, "").ok())
                .flatten()
        })
    }
}

/// A place in a file.
struct Cursor<'a> {
    file: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        match end.and_then(|end| Some((end, self.file.get(self.at..end)?))) {
            Some((end, bytes)) => {
                self.at = end;
                Ok(bytes)
            }
            None => Err(format!(
                "is damaged or cut off within its {what}; fetch it again"
            )),
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let bytes = self.take(N, what)?;
        bytes.try_into().map_err(|_| what.to_owned())
    }

    fn u32(&mut self, what: &str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn text(&mut self, what: &str) -> Result<&'a [u8]> {
        let len = self.u64(what)?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX), what)
    }

    /// A key or the name of a tensor.
    fn name(&mut self, what: &str) -> Result<String> {
        let bytes = self.text(what)?;
        match std::str::from_utf8(bytes) {
            Ok("") => Err(format!("the {what} is empty")),
            Ok(name) if name.len() > MAX_NAME => {
                Err(format!("the {what} has {} bytes", name.len()))
            }
            Ok(name) if name.contains(char::is_control) => {
                Err(format!("the {what} has control characters"))
            }
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(format!("the {what} is not UTF-8")),
        }
    }
}
