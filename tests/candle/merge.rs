//! Merged files beside other programs: the bytes of the package `gguf`, a merge by numpy, and the text of a real
//! llama.cpp.

use std::{collections::BTreeMap, fs, path::Path};

use futures::future::join_all;
use safer_instruct::{
    ChatModel, ChatRequest, Message, Prompt, ScoreRequest, ScoringModel,
    backends::candle::{CandleModel, Merge, ModelForm, Precision},
};
use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::{Value, json};

use crate::candle_support::{
    block_on, model_path,
    oracle::{Oracle, python},
    reference,
};

const FORMS: [(ModelForm, &str); 2] = [(ModelForm::F16, "F16"), (ModelForm::Q8_0, "Q8_0")];

fn exact(path: &Path) -> CandleModel {
    let builder = CandleModel::builder(path).with_precision(Precision::F32);
    builder.load().unwrap()
}

fn scores(model: &CandleModel, prompt: &str, rest: &[&str]) -> Vec<f64> {
    let request = ScoreRequest::new(Prompt::Raw(prompt.to_owned()), rest.iter().copied());
    let scores = block_on(model.score(&request)).unwrap().continuations;
    scores.iter().map(|score| score.logprob).collect()
}

/// The largest difference.
fn apart(one: &[f64], other: &[f64]) -> f64 {
    let pairs = one.iter().zip(other);
    pairs.fold(0.0, |most, (a, b)| f64::max(most, (a - b).abs()))
}

/// Sets the factor of an adapter to 0, so that it changes nothing.
fn silence(adapter: &Path) {
    let path = adapter.join("adapter_config.json");
    let mut settings: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    settings["lora_alpha"] = json!(0);
    fs::write(path, settings.to_string()).unwrap();
}

/// A conversion by the package `gguf`.
fn convert(from: &Path, to: &Path, form: &str) {
    python(
        "convert.py",
        [from.as_os_str(), to.as_os_str(), form.as_ref()],
    );
}

/// Compares a merge that changes no weight with a conversion, byte by byte.
fn has_the_bytes_of_gguf(base: &Path, adapter: &Path, form: (ModelForm, &str), folder: &Path) {
    let [ours, theirs] = ["ours.gguf", "theirs.gguf"].map(|name| folder.join(name));
    let merge = Merge::new(base, adapter).with_form(form.0);
    merge.with_overwrite(true).write(&ours).unwrap();
    convert(base, &theirs, form.1);
    let [ours, theirs] = [ours, theirs].map(|path| fs::read(path).unwrap());
    assert_eq!(ours.len(), theirs.len(), "{base:?} in {}", form.1);
    let differ = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert_eq!(differ, None, "{base:?} in {}", form.1);
}

#[test]
fn a_file_has_the_bytes_that_gguf_writes() {
    let folder = tempfile::tempdir().unwrap();
    python("lora.py", [folder.path()]);
    for name in ["llama", "qwen2"] {
        let base = folder.path().join(name).join("base.gguf");
        let adapter = folder.path().join(name).join("adapter");
        silence(&adapter);
        for form in FORMS {
            has_the_bytes_of_gguf(&base, &adapter, form, folder.path());
        }
    }
}

#[test]
fn a_merge_is_that_of_numpy() {
    let folder = tempfile::tempdir().unwrap();
    python("lora.py", [folder.path()]);
    let rest = ["ing the", "abc", "q", " in the beginning the"];
    let scores = |path: &Path| scores(&exact(path), "the ring in the bin", &rest);
    for name in ["llama", "llama-attention", "qwen2"] {
        let path = |file: &str| folder.path().join(name).join(file);
        let base = scores(&path("base.gguf"));
        for (form, form_name) in FORMS {
            let merge = Merge::new(path("base.gguf"), path("adapter")).with_form(form);
            merge.with_overwrite(true).write(path("ours.gguf")).unwrap();
            convert(&path("merged.gguf"), &path("theirs.gguf"), form_name);
            let [ours, theirs] = ["ours.gguf", "theirs.gguf"].map(|file| scores(&path(file)));
            let (changed, off) = (apart(&base, &theirs), apart(&ours, &theirs));
            eprintln!(
                "{name} in {form_name}: {off:.2e} off, where the adapter changes {changed:.2e}"
            );
            // A sum near the middle between two numbers may be rounded the other way.
            assert!(changed > 0.01 && off < changed / 1000.0, "{name}: {off}");
        }
    }
}

