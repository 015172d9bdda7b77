//! The local engine on the real default model: reading, writing and scoring, in tokens or requests a second.
//!
//! `cargo bench --features candle --bench engine -- [MODEL.gguf] [CASE ...]`, where a case is `load`, `prefill`,
//! `decode` or `decode=1,8` streams, `labels`, `states`, `context`, `memory` or `perplexity=TEXT`; by default the
//! default model and the first four. One line a figure, best of three, so that `benches/peers/peers.py` can set it beside others.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures::{executor::block_on, future::join_all};
use safer_instruct::{
    ChatModel, ChatRequest, Prompt, ScoreRequest, ScoringModel, StateModel, StateRequest,
    backends::candle::{CandleModel, CandleModelBuilder},
    hub::{Fetcher, ModelCache, ModelSource},
};

const ROUNDS: usize = 3;

fn main() {
    let mut arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let model = arguments.iter().position(|name| name.ends_with(".gguf"));
    let path = model.map_or_else(default_model, |at| PathBuf::from(arguments.remove(at)));
    if arguments.is_empty() {
        arguments = ["load", "prefill", "decode", "labels"]
            .map(str::to_owned)
            .into();
    }
    for case in &arguments {
        let (name, value) = case.split_once('=').unwrap_or((case, ""));
        match name {
            "load" => load(&path),
            "prefill" => prefill(&path),
            "decode" if value.is_empty() => streams(&path, "1,8,32,64,128"),
            "decode" => streams(&path, value),
            "labels" => labels(&path),
            "states" => states(&path),
            "context" => context(&path),
            // Must run alone in its process.
            "memory" => memory(&path),
            "perplexity" => perplexity(&path, value),
            _ => println!("there is no case {case}"),
        }
    }
}

fn builder(path: &Path) -> CandleModelBuilder {
    CandleModel::builder(path).with_hash("sha256:not-read")
}

/// A model for many streams, which keeps all prompts of a case, so that only what is written is timed.
fn wide(path: &Path) -> CandleModel {
    let model = builder(path).with_max_batch(128);
    let model = model.with_prefix_cache(2 << 30);
    model.load().expect("the model loads")
}

fn load(path: &Path) {
    let best = best(|| timed(|| CandleModel::load(path).expect("the model loads")).0);
    print("load, ms", best * 1e3);
}

fn prefill(path: &Path) {
    let (model, mut words) = (wide(path), Words(1));
    for tokens in [256, 1024] {
        let best = best(|| {
            let request = ScoreRequest::new(words.prompt(&model, tokens), [" a"]);
            timed(|| block_on(model.score(&request)).unwrap()).0
        });
        print(&format!("prefill {tokens}, tokens/s"), tokens as f64 / best);
    }
}

fn streams(path: &Path, counts: &str) {
    let (model, mut words) = (wide(path), Words(2));
    for streams in counts.split(',') {
        let streams = streams.parse().expect("a number of streams");
        let best = best(|| decode(&model, &mut words, streams, 128));
        print(&format!("decode {streams} streams, tokens/s"), 1.0 / best);
    }
}

