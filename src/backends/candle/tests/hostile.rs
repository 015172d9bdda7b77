//! Files with false contents: each is an error, and none takes memory or time out of proportion to its size.

use proptest::prelude::*;

use super::{
    super::{CandleModel, Precision},
    tiny::{F32, Tensor, Tiny, list, text, write},
};
use crate::error::Result;

fn load(bytes: &[u8], precision: Precision) -> Result<CandleModel> {
    let file = write(bytes);
    CandleModel::builder(&file.path)
        .with_threads(1)
        .with_precision(precision)
        .load()
}

/// What comes of a damaged file.
fn reason(damage: impl FnOnce(&mut Tiny)) -> String {
    let mut tiny = Tiny::new();
    damage(&mut tiny);
    let error = load(&tiny.bytes().1, Precision::Int8).unwrap_err();
    let report = error.report();
    match report.strip_prefix("model tiny.gguf: ") {
        Some(reason) => reason.to_owned(),
        None => panic!("{report}"),
    }
}

/// Bytes of a little-endian integer.
fn wide(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

#[test]
fn headers() {
    assert_eq!(
        reason(|tiny| tiny.version = 1),
        "is of GGUF version 1; 2 and 3 are supported"
    );
    assert_eq!(
        reason(|tiny| tiny.version = 3u32.swap_bytes()),
        "is big-endian; little-endian files are supported"
    );
    assert_eq!(
        reason(|tiny| tiny.counts.0 = Some(u64::MAX)),
        "the name of tensor 20 is empty"
    );
    assert_eq!(
        reason(|tiny| tiny.counts.1 = Some(u64::MAX)),
        "is damaged or cut off within its metadata key 15; fetch it again"
    );
    assert_eq!(
        reason(|tiny| drop(tiny.tensors.pop())),
        "the tensor blk.1.ffn_down.weight is missing"
    );
}

#[test]
fn metadata() {
    let key = "general.name";
    let with = |kind, value: Vec<u8>| reason(move |tiny| tiny.set(key, kind, value));
    let cut = format!("is damaged or cut off within its {key}; fetch it again");
    // A text, a list of bytes, of texts, and of numbers whose size overflows: each longer than the file.
    assert_eq!(with(8, wide(u64::MAX)), cut);
    assert_eq!(with(9, [&[0, 0, 0, 0][..], &wide(1 << 40)].concat()), cut);
    assert_eq!(with(9, [&[8, 0, 0, 0][..], &wide(u64::MAX)].concat()), cut);
    assert_eq!(with(9, [&[12, 0, 0, 0][..], &wide(1 << 61)].concat()), cut);
    assert_eq!(
        with(9, list(9, &[list(9, &[])])),
        "general.name is a list of lists, which is not supported"
    );
    assert_eq!(
        with(13, wide(0)),
        "general.name is of a type 13, which does not exist"
    );
    assert_eq!(
        with(9, list(13, &[])),
        "general.name is of a type 13, which does not exist"
    );
    assert_eq!(
        reason(|tiny| tiny.metadata.push(tiny.metadata[1].clone())),
        "llama.block_count is there twice"
    );
    assert_eq!(
        reason(|tiny| tiny.set(&"k".repeat(256), 0, vec![0])),
        "the metadata key 14 has 256 bytes"
    );
    assert_eq!(
        reason(|tiny| tiny.set("a\nb", 0, vec![0])),
        "the metadata key 14 has control characters"
    );
    for alignment in [0, 3, 1 << 31] {
        assert_eq!(
            reason(|tiny| tiny.set("general.alignment", 10, wide(alignment))),
            "general.alignment is no power of two below 2^16"
        );
    }
}

#[test]
fn tensors() {
    let q = |damage: fn(&mut Tensor)| reason(move |tiny| damage(tiny.tensor("blk.0.attn_q")));
    let name = "the tensor blk.0.attn_q.weight";
    assert_eq!(
        q(|q| q.dims = vec![]),
        format!("{name} has 0 dimensions; 1 to 4 can be")
    );
    assert_eq!(
        q(|q| q.dims = vec![1; 5]),
        format!("{name} has 5 dimensions; 1 to 4 can be")
    );
    assert_eq!(
        q(|q| q.dims[1] = 0),
        format!("{name} has the shape [32, 0], which cannot be")
    );
    assert_eq!(
        q(|q| q.dims[1] = 1 << 60),
        format!("{name} has the shape [32, 1152921504606846976], which cannot be")
    );
    assert_eq!(
        q(|q| q.dims = vec![48, 2]),
        format!("{name} has rows of 48 values, but Q8_0 comes in blocks of 32")
    );
    assert_eq!(
        q(|q| q.dims[1] = 16),
        format!("{name} has the shape [16, 32] where [32, 32] is expected")
    );
    assert_eq!(
        q(|q| q.offset = Some(8)),
        format!("{name} begins at 8, which is not aligned to 32 bytes")
    );
    let cut = |offset: u64| {
        format!(
            "{name} has 1088 bytes from {offset} after the header, but the file ends after 21408: it is cut off; fetch it again"
        )
    };
    assert_eq!(q(|q| q.offset = Some(1 << 40)), cut(1 << 40));
    assert_eq!(q(|q| q.offset = Some(u64::MAX - 31)), cut(u64::MAX - 31));
    assert_eq!(
        q(|q| q.offset = Some(32)),
        "the tensors token_embd.weight and blk.0.attn_q.weight overlap"
    );
    assert_eq!(
        q(|q| q.name = "blk.0.attn_k.weight".to_owned()),
        "blk.0.attn_k.weight is there twice"
    );
    assert_eq!(
        reason(|tiny| tiny.push("blk.0.attn_q_norm", vec![8], F32, vec![0; 32])),
        "has a tensor blk.0.attn_q_norm.weight, which this architecture does not use here: that is not supported"
    );
    assert_eq!(
        q(|q| q.data[..2].copy_from_slice(&[0, 0x7c])),
        "blk.0.attn_qkv holds a weight that is not a number: the file is damaged"
    );
    let mut tiny = Tiny::new();
    tiny.tensor("blk.1.ffn_norm").data[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    for precision in [Precision::Int8, Precision::F32] {
        let error = load(&tiny.bytes().1, precision).unwrap_err();
        assert_eq!(
            error.report(),
            "model tiny.gguf: blk.1.ffn_norm.weight holds a weight that is not a number: the file is damaged"
        );
    }
}

#[test]
fn types() {
    let known = "supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K";
    for (number, name) in [
        (4, "number 4"),
        (10, "Q2_K"),
        (16, "IQ2_XXS"),
        (26, "I32"),
        (39, "MXFP4"),
        (u32::MAX, "number 4294967295"),
    ] {
        assert_eq!(
            reason(|tiny| tiny.tensor("blk.0.attn_q").kind = number),
            format!(
                "the tensor blk.0.attn_q.weight is of type {name}, which is not supported; {known}"
            )
        );
    }
}

#[test]
fn sizes() {
    let size = |key: &'static str, value| reason(move |tiny| tiny.set_size(key, value));
    assert_eq!(
        size("block_count", 1 << 24),
        "the tensor blk.2.attn_norm.weight is missing"
    );
    assert_eq!(
        size("block_count", (1 << 24) + 1),
        "llama.block_count is 16777217, which cannot be"
    );
    assert_eq!(
        size("embedding_length", 1 << 24),
        "4 heads of 4194304 values are more than is supported"
    );
    assert_eq!(
        size("embedding_length", 64),
        "the tensor token_embd.weight has the shape [34, 32] where [34, 64] is expected"
    );
    assert_eq!(
        size("feed_forward_length", 1 << 24),
        "layers of 16777216 values inside do not go with a residual stream of 32"
    );
    assert_eq!(
        size("feed_forward_length", 2048),
        "the tensor blk.0.ffn_gate.weight has the shape [64, 32] where [2048, 32] is expected"
    );
    assert_eq!(
        size("attention.head_count", 3),
        "3 query heads cannot share 2 key and value heads evenly"
    );
    assert_eq!(
        size("attention.head_count", 64),
        "a head dimension of 0 cannot be rotated"
    );
    assert_eq!(
        reason(|tiny| {
            tiny.set_size("attention.head_count", 1 << 24);
            tiny.set_size("attention.key_length", 1 << 10);
        }),
        "16777216 heads of 1024 values are more than is supported"
    );
    assert_eq!(
        reason(|tiny| {
            tiny.set_size("embedding_length", 2042);
            tiny.set_size("attention.head_count", 2);
            tiny.set_size("attention.key_length", 16);
            let embedding = tiny.tensor("token_embd");
            (embedding.dims[0], embedding.kind) = (2042, F32);
            embedding.data = vec![0; 4 * 2042 * 34];
        }),
        "a residual stream of 2042 values cannot be rotated; load it with Precision::F32"
    );
    // A stated context that is longer than any request asks for costs nothing.
    let mut tiny = Tiny::new();
    tiny.set_size("context_length", 1 << 24);
    assert!(load(&tiny.bytes().1, Precision::Int8).is_ok());
}

#[test]
fn a_tag_of_html_is_a_word_unless_the_file_says_that_it_ends_a_turn() {
    // As in Qwen2.5-Coder: the vocabulary has `</s>`, which merges make.
    let mut words: Vec<String> = ('a'..='y').map(String::from).collect();
    words.extend([">", "Ġ", "<", "/", "</", "s>", "</s>"].map(str::to_owned));
    words.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
    let words: Vec<_> = words.iter().map(|word| text(word)).collect();
    let mut tiny = Tiny::new();
    tiny.set("tokenizer.ggml.tokens", 9, list(8, &words));
    let merges = ["< /", "s >", "</ s>"].map(text);
    tiny.set("tokenizer.ggml.merges", 9, list(8, &merges));
    let model = load(&tiny.bytes().1, Precision::F32).unwrap();
    // Words are split before merges.
    assert_eq!(model.tokenizer().encode("</s>").unwrap(), [29, 18, 25]);
    assert_eq!(model.tokenizer().decode(&[31]), "</s>");
}

#[test]
fn tokenizers() {
    let with = |key: &'static str, kind, value: Vec<u8>| {
        reason(move |tiny| tiny.set(&format!("tokenizer.{key}"), kind, value))
    };
    assert_eq!(
        with("ggml.tokens", 9, list(0, &[vec![0]])),
        "tokenizer.ggml.tokens is not a list of texts"
    );
    assert_eq!(
        with("ggml.tokens", 9, list(8, &[[wide(1), vec![0xff]].concat()])),
        "tokenizer.ggml.tokens is not a list of texts"
    );
    assert_eq!(
        with("ggml.tokens", 9, list(8, &[])),
        "it has no vocabulary (tokenizer.ggml.tokens)"
    );
    assert_eq!(
        with("ggml.token_type", 9, list(8, &[text("x")])),
        "tokenizer.ggml.token_type is not a list of non-negative integers"
    );
    // What the builder of the tokenizer would index out of bounds for.
    assert_eq!(
        with("ggml.merges", 9, list(8, &[text("ing the")])),
        "tokenizer.ggml.merges has an entry that is no pair of tokens"
    );
    assert_eq!(
        with("ggml.merges", 9, list(8, &[text("the")])),
        "tokenizer.ggml.merges has an entry that is no pair of tokens"
    );
    assert!(
        with("ggml.merges", 9, list(8, &[text("z z")])).starts_with("its tokenizer is damaged: ")
    );
    assert_eq!(
        with("ggml.eos_token_id", 4, vec![34, 0, 0, 0]),
        "tokenizer.ggml.eos_token_id is 34, but there are 34 tokens"
    );
    assert_eq!(
        with("chat_template", 8, text("{% endfor %}")),
        "its chat template fails in line 1: unknown statement endfor"
    );
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_error() {
    let (header, bytes) = Tiny::new().bytes();
    let ends = (1..header).chain((header..bytes.len()).step_by(89));
    for end in ends {
        let error = load(&bytes[..end], Precision::Int8).unwrap_err().report();
        let known = error.ends_with("fetch it again") || error.contains("is not a GGUF file");
        assert!(known, "cut at {end}: {error}");
    }
}

/// Numbers that break what does not check.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..40u64,
        any::<u64>(),
        (0..64u32, 0..3u64)
            .prop_map(|(bit, more)| (1u64 << bit).wrapping_add(more).wrapping_sub(1)),
    ]
}

