//! The bytes of a file, mapped into memory: read from the disk when they are looked at, and never copied.
//!
//! One of the few places with unsafe code (docs/decisions/0007). Nobody can promise what its SAFETY comment asks for; it is the
//! same bargain that llama.cpp, safetensors and every other loader of mapped weights strike, and it ends when loading ends:
//!
//! - A process that *writes* to the file meanwhile changes weights under our hands. Lengths and offsets are copied out of the
//!   header before they are used, so that this gives other numbers, never a read outside the map.
//! - A process that *truncates* the file meanwhile takes pages away, and a look at one of them ends this process with SIGBUS.
//!   On Windows the system refuses to truncate a mapped file.
//!
//! [`hub`](crate::hub) therefore renames a finished file into its place and never writes to one that is there.
#![allow(unsafe_code)]

use std::{fs::File, io};

use memmap2::Mmap;

/// A mapped file.
pub(in super::super) struct Map(Mmap);

impl Map {
    /// Maps a whole file.
    pub(in super::super) fn new(file: &File) -> io::Result<Self> {
        // SAFETY: the map is private and only read. That no other process changes the file while the model is loaded is the
        // caller's to see to, as the module says and the builder's documentation repeats.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// All bytes.
    pub(in super::super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
