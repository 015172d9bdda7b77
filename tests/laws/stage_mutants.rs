//! Filters and generators: right ones keep all laws, broken ones are caught.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
};

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{
    Decision, Draft, Filter, Instruction, InstructionGenerator, Response, ResponseGenerator,
    Result, SourceText, Subject, filter_fn, induce_fn, respond_fn,
    testkit::{self, INDUCTION_LAWS, Latency, RESPONSE_LAWS, filter_laws},
};

use crate::{Mutant, every_law_can_fail};

fn no_questions<T: Subject>(item: &T) -> Result<Decision> {
    Ok(if item.subject().contains('?') {
        Decision::drop("question")
    } else {
        Decision::Keep
    })
}

fn induce() -> Box<dyn InstructionGenerator> {
    Box::new(induce_fn(|source: SourceText| async move {
        let seed = source.lineage().seed("induce") % 7;
        Ok(Instruction::new(format!(
            "Say {} in {seed} words.",
            source.text()
        )))
    }))
}

fn respond() -> Box<dyn ResponseGenerator> {
    Box::new(respond_fn(|instruction: Instruction| async move {
        Ok(Response::new(format!(
            "I would rather not: {}",
            instruction.text()
        )))
    }))
}

testkit::filter_tests!(
    on_sources,
    SourceText,
    filter_fn(no_questions::<SourceText>)
);
testkit::filter_tests!(on_drafts, Draft, filter_fn(no_questions::<Draft>));
testkit::induction_laws!(induction, Latency::new(induce(), 1));
testkit::response_laws!(response, Arc::new(Latency::new(respond(), 1)));

#[test]
fn every_law_of_a_filter_can_fail() {
    every_law_can_fail::<dyn Filter<SourceText>>(
        &filter_laws(),
        &[
            Mutant::new(
                "a filter that remembers",
                || {
                    let seen = Mutex::new(HashSet::new());
                    Box::new(filter_fn(move |item: &SourceText| {
                        let new = seen.lock().unwrap().insert(item.text().to_owned());
                        Ok(if new {
                            Decision::Keep
                        } else {
                            Decision::drop("duplicate")
                        })
                    }))
                },
                &["determinism"],
            ),
            Mutant::new(
                "a panic in the middle of a character",
                || {
                    Box::new(filter_fn(|item: &SourceText| {
                        let text = item.text();
                        let head = if text.starts_with('\u{202e}') {
                            &text[..1]
                        } else {
                            text
                        };
                        Ok(if head.is_empty() {
                            Decision::drop("empty")
                        } else {
                            Decision::Keep
                        })
                    }))
                },
                &["total"],
            ),
        ],
    );
}

/// A filter is shown a draft of each place at which it may stand.
#[test]
fn a_law_can_fail_on_a_draft_of_any_place() {
    fn panics_if(bad: fn(&Draft) -> bool) -> Box<dyn Filter<Draft>> {
        Box::new(filter_fn(move |draft: &Draft| {
            assert!(!bad(draft));
            Ok(Decision::Keep)
        }))
    }
    for bad in [
        |draft: &Draft| draft.instruction().is_ok() && draft.response().is_err(),
        |draft: &Draft| draft.response().is_ok() && draft.judgement().is_err(),
        |draft: &Draft| draft.chosen().is_ok() && draft.counterpart().is_none(),
        |draft: &Draft| draft.chosen().is_ok() && draft.counterpart().is_some(),
    ] {
        let filter = panics_if(bad);
        assert!(block_on(testkit::filters::total(&*filter)).is_err());
    }
    assert!(block_on(testkit::filters::total(&*panics_if(|_| false))).is_ok());
}

/// Answers with what `answer` makes of the text, the calls so far and the calls that are open.
struct Odd<F> {
    calls: AtomicU32,
    open: AtomicU32,
    answer: F,
}

impl<F: Fn(&str, u32, u32) -> String> Odd<F> {
    fn new(answer: F) -> Self {
        Self {
            calls: AtomicU32::new(0),
            open: AtomicU32::new(0),
            answer,
        }
    }

    async fn ask(&self, text: &str) -> String {
        let calls = self.calls.fetch_add(1, SeqCst);
        let open = self.open.fetch_add(1, SeqCst);
        crate::yield_once().await;
        self.open.fetch_sub(1, SeqCst);
        (self.answer)(text, calls, open)
    }
}

#[async_trait]
impl<F: Fn(&str, u32, u32) -> String + Send + Sync> InstructionGenerator for Odd<F> {
    async fn induce(&self, source: &SourceText) -> Result<Instruction> {
        Ok(Instruction::new(self.ask(source.text()).await))
    }
}

#[async_trait]
impl<F: Fn(&str, u32, u32) -> String + Send + Sync> ResponseGenerator for Odd<F> {
    async fn respond(&self, instruction: &Instruction) -> Result<Response> {
        Ok(Response::new(self.ask(instruction.text()).await))
    }
}

fn counts(text: &str, calls: u32, _: u32) -> String {
    format!("{text}{calls}")
}

fn crowded(text: &str, _: u32, open: u32) -> String {
    format!("{text}{open}")
}

fn no_nul(text: &str, _: u32, _: u32) -> String {
    assert!(!text.contains('\0'));
    text.to_owned()
}

/// Answers otherwise when it is asked the same twice in a row, which happens only where the order is reversed.
fn again() -> impl Fn(&str, u32, u32) -> String + Send + Sync {
    let last = Mutex::new(String::new());
    move |text, _, _| {
        let before = std::mem::replace(&mut *last.lock().unwrap(), text.to_owned());
        (before == text).to_string()
    }
}

const BOTH: &[&str] = &["determinism", "alone_is_beside_others"];

#[test]
fn every_law_of_an_instruction_generator_can_fail() {
    every_law_can_fail::<dyn InstructionGenerator>(
        INDUCTION_LAWS,
        &[
            Mutant::new("counted calls", || Box::new(Odd::new(counts)), BOTH),
            Mutant::new(
                "the same twice",
                || Box::new(Odd::new(again())),
                &["determinism"],
            ),
            Mutant::new(
                "a crowd",
                || Box::new(Odd::new(crowded)),
                &["alone_is_beside_others"],
            ),
            Mutant::new("a panic on NUL", || Box::new(Odd::new(no_nul)), &["total"]),
        ],
    );
}

#[test]
fn every_law_of_a_response_generator_can_fail() {
    every_law_can_fail::<dyn ResponseGenerator>(
        RESPONSE_LAWS,
        &[
            Mutant::new("counted calls", || Box::new(Odd::new(counts)), BOTH),
            Mutant::new(
                "the same twice",
                || Box::new(Odd::new(again())),
                &["determinism"],
            ),
            Mutant::new(
                "a crowd",
                || Box::new(Odd::new(crowded)),
                &["alone_is_beside_others"],
            ),
            Mutant::new("a panic on NUL", || Box::new(Odd::new(no_nul)), &["total"]),
        ],
    );
}
