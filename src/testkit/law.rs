//! What a law is, what checking it gives, and how the kit asks a stage.

use std::{fmt, panic::AssertUnwindSafe};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};

use crate::error::Result;

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{law}: {detail}")]
#[non_exhaustive]
pub struct Violation {
    /// The law.
    pub law: &'static str,
    /// In which case, and how. It holds case names and numbers, never an answer's text.
    pub detail: String,
}

/// A law that held, and in how many cases it was put to the test.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// The law.
    pub law: &'static str,
    /// Cases that were checked; at least 1.
    pub cases: usize,
    /// Cases that could not be checked, each with its reason.
    pub skipped: Vec<String>,
}

/// What checking a law gives.
pub type Verified = Result<Checked, Violation>;

/// A law on subjects of the kind `S`, such as `dyn PreferenceJudge`.
pub struct Law<S: ?Sized + 'static> {
    name: &'static str,
    check: for<'a> fn(&'a S) -> BoxFuture<'a, Verified>,
}

impl<S: ?Sized> Law<S> {
    pub(super) const fn new(
        name: &'static str,
        check: for<'a> fn(&'a S) -> BoxFuture<'a, Verified>,
    ) -> Self {
        Self { name, check }
    }

    /// The name of the law's function.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Checks the law.
    ///
    /// # Errors
    /// Fails in the first case that breaks the law, or if no case could be checked.
    pub async fn check(&self, subject: &S) -> Verified {
        (self.check)(subject).await
    }
}

impl<S: ?Sized> fmt::Debug for Law<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Law").field(&self.name).finish()
    }
}

/// Collects the cases of one law.
pub(super) struct Cases(Checked);

impl Cases {
    pub(super) fn of(law: &'static str) -> Self {
        Self(Checked {
            law,
            cases: 0,
            skipped: Vec::new(),
        })
    }

    /// Counts a case in which `holds` must be true.
    pub(super) fn expect(
        &mut self,
        holds: bool,
        detail: impl FnOnce() -> String,
    ) -> Result<(), Violation> {
        self.0.cases += 1;
        if holds {
            Ok(())
        } else {
            Err(self.broken(detail()))
        }
    }

    /// Counts a case that cannot be checked.
    pub(super) fn skip(&mut self, reason: impl Into<String>) {
        self.0.skipped.push(reason.into());
    }

    pub(super) fn broken(&self, detail: impl Into<String>) -> Violation {
        Violation {
            law: self.0.law,
            detail: detail.into(),
        }
    }

    /// The answer, or `None` with a visible skip if there was an error or a panic.
    pub(super) fn answer<T>(&mut self, case: &str, asked: Asked<T>) -> Option<T> {
        match asked {
            Asked::Answered(answer) => return Some(answer),
            Asked::Failed(report) => self.skip(format!("{case}: {report}")),
            Asked::Panicked => self.skip(format!("{case}: panicked")),
        }
        None
    }

    /// Ends the law. One that was checked in no case at all is broken: it would prove nothing.
    pub(super) fn done(self) -> Verified {
        if self.0.cases > 0 {
            return Ok(self.0);
        }
        let first = self.0.skipped.first().map_or("no cases", String::as_str);
        Err(self.broken(format!("nothing could be checked ({first})")))
    }
}

/// What came of one question to a stage.
#[derive(Debug, PartialEq)]
pub(super) enum Asked<T> {
    Answered(T),
    /// The error with its causes.
    Failed(String),
    Panicked,
}

/// Asks, and catches a panic.
pub(super) async fn ask<T>(call: impl Future<Output = Result<T>>) -> Asked<T> {
    match AssertUnwindSafe(call).catch_unwind().await {
        Ok(Ok(answer)) => Asked::Answered(answer),
        Ok(Err(error)) => Asked::Failed(error.report()),
        Err(_) => Asked::Panicked,
    }
}

/// Requires an answer or an error to every question: no panic.
pub(super) async fn total<'q, T, R>(
    law: &'static str,
    questions: &'q [(String, T)],
    call: impl Fn(&'q T) -> BoxFuture<'q, Result<R>>,
) -> Verified {
    let mut cases = Cases::of(law);
    for (case, question) in questions {
        // The call itself may panic too, not only its future.
        let asked = ask(async { call(question).await }).await;
        cases.expect(!matches!(asked, Asked::Panicked), || {
            format!("{case}: panicked")
        })?;
    }
    cases.done()
}

/// Requires the same answer to the same question: asked in order, and again in reverse order.
pub(super) async fn repeats<'q, T, R: PartialEq>(
    law: &'static str,
    questions: &'q [(String, T)],
    call: impl Fn(&'q T) -> BoxFuture<'q, Result<R>>,
) -> Verified {
    let mut cases = Cases::of(law);
    let mut before = Vec::new();
    for (_, question) in questions {
        before.push(ask(async { call(question).await }).await);
    }
    for ((case, question), before) in questions.iter().zip(before).rev() {
        let again = ask(async { call(question).await }).await;
        same(&mut cases, case, &before, &again, "asked again")?;
    }
    cases.done()
}

/// Requires the same answer to a question that is asked alone and to one asked at the same time as others.
pub(super) async fn beside_others<'q, T, R: PartialEq>(
    law: &'static str,
    questions: &'q [(String, T)],
    call: impl Fn(&'q T) -> BoxFuture<'q, Result<R>>,
) -> Verified {
    let mut cases = Cases::of(law);
    let mut alone = Vec::new();
    for (_, question) in questions {
        alone.push(ask(async { call(question).await }).await);
    }
    let together = join_all(
        questions
            .iter()
            .map(|(_, question)| ask(async { call(question).await })),
    )
    .await;
    for (((case, _), alone), beside) in questions.iter().zip(alone).zip(together) {
        same(&mut cases, case, &alone, &beside, "asked beside others")?;
    }
    cases.done()
}

/// Two errors count as the same, whatever their messages.
fn same<R: PartialEq>(
    cases: &mut Cases,
    case: &str,
    before: &Asked<R>,
    after: &Asked<R>,
    how: &str,
) -> Result<(), Violation> {
    if let (Asked::Failed(report), Asked::Failed(_)) = (before, after) {
        cases.skip(format!("{case}: {report}"));
        return Ok(());
    }
    if let (Asked::Panicked, Asked::Panicked) = (before, after) {
        cases.skip(format!("{case}: panicked"));
        return Ok(());
    }
    cases.expect(before == after, || {
        format!("{case}: {how}, the answer is another one")
    })
}
