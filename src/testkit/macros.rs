//! One named `#[test]` for each law.

use super::law::Law;

/// Checks one law of a list and panics if it is broken, as a test must. Skips go to standard error.
#[doc(hidden)]
#[track_caller]
#[allow(clippy::panic, clippy::print_stderr)]
pub fn check_named<S: ?Sized>(laws: &[Law<S>], name: &str, subject: &S) {
    let Some(law) = laws.iter().find(|law| law.name() == name) else {
        panic!("there is no law {name}");
    };
    match futures::executor::block_on(law.check(subject)) {
        Ok(checked) => {
            for skipped in checked.skipped {
                eprintln!("{name}: skipped {skipped}");
            }
        }
        Err(violation) => panic!("{violation}"),
    }
}

/// Panics unless the tests of a macro are the laws of its list, in the same order.
#[doc(hidden)]
#[track_caller]
pub fn check_names<S: ?Sized>(laws: &[Law<S>], tests: &[&str]) {
    let names: Vec<_> = laws.iter().map(Law::name).collect();
    assert!(
        names == tests,
        "the laws are {names:?}, the tests {tests:?}"
    );
}

#[doc(hidden)]
#[macro_export]
macro_rules! __law_tests {
    ($module:ident, $subject:expr, $kind:ty, $laws:expr, [$($law:ident)*]) => {
        mod $module {
            #[allow(unused_imports)]
            use super::*;

            $(
                #[test]
                fn $law() {
                    let subject = $subject;
                    let subject: &$kind = &subject;
                    $crate::testkit::check_named($laws.as_ref(), stringify!($law), subject);
                }
            )*

            #[test]
            fn suite_is_complete() {
                $crate::testkit::check_names::<$kind>($laws.as_ref(), &[$(stringify!($law)),*]);
            }
        }
    };
}

/// Declares a module with one test for each law of a [`PreferenceJudge`](crate::PreferenceJudge).
///
/// The expression makes a new judge for every test. It is read inside the module, which sees everything around it.
#[macro_export]
macro_rules! judge_laws {
    ($module:ident, $judge:expr) => {
        $crate::__law_tests! {
            $module, $judge, dyn $crate::PreferenceJudge, $crate::testkit::JUDGE_LAWS,
            [swap identity margin determinism alone_is_beside_others total takes_no_orders]
        }
    };
}

/// Declares a module with one test for each law of a [`ChatModel`](crate::ChatModel).
///
/// The expression makes a new model, or lends a shared one such as `&*MODEL`, for every test.
#[macro_export]
macro_rules! chat_laws {
    ($module:ident, $model:expr) => {
        $crate::__law_tests! {
            $module, $model, dyn $crate::ChatModel, $crate::testkit::CHAT_LAWS,
            [
                determinism seed_reproduces alone_is_beside_others max_tokens max_tokens_zero stop
                usage logprobs constraint dropping_cancels markers_are_text total
            ]
        }
    };
}

/// Declares a module with one test for each law of a [`ScoringModel`](crate::ScoringModel).
#[macro_export]
macro_rules! scoring_laws {
    ($module:ident, $model:expr) => {
        $crate::__law_tests! {
            $module, $model, dyn $crate::ScoringModel, $crate::testkit::SCORING_LAWS,
            [one_score_each independence logprobs empty determinism alone_is_beside_others total]
        }
    };
}

/// Declares a module with one test for each law of a [`StateModel`](crate::StateModel).
#[macro_export]
macro_rules! state_laws {
    ($module:ident, $model:expr) => {
        $crate::__law_tests! {
            $module, $model, dyn $crate::StateModel, $crate::testkit::STATE_LAWS,
            [shapes refuses reads_no_more determinism alone_is_beside_others total]
        }
    };
}

/// Declares a module with one test for each law of a [`Filter`](crate::Filter) on the given type: `SourceText` or
/// `Draft`.
///
/// The expression makes a new filter for every test. A filter on drafts sees one for every place. Those that lack what
/// it asks for are listed as skipped; that is no failure.
///
/// ```
/// use safer_instruct::{Decision, Draft, SourceText, filter_fn, filters::NotCanned, testkit};
///
/// testkit::filter_tests!(keeps_all, SourceText, filter_fn(|_: &SourceText| Ok(Decision::Keep)));
/// testkit::filter_tests!(not_canned, Draft, NotCanned::new());
/// ```
#[macro_export]
macro_rules! filter_tests {
    ($module:ident, $item:ty, $filter:expr) => {
        $crate::__law_tests! {
            $module, $filter, dyn $crate::Filter<$item>, $crate::testkit::filter_laws::<$item>(),
            [determinism total]
        }
    };
}

/// Declares a module with one test for each law of a [`Guard`](crate::Guard).
///
/// ```
/// use safer_instruct::{Assessment, Response, Safety, guard_fn, testkit};
///
/// testkit::guard_laws!(no_shouting, guard_fn(|_, response: Response| async move {
///     let shouts = response.text().contains("WORTHLESS");
///     Ok(Assessment::new(if shouts { Safety::Unsafe } else { Safety::Safe }))
/// }));
/// ```
#[macro_export]
macro_rules! guard_laws {
    ($module:ident, $guard:expr) => {
        $crate::__law_tests! {
            $module, $guard, dyn $crate::Guard, $crate::testkit::GUARD_LAWS,
            [determinism alone_is_beside_others total fails_closed]
        }
    };
}

/// Declares a module with one test for each law of an [`InstructionGenerator`](crate::InstructionGenerator).
#[macro_export]
macro_rules! induction_laws {
    ($module:ident, $stage:expr) => {
        $crate::__law_tests! {
            $module, $stage, dyn $crate::InstructionGenerator, $crate::testkit::INDUCTION_LAWS,
            [determinism alone_is_beside_others total]
        }
    };
}

/// Declares a module with one test for each law of a [`ResponseGenerator`](crate::ResponseGenerator).
#[macro_export]
macro_rules! response_laws {
    ($module:ident, $stage:expr) => {
        $crate::__law_tests! {
            $module, $stage, dyn $crate::ResponseGenerator, $crate::testkit::RESPONSE_LAWS,
            [determinism alone_is_beside_others total]
        }
    };
}

/// Declares a module with one test for each law of a pipeline.
///
/// The expression is an `async` closure over the source texts and the concurrency that gives all outcomes.
///
/// ```
/// use futures::{StreamExt, stream};
/// use safer_instruct::{
///     Instruction, Judgement, Pipeline, Response, SourceText, induce_fn, judge_fn, respond_fn, testkit,
/// };
///
/// testkit::pipeline_laws!(my_pipeline, async |texts: Vec<SourceText>, concurrency: usize| {
///     let pipeline = Pipeline::new(
///         induce_fn(|_| async { Ok(Instruction::new("Can I learn it?")) }),
///         respond_fn(|_| async { Ok(Response::new("Of course.")) }),
///         judge_fn(|_, _, _| async { Ok(Judgement::tie()) }),
///     );
///     pipeline.with_concurrency(concurrency).run(stream::iter(texts)).collect().await
/// });
/// ```
#[macro_export]
macro_rules! pipeline_laws {
    ($module:ident, $run:expr) => {
        $crate::__law_tests! {
            $module, $crate::testkit::run_fn($run), $crate::testkit::Run,
            $crate::testkit::PIPELINE_LAWS, [conservation order determinism]
        }
    };
}
