//! What can go wrong, and whether trying again can help.
//!
//! An [`Error`] says *what* happened; [`Outcome::Failed`](crate::Outcome::Failed) says *where*. `Display` is lower
//! case, has no full stop and does not repeat [`source()`](std::error::Error::source): print the chain with
//! [`Error::report`]. No variant holds a source text, a prompt or an answer; [`Error::Malformed`] holds at most
//! a clearly cut [`Excerpt`], which is empty by default.

use std::{fmt, ops::Deref, path::PathBuf, sync::Arc, time::Duration};

/// A [`std::result::Result`] whose error defaults to the crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Any error that can cross threads: what your own backend or stage may wrap.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Everything that the crate reports as an error.
///
/// Whether a retry can help is written on every variant and decided by [`Error::retry`]. A clone is cheap: it shares
/// the [causes](Cause), so every caller that waits for the same thing can get the same error.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection to a model failed. Transient.
    #[error("the connection to {backend} failed")]
    Transport {
        /// Name of the backend, without credentials.
        backend: String,
        /// The cause.
        source: Cause,
    },
    /// A model asked to be called less often. Transient.
    #[error("{backend} asks for fewer requests{}", after(.retry_after))]
    RateLimited {
        /// Name of the backend, without credentials.
        backend: String,
        /// How long to wait before the next try, where the backend says so.
        retry_after: Option<Duration>,
    },
    /// No answer came within the time that was allowed. Transient.
    #[error("no answer within {limit:?}")]
    TimedOut {
        /// The time that was allowed.
        limit: Duration,
    },
    /// A model answered that it will not serve this request. Permanent.
    #[error("{backend} refused the request: {message}")]
    Refused {
        /// Name of the backend, without credentials.
        backend: String,
        /// HTTP status, where there is one.
        status: Option<u16>,
        /// What the backend said; never the text of the request.
        message: String,
    },
    /// Prompt and answer do not fit into the model's context. Permanent.
    #[error(
        "{model} has a context of {limit} tokens, and this request needs {needed}: {} too many; shorten the text or lower max_tokens",
        .needed.saturating_sub(*.limit)
    )]
    ContextOverflow {
        /// Name of the model.
        model: String,
        /// Tokens of the prompt plus the tokens asked for.
        needed: usize,
        /// Tokens that the context holds.
        limit: usize,
    },
    /// An option has a value that cannot work. Permanent.
    #[error("{field}: {reason}")]
    Config {
        /// The option, as the user wrote it.
        field: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A model file is missing, damaged, or of a kind that this crate does not run. Permanent.
    #[error("model {model}: {reason}")]
    Model {
        /// The file or the name of the model.
        model: String,
        /// What is wrong with it and what to do.
        reason: String,
    },
    /// A model's answer does not have the form that was asked for. Resampled with the next seed.
    #[error("the model's answer is not {expected}{excerpt}")]
    Malformed {
        /// What was expected, such as `"one of A, B, TIE"`.
        expected: String,
        /// A short, clearly cut piece of the answer; empty unless the caller asked for it.
        excerpt: Excerpt,
    },
    /// Everything that could be retried was retried. Never retried again, so two stacked retries cannot multiply.
    #[error("gave up after {attempts} attempts")]
    Exhausted {
        /// How many attempts were made.
        attempts: u32,
        /// The error of the last attempt.
        source: Cause<Error>,
    },
    /// The budget of a run is used up. Permanent: the run ends, and goes on under a larger budget.
    #[error("the budget of {limit} {budget} is used up ({spent} spent); raise it and go on")]
    OverBudget {
        /// What is counted, with its unit.
        budget: &'static str,
        /// How much is spent.
        spent: u64,
        /// How much may be spent.
        limit: u64,
    },
    /// The worker thread of a backend has ended. Permanent.
    #[error("{backend} has stopped: {reason}")]
    Stopped {
        /// Name of the backend.
        backend: String,
        /// Why it stopped.
        reason: String,
    },
    /// A file could not be read or written. Permanent.
    #[error("{}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause<std::io::Error>,
    },
    /// A record of an input file cannot be used. Permanent.
    #[error("{}{}: {reason}", path.display(), at_line(.line))]
    Input {
        /// The file; `-` is standard input.
        path: PathBuf,
        /// Line, counted from 1, where one is known.
        line: Option<u64>,
        /// What is wrong with it and what to do; never the record itself.
        reason: String,
    },
    /// An error of a stage, judge or backend outside of this crate, made by `Error::Other(error.into())`, also of a
    /// text. Permanent.
    #[error(transparent)]
    Other(Cause),
}

