//! Source texts, instructions and responses.

use std::{fmt, sync::Arc};

use super::{Lineage, Origin};

/// Shows how long a text is, never the text.
pub(crate) struct Redacted<'a>(pub(crate) &'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} bytes>", self.0.len())
    }
}

/// A text that a run starts from. It usually becomes the `rejected` side of a pair.
///
/// ```
/// use safer_instruct::SourceText;
///
/// let source = SourceText::new("post-17", "You will never be any good at this.")
///     .with_category("harassment@1:insult");
/// assert_eq!(source.id(), "post-17");
/// assert!(!format!("{source:?}").contains("never"), "Debug hides the text");
/// ```
#[derive(Clone, PartialEq)]
pub struct SourceText {
    text: String,
    category: Option<Arc<str>>,
    lineage: Lineage,
}

impl SourceText {
    /// Makes a source text with an id that is unique within the run.
    ///
    /// A [`Reader`](crate::dataset::Reader) reports an id that comes again; nothing else does. Texts with equal ids
    /// share all random choices.
    pub fn new(id: impl Into<Arc<str>>, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            category: None,
            lineage: Lineage::new(id, 0, 0),
        }
    }

    /// Sets the kind of harm, as `taxonomy@version:code`. By default there is none.
    #[must_use]
    pub fn with_category(mut self, category: impl Into<Arc<str>>) -> Self {
        self.category = Some(category.into());
        self
    }

    /// Sets the lineage: id, draw and run seed. The pipeline does it for every text that it reads. By default draw and
    /// seed are 0.
    #[must_use]
    pub fn with_lineage(mut self, lineage: Lineage) -> Self {
        self.lineage = lineage;
        self
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.lineage.source_id()
    }

    /// The text itself.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The kind of harm.
    #[must_use]
    pub fn category(&self) -> Option<&str> {
        self.category.as_deref()
    }

    /// The lineage: id, draw and run seed.
    #[must_use]
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// Takes out the text, the category and the lineage.
    #[must_use]
    pub fn into_parts(self) -> (String, Option<Arc<str>>, Lineage) {
        (self.text, self.category, self.lineage)
    }
}

impl fmt::Debug for SourceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceText")
            .field("text", &Redacted(&self.text))
            .field("category", &self.category)
            .field("lineage", &self.lineage)
            .finish()
    }
}

/// Declares a text that a stage makes: the text, its lineage and its origin.
macro_rules! made_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Default)]
        pub struct $name {
            text: String,
            lineage: Lineage,
            origin: Option<Box<Origin>>,
        }

        impl $name {
            /// Makes it from a text. The pipeline adds the lineage.
            pub fn new(text: impl Into<String>) -> Self {
                Self { text: text.into(), lineage: Lineage::default(), origin: None }
            }

            /// Sets how the text was made. By default nothing is known of it.
            #[must_use]
            pub fn with_origin(mut self, origin: Origin) -> Self {
                self.origin = Some(Box::new(origin));
                self
            }

            /// Sets the lineage. The pipeline does it for the result of every stage. By default it names no source
            /// text.
            #[must_use]
            pub fn with_lineage(mut self, lineage: Lineage) -> Self {
                self.lineage = lineage;
                self
            }

            /// The text itself.
            #[must_use]
            pub fn text(&self) -> &str {
                &self.text
            }

            /// The lineage: the source text that it belongs to, draw and run seed.
            #[must_use]
            pub fn lineage(&self) -> &Lineage {
                &self.lineage
            }

            /// The origin: how the text was made.
            #[must_use]
            pub fn origin(&self) -> Option<&Origin> {
                self.origin.as_deref()
            }

            /// Takes out the text and the origin.
            #[must_use]
            pub fn into_parts(self) -> (String, Option<Origin>) {
                (self.text, self.origin.map(|origin| *origin))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("text", &Redacted(&self.text))
                    .field("lineage", &self.lineage)
                    .field("origin", &self.origin)
                    .finish()
            }
        }
    };
}

made_text! {
    /// An instruction that a source text could be an answer to: the `prompt` of a pair.
    Instruction
}

made_text! {
    /// A response to an instruction: the expert's, the counterpart's, or the source text itself.
    Response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_a_text() {
        let shown = format!(
            "{:?} {:?} {:?}",
            SourceText::new("a", "hidden-1"),
            Instruction::new("hidden-2"),
            Response::new("hidden-3")
        );
        assert!(!shown.contains("hidden"), "{shown}");
        assert!(shown.contains("<8 bytes>"), "{shown}");
    }
}
