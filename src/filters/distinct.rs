//! The filter on duplicates.

use std::collections::HashSet;

use sha2::{Digest, Sha256};

use crate::{outcome::Decision, record::Subject, stage::OrderedFilter, text::normal_form};

/// Drops texts that have come before. Reason: `duplicate`.
///
/// Texts are equal if they differ only in width and compatibility forms (NFKC), case or white space. The filter keeps
/// 16 bytes for each text: the start of the SHA-256 of its normal form.
///
/// ```
/// use safer_instruct::{OrderedFilter, SourceText, filters::Distinct};
///
/// let mut filter = Distinct::new();
/// assert!(filter.assess_next(&SourceText::new("a", "Straße 12")).is_keep());
/// assert!(!filter.assess_next(&SourceText::new("b", "STRASSE　１２\n")).is_keep());
/// assert!(filter.assess_next(&SourceText::new("c", "Straße 13")).is_keep());
/// assert_eq!(filter.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Distinct {
    seen: HashSet<u128>,
}

impl Distinct {
    /// Makes a filter that has seen no text yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of different texts that it has seen.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether it has seen no text yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }
}

impl<T: Subject + ?Sized> OrderedFilter<T> for Distinct {
    fn assess_next(&mut self, item: &T) -> Decision {
        let digest = Sha256::digest(normal_form(item.subject()));
        let head = digest.iter().take(16);
        let key = head.fold(0, |key, byte| (key << 8) | u128::from(*byte));
        if self.seen.insert(key) {
            Decision::Keep
        } else {
            Decision::drop("duplicate")
        }
    }
}