/// What may be done about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The same request may succeed later: [`with_retry`](crate::Decorate::with_retry) tries again.
    Transient,
    /// The same request with another seed may succeed: the prompted stage tries again.
    Resample,
    /// Trying again cannot help.
    Never,
}

impl Error {
    /// Says what may be done about the error.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Transport { .. } | Self::RateLimited { .. } | Self::TimedOut { .. } => {
                Retry::Transient
            }
            Self::Malformed { .. } => Retry::Resample,
            Self::Refused { .. }
            | Self::ContextOverflow { .. }
            | Self::Config { .. }
            | Self::Model { .. }
            | Self::Exhausted { .. }
            | Self::OverBudget { .. }
            | Self::Stopped { .. }
            | Self::Io { .. }
            | Self::Input { .. }
            | Self::Other(_) => Retry::Never,
        }
    }

    /// Whether the same request may succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.retry() == Retry::Transient
    }

    /// Whether every other request fails in the same way until somebody changes something: a refused key, no credit, an
    /// address or a model that is not there, an option that cannot work, a backend that has stopped. Such an error ends a
    /// run; it can go on afterwards.
    #[must_use]
    pub fn ends_run(&self) -> bool {
        match self {
            // 429 is refused, not rate-limited, where the account has no credit left.
            Self::Refused { status, .. } => matches!(status, Some(401 | 402 | 404 | 405 | 429)),
            Self::Config { .. } | Self::Model { .. } | Self::Stopped { .. } => true,
            Self::Exhausted { source, .. } => source.ends_run(),
            _ => false,
        }
    }

    /// How long to wait before the next try, where the backend says so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            Self::Transport { source, .. } => {
                source.downcast_ref::<Later>().map(|later| later.after)
            }
            _ => None,
        }
    }

    /// A stable name for the kind of error, for counters and for `failed.jsonl`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Transport { .. } => "transport",
            Self::RateLimited { .. } => "rate_limited",
            Self::TimedOut { .. } => "timed_out",
            Self::Refused { .. } => "refused",
            Self::ContextOverflow { .. } => "context_overflow",
            Self::Config { .. } => "config",
            Self::Model { .. } => "model",
            Self::Malformed { .. } => "malformed",
            Self::Exhausted { .. } => "exhausted",
            Self::OverBudget { .. } => "over_budget",
            Self::Stopped { .. } => "stopped",
            Self::Io { .. } => "io",
            Self::Input { .. } => "input",
            Self::Other(_) => "other",
        }
    }

    /// The error and all its causes on one line, separated by `": "`.
    #[must_use]
    pub fn report(&self) -> String {
        let mut line = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            line.push_str(": ");
            line.push_str(&error.to_string());
            cause = error.source();
        }
        line
    }

    /// Wraps an I/O error with the file that it is about.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source: source.into(),
        }
    }

    /// An option that cannot work.
    pub fn config(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Config {
            field: field.into(),
            reason: reason.into(),
        }
    }

    /// A model file that cannot be used. The reason goes on one line and is cut after 1,000 characters: it may name
    /// parts of the file.
    pub fn model(model: impl Into<String>, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let reason = reason.chars().take(1_000);
        Self::Model {
            model: model.into(),
            reason: reason
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect(),
        }
    }

    /// A record that cannot be used.
    pub fn input(
        path: impl Into<PathBuf>,
        line: impl Into<Option<u64>>,
        reason: impl Into<String>,
    ) -> Self {
        Self::Input {
            path: path.into(),
            line: line.into(),
            reason: reason.into(),
        }
    }

    /// An answer of the wrong form, without an excerpt.
    pub fn malformed(expected: impl Into<String>) -> Self {
        Self::Malformed {
            expected: expected.into(),
            excerpt: Excerpt::none(),
        }
    }
}

impl From<BoxError> for Error {
    fn from(error: BoxError) -> Self {
        Self::Other(error.into())
    }
}

/// The cause of an [`Error`], which its clones share. `.into()` makes it of any error, or of a text that says what
/// happened.
///
/// It gives the error itself: `source.kind()` of a `Cause<std::io::Error>`, or `source.downcast_ref::<E>()` of one
/// whose type is not known.
pub struct Cause<E: ?Sized = dyn std::error::Error + Send + Sync + 'static>(Arc<E>);

impl<E: ?Sized> Clone for Cause<E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<E: ?Sized> Deref for Cause<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.0
    }
}

