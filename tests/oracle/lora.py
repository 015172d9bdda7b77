"""Models with a LoRA adapter beside them, and with the adapter merged by numpy: `lora.py FOLDER`.

For each architecture and each way to scale, FOLDER/NAME has `base.gguf`, `adapter/` as PEFT saves it, and `merged.gguf`.
"""

import json
import sys
from pathlib import Path

import numpy as np
from tiny import HEADS, KV_HEADS, LAYERS, LINEAR, shapes, write

RANK, ALPHA = 3, 12
BYTES = {"F32": np.float32, "F16": np.float16}


def permute(weights, heads):
    """How `convert_hf_to_gguf.py` of llama.cpp (`LlamaModel.permute`) orders the rows of q and k for Llama."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


def converted(matrices, architecture):
    """From the order of Hugging Face's files to that of GGUF."""
    if architecture != "llama":
        return matrices
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}
    parts = {name: heads.get(name.split(".")[-1]) for name in matrices}
    return {name: permute(values, parts[name]) if parts[name] else values for name, values in matrices.items()}


def save(path, tensors, kind):
    """Writes the safetensors format: a length, a header in JSON, the values."""
    header, data = {}, b""
    for name, values in tensors.items():
        raw = values.astype(BYTES[kind]).tobytes()
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + data)


def make(folder, architecture, rank_stabilised, kind, targets, seed):
    random = np.random.default_rng(seed)
    base = {name: random.normal(0, 0.05, shape).astype(np.float32) for name, shape in shapes()}
    factor = ALPHA / RANK**0.5 if rank_stabilised else ALPHA / RANK
    merged, tensors = dict(base), {}
    for layer in range(LAYERS):
        for name, module, outputs, inputs in LINEAR:
            if module.split(".")[1] not in targets:
                continue
            a = random.normal(0, 0.1, (RANK, inputs)).astype(BYTES[kind])
            b = random.normal(0, 0.1, (outputs, RANK)).astype(BYTES[kind])
            key = f"base_model.model.model.layers.{layer}.{module}"
            tensors |= {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": b}
            update = factor * (b.astype(np.float64) @ a.astype(np.float64))
            name = f"blk.{layer}.{name}"
            merged[name] = (base[name] + update).astype(np.float32)
    (folder / "adapter").mkdir(parents=True)
    save(folder / "adapter/adapter_model.safetensors", tensors, kind)
    settings = {
        "peft_type": "LORA",
        "r": RANK,
        "lora_alpha": ALPHA,
        "use_rslora": rank_stabilised,
        "target_modules": targets,
        "bias": "none",
        "use_dora": False,
        "modules_to_save": None,
        "init_lora_weights": True,
        "rank_pattern": {},
        "task_type": "CAUSAL_LM",
    }
    (folder / "adapter/adapter_config.json").write_text(json.dumps(settings))
    write(folder / "base.gguf", converted(base, architecture), architecture=architecture)
    write(folder / "merged.gguf", converted(merged, architecture), architecture=architecture)


def main():
    folder = Path(sys.argv[1])
    every = [module.split(".")[1] for _, module, _, _ in LINEAR]
    make(folder / "llama", "llama", False, "F32", every, 1)
    make(folder / "llama-attention", "llama", True, "F16", ["q_proj", "k_proj"], 2)
    make(folder / "qwen2", "qwen2", False, "F32", every, 3)


main()
