//! The local engine's scheduler on the real model: what is shared, what is freed, and that the answers do not show it.

use futures::{FutureExt, StreamExt, future::join_all, stream};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use safer_instruct::{
    ChatModel, ChatRequest, Prompt, Sampling, ScoreRequest, ScoringModel,
    backends::candle::{CandleModel, CandleModelBuilder},
};

use crate::candle_support::{block_on, model_path};

fn load(options: impl FnOnce(CandleModelBuilder) -> CandleModelBuilder) -> CandleModel {
    let builder = CandleModel::builder(model_path()).with_hash("sha256:not-read");
    options(builder).load().unwrap()
}

#[derive(Clone)]
enum Request {
    Write(ChatRequest),
    Score(ScoreRequest),
}

/// Every bit of an answer that a caller can see, but for the counts of tokens.
async fn answer(model: &CandleModel, request: &Request) -> (String, Vec<u64>) {
    match request {
        Request::Write(request) => (model.complete(request).await.unwrap().text, Vec::new()),
        Request::Score(request) => {
            let scores = model.score(request).await.unwrap();
            let bits = scores.continuations.iter().map(|c| c.logprob.to_bits());
            (String::new(), bits.collect())
        }
    }
}

/// Requests of all lengths and kinds, most of which begin like others.
fn requests(seed: u64, count: usize) -> Vec<Request> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut below = move |n: usize| (rng.next_u64() % n as u64) as usize;
    let words = [
        "kettle ",
        "雨が",
        "spoon ",
        "table, ",
        "two ",
        "cups.\n",
        "静かに",
    ];
    let mut text = |len: usize| -> String { (0..len).map(|_| words[below(7)]).collect() };
    let shared: Vec<String> = [3, 17, 40, 90, 130].map(&mut text).into();
    let own: Vec<String> = (0..count).map(|n| text(1 + n * 7 % 40)).collect();
    own.into_iter()
        .enumerate()
        .map(|(n, own)| {
            let prompt = Prompt::Raw(format!("{}{own}", shared[n % shared.len()]));
            if n % 3 == 0 {
                let texts = [" Yes", " No, not at all.", own.as_str()];
                return Request::Score(ScoreRequest::new(prompt, texts.into_iter().skip(n % 2)));
            }
            let sampling = Sampling {
                temperature: (n % 2) as f64,
                seed: n as u64,
                ..Sampling::default()
            };
            let request = ChatRequest::new(prompt).with_sampling(sampling);
            Request::Write(request.with_max_tokens(1 + n % 40))
        })
        .collect()
}

#[test]
fn an_answer_is_the_same_bits_alone_in_a_batch_and_after_a_known_beginning() {
    let alone = load(|model| {
        let model = model.with_threads(1).with_max_batch(1);
        model.with_prefix_cache(0)
    });
    let crowded = load(|model| model.with_threads(3).with_max_batch(7));
    let requests = requests(1, 24);
    let expected: Vec<_> = requests
        .iter()
        .map(|request| block_on(answer(&alone, request)))
        .collect();
    // The second time everything has been read before, and the order is another.
    for step in [1, 7] {
        let order: Vec<usize> = (0..24).map(|n| n * step % 24).collect();
        let answers = join_all(order.iter().map(|n| answer(&crowded, &requests[*n])));
        for (n, answer) in order.iter().zip(block_on(answers)) {
            assert_eq!(answer, expected[*n], "request {n}, every {step}th");
        }
    }
}

#[test]
fn cancelled_requests_leave_no_block() {
    let model = load(|model| model.with_prefix_cache(0).with_max_batch(8));
    let requests = requests(5, 1000);
    let tea = |tokens| {
        let request = ChatRequest::new(Prompt::Raw("Tea".to_owned()));
        Request::Write(request.with_max_tokens(tokens))
    };
    block_on(async {
        for some in requests.chunks(100) {
            let first = tea(2);
            let mut first = Box::pin(answer(&model, &first));
            let mut others: Vec<_> = some
                .iter()
                .map(|request| Box::pin(answer(&model, request)))
                .collect();
            for future in [&mut first].into_iter().chain(&mut others) {
                assert!(future.now_or_never().is_none());
            }
            // Half of them are dropped before the worker can begin them, the others while they run.
            others.truncate(50);
            first.await;
        }
        // The step that answers the first may have begun before the last of them was dropped; not that of the second.
        answer(&model, &tea(1)).await;
        answer(&model, &tea(1)).await;
    });
    let block = 32 * 30 * 2 * 3 * 64 * 2;
    assert!(model.kv_bytes() <= block, "{} bytes", model.kv_bytes());
}

#[test]
fn keys_and_values_stay_within_their_memory() {
    let block = 32 * 30 * 2 * 3 * 64 * 2;
    let budget = 19 * block;
    let error = CandleModel::builder(model_path())
        .with_context(640)
        .with_kv_memory(budget)
        .load()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "kv_memory: 14008320 bytes are too few: one sequence of the longest context takes 14745600; allow them or a shorter context"
    );

    let model = load(|model| {
        let model = model.with_context(600).with_kv_memory(budget);
        model.with_prefix_cache(0)
    });
    let requests = requests(9, 16);
    let most = block_on(
        stream::iter(&requests)
            .map(|request| answer(&model, request).map(|_| model.kv_bytes()))
            .buffer_unordered(16)
            .fold(0, |most, bytes| async move { most.max(bytes) }),
    );
    // A copy of a block that two sequences have begun together may come on top for each.
    assert!(most > budget / 2, "{most} bytes");
    assert!(most <= budget + 8 * block, "{most} bytes");
}
