//! Implementations of the stage traits for references, boxes, shared pointers and closures.

use async_trait::async_trait;

use super::{Filter, Guard, InstructionGenerator, PreferenceJudge, ResponseGenerator};
use crate::{
    error::Result,
    outcome::Decision,
    record::{Assessment, Instruction, Judgement, Response, SourceText},
};

/// Forwards a trait through `&T`, `Box<T>` and `Arc<T>`. A method that a new version of the trait adds and this
/// macro forgets is a lint error.
macro_rules! forward_stage {
    ($(<$p:ident>)? $trait:ident $(<$tp:ident>)? { $method:ident($($arg:ident: $ty:ty),+) -> $ret:ty }) => {
        $crate::stage::forward_stage!(@one [&M] $(<$p>)? $trait $(<$tp>)? { $method($($arg: $ty),+) -> $ret });
        $crate::stage::forward_stage!(@one [Box<M>] $(<$p>)? $trait $(<$tp>)? { $method($($arg: $ty),+) -> $ret });
        $crate::stage::forward_stage!(@one [std::sync::Arc<M>] $(<$p>)? $trait $(<$tp>)? { $method($($arg: $ty),+) -> $ret });
    };
    (@one [$ptr:ty] $(<$p:ident>)? $trait:ident $(<$tp:ident>)? { $method:ident($($arg:ident: $ty:ty),+) -> $ret:ty }) => {
        #[deny(clippy::missing_trait_methods)]
        #[async_trait]
        impl<M: $trait$(<$tp>)? + ?Sized $(, $p: ?Sized + Sync)?> $trait$(<$tp>)? for $ptr {
            async fn $method(&self, $($arg: $ty),+) -> $ret {
                (**self).$method($($arg),+).await
            }
        }
    };
}
pub(crate) use forward_stage;

/// Wraps a closure over owned arguments as a stage.
macro_rules! closure_stage {
    ($(#[$doc:meta])* $func:ident, $name:ident: $trait:ident { $method:ident($($arg:ident: &$ty:ty),+) -> $ret:ty }) => {
        $(#[$doc])*
        pub fn $func<F, Fut>(closure: F) -> $name<F>
        where
            F: Fn($($ty),+) -> Fut + Send + Sync,
            Fut: std::future::Future<Output = $ret> + Send,
        {
            $name(closure)
        }

        #[doc = concat!("Implements [`", stringify!($trait), "`] by a closure. Made by [`", stringify!($func), "`].")]
        #[derive(Clone, Copy)]
        pub struct $name<F>(F);

        impl<F> std::fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(stringify!($name))
            }
        }

        #[async_trait]
        impl<F, Fut> $trait for $name<F>
        where
            F: Fn($($ty),+) -> Fut + Send + Sync,
            Fut: std::future::Future<Output = $ret> + Send,
        {
            async fn $method(&self, $($arg: &$ty),+) -> $ret {
                (self.0)($($arg.clone()),+).await
            }
        }
    };
}
pub(crate) use closure_stage;

forward_stage! { InstructionGenerator { induce(source: &SourceText) -> Result<Instruction> } }
forward_stage! { ResponseGenerator { respond(instruction: &Instruction) -> Result<Response> } }
forward_stage! { PreferenceJudge { judge(instruction: &Instruction, first: &Response, second: &Response) -> Result<Judgement> } }
forward_stage! { Guard { assess(instruction: &Instruction, response: &Response) -> Result<Assessment> } }
forward_stage! { <T> Filter<T> { assess(item: &T) -> Result<Decision> } }

closure_stage! {
    /// Makes an [`InstructionGenerator`] from a closure.
    ///
    /// ```
    /// use safer_instruct::{Instruction, InstructionGenerator, SourceText, induce_fn};
    ///
    /// # futures::executor::block_on(async {
    /// let stage = induce_fn(|source: SourceText| async move {
    ///     Ok(Instruction::new(format!("Write {} characters.", source.text().chars().count())))
    /// });
    /// let instruction = stage.induce(&SourceText::new("a", "four")).await?;
    /// assert_eq!(instruction.text(), "Write 4 characters.");
    /// # Ok::<_, safer_instruct::Error>(())
    /// # }).unwrap();
    /// ```
    induce_fn, InduceFn: InstructionGenerator { induce(source: &SourceText) -> Result<Instruction> }
}
closure_stage! {
    /// Makes a [`ResponseGenerator`] from a closure.
    respond_fn, RespondFn: ResponseGenerator { respond(instruction: &Instruction) -> Result<Response> }
}
closure_stage! {
    /// Makes a [`PreferenceJudge`] from a closure.
    judge_fn, JudgeFn: PreferenceJudge { judge(instruction: &Instruction, first: &Response, second: &Response) -> Result<Judgement> }
}
closure_stage! {
    /// Makes a [`Guard`] from a closure.
    guard_fn, GuardFn: Guard { assess(instruction: &Instruction, response: &Response) -> Result<Assessment> }
}

/// Makes a [`Filter`] from a synchronous closure.
///
/// ```
/// use safer_instruct::{Decision, Filter, SourceText, filter_fn};
///
/// # futures::executor::block_on(async {
/// let filter = filter_fn(|source: &SourceText| {
///     Ok(if source.text().contains('?') { Decision::drop("is_a_question") } else { Decision::Keep })
/// });
/// assert!(filter.assess(&SourceText::new("a", "No.")).await?.is_keep());
/// # Ok::<_, safer_instruct::Error>(())
/// # }).unwrap();
/// ```
pub fn filter_fn<T, F>(closure: F) -> FilterFn<F>
where
    T: ?Sized,
    F: Fn(&T) -> Result<Decision> + Send + Sync,
{
    FilterFn(closure)
}

/// Implements [`Filter`] by a closure. Made by [`filter_fn`].
#[derive(Clone, Copy)]
pub struct FilterFn<F>(F);

impl<F> std::fmt::Debug for FilterFn<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FilterFn")
    }
}

#[async_trait]
impl<T, F> Filter<T> for FilterFn<F>
where
    T: ?Sized + Sync,
    F: Fn(&T) -> Result<Decision> + Send + Sync,
{
    async fn assess(&self, item: &T) -> Result<Decision> {
        (self.0)(item)
    }
}