fn labels(path: &Path) {
    let (model, mut words) = (builder(path).load().unwrap(), Words(3));
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

/// What a probe costs: the states over 64 responses of 128 tokens after prompts of 40, beside scores that read the same
/// tokens, and beside verdicts that the model writes about them.
fn states(path: &Path) {
    const ITEMS: usize = 64;
    let (model, mut words) = (wide(path), Words(6));
    let layers: Vec<usize> = [50, 60, 70, 80]
        .map(|share| (model.layers() * share).div_ceil(100))
        .into();
    let mut items = |model: &CandleModel| -> Vec<[String; 2]> {
        let item = |_| [words.text(model, 40), words.text(model, 128)];
        (0..ITEMS).map(item).collect()
    };
    let per_second = |seconds: f64| ITEMS as f64 / seconds;
    let read = best(|| {
        let requests = items(&model).into_iter().map(|[prompt, response]| {
            StateRequest::new(Prompt::Raw(prompt), response, layers.clone())
        });
        let requests: Vec<StateRequest> = requests.collect();
        timed(|| {
            block_on(join_all(
                requests.iter().map(|request| model.states(request)),
            ))
        })
        .0
    });
    print("states of 64 responses, items/s", per_second(read));
    let scored = best(|| {
        let requests = items(&model)
            .into_iter()
            .map(|[prompt, response]| ScoreRequest::new(Prompt::Raw(prompt + &response), [" a"]));
        let requests: Vec<ScoreRequest> = requests.collect();
        timed(|| {
            block_on(join_all(
                requests.iter().map(|request| model.score(request)),
            ))
        })
        .0
    });
    print("scores that read the same, items/s", per_second(scored));
    for tokens in [32, 256] {
        let written = best(|| {
            let requests = items(&model).into_iter().map(|[prompt, response]| {
                ChatRequest::new(Prompt::Raw(prompt + &response)).with_max_tokens(tokens)
            });
            let requests: Vec<ChatRequest> = requests.collect();
            timed(|| {
                block_on(join_all(
                    requests.iter().map(|request| model.complete(request)),
                ))
            })
            .0
        });
        let name = format!("verdicts of {tokens} written tokens, items/s");
        print(&name, per_second(written));
    }
}

/// Writing after long prompts; once, because reading them takes long.
fn context(path: &Path) {
    let (model, mut words) = (wide(path), Words(4));
    for streams in [1, 8, 32] {
        let seconds = decode(&model, &mut words, streams, 960);
        print(
            &format!("decode {streams} streams at 1,024, tokens/s"),
            1.0 / seconds,
        );
    }
}

/// Seconds for each token that `streams` sequences write after prompts of so many tokens.
fn decode(model: &CandleModel, words: &mut Words, streams: usize, tokens: usize) -> f64 {
    let prompts: Vec<Prompt> = (0..streams).map(|_| words.prompt(model, tokens)).collect();
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
    // The reading of the prompts is timed separately and subtracted.
    write(1);
    let (first, _) = write(1);
    let (all, tokens) = write(65);
    (all - first) / (tokens as f64 - streams as f64)
}

/// The peak memory of the process, above what it used before it loaded the model, with 32 sequences of 512 tokens.
fn memory(path: &Path) {
    let before = status("VmRSS:");
    let model = builder(path).load().unwrap();
    print("peak memory after load, MiB", status("VmHWM:") - before);
    decode(&model, &mut Words(5), 32, 447);
    print(
        "peak memory, 32 streams of 512, MiB",
        status("VmHWM:") - before,
    );
}

/// A line of what Linux says of this process, in MiB; not a number elsewhere.
fn status(key: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kilobytes.unwrap_or(f64::NAN) / 1024.0
}

/// The perplexity of a text in windows of about 2,000 bytes of whole lines, each after a line break.
fn perplexity(path: &Path, text: &str) {
    let model = builder(path).load().unwrap();
    let text = std::fs::read_to_string(text).expect("the text can be read");
    let mut windows = vec![String::new()];
    for line in text.split_inclusive('\n') {
        if windows.last().unwrap().len() + line.len() > 2_000 {
            windows.push(String::new());
        }
        windows.last_mut().unwrap().push_str(line);
    }
    let requests: Vec<ScoreRequest> = windows
        .iter()
        .map(|window| ScoreRequest::new(Prompt::Raw("\n".to_owned()), [window.as_str()]))
        .collect();
    let scores = block_on(join_all(requests.iter().map(|one| model.score(one))));
    let (mut logprob, mut tokens) = (0.0, 0);
    for score in scores {
        for score in score.unwrap().continuations {
            logprob += score.logprob;
            tokens += score.tokens;
        }
    }
    println!("perplexity\t{:.4}", (-logprob / tokens as f64).exp());
}

fn default_model() -> PathBuf {
    let cache = ModelCache::default_dir().expect("there is a cache directory");
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
