//! Calls of recorded models.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU32, Ordering},
};

use futures::{FutureExt, executor::block_on, future::join};
use safer_instruct::{
    ChatModel, ChatRequest, Completion, Continuation, Decorate, Error, FinishReason, ModelId,
    Prompt, Result, RetryPolicy, ScoreRequest, Scores, ScoringModel, Usage, complete_fn,
    run::{Journal, Status},
    score_fn,
};

use crate::support::{COST, Counted, USAGE, folder, key, manifest, number, price, reader};

fn request(text: &str) -> ChatRequest {
    ChatRequest::new(Prompt::Raw(text.to_owned()))
}

#[test]
fn an_answered_call_is_replayed_by_a_later_session() {
    let (_folder, path) = folder();
    let model = Counted::default();
    let ask = |journal: &Journal| {
        let recorded = journal.record(&model, "counted").with_price(price());
        let completion = block_on(recorded.complete(&request("once"))).unwrap();
        let scores = ScoreRequest::new(Prompt::Raw("once".into()), ["a", "b"]);
        (completion, block_on(recorded.score(&scores)).unwrap())
    };
    let first = ask(&Journal::create(&path, manifest()).unwrap());
    let direct = block_on(Counted::default().complete(&request("once"))).unwrap();
    assert_eq!(first.0, direct);
    assert_eq!(model.calls(), 2);

    let journal = Journal::open(&path, manifest()).unwrap();
    assert_eq!(ask(&journal), first);
    assert_eq!(model.calls(), 2, "nothing was called again");
    let spent = journal.spent();
    assert_eq!((spent.requests, spent.money), (2, 2 * COST));
    assert_eq!(spent.usage.total(), 2 * USAGE.total());
}

#[test]
fn another_model_seed_or_verb_is_another_call() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let model = Counted::default();
    let [one, two] = ["one", "two"].map(|name| journal.record(&model, name));
    let mut seeded = request("once");
    seeded.sampling.seed = 1;
    for asked in [&request("once"), &seeded] {
        block_on(one.complete(asked)).unwrap();
        block_on(two.complete(asked)).unwrap();
    }
    assert_eq!(model.calls(), 4);
}

#[test]
fn the_intent_is_on_the_disk_before_the_call_and_the_cost_comes_with_the_answer() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let row = {
        let path = path.clone();
        move || {
            let sql = "SELECT lower(hex(key)), state, tries, cost, answer IS NULL FROM calls";
            reader(&path)
                .query_row(sql, [], |row| {
                    Ok((
                        row.get::<_, String>(0)?,
                        row.get::<_, String>(1)?,
                        row.get::<_, u32>(2)?,
                        row.get::<_, u64>(3)?,
                        row.get::<_, bool>(4)?,
                    ))
                })
                .unwrap()
        }
    };
    let seen = Arc::new(Mutex::new(None));
    let (look, note) = (row.clone(), Arc::clone(&seen));
    let model = journal
        .record(
            Counted::telling(move |what, _| {
                if what == "begin" {
                    *note.lock().unwrap() = Some(look());
                }
            }),
            "counted",
        )
        .with_price(price());
    block_on(model.complete(&request("once"))).unwrap();
    let json = serde_json::to_string(&request("once")).unwrap();
    let key = key("complete", "counted", &json);
    let during = seen.lock().unwrap().take().unwrap();
    assert_eq!(during, (key.clone(), "intent".into(), 1, 0, true));
    assert_eq!(row(), (key, "done".into(), 1, COST, false));
}

#[test]
fn equal_requests_in_flight_reach_the_model_once() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let counted = Counted::default();
    let model = journal.record(&counted, "counted");
    let (once, other) = (request("once"), request("other"));
    let ((a, b), c) = block_on(join(
        join(model.complete(&once), model.complete(&once)),
        model.complete(&other),
    ));
    assert_eq!(a.unwrap(), b.unwrap());
    c.unwrap();
    assert_eq!((counted.calls(), counted.most()), (2, 1));
}

