//! Whether an adapter was trained on the model that it is put on, as far as names tell.
//!
//! The shapes of an adapter's matrices fit every model of the same sizes, and on another model than its own it gives
//! poor texts without an error. PEFT writes the name of the model into `adapter_config.json`, as
//! `base_model_name_or_path`.

use std::collections::BTreeSet;

use crate::backends::candle::gguf::Gguf;

/// Where a model file says what it is (`ggml-org/ggml`, `docs/gguf.md`, general metadata).
const STATED: [&str; 6] = [
    "general.name",
    "general.basename",
    "general.size_label",
    "general.repo_url",
    "general.source.repo_url",
    "general.source.huggingface.repository",
];

/// Words in the names of models that do not tell one family from another.
const COMMON: [&str; 14] = [
    "awq", "base", "bit", "bnb", "chat", "dpo", "gguf", "gptq", "instruct", "int", "lora",
    "merged", "model", "sft",
];

/// How many times larger one of two sizes may be that name the same model: labels are rounded, and some count the
/// embedding.
const ROUNDED: f64 = 1.5;

/// Why an adapter that names `base` cannot belong to the model of a file; `None` if it can, or if that is not known.
///
/// Only a repository, `owner/name`, is compared: paths and names of files are the user's own. It contradicts the file
/// if the file states a name and they have no family in common, such as `qwen`, or if both state a size and these
/// differ.
pub(super) fn contradiction(base: &str, gguf: &Gguf) -> Option<String> {
    let (owner, name) = base.split_once('/')?;
    let is_repository = !owner.is_empty()
        && !owner.starts_with(['.', '~'])
        && !name.contains(['/', '\\'])
        && !name.to_ascii_lowercase().ends_with(".gguf");
    if !is_repository {
        return None;
    }
    let stated: Vec<&str> = STATED
        .iter()
        .filter_map(|key| gguf.text(key).ok().flatten())
        .collect();
    // A file may have any name: it can agree with the adapter, and not contradict it.
    let known = || stated.iter().copied().chain([gguf.name()]);

    let (of_base, of_file) = (families(name), stated.iter().copied().flat_map(families));
    let of_file: BTreeSet<String> = of_file.collect();
    let other_family = !of_base.is_empty()
        && !of_file.is_empty()
        && !known()
            .flat_map(families)
            .any(|family| of_base.contains(&family));

    let of_base = sizes(name);
    let same = |a: f64, b: f64| a.max(b) <= ROUNDED * a.min(b);
    let other_size = !of_base.is_empty()
        && stated.iter().any(|text| !sizes(text).is_empty())
        && !known()
            .flat_map(sizes)
            .any(|size| of_base.iter().any(|other| same(*other, size)));

    let shown = |text: &str| text.chars().take(100).collect::<String>();
    (other_family || other_size).then(|| {
        format!(
            "its adapter_config.json says that it was trained on {:?}, but the model file {} says that it is {:?}; take the model \
             that the adapter was trained on, or correct base_model_name_or_path",
            shown(base),
            gguf.name(),
            shown(&stated.join(", ")),
        )
    })
}

/// The letters with which the words of a name begin: `smollm` of `SmolLM2-135M-Instruct`.
fn families(name: &str) -> BTreeSet<String> {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let letters = words.map(|word| {
        let letters = word.chars().take_while(|c| c.is_alphabetic());
        letters.flat_map(char::to_lowercase).collect::<String>()
    });
    letters
        .filter(|word| word.chars().count() >= 3 && !COMMON.contains(&word.as_str()))
        .collect()
}

/// The numbers of parameters in a name, in millions: 1,500 of `Qwen2.5-1.5B`.
fn sizes(name: &str) -> Vec<f64> {
    let is_part = |c: char| c.is_alphanumeric() || c == '.';
    let words = name.split(|c| !is_part(c));
    let size = |word: &str| {
        let number = word.trim_end_matches(['b', 'B', 'm', 'M']);
        let unit = word.get(number.len()..)?;
        let number: f64 = number.parse().ok()?;
        let millions = match unit {
            "b" | "B" => number * 1000.0,
            "m" | "M" => number,
            _ => return None,
        };
        (number > 0.0 && number.is_finite()).then_some(millions)
    };
    words.filter_map(size).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::candle::tests::tiny::{Tiny, text, write};

    /// Whether an adapter of `base` is refused by a file `tiny.gguf` with these general metadata.
    fn refused(base: &str, metadata: &[(&str, &str)]) -> bool {
        let mut tiny = Tiny::new();
        for (key, value) in metadata {
            tiny.set(&format!("general.{key}"), 8, text(value));
        }
        let file = write(&tiny.bytes().1);
        contradiction(base, &Gguf::open(&file.path).unwrap()).is_some()
    }

    #[test]
    fn words_and_sizes_are_those_of_the_name() {
        let words = |name| families(name).into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(words("SmolLM2-135M-Instruct"), "smollm");
        assert_eq!(words("Qwen2.5-Coder-1.5B-Instruct-bnb-4bit"), "coder qwen");
        assert_eq!(sizes("Qwen2.5-Coder-1.5B-Instruct"), [1500.0]);
        assert_eq!(sizes("smollm2 135M 8k"), [135.0]);
        for none in ["gemma", "Mixtral-8x7B", "b", "-B", "0B", "infB", "q4_1"] {
            assert_eq!(sizes(none), [0.0; 0], "{none}");
        }
    }

    #[test]
    fn another_family_or_size_is_refused() {
        // What the file of the default model says.
        let smol = [
            ("name", "Smollm2 135M 8k Lc100K Mix1 Ep2"),
            ("basename", "smollm2"),
            ("size_label", "135M"),
        ];
        let coder = [("basename", "Qwen2.5-Coder"), ("size_label", "1.5B")];
        assert!(!refused("HuggingFaceTB/SmolLM2-135M-Instruct", &smol));
        assert!(!refused("unsloth/SmolLM2-135M-bnb-4bit", &smol));
        assert!(refused("HuggingFaceTB/SmolLM2-360M-Instruct", &smol));
        assert!(refused("Qwen/Qwen2.5-Coder-1.5B-Instruct", &smol));
        assert!(refused("HuggingFaceTB/SmolLM2-135M-Instruct", &coder));
        assert!(!refused("Qwen/Qwen2.5-Coder-1.5B", &coder));
        // A label that counts all parameters.
        let llama = [("name", "Llama 3.2"), ("size_label", "1.2B")];
        assert!(!refused("meta-llama/Llama-3.2-1B", &llama));
        assert!(refused("meta-llama/Llama-3.2-3B", &llama));
    }

    #[test]
    fn what_is_not_known_is_not_refused() {
        let smol = [("basename", "smollm2"), ("size_label", "135M")];
        for base in [
            "",
            "gpt2",
            "./checkpoints/qwen-7B",
            "/models/qwen-7B",
            "~/qwen-7B",
            "a/b/qwen-7B",
            "runs/qwen.gguf",
            "owner/model",
        ] {
            assert!(!refused(base, &smol), "{base}");
        }
        // The file says nothing of itself but its name, which agrees or is not counted.
        assert!(!refused("Qwen/Qwen2.5-1.5B", &[]));
        assert!(!refused("someone/tiny", &smol[..1]));
    }
}
