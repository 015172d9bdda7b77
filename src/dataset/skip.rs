//! Skips bad records, and reports each.

use std::fmt;

use crate::error::{Error, Result};

/// The items of a reader without its bad records; made by [`Reader::skip_bad`](super::Reader::skip_bad) or
/// [`InstructionReader::skip_bad`](super::InstructionReader::skip_bad).
///
/// [`Error::Input`] goes to the callback, every other error comes out.
pub struct SkipBad<I, F> {
    items: I,
    on_bad: F,
}

impl<I, F> SkipBad<I, F> {
    pub(super) fn new(items: I, on_bad: F) -> Self {
        Self { items, on_bad }
    }

    /// The reader inside.
    #[must_use]
    pub fn get_ref(&self) -> &I {
        &self.items
    }
}

impl<I, T, F> Iterator for SkipBad<I, F>
where
    I: Iterator<Item = Result<T>>,
    F: FnMut(&Error),
{
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.items.next()? {
                Err(error @ Error::Input { .. }) => (self.on_bad)(&error),
                item => return Some(item),
            }
        }
    }
}

impl<I: fmt::Debug, F> fmt::Debug for SkipBad<I, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SkipBad").field(&self.items).finish()
    }
}
