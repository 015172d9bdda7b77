//! Loading, on files that are made in the test.

mod adapters;
mod hostile;
mod merge;
pub(crate) mod tiny;

use super::{
    CandleModel, Device, Precision,
    gguf::Gguf,
    graph::config::Config,
    threads::thread_pool,
    weights::read::{self, Plan},
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
        let mut progress = |read, all| heard.push((read, all));
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
