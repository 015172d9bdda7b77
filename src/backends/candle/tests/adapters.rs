//! Adapters that are damaged, do not fit or ask for too much are refused by name.

use std::{collections::BTreeMap, path::Path};

use safetensors::{Dtype, serialize, tensor::TensorView};
use serde_json::{Value, json};

use super::{
    super::CandleModel,
    tiny::{Tiny, write},
};
use crate::error::Result;

/// An adapter of rank 2 for the tiny model before it is written.
pub(super) struct Lora {
    pub(super) settings: Value,
    /// Type, shape and bytes of each tensor.
    pub(super) tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

pub(super) fn name(layer: usize, module: &str, side: char) -> String {
    format!("base_model.model.model.layers.{layer}.{module}.lora_{side}.weight")
}

impl Lora {
    pub(super) fn new() -> Self {
        let mut lora = Self {
            settings: json!({
                "peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["v_proj", "down_proj"],
                "bias": "none", "use_dora": false, "modules_to_save": null, "alpha_pattern": {},
            }),
            tensors: BTreeMap::new(),
        };
        for layer in 0..2 {
            for (module, outputs, inputs) in
                [("self_attn.v_proj", 16, 32), ("mlp.down_proj", 32, 64)]
            {
                lora.set(&name(layer, module, 'A'), vec![2, inputs], 0.5);
                lora.set(&name(layer, module, 'B'), vec![outputs, 2], 0.25);
            }
        }
        lora
    }

    pub(super) fn set(&mut self, name: &str, shape: Vec<usize>, value: f32) {
        let count = shape.iter().product();
        let bytes = value.to_le_bytes().repeat(count);
        self.tensors
            .insert(name.to_owned(), (Dtype::F32, shape, bytes));
    }

    /// Writes it into a folder, which is made.
    pub(super) fn write(&self, folder: &Path) {
        write_folder(
            folder,
            self.settings.to_string().as_bytes(),
            &self.weights(),
        );
    }

    fn weights(&self) -> Vec<u8> {
        let views = self.tensors.iter().map(|(name, (kind, shape, bytes))| {
            (name, TensorView::new(*kind, shape.clone(), bytes).unwrap())
        });
        serialize(views, None).unwrap()
    }
}

fn write_folder(folder: &Path, settings: &[u8], weights: &[u8]) {
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("adapter_config.json"), settings).unwrap();
    std::fs::write(folder.join("adapter_model.safetensors"), weights).unwrap();
}

fn load(settings: &[u8], weights: &[u8]) -> Result<CandleModel> {
    let model = write(&Tiny::new().bytes().1);
    let folder = tempfile::tempdir().unwrap();
    let adapter = folder.path().join("adapter");
    write_folder(&adapter, settings, weights);
    CandleModel::builder(&model.path)
        .with_threads(1)
        .with_adapter(&adapter)
        .load()
}

fn reason(damage: impl FnOnce(&mut Lora)) -> String {
    let mut lora = Lora::new();
    damage(&mut lora);
    let error = load(lora.settings.to_string().as_bytes(), &lora.weights()).unwrap_err();
    let report = error.report();
    match report.strip_prefix("model adapter: ") {
        Some(reason) => reason.to_owned(),
        None => panic!("{report}"),
    }
}

#[test]
fn a_sound_one_is_named_in_the_model_id() {
    let lora = Lora::new();
    let (settings, weights) = (lora.settings.to_string(), lora.weights());
    let model = load(settings.as_bytes(), &weights).unwrap();
    let both = [settings.as_bytes(), &weights].concat();
    let hash = super::super::gguf::sha256([&both]);
    assert_eq!(model.model_id().adapter.as_ref(), Some(&hash));
    let shown = serde_json::to_value(&**model.model_id()).unwrap();
    assert_eq!(shown["adapter"], json!(hash));

    let model = write(&Tiny::new().bytes().1);
    let plain = CandleModel::load(&model.path).unwrap();
    let shown = serde_json::to_value(&**plain.model_id()).unwrap();
    assert_eq!(shown.get("adapter"), None);
}

