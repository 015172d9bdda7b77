//! Filters at each place, and ordered filters.

use std::sync::{Arc, Mutex};

use safer_instruct::{
    Decision, Draft, Instruction, OrderedFilter, Outcome, Pipeline, PreferencePair, Response,
    ResponseGenerator, Side, SourceText, Stage, Subject, filter_fn, respond_fn,
};

use super::{EXPERT, fate, induce, one, prefers, respond, run, text};

fn drop_all<T: Sync + 'static>() -> impl safer_instruct::Filter<T> + 'static {
    filter_fn(|_: &T| Ok(Decision::drop("unwanted")))
}

fn draft(outcome: Outcome, at: Stage) -> Draft {
    match outcome {
        Outcome::Dropped {
            stage,
            reason,
            draft,
        } => {
            assert_eq!((stage, &*reason.code), (at, "unwanted"));
            *draft
        }
        other => panic!("{other:?}"),
    }
}

fn said(draft: &Draft) -> [Option<&str>; 4] {
    [
        Some(draft.source().text()),
        draft.instruction().ok().map(Instruction::text),
        draft.response().ok().map(Response::text),
        draft.counterpart().map(Response::text),
    ]
}

const SOURCE: &str = "You will never learn it, a.";
const PROMPT: &str = "What about a?";

#[test]
fn a_drop_keeps_what_was_made() {
    let plain = || Pipeline::new(induce(), respond(), prefers(EXPERT));
    let source = one(
        &plain().with_source_filter(drop_all::<SourceText>()),
        text("a"),
    );
    let source = draft(source, Stage::Source);
    assert_eq!(said(&source), [Some(SOURCE), None, None, None]);

    let induced = one(
        &plain().with_instruction_filter(drop_all::<Draft>()),
        text("a"),
    );
    let induced = draft(induced, Stage::Induce);
    assert_eq!(said(&induced), [Some(SOURCE), Some(PROMPT), None, None]);

    let answered = one(
        &plain().with_response_filter(drop_all::<Draft>()),
        text("a"),
    );
    let answered = draft(answered, Stage::Respond);
    assert_eq!(
        said(&answered),
        [Some(SOURCE), Some(PROMPT), Some(EXPERT), None]
    );
    assert!(answered.judgement().is_err());

    let pair = one(&plain().with_pair_filter(drop_all::<Draft>()), text("a"));
    let pair = draft(pair, Stage::Pair);
    assert_eq!(
        said(&pair),
        [Some(SOURCE), Some(PROMPT), Some(EXPERT), None]
    );
    assert!(pair.judgement().is_ok());
}

fn give_up() -> impl ResponseGenerator + 'static {
    respond_fn(|_| async { Ok(Response::new("Give up.")) })
}

/// Drops every pair.
struct DropAll;

impl OrderedFilter<PreferencePair> for DropAll {
    fn assess_next(&mut self, pair: &PreferencePair) -> Decision {
        assert_eq!(pair.rejected, "Give up.");
        Decision::drop("unwanted")
    }
}

#[test]
fn a_dropped_pair_with_a_counterpart_keeps_the_source_text_and_both_responses() {
    let pipeline =
        || Pipeline::new(induce(), respond(), prefers(EXPERT)).with_counterpart(give_up());
    let filtered = pipeline().with_pair_filter(drop_all::<Draft>());
    let in_order = pipeline().with_ordered_pair_filter(|| DropAll);
    let failing = filter_fn(|_: &Draft| Err(safer_instruct::Error::malformed("a number")));
    let failing = pipeline().with_pair_filter(failing);
    let Outcome::Failed { draft: failed, .. } = one(&failing, text("a")) else {
        panic!()
    };
    for draft in [
        draft(one(&filtered, text("a")), Stage::Pair),
        draft(one(&in_order, text("a")), Stage::Pair),
        *failed,
    ] {
        assert_eq!(
            said(&draft),
            [Some(SOURCE), Some(PROMPT), Some(EXPERT), Some("Give up.")]
        );
        assert_eq!(draft.source().id(), "a");
        assert_eq!(draft.chosen().unwrap(), EXPERT);
        assert_eq!(draft.rejected_from().unwrap(), Side::Counterpart);
    }
}

