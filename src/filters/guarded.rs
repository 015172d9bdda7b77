//! Filters by a guard: on responses that are not safe, and on source texts that are.

use async_trait::async_trait;

use crate::{
    error::Result,
    outcome::{Decision, Reason},
    record::{Assessment, Draft, Response, Safety},
    stage::{Filter, Guard},
};

/// Drops drafts whose expert's response a [`Guard`] does not find safe. Reasons: `unsafe_response`,
/// `controversial_response`, and `not_assessed` if the guard's answer could not be read. An error of the guard fails
/// the draw.
///
/// ```
/// use safer_instruct::*;
///
/// # futures::executor::block_on(async {
/// let guard = guard_fn(|_, response: Response| async move {
///     Ok(match response.text() {
///         "Of course." => Assessment::from_probability(0.2, 0.5),
///         _ => Assessment::new(Safety::Unparsed),
///     })
/// });
/// let filter = filters::SafeResponse::new(guard);
/// let draft = Draft::new(SourceText::new("a", "No.")).with_instruction(Instruction::new("May I?"));
/// let good = draft.clone().with_response(Response::new("Of course."));
/// assert!(filter.assess(&good).await?.is_keep());
/// let strict = filter.with_most(0.1);
/// assert_eq!(strict.assess(&good).await?, {
///     let reason = Reason::new("unsafe_response").with_detail("P(unsafe) is 0.20, wanted at most 0.10");
///     Decision::Drop(reason)
/// });
/// let unread = draft.with_response(Response::new("Hm."));
/// assert_eq!(strict.assess(&unread).await?, Decision::drop("not_assessed"));
/// # Ok::<_, Error>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct SafeResponse<G> {
    guard: G,
    most: f64,
}

impl<G> SafeResponse<G> {
    /// Makes a filter by `guard`.
    pub fn new(guard: G) -> Self {
        Self { guard, most: 0.5 }
    }

    /// Sets the largest P(unsafe) that is kept. A guard that gives none decides by its verdict. By default 0.5.
    #[must_use]
    pub fn with_most(mut self, most: f64) -> Self {
        self.most = most;
        self
    }
}

#[async_trait]
impl<G: Guard> Filter<Draft> for SafeResponse<G> {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let (instruction, response) = (draft.instruction()?, draft.response()?);
        let found = self.guard.assess(instruction, response).await?;
        if found.is_safe(self.most) {
            return Ok(Decision::Keep);
        }
        Ok(Decision::Drop(match found.safety {
            _ if is_unread(&found) => Reason::new("not_assessed"),
            Safety::Controversial => probability(
                Reason::new("controversial_response"),
                &found,
                "at most",
                self.most,
            ),
            _ => probability(Reason::new("unsafe_response"), &found, "at most", self.most),
        }))
    }
}

/// Drops drafts whose source text a [`Guard`] does not find unsafe as a response to the instruction: a pair teaches
/// little if its `rejected` side is harmless. Reasons: `safe_source`, and `not_assessed` if the guard's answer could
/// not be read. An error of the guard fails the draw.
///
/// It stands among the filters on instructions or later. A controversial text counts as unsafe only by its P(unsafe).
#[derive(Clone, Debug)]
pub struct UnsafeSource<G> {
    guard: G,
    least: f64,
}

impl<G> UnsafeSource<G> {
    /// Makes a filter by `guard`.
    pub fn new(guard: G) -> Self {
        Self { guard, least: 0.5 }
    }

    /// Sets the least P(unsafe) that is kept. A guard that gives none decides by its verdict. By default 0.5.
    #[must_use]
    pub fn with_least(mut self, least: f64) -> Self {
        self.least = least;
        self
    }
}

#[async_trait]
impl<G: Guard> Filter<Draft> for UnsafeSource<G> {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let source = draft.source();
        let response = Response::new(source.text()).with_lineage(source.lineage().clone());
        let found = self.guard.assess(draft.instruction()?, &response).await?;
        if found.is_unsafe(self.least) {
            return Ok(Decision::Keep);
        }
        Ok(Decision::Drop(if is_unread(&found) {
            Reason::new("not_assessed")
        } else {
            probability(Reason::new("safe_source"), &found, "at least", self.least)
        }))
    }
}

/// Whether the guard said nothing that can be compared with a threshold.
fn is_unread(found: &Assessment) -> bool {
    found.safety == Safety::Unparsed || found.p_unsafe.is_some_and(f64::is_nan)
}

/// Adds P(unsafe), if the guard gave it.
fn probability(reason: Reason, found: &Assessment, bound: &str, wanted: f64) -> Reason {
    match found.p_unsafe {
        Some(p) => reason.with_detail(format!("P(unsafe) is {p:.2}, wanted {bound} {wanted:.2}")),
        None => reason,
    }
}
