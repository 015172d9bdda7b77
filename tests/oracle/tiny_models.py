"""Writes small GGUF files of random weights, one for each way that a model may differ: `tiny_models.py OUT SMOLLM2 SPM`.

SMOLLM2 is a GGUF file whose byte-level vocabulary they take over, SPM a vocabulary of SentencePiece (`tokenizer.model`).
"""

import sys
from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter
from sentencepiece import SentencePieceProcessor

OUT, SMOLLM2, SPM = map(Path, sys.argv[1:])

INST = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)


def byte_level(writer, pre):
    for key, field in GGUFReader(SMOLLM2).fields.items():
        if key.startswith("tokenizer.") and key != "tokenizer.ggml.pre":
            kind = field.types[0]
            element = field.types[-1] if kind == GGUFValueType.ARRAY else None
            writer.add_key_value(key, field.contents(), kind, element)
            if key == "tokenizer.ggml.tokens":
                size = len(field.data)
    writer.add_tokenizer_pre(pre)
    return size


def sentence_piece(writer, drop_bytes=False):
    """As llama.cpp's `convert_hf_to_gguf.py`, `_create_vocab_sentencepiece`."""
    spm = SentencePieceProcessor(str(SPM))
    ids = range(spm.vocab_size())

    def kind(i):
        if spm.IsUnknown(i):
            return 2
        if spm.IsControl(i):
            return 3
        if spm.IsUnused(i):
            return 5
        if spm.IsByte(i):
            return 1 if drop_bytes else 6
        return 1

    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([spm.IdToPiece(i).encode() for i in ids])
    writer.add_token_scores([spm.GetScore(i) for i in ids])
    writer.add_token_types([kind(i) for i in ids])
    writer.add_bos_token_id(spm.bos_id())
    writer.add_eos_token_id(spm.eos_id())
    writer.add_unk_token_id(spm.unk_id())
    writer.add_chat_template(INST)
    return len(ids)


def write(
    name,
    architecture,
    vocabulary,
    *,
    hidden=64,
    heads=4,
    kv_heads=2,
    head_dim=16,
    inner=160,
    layers=2,
    tied=True,
    divisors=None,
    metadata=lambda writer: None,
):
    writer = GGUFWriter(OUT / f"{name}.gguf", architecture)
    vocab = vocabulary(writer)
    writer.add_context_length(1024)
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_block_count(layers)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    metadata(writer)

    random = np.random.default_rng(7)

    def add(tensor, *shape, scale=1.0, mean=0.0):
        values = mean + scale * random.standard_normal(shape)
        writer.add_tensor(tensor, values.astype(np.float32))

    def matrix(tensor, outputs, inputs, scale=1.0):
        add(tensor, outputs, inputs, scale=scale / np.sqrt(inputs))

    def gain(tensor, size):
        add(tensor, size, scale=0.3, mean=1.0)

    # Small embeddings, so that the layers have their say; large q and k, so that attention looks at few places.
    matrix("token_embd.weight", vocab, hidden, 4.0)
    for i in range(layers):
        gain(f"blk.{i}.attn_norm.weight", hidden)
        matrix(f"blk.{i}.attn_q.weight", heads * head_dim, hidden, 1.5)
        matrix(f"blk.{i}.attn_k.weight", kv_heads * head_dim, hidden, 1.5)
        matrix(f"blk.{i}.attn_v.weight", kv_heads * head_dim, hidden)
        matrix(f"blk.{i}.attn_output.weight", hidden, heads * head_dim)
        if architecture == "qwen3":
            add(f"blk.{i}.attn_q_norm.weight", head_dim, scale=0.5, mean=1.5)
            add(f"blk.{i}.attn_k_norm.weight", head_dim, scale=0.5, mean=1.5)
        gain(f"blk.{i}.ffn_norm.weight", hidden)
        matrix(f"blk.{i}.ffn_gate.weight", inner, hidden)
        matrix(f"blk.{i}.ffn_up.weight", inner, hidden)
        matrix(f"blk.{i}.ffn_down.weight", hidden, inner)
    gain("output_norm.weight", hidden)
    if not tied:
        matrix("output.weight", vocab, hidden, 4.0)
    if divisors is not None:
        writer.add_tensor("rope_freqs.weight", np.array(divisors, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def scaling(kind, factor):
    def add(writer):
        writer.add_string(f"{writer.arch}.rope.scaling.type", kind)
        writer.add_float32(f"{writer.arch}.rope.scaling.factor", factor)

    return add


def bare_factor(writer):
    writer.add_float32(f"{writer.arch}.rope.scaling.factor", 8.0)


OUT.mkdir(parents=True, exist_ok=True)
# The heads are wider than the stream, as in the small models of Qwen 3.
write("qwen3", "qwen3", lambda w: byte_level(w, "qwen2"), hidden=96, head_dim=32, layers=3)
write("rope_freqs", "llama", lambda w: byte_level(w, "llama-bpe"), divisors=[1, 1, 1.5, 2, 4, 8, 8, 8])
write("linear", "llama", lambda w: byte_level(w, "tekken"), metadata=scaling("linear", 4.0))
write("factor", "llama", lambda w: byte_level(w, "gpt-2"), metadata=bare_factor)
write("none", "llama", lambda w: byte_level(w, "smollm"), metadata=scaling("none", 4.0))
# Multi-head attention, a head of its own, a sliding window.
write(
    "spm",
    "llama",
    sentence_piece,
    kv_heads=4,
    tied=False,
    metadata=lambda w: w.add_sliding_window(256),
)
# To be refused.
write("yarn", "llama", sentence_piece, layers=1, metadata=scaling("yarn", 4.0))
write("no_bytes", "llama", lambda w: sentence_piece(w, drop_bytes=True), layers=1)
write("bad_divisor", "llama", sentence_piece, layers=1, divisors=[1, 1, 1, 1, 0, 1, 1, 1])
