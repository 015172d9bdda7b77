//! Durable files: one policy for the whole crate.
//!
//! | task | here | policy |
//! |---|---|---|
//! | write a file as a whole | [`replace`], [`Partial`] | a temporary file in the same folder, synced, renamed; then its folder is synced |
//! | give a file its final name | [`rename`] | renamed; then its folder is synced |
//! | keep other processes out | [`Lock`] | an error at once that says which file and what to do; no error where the file system has no locks |
//! | make names last | [`sync_folder`] | an error, except where a folder cannot be opened or synced at all |
//! | name contents by a hash | [`sha256`], [`Hashing`] | SHA-256, hashed while it is read or written |
//! | show bytes | [`hex`] | lower case digits |
//!
//! Each step reports itself as a `tracing` event before it happens, so that a test can kill the process there.
// Each feature uses some of it.
#![cfg_attr(not(feature = "full"), allow(dead_code, unused_imports))]

mod folder;
mod hash;
mod lock;
mod path;
mod replace;

pub(crate) use folder::sync_folder;
pub(crate) use hash::{Hashing, hex, sha256, sha256_file};
pub(crate) use lock::Lock;
pub(crate) use path::{beside, remove};
pub(crate) use replace::{Partial, remove_partial, rename, replace};