/// A small adapter of random numbers for SmolLM2: `(rank, alpha)` (4, 8), on two kinds of layers.
fn write_adapter(folder: &Path) {
    let mut state = 1u32;
    let mut numbers = |count: usize| -> Vec<u8> {
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let numbers = (0..count).map(next).map(|x| 0.1 * x);
        numbers.flat_map(f32::to_le_bytes).collect()
    };
    let mut tensors = BTreeMap::new();
    for layer in 0..30 {
        for (module, outputs, inputs) in
            [("self_attn.q_proj", 576, 576), ("mlp.down_proj", 576, 1536)]
        {
            for (side, shape) in [('A', vec![4, inputs]), ('B', vec![outputs, 4])] {
                let name =
                    format!("base_model.model.model.layers.{layer}.{module}.lora_{side}.weight");
                let bytes = numbers(shape.iter().product());
                tensors.insert(name, (shape, bytes));
            }
        }
    }
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (
            name,
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    let settings = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "down_proj"]});
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("adapter_config.json"), settings.to_string()).unwrap();
    fs::write(
        folder.join("adapter_model.safetensors"),
        serialize(views, None).unwrap(),
    )
    .unwrap();
}

#[test]
fn a_merged_model_says_the_same_in_llama_cpp() {
    let folder = tempfile::tempdir().unwrap();
    let [adapter, merged] = ["adapter", "merged.gguf"].map(|name| folder.path().join(name));
    write_adapter(&adapter);
    Merge::new(model_path(), &adapter).write(&merged).unwrap();

    // The file is the base with the adapter.
    let ours = exact(&merged);
    let adapted = CandleModel::builder(model_path()).with_precision(Precision::F32);
    let adapted = adapted.with_adapter(&adapter).load().unwrap();
    let (prompt, rest) = ("The river runs", [" through the old town.", " backwards."]);
    let [base, adapted, from_file] =
        [reference(), &adapted, &ours].map(|model| scores(model, prompt, &rest));
    let (changed, off) = (apart(&base, &adapted), apart(&from_file, &adapted));
    eprintln!("log-probabilities are {off:.2e} off, where the adapter changes {changed:.2e}");
    assert!(changed > 0.1 && off < changed / 100.0, "{off} of {changed}");

    let requests: Vec<ChatRequest> = [
        "a river",
        "bread",
        "the moon",
        "bees",
        "tea",
        "snow",
        "maps",
        "libraries",
    ]
    .iter()
    .map(|subject| Message::user(format!("Write one sentence about {subject}.")))
    .map(|message| ChatRequest::new(vec![message]).with_max_tokens(32))
    .collect();
    let completions = block_on(join_all(
        requests.iter().map(|request| ours.complete(request)),
    ));
    let oracle = Oracle::start(&merged);
    let mut sure_tokens = 0;
    for (request, completion) in requests.iter().zip(completions) {
        let ours_text = completion.unwrap().text;
        let prompt = ours.prompt_tokens(&request.prompt).unwrap();
        let theirs = oracle.ask(&json!({"op": "greedy", "prompt": prompt, "n": 32}));
        let ids: Vec<u32> = serde_json::from_value(theirs["ids"].clone()).unwrap();
        let gaps: Vec<f64> = serde_json::from_value(theirs["gaps"].clone()).unwrap();
        // llama.cpp rounds activations, keys and values to 16 bits: where two tokens are about equally likely, either
        // may come.
        let sure = gaps.iter().position(|gap| *gap < 0.05).unwrap_or(ids.len());
        let text = ours.tokenizer().decode(&ids[..sure]);
        let text = text.trim_end_matches('\u{fffd}');
        assert!(ours_text.starts_with(text), "{ours_text:?} {text:?}");
        sure_tokens += sure;
    }
    eprintln!("{sure_tokens} tokens of greedy text are the same");
    assert!(sure_tokens >= 100, "{sure_tokens}");

    // All bytes of a real file, whose matrices are many strips; one that is not changed, so that no sum comes in.
    silence(&adapter);
    has_the_bytes_of_gguf(&model_path(), &adapter, FORMS[1], folder.path());
}
