//! What a run may spend.

use std::time::Duration;

use async_trait::async_trait;
use futures::executor::block_on;
use safer_instruct::{
    ChatModel, ChatRequest, Decision, Draft, Error, Filter, Prompt, Result, Retry,
    run::{Budget, End, Journal, Limit, Runner, Status},
};

use crate::support::{
    COST, Counted, USAGE, files, folder, manifest, never, no_time, pipeline, price, run, stream_of,
    texts, undisturbed,
};

const TEXTS: usize = 24;
/// Calls in flight at once: of six draws, whose judge asks in both orders at once.
const IN_FLIGHT: u64 = 12;

#[test]
fn a_run_ends_at_its_budget_goes_on_under_a_larger_one_and_pays_nothing_twice() {
    let (folder, path) = folder();
    let model = Counted::default();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    for most in [1, 7, 30, 31] {
        let budget = Budget::new().with_requests(most);
        block_on(journal.set_budget(budget)).unwrap();
        let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
        assert_eq!(report.end, End::OverBudget(Limit::Requests));
        assert_eq!(
            (u64::from(model.calls()), journal.spent().requests),
            (most, most)
        );
        let status = Status::read(&path).unwrap();
        assert_eq!((status.failed, status.in_flight), (0, 0), "{most}");
        assert!(!status.complete);
    }
    drop(journal);
    // The limit survives the process, and so does what was spent.
    let mut journal = Journal::open(&path, manifest()).unwrap();
    let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!(report.end, End::OverBudget(Limit::Requests));
    assert_eq!(model.calls(), 31);
    assert!(journal.done() > 0);

    block_on(journal.set_budget(Budget::new())).unwrap();
    let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
    assert_eq!((report.end, model.most()), (End::Complete, 1));
    let out = folder.path().join("out");
    journal.export(&out).unwrap();
    assert!(files(&out) == undisturbed(TEXTS));
}

#[test]
fn tokens_and_money_are_overdrawn_by_what_is_in_flight_at_most() {
    let money = 10 * COST;
    let tokens = 10 * USAGE.total();
    for (budget, limit) in [
        (Budget::new().with_money(money), Limit::Money),
        (Budget::new().with_tokens(tokens), Limit::Tokens),
    ] {
        let (_folder, path) = folder();
        let model = Counted::default();
        let mut journal = Journal::create(&path, manifest()).unwrap();
        block_on(journal.set_budget(budget)).unwrap();
        let report = run(&mut journal, &model, texts(TEXTS)).unwrap();
        assert_eq!(report.end, End::OverBudget(limit));
        let spent = journal.spent();
        assert!(
            spent.money >= money && spent.money < money + IN_FLIGHT * COST,
            "{spent:?}"
        );
        assert_eq!(spent.usage.total() / USAGE.total(), spent.money / COST);
    }
}

struct Lenient<M>(M);

#[async_trait]
impl<M: ChatModel> Filter<Draft> for Lenient<M> {
    async fn assess(&self, draft: &Draft) -> Result<Decision> {
        let request = ChatRequest::new(Prompt::Raw(draft.source().text().to_owned()));
        let _ = self.0.complete(&request).await;
        Ok(Decision::Keep)
    }
}

/// A filter that keeps everything when its model fails must not keep an item for which the budget was used up.
#[test]
fn an_outcome_that_hides_a_refused_call_is_not_written() {
    let (_folder, path) = folder();
    let mut journal = Journal::create(&path, manifest()).unwrap();
    block_on(journal.set_budget(Budget::new().with_requests(5))).unwrap();
    let asked = journal.record(Counted::default(), "filter");
    let pipeline = pipeline(Counted::default())
        .with_concurrency(1)
        .with_instruction_filter(Lenient(asked));
    let runner = Runner::new(&mut journal, &pipeline, no_time, never);
    let report = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
    assert_eq!(report.end, End::OverBudget(Limit::Requests));
    // Five texts have two draws each, the second of which finds the answer of the first.
    assert_eq!(report.progress.done, 10);
}

#[test]
fn a_call_over_the_budget_is_an_error_that_is_never_retried() {
    let (_folder, path) = folder();
    let journal = Journal::create(&path, manifest()).unwrap();
    block_on(journal.set_budget(Budget::new().with_money(COST))).unwrap();
    let model = journal
        .record(Counted::default(), "counted")
        .with_price(price());
    let ask = |text: &str| block_on(model.complete(&ChatRequest::new(Prompt::Raw(text.into()))));
    ask("first").unwrap();
    let error = ask("second").unwrap_err();
    assert!(
        matches!(
            error,
            Error::OverBudget {
                spent: 20,
                limit: 20,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!((error.kind(), error.retry()), ("over_budget", Retry::Never));
    ask("first").unwrap();
}

#[test]
fn wall_time_adds_up_over_sessions_and_ends_the_run() {
    let (_folder, path) = folder();
    let limit = Duration::from_secs(60);
    let mut journal = Journal::create(&path, manifest()).unwrap();
    block_on(journal.set_budget(Budget::new().with_wall_time(limit))).unwrap();
    let ticks = std::sync::atomic::AtomicU64::new(0);
    let clock = || Duration::from_secs(ticks.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
    // The time that is left when the session begins is waited for. Here it never ends, the drain included.
    let asked = std::sync::Mutex::new(Vec::new());
    let sleep = |time| {
        asked.lock().unwrap().push(time);
        std::future::pending()
    };
    {
        let recorded = journal.record(Counted::default(), "counted");
        let pipeline = pipeline(&recorded);
        let runner = Runner::new(&mut journal, &pipeline, clock, sleep);
        block_on(runner.run(stream_of(texts(3)))).unwrap();
    }
    let first = journal.spent().wall_time;
    assert!(first > Duration::ZERO && first < limit, "{first:?}");
    drop(journal);

    let mut journal = Journal::open(&path, manifest()).unwrap();
    assert_eq!(journal.spent().wall_time, first);
    let recorded = journal.record(Counted::default(), "counted");
    let pipeline = pipeline(&recorded);
    // And here it is over when it is looked at.
    let over = |time| {
        asked.lock().unwrap().push(time);
        std::future::ready(())
    };
    let runner = Runner::new(&mut journal, &pipeline, no_time, over);
    let report = block_on(runner.run(stream_of(texts(TEXTS)))).unwrap();
    assert_eq!(report.end, End::OverBudget(Limit::WallTime));
    let asked = asked.into_inner().unwrap();
    assert_eq!(asked[..2], [limit, limit - first]);
}
