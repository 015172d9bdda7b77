//! The local engine on the real default model: reading, writing and scoring, in tokens or requests a second.
//!
//! `cargo bench --features candle --bench engine`, or with the path of another GGUF file after `--`. One line a case, best of
//! three, so that `benches/peers/peers.py` can set it beside others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use futures::{executor::block_on, future::join_all};
use safer_instruct::{
    ChatModel, ChatRequest, Prompt, ScoreRequest, ScoringModel,
    backends::candle::CandleModel,
    hub::{Cache, Fetcher, ModelSource},
};

const ROUNDS: usize = 3;

fn main() {
    let path = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    let path = path.map_or_else(default_model, PathBuf::from);
    let begin = Instant::now();
    let model = CandleModel::builder(&path)
        .with_max_batch(128)
        .with_hash("sha256:not-read")
        .load()
        .expect("the model loads");
    print("load, ms", begin.elapsed().as_secs_f64() * 1e3);

    let mut words = Words(1);
    for tokens in [256, 1024] {
        let best = best(|| {
            let request = ScoreRequest::new(words.prompt(&model, tokens), [" a"]);
            timed(|| block_on(model.score(&request)).unwrap()).0
        });
        print(&format!("prefill {tokens}, tokens/s"), tokens as f64 / best);
    }
    for streams in [1, 8, 32, 64, 128] {
        // What is read before is timed apart and taken away.
        let best = best(|| {
            let prompts: Vec<Prompt> = (0..streams).map(|_| words.prompt(&model, 128)).collect();
            let write = |max_tokens| {
                let requests: Vec<ChatRequest> = prompts
                    .iter()
                    .map(|prompt| ChatRequest::new(prompt.clone()).with_max_tokens(max_tokens))
                    .collect();
                timed(|| {
                    let all = join_all(requests.iter().map(|request| model.complete(request)));
                    let all = block_on(all);
                    all.iter()
                        .map(|one| one.as_ref().unwrap().usage.completion_tokens)
                        .sum::<u64>()
                })
            };
            write(1);
            let (first, _) = write(1);
            let (all, tokens) = write(65);
            (all - first) / (tokens as f64 - streams as f64)
        });
        print(&format!("decode {streams} streams, tokens/s"), 1.0 / best);
    }
    let best = best(|| {
        let shared = words.text(&model, 300);
        let requests: Vec<ScoreRequest> = (0..400)
            .map(|_| {
                let text = format!("{shared}{}", words.text(&model, 20));
                ScoreRequest::new(Prompt::Raw(text), [" A", " B"])
            })
            .collect();
        timed(|| {
            block_on(join_all(
                requests.iter().map(|request| model.score(request)),
            ))
        })
        .0
    });
    print(
        "400 label scores after 300 shared tokens, scores/s",
        400.0 / best,
    );
}

fn default_model() -> PathBuf {
    let cache = Cache::default_dir().expect("there is a cache directory");
    let fetched = Fetcher::new(cache).fetch(&ModelSource::smollm2_135m(), |_| {});
    fetched.expect("the model can be fetched").path
}

fn print(name: &str, value: f64) {
    println!("{name}\t{value:.1}");
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let result = work();
    (
        begin.elapsed().max(Duration::from_nanos(1)).as_secs_f64(),
        result,
    )
}

fn best(mut seconds: impl FnMut() -> f64) -> f64 {
    (0..ROUNDS).map(|_| seconds()).fold(f64::INFINITY, f64::min)
}

/// Made-up text, never the same twice, so that nothing has been read before.
struct Words(u64);

impl Words {
    fn text(&mut self, model: &CandleModel, tokens: usize) -> String {
        const WORDS: [&str; 16] = [
            "river", "bread", "window", "seven", "green", "under", "walks", "song", "paper",
            "cold", "garden", "often", "letter", "stone", "bright", "road",
        ];
        let mut text = String::new();
        let mut count = 0;
        // Each of these words is one token.
        while count < tokens {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let word = WORDS.get((self.0 >> 60) as usize).unwrap_or(&"");
            text.push(' ');
            text.push_str(word);
            count += 1;
        }
        assert_eq!(model.count_tokens(&text).unwrap(), tokens);
        text
    }

    fn prompt(&mut self, model: &CandleModel, tokens: usize) -> Prompt {
        Prompt::Raw(self.text(model, tokens))
    }
}
