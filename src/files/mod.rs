//! Durable files: one policy for the whole crate, and for programs and stores that are built on it.
//!
//! | task | here | policy |
//! |---|---|---|
//! | write a file as a whole | [`replace`], [`Partial`] | a temporary file in the same folder, synced, renamed; then the folder is synced |
//! | keep other processes out | [`Lock`] | an error at once that says which file and what to do; no error where the file system has no locks |
//! | remove a file | [`remove`] | one that is not there is no error |
//!
//! The crate itself also renames files durably, syncs folders, hashes what it reads and writes, and shows bytes as
//! digits here. Each durable step reports itself as a `tracing` event before it happens, so that a test can kill the
//! process there.

// Each feature uses some of it.
#![cfg_attr(not(feature = "full"), allow(dead_code, unused_imports))]

mod folder;
mod hash;
mod lock;
mod path;
mod replace;

pub(crate) use folder::sync_folder;
pub(crate) use hash::{Hashing, hex, sha256, sha256_file};
pub use lock::Lock;
pub(crate) use path::beside;
pub use path::remove;
pub use replace::{Partial, replace};
pub(crate) use replace::{remove_partial, rename};