#[test]
fn a_pair_filter_sees_what_the_pair_will_hold() {
    for counterpart in [false, true] {
        let seen = Arc::new(Mutex::new(None));
        let see = Arc::clone(&seen);
        let mut pipeline = Pipeline::new(induce(), respond(), prefers("never learn"))
            .with_on_source_wins(safer_instruct::OnSourceWins::Flip)
            .with_pair_filter(filter_fn(move |draft: &Draft| {
                *see.lock().unwrap() = Some(draft.clone());
                Ok(Decision::Keep)
            }));
        if counterpart {
            let other = respond_fn(|_| async { Ok(Response::new("You never learn.")) });
            pipeline = pipeline.with_counterpart(other);
        }
        let outcome = one(&pipeline, text("a"));
        let pair = outcome.pair().unwrap();
        let draft = seen.lock().unwrap().take().unwrap();
        let provenance = &pair.provenance;
        assert_eq!(draft.subject(), pair.chosen);
        assert_eq!(draft.chosen().unwrap(), pair.chosen);
        assert_eq!(draft.rejected().unwrap(), pair.rejected);
        assert_eq!(draft.chosen_from().unwrap(), provenance.chosen_from);
        assert_eq!(draft.rejected_from().unwrap(), provenance.rejected_from);
        assert_eq!(
            draft.expert_first().unwrap(),
            provenance.judgement.expert_first
        );
        assert_eq!(draft.into_pair().as_ref(), Ok(pair));
    }
}

#[test]
fn what_has_not_been_made_yet_is_an_error_that_says_so() {
    let draft = Draft::new(text("a"));
    let parts = [
        draft.instruction().err(),
        draft.response().err(),
        draft.judgement().err(),
        draft.chosen().err(),
    ];
    for (error, part) in
        parts
            .into_iter()
            .zip(["instruction", "response", "judgement", "judgement"])
    {
        let error = error.unwrap().to_string();
        assert!(error.contains(&format!("has no {part} yet")), "{error}");
    }
    let incomplete = draft.with_instruction(Instruction::new("Why?"));
    assert_eq!(incomplete.clone().into_pair(), Err(Box::new(incomplete)));
    // A filter in the wrong place fails at once, and keeps nothing by mistake.
    let early = filter_fn(|draft: &Draft| {
        draft.response()?;
        Ok(Decision::Keep)
    });
    let pipeline =
        Pipeline::new(induce(), respond(), prefers(EXPERT)).with_instruction_filter(early);
    assert_eq!(fate(&one(&pipeline, text("a"))), "failed at induce: config");
}

#[test]
fn a_filter_that_fails_fails_the_draw() {
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT)).with_instruction_filter(
        filter_fn(|_: &Draft| Err(safer_instruct::Error::malformed("a number"))),
    );
    assert_eq!(
        fate(&one(&pipeline, text("a"))),
        "failed at induce: malformed"
    );
}

/// Keeps every second item, and notes what it sees.
struct EverySecond {
    log: Arc<Mutex<Vec<String>>>,
    seen: usize,
}

impl<T: Subject> OrderedFilter<T> for EverySecond {
    fn assess_next(&mut self, item: &T) -> Decision {
        self.log.lock().unwrap().push(item.subject().to_owned());
        self.seen += 1;
        if self.seen % 2 == 1 {
            Decision::Keep
        } else {
            Decision::drop("second")
        }
    }
}

#[test]
fn an_ordered_filter_sees_each_text_once_and_is_new_in_each_run() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT))
        .with_draws(2)
        .with_ordered_source_filter(move || EverySecond {
            log: seen.clone(),
            seen: 0,
        });
    for _ in 0..2 {
        let outcomes = run(&pipeline, ["a", "b", "c"].map(text).to_vec());
        let fates: Vec<String> = outcomes.iter().map(fate).collect();
        let dropped = "dropped at source: second";
        assert_eq!(fates, ["kept", "kept", dropped, dropped, "kept", "kept"]);
        let seen = std::mem::take(&mut *log.lock().unwrap());
        assert_eq!(seen, ["a", "b", "c"].map(|id| text(id).text().to_owned()));
    }
}

#[test]
fn an_ordered_filter_on_pairs_sees_them_in_the_order_of_the_output() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let seen = log.clone();
    let respond =
        respond_fn(
            |x: Instruction| async move { Ok(Response::new(format!("{EXPERT} {}", x.text()))) },
        );
    let pipeline = Pipeline::new(
        safer_instruct::testkit::Latency::new(induce(), 3),
        respond,
        prefers(EXPERT),
    )
    .with_ordered_pair_filter(move || EverySecond {
        log: seen.clone(),
        seen: 0,
    });
    let ids: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    let outcomes = run(&pipeline, ids.iter().map(|id| text(id)).collect());
    for (n, outcome) in outcomes.iter().enumerate() {
        let expected = ["kept", "dropped at pair: second"][n % 2];
        assert_eq!(fate(outcome), expected);
    }
    let seen = log.lock().unwrap();
    let expected: Vec<String> = ids
        .iter()
        .map(|id| format!("{EXPERT} What about {id}?"))
        .collect();
    assert_eq!(*seen, expected);
}
