//! Loading, on files that are made in the test.

mod adapters;
mod hostile;
mod merge;
pub(crate) mod tiny;

use std::sync::mpsc;

use futures::{executor::block_on, poll};

use super::{
    CandleModel, Device, Precision,
    gguf::Gguf,
    graph::config::Config,
    threads::thread_pool,
    weights::read::{self, Plan},
};
use crate::{
    error::Error,
    model::{ChatModel, ChatRequest, Prompt, ScoreRequest, ScoringModel},
};
use tiny::{Tiny, write};

#[test]
fn weights_are_the_same_bytes_however_many_threads_prepare_them() {
    // So many rows that the threads share them.
    let (_, bytes) = Tiny::sized(256, 1024).bytes();
    let file = write(&bytes);
    let gguf = Gguf::open(&file.path).unwrap();
    let read = |threads| {
        let plan = Plan {
            device: Device::Cpu.open().unwrap(),
            precision: Precision::Int8,
            kernels: true,
            positions: 8,
            adapter: None,
        };
        let threads = thread_pool("tiny", Some(threads)).unwrap();
        let config = Config::read(&gguf).unwrap();
        let mut heard = Vec::new();
        let mut progress = |read, all| {
            heard.push((read, all));
            Ok(())
        };
        let graph = read::read(&gguf, config, &plan, &threads, &mut progress).unwrap();
        assert_eq!(heard, [(0, 2), (1, 2), (2, 2)]);
        graph
    };
    let graphs = [1, 3].map(read);
    let [one, three] = graphs.each_ref().map(|graph| {
        let layers = graph.weights.layers.iter();
        layers
            .flat_map(|layer| [&layer.qkv, &layer.output, &layer.gate_up, &layer.down])
            .chain([&graph.weights.head])
            .map(|linear| linear.as_int8().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(one.len(), 9);
    assert!(one == three);
    assert!(one[0] != one[4], "all are alike");
}

#[test]
fn a_load_that_nobody_waits_for_is_given_up_at_the_next_layer() {
    let file = write(&Tiny::new().bytes().1);
    let (tell, told) = mpsc::channel();
    let (open, gate) = mpsc::channel::<()>();
    let builder = CandleModel::builder(&file.path).with_progress(move |read, all| {
        tell.send((read, all)).unwrap();
        let _ = gate.recv();
    });
    block_on(async {
        let mut loading = Box::pin(builder.load_async());
        assert!(poll!(&mut loading).is_pending());
        assert_eq!(told.recv(), Ok((0, 2)));
    });
    // The future is gone; now the first layer may be read.
    drop(open);
    assert!(told.recv().is_err(), "no more layers are read");
}

#[test]
fn a_model_that_is_loaded_beside_the_caller_is_the_same() {
    let file = write(&Tiny::new().bytes().1);
    let model = block_on(CandleModel::builder(&file.path).load_async()).unwrap();
    let other = CandleModel::load(&file.path).unwrap();
    assert_eq!(model.model_id(), other.model_id());
    let error = block_on(CandleModel::builder("nowhere.gguf").load_async()).unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn the_tiny_model_runs_and_reports_its_progress() {
    let (_, bytes) = Tiny::new().bytes();
    let file = write(&bytes);
    let model = CandleModel::builder(&file.path)
        .with_threads(1)
        .load()
        .unwrap();
    let hash = model.model_id().hash.clone().unwrap();
    assert_eq!(hash, super::gguf::sha256([&bytes]));
    assert_eq!(model.tokenizer().encode("the thing").unwrap().len(), 5);
}

/// A number that a row is rounded to cannot be NaN: without a check such a row would become zeros, and the answer a
/// random text.
#[test]
fn activations_that_are_not_finite_are_an_error() {
    let mut tiny = Tiny::new();
    // The largest scale that Q8_0 has, for the row of the letter a: too large for the 16 bits of the embedding.
    tiny.tensor("token_embd").data[..2].copy_from_slice(&[0xff, 0x7b]);
    let file = write(&tiny.bytes().1);
    let model = CandleModel::builder(&file.path)
        .with_threads(1)
        .load()
        .unwrap();
    let ask = |text: &str| {
        let request = ChatRequest::new(Prompt::Raw(text.to_owned())).with_max_tokens(1);
        let scores = ScoreRequest::new(Prompt::Raw(text.to_owned()), ["b", "cd"]);
        let (model, score) = (&model, model.score(&scores));
        (block_on(model.complete(&request)), block_on(score))
    };
    let (text, scores) = ask("xa");
    let reason = "model tiny.gguf: what it computes are no numbers: the weights are damaged";
    assert_eq!(text.unwrap_err().report(), reason);
    assert_eq!(scores.unwrap_err().report(), reason);
    let (text, scores) = ask("yb");
    text.unwrap();
    scores.unwrap();
}
