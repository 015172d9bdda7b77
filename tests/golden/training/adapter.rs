//! The adapters of the golden files, by the formula that `benches/peers/train_peers.py` makes them with.

use std::{fs, path::Path};

use safetensors::{Dtype, tensor::TensorView};

/// Modules, their inputs and outputs, of SmolLM2-135M.
const MODULES: [(&str, usize, usize); 7] = [
    ("self_attn.q_proj", 576, 576),
    ("self_attn.k_proj", 576, 192),
    ("self_attn.v_proj", 576, 192),
    ("self_attn.o_proj", 576, 576),
    ("mlp.gate_proj", 576, 1536),
    ("mlp.up_proj", 576, 1536),
    ("mlp.down_proj", 1536, 576),
];
const LAYERS: usize = 30;
const RANK: usize = 4;

fn numbers(seed: usize, count: usize, scale: f32) -> Vec<u8> {
    let mut state = seed as u32;
    let values = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / 8_388_608.0 - 1.0) * scale
    });
    values.take(count).flat_map(f32::to_le_bytes).collect()
}

/// Writes an adapter as PEFT does, of rank 4 and alpha 8; its `B` is zero unless it is `begun`.
pub(crate) fn write(folder: &Path, begun: bool) {
    let mut tensors = Vec::new();
    for layer in 0..LAYERS {
        for (index, (module, inputs, outputs)) in MODULES.into_iter().enumerate() {
            let seed = layer * 7 + index + 1;
            let name = |side: char| {
                format!("base_model.model.model.layers.{layer}.{module}.lora_{side}.weight")
            };
            let a = numbers(seed, RANK * inputs, 1.0 / (inputs as f32).sqrt());
            let b = if begun {
                numbers(seed + 1000, outputs * RANK, 0.02)
            } else {
                vec![0; outputs * RANK * 4]
            };
            tensors.push((name('A'), [RANK, inputs], a));
            tensors.push((name('B'), [outputs, RANK], b));
        }
    }
    let views = tensors.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (name.as_str(), view)
    });
    let file = safetensors::serialize(views, None).unwrap();
    fs::write(folder.join("adapter_model.safetensors"), file).unwrap();
    let settings = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "bias": "none",
        "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}"#;
    fs::write(folder.join("adapter_config.json"), settings).unwrap();
}
