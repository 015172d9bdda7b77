//! What callers see: events, cancellation, and the forms of stages.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use futures::{FutureExt, StreamExt, future::pending, stream};
use safer_instruct::{
    Event, Instruction, InstructionGenerator, Origin, Pipeline, PreferenceJudge, Response,
    ResponseGenerator, SourceText, Stage, Usage, filters::Distinct, induce_fn, respond_fn,
};

use super::{EXPERT, fate, induce, one, prefers, respond, run, text};

#[test]
fn every_event_comes_once() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let note = log.clone();
    let costly = induce_fn(|_| async {
        Ok(Instruction::new("What?").with_origin(Origin {
            usage: Usage {
                prompt_tokens: 7,
                completion_tokens: 2,
            },
            ..Origin::default()
        }))
    });
    let pipeline = Pipeline::new(costly, respond(), prefers(EXPERT))
        .with_concurrency(1)
        .with_draws(2)
        .with_ordered_source_filter(Distinct::new)
        .with_observer(move |event: &Event<'_>| {
            note.lock().unwrap().push(match event {
                Event::Started { lineage } => format!("{lineage} started"),
                Event::StageDone {
                    lineage,
                    stage,
                    usage,
                } => format!("{lineage} {stage} {}", usage.total()),
                Event::Finished { outcome } => format!("{} {}", outcome.lineage(), fate(outcome)),
                other => panic!("{other:?}"),
            });
        });
    let twin = SourceText::new("b", text("a").text());
    assert_eq!(run(&pipeline, vec![text("a"), twin]).len(), 4);
    let draw = |draw: u32| {
        ["started", "induce 9", "respond 0", "judge 0", "kept"].map(|e| format!("a#{draw} {e}"))
    };
    let mut expected = [draw(0), draw(1)].concat();
    let log = log.lock().unwrap();
    let twins: Vec<&str> = log[10..].iter().map(|e| &e[..12]).collect();
    assert_eq!(twins, ["b#0 dropped ", "b#1 dropped "]);
    expected.extend_from_slice(&log[10..]);
    assert_eq!(*log, expected);
}

#[test]
fn the_tokens_of_both_generators_are_told() {
    let costs = |prompt_tokens| {
        respond_fn(move |_| async move {
            let usage = Usage {
                prompt_tokens,
                completion_tokens: 1,
            };
            Ok(
                Response::new(format!("{EXPERT} {prompt_tokens}")).with_origin(Origin {
                    usage,
                    ..Origin::default()
                }),
            )
        })
    };
    let told = Arc::new(Mutex::new(Vec::new()));
    let note = told.clone();
    let pipeline = Pipeline::new(induce(), costs(5), prefers("5"))
        .with_counterpart(costs(7))
        .with_observer(move |event: &Event<'_>| {
            if let Event::StageDone { stage, usage, .. } = event {
                note.lock().unwrap().push((*stage, usage.total()));
            }
        });
    assert_eq!(fate(&one(&pipeline, text("a"))), "kept");
    let expected = [(Stage::Induce, 0), (Stage::Respond, 14), (Stage::Judge, 0)];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[test]
fn dropping_the_stream_cancels_the_work() {
    struct Cancelled(Arc<AtomicBool>);
    impl Drop for Cancelled {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let cancelled = Arc::new(AtomicBool::new(false));
    let flag = cancelled.clone();
    let endless = induce_fn(move |_| {
        let guard = Cancelled(flag.clone());
        async move {
            let _guard = guard;
            pending().await
        }
    });
    let pipeline = Pipeline::new(endless, respond(), prefers(EXPERT));
    {
        let mut outcomes = Box::pin(pipeline.run(stream::iter([text("a")])));
        assert!(outcomes.next().now_or_never().is_none());
        assert!(!cancelled.load(Ordering::Relaxed));
    }
    assert!(cancelled.load(Ordering::Relaxed));
}

#[test]
fn stages_come_in_any_form() {
    let plain = Pipeline::new(induce(), respond(), prefers(EXPERT));
    assert_eq!(fate(&one(&plain.boxed(), text("a"))), "kept");
    let by_reference = induce();
    let shared: Arc<dyn ResponseGenerator> = Arc::new(respond());
    let boxed: Box<dyn PreferenceJudge> = Box::new(prefers(EXPERT));
    let mixed = Pipeline::new(&by_reference, shared, boxed);
    assert_eq!(fate(&one(&mixed, text("a"))), "kept");
    let erased: &dyn InstructionGenerator = &by_reference;
    let erased = Pipeline::new(erased, respond(), prefers(EXPERT));
    assert_eq!(fate(&one(&erased, text("a"))), "kept");
}