impl<E: fmt::Debug + ?Sized> fmt::Debug for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: fmt::Display + ?Sized> fmt::Display for Cause<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: std::error::Error> From<E> for Cause<E> {
    fn from(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl<E: Into<BoxError>> From<E> for Cause {
    fn from(error: E) -> Self {
        Self(error.into().into())
    }
}

/// A short, clearly cut piece of a text, for errors. Empty by default: the texts are harmful by nature.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Excerpt(Option<String>);

impl Excerpt {
    /// The most characters that an excerpt shows.
    pub const MAX_CHARS: usize = 24;

    /// No excerpt.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The first [`MAX_CHARS`](Self::MAX_CHARS) characters of `text`, control characters escaped.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let head: String = text
            .chars()
            .take(Self::MAX_CHARS)
            .flat_map(char::escape_default)
            .collect();
        let cut = if text.chars().nth(Self::MAX_CHARS).is_some() {
            "[…]"
        } else {
            ""
        };
        Self(Some(format!("{head}{cut}")))
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(text) => write!(f, ", but begins with \"{text}\""),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Excerpt(…)"
        } else {
            "Excerpt(none)"
        })
    }
}

/// The cause of an [`Error::Transport`] that will be over after a while.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Later {
    pub(crate) message: String,
    pub(crate) after: Duration,
}

fn after(wait: &Option<Duration>) -> String {
    wait.map(|wait| format!("; the next one may come after {wait:?}"))
        .unwrap_or_default()
}

fn at_line(line: &Option<u64>) -> String {
    line.map(|line| format!(":{line}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_file_says_is_short_and_on_one_line() {
        let error = Error::model("m.gguf", "no token a\u{1b}[2J\nb");
        assert_eq!(error.to_string(), "model m.gguf: no token a [2J b");
        let error = Error::model("m.gguf", "x".repeat(2_000));
        assert_eq!(error.to_string().len(), 1_000 + "model m.gguf: ".len());
    }

    #[test]
    fn a_report_names_every_cause_once() {
        let io = std::io::Error::new(std::io::ErrorKind::ConnectionReset, "connection reset");
        let error = Error::Exhausted {
            attempts: 3,
            source: Error::Transport {
                backend: "local".into(),
                source: io.into(),
            }
            .into(),
        };
        assert_eq!(
            error.report(),
            "gave up after 3 attempts: the connection to local failed: connection reset"
        );
        assert_eq!(error.retry(), Retry::Never);
    }

    #[test]
    fn a_clone_has_the_same_causes() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let later = || Later {
            message: "busy".to_owned(),
            after: Duration::from_secs(7),
        };
        let source = Error::Transport {
            backend: "local".into(),
            source: later().into(),
        };
        for error in [
            Error::io("disk", full()),
            source.clone(),
            Error::Exhausted {
                attempts: 3,
                source: source.into(),
            },
            Error::Other(full().into()),
            Error::from(BoxError::from("text")),
        ] {
            let copy = error.clone();
            assert_eq!(copy.report(), error.report());
            assert_eq!(copy.retry(), error.retry());
            assert_eq!(copy.retry_after(), error.retry_after());
            let place = |error: &Error| {
                let cause = std::error::Error::source(error)?;
                Some(std::ptr::from_ref(cause).cast::<()>())
            };
            assert_eq!(place(&copy), place(&error), "nothing is copied");
        }
        let error = Error::Transport {
            backend: "local".into(),
            source: later().into(),
        };
        assert_eq!(error.clone().retry_after(), Some(Duration::from_secs(7)));
        let error = Error::io("disk", full());
        let cause = std::error::Error::source(&error).unwrap();
        let io = cause.downcast_ref::<std::io::Error>().unwrap();
        assert_eq!(io.kind(), std::io::ErrorKind::StorageFull);
    }

    #[test]
    fn an_overflow_says_by_how_much() {
        let error = Error::ContextOverflow {
            model: "m".into(),
            needed: 9000,
            limit: 8192,
        };
        assert!(error.to_string().contains(": 808 too many"), "{error}");
    }

    #[test]
    fn an_excerpt_is_short_cut_and_escaped() {
        let shown = Excerpt::of(&"a\n".repeat(40)).to_string();
        assert!(shown.ends_with("[…]\""), "{shown}");
        assert!(!shown.contains('\n'));
        assert_eq!(format!("{:?}", Excerpt::of("secret")), "Excerpt(…)");
    }
}
