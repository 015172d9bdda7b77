//! What the pipeline itself costs: stages that cost nothing, and virtual time for the order of the results.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    pin::{Pin, pin},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use divan::{Bencher, counter::ItemsCount};
use futures::{Stream, StreamExt, executor::block_on, stream};
use safer_instruct::{
    Instruction, InstructionGenerator, Judgement, Pipeline, PreferenceJudge, Response,
    ResponseGenerator, SourceText, induce_fn, judge_fn, respond_fn,
};

/// Texts of one sample: few enough to stay in the cache, as they do where texts are read one by one.
const TEXTS: usize = 1_000;
/// Texts whose virtual time is measured.
const TIMED: usize = 100_000;

fn main() {
    makespans();
    divan::main();
}

fn induce() -> impl InstructionGenerator {
    induce_fn(|_| async { Ok(Instruction::new("What do you say to a beginner?")) })
}

fn respond() -> impl ResponseGenerator {
    respond_fn(|_| async { Ok(Response::new("Keep at it.")) })
}

/// Prefers the expert, so that every text becomes a pair.
fn judge() -> impl PreferenceJudge {
    judge_fn(|_, first: Response, _| async move {
        Ok(if first.text().starts_with("Keep") {
            Judgement::first()
        } else {
            Judgement::second()
        })
    })
}

fn texts(count: usize) -> Vec<SourceText> {
    (0..count)
        .map(|n| SourceText::new(n.to_string(), "You will never learn it."))
        .collect()
}

fn run_free<I, R, J>(bencher: Bencher<'_, '_>, pipeline: &Pipeline<I, R, J>)
where
    I: InstructionGenerator,
    R: ResponseGenerator,
    J: PreferenceJudge,
{
    bencher
        .counter(ItemsCount::new(TEXTS))
        .with_inputs(|| texts(TEXTS))
        .bench_local_values(|texts| {
            block_on(
                pipeline
                    .run(stream::iter(texts))
                    .map(drop)
                    .collect::<Vec<()>>(),
            )
        });
}

#[divan::bench]
fn generic(bencher: Bencher<'_, '_>) {
    run_free(bencher, &Pipeline::new(induce(), respond(), judge()));
}

#[divan::bench]
fn boxed(bencher: Bencher<'_, '_>) {
    run_free(
        bencher,
        &Pipeline::new(induce(), respond(), judge()).boxed(),
    );
}

/// A clock that jumps to the next waker whenever all others wait.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<Time>>);

#[derive(Default)]
struct Time {
    now: u64,
    sleepers: BinaryHeap<Reverse<(u64, usize)>>,
    wakers: Vec<Option<Waker>>,
}

impl Clock {
    /// Ends `ticks` after it is first polled.
    fn sleep(&self, ticks: u64) -> impl Future<Output = ()> + use<> {
        let (clock, mut until) = (self.clone(), None);
        std::future::poll_fn(move |context| {
            let time = &mut *clock.0.lock().unwrap();
            let end = *until.get_or_insert(time.now + ticks);
            if end <= time.now {
                return Poll::Ready(());
            }
            time.sleepers.push(Reverse((end, time.wakers.len())));
            time.wakers.push(Some(context.waker().clone()));
            Poll::Pending
        })
    }

    /// Runs a stream to its end and gives the time that it took.
    fn makespan<T>(&self, stream: impl Stream<Item = T>) -> u64 {
        let mut stream: Pin<&mut _> = pin!(stream);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            match stream.as_mut().poll_next(&mut context) {
                Poll::Ready(Some(_)) => {}
                Poll::Ready(None) => return self.0.lock().unwrap().now,
                Poll::Pending => {
                    let mut time = self.0.lock().unwrap();
                    let Reverse((end, sleeper)) = time.sleepers.pop().expect("all are stuck");
                    time.now = end;
                    let waker = time.wakers.get_mut(sleeper).and_then(Option::take);
                    drop(time);
                    waker.expect("each wakes once").wake();
                }
            }
        }
    }
}

/// Draws a latency in ticks from a number between 0 and 1.
type Latency = fn(f64) -> f64;

/// A pipeline whose induction takes a latency that follows from the text alone, in the time of `clock`.
fn slow(
    clock: &Clock,
    latency: Latency,
) -> Pipeline<impl InstructionGenerator, impl ResponseGenerator, impl PreferenceJudge> {
    let clock = clock.clone();
    Pipeline::new(
        induce_fn(move |source: SourceText| {
            let uniform = (source.lineage().seed("latency") >> 11) as f64 / (1_u64 << 53) as f64;
            let sleep = clock.sleep(latency(uniform) as u64);
            async move {
                sleep.await;
                Ok(Instruction::new("What do you say?"))
            }
        }),
        respond_fn(|_| async { Ok(Response::new("Keep at it.")) }),
        judge_fn(|_, _, _| async { Ok(Judgement::first()) }),
    )
}

/// Prints how long 100,000 texts take in input order, in any order, and with `buffered` of the futures crate.
fn makespans() {
    let latencies: [(&str, Latency); 3] = [
        ("exponential", |u| -1000.0 * (1.0 - u).ln()),
        ("log-logistic, shape 1.67", |u| {
            1000.0 * (u / (1.0 - u)).powf(0.6)
        }),
        ("Pareto 1.5, cut at 100 medians", |u| {
            (1000.0 * (1.0 - u).powf(-1.0 / 1.5)).min(158_700.0)
        }),
    ];
    for (name, latency) in latencies {
        let ordered = {
            let clock = Clock::default();
            let pipeline = slow(&clock, latency);
            clock.makespan(pipeline.run(stream::iter(texts(TIMED))))
        };
        let unordered = {
            let clock = Clock::default();
            let pipeline = slow(&clock, latency);
            clock.makespan(pipeline.run_unordered(stream::iter(texts(TIMED))))
        };
        let buffered = {
            let clock = Clock::default();
            let pipeline = slow(&clock, latency);
            let jobs = stream::iter(texts(TIMED)).map(|text| pipeline.process(text));
            clock.makespan(jobs.buffered(pipeline.concurrency()))
        };
        let ratio = |ticks: u64| ticks as f64 / unordered as f64;
        println!(
            "{name}: ordered {:.3}, buffered {:.3} times as long as unordered",
            ratio(ordered),
            ratio(buffered),
        );
    }
}
