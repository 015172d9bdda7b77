//! The bytes of a file, mapped into memory: read from the disk when they are looked at, and never copied.
//!
//! One of three places with unsafe code (docs/decisions/0008). What its SAFETY comment asks for depends on other
//! processes too, as it does for llama.cpp and every other loader of mapped weights; and only while a model is loaded:
//!
//! - If another process *writes* to the file meanwhile, weights change while they are read. Each length is checked
//!   against the map every time it is read, so that this gives other numbers or an error, never a read outside the map.
//! - If another process *truncates* the file meanwhile, a read of a missing page kills this process with SIGBUS. On
//!   Windows the system refuses to truncate a mapped file.
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
        // SAFETY: the map is private and only read. That no other process changes the file while the model is loaded is
        // the caller's responsibility, as the module and the builder's documentation say.
        unsafe { Mmap::map(file) }.map(Self)
    }

    /// All bytes.
    pub(in super::super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}
