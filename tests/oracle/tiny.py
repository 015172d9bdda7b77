"""A Llama or Qwen 2 of a few hundred kilobytes, written as GGUF.

    tiny.py FOLDER      for each type of tensor that is read: TYPE.gguf, of random blocks, and TYPE-f32.gguf, of the values
                        that the package `gguf` reads from them
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, GGUFWriter
from gguf.quants import dequantize, quantize

HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 256, 512, 2, 4, 2
HEAD_DIM = HIDDEN // HEADS
TOKENS = [chr(c) for c in range(ord("a"), ord("z") + 1)] + ["Ġ", "he", "the", "in", "ing", "ab", "<|im_end|>"]
MERGES = ["h e", "t he", "i n", "in g", "a b"]

# Name in GGUF and in Hugging Face's files, outputs, inputs.
LINEAR = [
    ("attn_q", "self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN),
    ("attn_k", "self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN),
    ("attn_v", "self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN),
    ("attn_output", "self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM),
    ("ffn_gate", "mlp.gate_proj", INNER, HIDDEN),
    ("ffn_up", "mlp.up_proj", INNER, HIDDEN),
    ("ffn_down", "mlp.down_proj", HIDDEN, INNER),
]


def shapes():
    """All matrices of a model: name and shape."""
    yield "token_embd", (len(TOKENS), HIDDEN)
    for layer in range(LAYERS):
        for name, _, outputs, inputs in LINEAR:
            yield f"blk.{layer}.{name}", (outputs, inputs)


def write(path, matrices, kind=GGMLQuantizationType.F32, architecture="llama"):
    """Writes a model of these matrices; norms and biases are the same in all."""
    writer = GGUFWriter(path, architecture)
    writer.add_block_count(LAYERS)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([1] * (len(TOKENS) - 1) + [3])
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(len(TOKENS) - 1)
    for name, values in matrices.items():
        writer.add_tensor(f"{name}.weight", values, raw_dtype=kind)

    random = np.random.default_rng(1)
    norms = [f"blk.{layer}.{part}" for layer in range(LAYERS) for part in ("attn_norm", "ffn_norm")]
    for name in ["output_norm", *norms]:
        writer.add_tensor(f"{name}.weight", random.uniform(0.5, 2, HIDDEN).astype(np.float32))
    if architecture == "qwen2":
        for layer in range(LAYERS):
            for name, _, outputs, _ in LINEAR[:3]:
                bias = random.normal(0, 0.5, outputs).astype(np.float32)
                writer.add_tensor(f"blk.{layer}.{name}.bias", bias)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# Bytes of a block at which its scale and its lowest value lie, in 16 bits, and the size that they have.
SCALES = {
    "Q8_0": ([0], 2e-4),
    "Q4_0": ([0], 5e-3),
    "Q4_1": ([0, 2], 5e-3),
    "Q5_0": ([0], 2e-3),
    "Q5_1": ([0, 2], 2e-3),
    "Q4_K": ([0, 2], 1e-4),
    "Q5_K": ([0, 2], 1e-4),
    "Q6_K": ([208], 2e-5),
}


def blocks(name, shape, random):
    """Any bytes but for the scales."""
    kind = GGMLQuantizationType[name]
    if name not in SCALES:
        # Small ones too: subnormal numbers in 16 bits.
        values = random.normal(0, 0.05, shape) * random.choice([1, 1e-6], shape)
        return quantize(values.astype(np.float32), kind)
    length, size = GGML_QUANT_SIZES[kind]
    count = shape[0] * shape[1] // length
    data = random.integers(0, 256, (count, size), dtype=np.uint8)
    places, scale = SCALES[name]
    for place in places:
        values = random.normal(0, scale, count).astype(np.float16)
        data[:, place : place + 2] = values.view(np.uint8).reshape(count, 2)
    return data.reshape(shape[0], -1)


def main():
    folder = Path(sys.argv[1])
    for seed, name in enumerate(["F32", "F16", "BF16", *SCALES]):
        random = np.random.default_rng(seed)
        kind = GGMLQuantizationType[name]
        matrices = {matrix: blocks(name, shape, random) for matrix, shape in shapes()}
        write(folder / f"{name}.gguf", matrices, kind)
        values = {matrix: dequantize(data, kind).astype(np.float32) for matrix, data in matrices.items()}
        write(folder / f"{name}-f32.gguf", values)


if __name__ == "__main__":
    main()