/// One thing that is done to the bytes of a file, at places that are taken modulo its length.
#[derive(Clone, Debug)]
enum Damage {
    Flip(usize, u8),
    Write(usize, u64, usize),
    Cut(usize),
    Remove(usize, usize),
    Repeat(usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Most of it in the header.
    let at = || prop_oneof![9 => 0..2_000usize, 1 => any::<usize>()];
    prop_oneof![
        4 => (at(), 0..8u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        4 => (at(), number(), 1..9usize).prop_map(|(at, value, len)| Damage::Write(at, value, len)),
        1 => at().prop_map(Damage::Cut),
        1 => (at(), 1..64usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (at(), 1..64usize).prop_map(|(at, len)| Damage::Repeat(at, len)),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    let all = bytes.len();
    let place = |at: usize, len: usize| {
        let at = at % all.max(1);
        at..(at + len).min(all)
    };
    match *damage {
        _ if all == 0 => {}
        Damage::Flip(at, bit) => bytes[at % all] ^= 1 << bit,
        Damage::Write(at, value, len) => {
            for (to, from) in bytes[place(at, len)].iter_mut().zip(value.to_le_bytes()) {
                *to = from;
            }
        }
        Damage::Cut(at) => bytes.truncate(at % all),
        Damage::Remove(at, len) => drop(bytes.drain(place(at, len))),
        Damage::Repeat(at, len) => {
            let range = place(at, len);
            let part = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_bytes_load_or_are_an_error(damages in prop::collection::vec(damage(), 1..5), exact in any::<bool>()) {
        let (_, mut bytes) = Tiny::new().bytes();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        let precision = if exact { Precision::F32 } else { Precision::Int8 };
        let _ = load(&bytes, precision);
    }

    #[test]
    fn sound_files_of_false_numbers_load_or_are_an_error(
        sizes in prop::collection::vec((0..8usize, number()), 0..3),
        dims in prop::collection::vec((0..20usize, 0..2usize, number()), 0..2),
        kinds in prop::collection::vec((0..20usize, 0..45u32), 0..2),
        offsets in prop::collection::vec((0..20usize, number()), 0..2),
    ) {
        let keys = [
            "block_count", "embedding_length", "feed_forward_length", "attention.head_count",
            "attention.head_count_kv", "attention.key_length", "context_length", "rope.dimension_count",
        ];
        let mut tiny = Tiny::new();
        for (key, value) in sizes {
            tiny.set(&format!("llama.{}", keys[key]), 10, wide(value));
        }
        for (at, dim, value) in dims {
            let dims = &mut tiny.tensors[at].dims;
            let count = dims.len();
            dims[dim % count] = value;
        }
        for (at, kind) in kinds {
            tiny.tensors[at].kind = kind;
        }
        for (at, offset) in offsets {
            tiny.tensors[at].offset = Some(offset);
        }
        let _ = load(&tiny.bytes().1, Precision::Int8);
    }
}
