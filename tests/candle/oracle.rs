//! Weights beside other programs: each type of tensor beside the package `gguf`, adapters beside a merge by numpy.

use std::path::Path;

use safer_instruct::{
    Prompt, ScoreRequest, ScoringModel,
    backends::candle::{CandleModel, CandleModelBuilder, Precision},
};

use crate::candle_support::{block_on, oracle::python};

/// The log-probabilities of a few continuations, which all weights go into.
fn scores(builder: CandleModelBuilder) -> Vec<f64> {
    let model = builder.load().unwrap();
    let request = ScoreRequest::new(
        Prompt::Raw("the ring in the bin".to_owned()),
        ["ing the", "abc", "q", " in the beginning the"],
    );
    let scores = block_on(model.score(&request)).unwrap().continuations;
    scores.iter().map(|score| score.logprob).collect()
}

fn exact(path: &Path) -> CandleModelBuilder {
    CandleModel::builder(path)
        .with_precision(Precision::F32)
        .with_threads(1)
}

/// The largest difference.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let pairs = one.iter().zip(other);
    pairs.fold(0.0, |most, (a, b)| f64::max(most, (a - b).abs()))
}

#[test]
fn every_type_of_tensor_has_the_bits_that_gguf_reads() {
    let folder = tempfile::tempdir().unwrap();
    python("tiny.py", [folder.path()]);
    for kind in [
        "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K",
    ] {
        let path = |name: String| folder.path().join(name);
        let (packed, values) = (
            path(format!("{kind}.gguf")),
            path(format!("{kind}-f32.gguf")),
        );
        let ours = scores(exact(&packed));
        assert!(
            ours.iter().all(|score| score.is_finite()),
            "{kind}: {ours:?}"
        );
        assert_eq!(ours, scores(exact(&values)), "{kind}");
        let int8 = |path| CandleModel::builder(path).with_threads(1);
        assert_eq!(
            scores(int8(packed)),
            scores(int8(values)),
            "{kind} in 8 bits"
        );
    }
}

#[test]
fn an_adapter_is_merged_as_by_numpy() {
    let folder = tempfile::tempdir().unwrap();
    python("lora.py", [folder.path()]);
    for name in ["llama", "llama-attention", "qwen2"] {
        let path = |file: &str| folder.path().join(name).join(file);
        let base = scores(exact(&path("base.gguf")));
        let adapted = scores(exact(&path("base.gguf")).with_adapter(path("adapter")));
        let merged = scores(exact(&path("merged.gguf")));
        assert!(apart(&base, &merged) > 0.01, "{name}: {base:?} {merged:?}");
        let off = apart(&adapted, &merged);
        assert!(off < 1e-4, "{name}: {off}: {adapted:?} {merged:?}");

        // In 8 bits a weight near the middle between two steps may be rounded the other way, and the rounding of
        // activations changes with it.
        let int8 = |file: &str| CandleModel::builder(path(file)).with_threads(1);
        let adapted = scores(int8("base.gguf").with_adapter(path("adapter")));
        let off = apart(&adapted, &scores(int8("merged.gguf")));
        let changed = apart(&base, &merged);
        assert!(off < changed / 10.0, "{name} in 8 bits: {off} of {changed}");
    }
}