#[test]
fn the_second_of_two_equal_requests_goes_on_if_the_first_is_dropped() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let calls = AtomicU32::new(0);
    let model = journal.record(
        complete_fn(|_| {
            let call = calls.fetch_add(1, Ordering::SeqCst);
            async move {
                if call == 0 {
                    std::future::pending::<()>().await;
                }
                let id = Arc::new(ModelId::new("m"));
                Ok(Completion::new("Yes.", FinishReason::Stop, USAGE, id))
            }
        }),
        "m",
    );
    let once = request("once");
    block_on(async {
        let mut first = model.complete(&once);
        let mut second = model.complete(&once);
        // Until the first one is in the model.
        while calls.load(Ordering::SeqCst) == 0 {
            assert!(first.as_mut().now_or_never().is_none());
            assert!(second.as_mut().now_or_never().is_none());
        }
        assert_eq!(Status::read(&path).unwrap().in_flight, 1);
        drop(first);
        assert_eq!(
            Status::read(&path).unwrap().in_flight,
            1,
            "the intent stays"
        );
        assert_eq!(second.await.unwrap().text, "Yes.");
    });
    let tries = number(&path, "SELECT tries FROM calls");
    assert_eq!((tries, calls.load(Ordering::SeqCst)), (2, 2));
    assert_eq!(Status::read(&path).unwrap().in_flight, 0);
}

#[test]
fn errors_are_counted_and_not_remembered() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let counted = Counted::default();
    counted.fail(true);
    let model = journal.record(&counted, "counted").with_price(price());
    let wobbly = request("wobbly");
    let error = block_on(model.complete(&wobbly)).unwrap_err();
    assert_eq!(error.kind(), "transport");
    assert_eq!(
        Status::read(&path).unwrap().in_flight,
        0,
        "its end is known"
    );
    counted.fail(false);
    block_on(model.complete(&wobbly)).unwrap();
    block_on(model.complete(&wobbly)).unwrap();
    assert_eq!(counted.calls(), 2);
    let [tries, errors] =
        ["tries", "errors"].map(|name| number(&path, &format!("SELECT {name} FROM calls")));
    assert_eq!((tries, errors), (2, 1));
    assert_eq!((journal.spent().requests, journal.spent().money), (2, COST));
}

#[test]
fn a_retry_outside_counts_every_try() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let counted = Counted::default();
    counted.fail(true);
    let policy = RetryPolicy {
        max_attempts: 3,
        ..RetryPolicy::default()
    };
    let model = journal
        .record(&counted, "counted")
        .with_retry(policy, |_| std::future::ready(()));
    block_on(model.complete(&request("wobbly"))).unwrap_err();
    assert_eq!(journal.spent().requests, 3);
}

/// Numbers that an inexact reader of JSON reads with another last bit.
#[test]
fn numbers_come_back_to_the_last_bit() {
    let (_folder, path) = folder();
    let numbers: Vec<f64> = (1..400_u32)
        .map(|n| -(f64::from(n) * 1e7).sqrt() / 3.0)
        .collect();
    let given = numbers.clone();
    let model = score_fn(move |_| {
        let continuations = given.iter().map(|logprob| Continuation {
            logprob: *logprob,
            tokens: 1,
        });
        let scores = Scores {
            continuations: continuations.collect(),
            usage: Usage::default(),
            model: Arc::new(ModelId::new("m")),
        };
        async move { Ok(scores) }
    });
    let request = ScoreRequest::new(Prompt::Raw("once".into()), ["a"]);
    let ask = |journal: Journal| {
        let scores = block_on(journal.record(&model, "m").score(&request)).unwrap();
        let logprobs = scores.continuations.iter().map(|one| one.logprob);
        logprobs.collect::<Vec<f64>>()
    };
    assert_eq!(ask(Journal::create(&path, manifest()).unwrap()), numbers);
    assert_eq!(ask(Journal::open(&path, manifest()).unwrap()), numbers);
}

#[test]
fn an_answer_that_could_not_be_read_again_is_an_error() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    let model = score_fn(|_| async {
        Ok(Scores {
            continuations: vec![Continuation {
                logprob: f64::NEG_INFINITY,
                tokens: 1,
            }],
            usage: Usage::default(),
            model: Arc::new(ModelId::new("m")),
        })
    });
    let request = ScoreRequest::new(Prompt::Raw("once".into()), ["a"]);
    let answer: Result<Scores> = block_on(journal.record(model, "m").score(&request));
    assert!(matches!(answer, Err(Error::Malformed { .. })), "{answer:?}");
    assert_eq!(
        number(&path, "SELECT count(*) FROM calls WHERE state = 'failed'"),
        1
    );
}