#[test]
fn settings() {
    let with = |key: &'static str, value: Value| reason(move |lora| lora.settings[key] = value);
    assert_eq!(
        with("peft_type", json!("LOHA")),
        "its peft_type is \"LOHA\"; LORA is supported"
    );
    for (key, value) in [
        ("use_dora", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("alpha_pattern", json!({"v_proj": 8})),
        ("rank_pattern", json!({"v_proj": 8})),
        ("lora_bias", json!(true)),
        ("fan_in_fan_out", json!(true)),
        ("layer_replication", json!([[0, 2]])),
    ] {
        assert_eq!(
            with(key, value),
            format!("its adapter_config.json sets {key}: that is not supported")
        );
    }
    assert_eq!(
        with("bias", json!("all")),
        "its bias is \"all\": that is not supported"
    );
    assert_eq!(
        with("init_lora_weights", json!("pissa")),
        "its init_lora_weights is \"pissa\": that is not supported"
    );
    assert_eq!(with("r", json!(0)), "its r is 0 and its lora_alpha 4");
    assert_eq!(
        with("target_modules", json!(["v_proj", "lm_head"])),
        "its target_modules have \"lm_head\": that is not supported"
    );
    assert_eq!(
        with("layers_to_transform", json!([0, 2])),
        "its layers_to_transform are not among the 2 layers of the model"
    );
    // The file says nothing of itself, so any name fits; a file that does is in the tests of `base`.
    let mut lora = Lora::new();
    lora.settings["base_model_name_or_path"] = json!("Qwen/Qwen2.5-Coder-1.5B");
    load(lora.settings.to_string().as_bytes(), &lora.weights()).unwrap();
    let error = load(b"{\n\"r\": \"two\"}", &Lora::new().weights())
        .unwrap_err()
        .report();
    assert_eq!(
        error,
        "model adapter: its adapter_config.json cannot be understood at line 2, column 10"
    );
}

#[test]
fn tensors() {
    let (a, b) = (
        name(1, "self_attn.v_proj", 'A'),
        name(1, "self_attn.v_proj", 'B'),
    );
    assert_eq!(
        reason(|lora| drop(lora.tensors.remove(&b))),
        format!("the tensor {b} is missing")
    );
    assert_eq!(
        reason(|lora| {
            lora.tensors.remove(&a);
            lora.tensors.remove(&b);
        }),
        format!("the tensor {a} is missing")
    );
    assert_eq!(
        reason(|lora| lora.set(&name(0, "self_attn.q_proj", 'A'), vec![2, 32], 1.0)),
        format!(
            "it has a tensor {}, which its adapter_config.json does not name",
            name(0, "self_attn.q_proj", 'A')
        )
    );
    // A pattern does not say which tensors there are to be.
    assert_eq!(
        reason(|lora| {
            lora.settings["target_modules"] = json!("all-linear");
            lora.set(&name(2, "self_attn.v_proj", 'A'), vec![2, 32], 1.0);
        }),
        format!(
            "it has a tensor {}, but the model has 2 layers",
            name(2, "self_attn.v_proj", 'A')
        )
    );
    assert_eq!(
        reason(|lora| {
            lora.settings["target_modules"] = json!("all-linear");
            lora.tensors.clear();
        }),
        "it has no tensors"
    );
    let supported = "supported are lora_A and lora_B of q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj";
    for other in [
        "base_model.model.lm_head.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.v_proj.lora_magnitude_vector",
        "base_model.model.model.layers.01.self_attn.v_proj.lora_A.weight",
        "base_model.model.model.layers.0.self_attn.v_proj.lora_A.bias",
    ] {
        assert_eq!(
            reason(|lora| lora.set(other, vec![1], 1.0)),
            format!("it has a tensor \"{other}\"; {supported}")
        );
    }
    assert_eq!(
        reason(|lora| lora.settings["r"] = json!(4)),
        format!(
            "the tensor {} has the shape [2, 32] where [4, 32] is expected",
            name(0, "self_attn.v_proj", 'A')
        )
    );
    assert_eq!(
        reason(|lora| lora.set(&b, vec![32, 2], 1.0)),
        format!("the tensor {b} has the shape [32, 2] where [16, 2] is expected")
    );
    for wrong in [f32::NAN, f32::INFINITY] {
        assert_eq!(
            reason(|lora| lora.set(&a, vec![2, 32], wrong)),
            format!("the tensor {a} holds what is not a number")
        );
    }
    assert_eq!(
        reason(|lora| drop(
            lora.tensors
                .insert(a.clone(), (Dtype::I8, vec![2, 32], vec![0; 64]))
        )),
        format!(
            "the tensor {a} is of type I8, which is not supported; supported are F32, F16, BF16"
        )
    );
}

#[test]
fn a_file_that_is_cut_off_is_an_error() {
    let lora = Lora::new();
    let (settings, weights) = (lora.settings.to_string(), lora.weights());
    for end in (0..weights.len()).step_by(37) {
        let error = load(settings.as_bytes(), &weights[..end])
            .unwrap_err()
            .report();
        assert_eq!(
            error,
            "model adapter: its adapter_model.safetensors is damaged or cut off"
        );
    }
}
