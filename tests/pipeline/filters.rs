//! Filters at each place, with and without a memory.

use std::sync::{Arc, Mutex};

use safer_instruct::{
    Candidate, Decision, Draft, Induced, OrderedFilter, Outcome, Pipeline, PreferencePair,
    Response, SourceText, Stage, Subject, filter_fn, respond_fn,
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
        Some(draft.source.text()),
        draft.instruction.as_ref().map(|x| x.text()),
        draft.response.as_ref().map(Response::text),
        draft.counterpart.as_ref().map(Response::text),
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
        &plain().with_instruction_filter(drop_all::<Induced>()),
        text("a"),
    );
    let induced = draft(induced, Stage::Induce);
    assert_eq!(said(&induced), [Some(SOURCE), Some(PROMPT), None, None]);

    let candidate = one(
        &plain().with_response_filter(drop_all::<Candidate>()),
        text("a"),
    );
    let candidate = draft(candidate, Stage::Respond);
    assert_eq!(
        said(&candidate),
        [Some(SOURCE), Some(PROMPT), Some(EXPERT), None]
    );
    assert!(candidate.judgement.is_none());

    let pair = one(
        &plain().with_pair_filter(drop_all::<PreferencePair>()),
        text("a"),
    );
    let pair = draft(pair, Stage::Pair);
    assert_eq!(
        said(&pair),
        [Some(SOURCE), Some(PROMPT), Some(EXPERT), None]
    );
    assert!(pair.judgement.is_some());
}

#[test]
fn a_dropped_pair_with_a_counterpart_keeps_both_responses() {
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT))
        .with_counterpart(respond_fn(|_| async { Ok(Response::new("Give up.")) }))
        .with_pair_filter(drop_all::<PreferencePair>());
    let draft = draft(one(&pipeline, text("a")), Stage::Pair);
    // The pair does not hold the text of the source, only its id.
    assert_eq!(
        said(&draft),
        [Some(""), Some(PROMPT), Some(EXPERT), Some("Give up.")]
    );
    assert_eq!(draft.source.id(), "a");
}

#[test]
fn a_filter_that_fails_fails_the_draw() {
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT)).with_instruction_filter(
        filter_fn(|_: &Induced| Err(safer_instruct::Error::malformed("a number"))),
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
fn a_memory_sees_each_text_once_and_is_new_in_each_run() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let memory = log.clone();
    let pipeline = Pipeline::new(induce(), respond(), prefers(EXPERT))
        .with_draws(2)
        .with_ordered_source_filter(move || EverySecond {
            log: memory.clone(),
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
fn a_memory_on_pairs_sees_them_in_the_order_of_the_output() {
    let log = Arc::new(Mutex::new(Vec::new()));
    let memory = log.clone();
    let respond = respond_fn(|x: safer_instruct::Instruction| async move {
        Ok(Response::new(format!("{EXPERT} {}", x.text())))
    });
    let pipeline = Pipeline::new(
        safer_instruct::testkit::Latency::new(induce(), 3),
        respond,
        prefers(EXPERT),
    )
    .with_ordered_pair_filter(move || EverySecond {
        log: memory.clone(),
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
