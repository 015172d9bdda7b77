//! A model file of a few kilobytes, made in the test.

use std::path::PathBuf;

use tempfile::TempDir;

/// A GGUF file before it is written: valid at first, and a test can damage it.
#[derive(Clone)]
pub(crate) struct Tiny {
    pub(super) version: u32,
    /// Key, type and bytes of each value.
    pub(super) metadata: Vec<(String, u32, Vec<u8>)>,
    pub(super) tensors: Vec<Tensor>,
    /// What the header says instead of the true counts of tensors and metadata.
    pub(super) counts: (Option<u64>, Option<u64>),
    alignment: usize,
}

#[derive(Clone)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// Neighbours first, as in the file.
    pub(super) dims: Vec<u64>,
    pub(super) kind: u32,
    pub(super) data: Vec<u8>,
    /// What the header says instead of the true offset.
    pub(super) offset: Option<u64>,
}

pub(super) const F32: u32 = 0;
const Q8_0: u32 = 8;
const LAYERS: usize = 2;
const VOCAB: usize = 34;

pub(crate) fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

pub(super) fn list(kind: u32, values: &[Vec<u8>]) -> Vec<u8> {
    let head = [
        &kind.to_le_bytes()[..],
        &(values.len() as u64).to_le_bytes(),
    ];
    [head.concat(), values.concat()].concat()
}

impl Tiny {
    /// A Llama of two layers with the letters as its vocabulary.
    pub(crate) fn new() -> Self {
        Self::sized(32, 64)
    }

    /// The same with other widths of the residual stream and inside the feed-forward block.
    pub(crate) fn sized(hidden: usize, inner: usize) -> Self {
        let mut tokens: Vec<String> = ('a'..='z').map(String::from).collect();
        tokens.extend(["Ġ", "he", "the", "in", "ing", "ab"].map(str::to_owned));
        tokens.extend(["<|im_start|>", "<|im_end|>"].map(str::to_owned));
        assert_eq!(tokens.len(), VOCAB);
        let merges = ["h e", "t he", "i n", "in g", "a b"].map(text);
        let kinds: Vec<_> = (0..VOCAB)
            .map(|id| if id < VOCAB - 2 { 1i32 } else { 3 })
            .map(|kind| kind.to_le_bytes().to_vec())
            .collect();
        let tokens: Vec<_> = tokens.iter().map(|token| text(token)).collect();

        let mut tiny = Self {
            version: 3,
            metadata: Vec::new(),
            tensors: Vec::new(),
            counts: (None, None),
            alignment: 32,
        };
        tiny.set("general.architecture", 8, text("llama"));
        for (key, value) in [
            ("block_count", LAYERS),
            ("embedding_length", hidden),
            ("feed_forward_length", inner),
            ("attention.head_count", 4),
            ("attention.head_count_kv", 2),
            ("context_length", 64),
        ] {
            tiny.set_size(key, value as u32);
        }
        let epsilon = 1e-5f32.to_le_bytes().to_vec();
        tiny.set("llama.attention.layer_norm_rms_epsilon", 6, epsilon);
        tiny.set("tokenizer.ggml.model", 8, text("gpt2"));
        tiny.set("tokenizer.ggml.pre", 8, text("smollm"));
        tiny.set("tokenizer.ggml.tokens", 9, list(8, &tokens));
        tiny.set("tokenizer.ggml.token_type", 9, list(5, &kinds));
        tiny.set("tokenizer.ggml.merges", 9, list(8, &merges));
        tiny.set(
            "tokenizer.ggml.eos_token_id",
            4,
            33u32.to_le_bytes().to_vec(),
        );

        tiny.matrix("token_embd", hidden, VOCAB);
        tiny.gain("output_norm", hidden);
        for layer in 0..LAYERS {
            let name = |part: &str| format!("blk.{layer}.{part}");
            tiny.gain(&name("attn_norm"), hidden);
            tiny.matrix(&name("attn_q"), hidden, hidden);
            tiny.matrix(&name("attn_k"), hidden, hidden / 2);
            tiny.matrix(&name("attn_v"), hidden, hidden / 2);
            tiny.matrix(&name("attn_output"), hidden, hidden);
            tiny.gain(&name("ffn_norm"), hidden);
            tiny.matrix(&name("ffn_gate"), hidden, inner);
            tiny.matrix(&name("ffn_up"), hidden, inner);
            tiny.matrix(&name("ffn_down"), inner, hidden);
        }
        tiny
    }

    /// Sets a metadata value.
    pub(crate) fn set(&mut self, key: &str, kind: u32, value: Vec<u8>) {
        self.metadata.retain(|(other, ..)| other != key);
        self.metadata.push((key.to_owned(), kind, value));
    }

    /// Sets what the places of tensors are multiples of.
    pub(super) fn align(&mut self, alignment: u32) {
        self.set("general.alignment", 4, alignment.to_le_bytes().to_vec());
        self.alignment = alignment as usize;
    }

    /// Sets a size of the architecture.
    pub(crate) fn set_size(&mut self, key: &str, value: u32) {
        self.set(&format!("llama.{key}"), 4, value.to_le_bytes().to_vec());
    }

    /// A tensor, by its name without `.weight`.
    pub(super) fn tensor(&mut self, name: &str) -> &mut Tensor {
        let name = format!("{name}.weight");
        self.tensors
            .iter_mut()
            .find(|tensor| tensor.name == name)
            .unwrap()
    }

    fn matrix(&mut self, name: &str, inputs: usize, outputs: usize) {
        let mut state = self.tensors.len() as u32;
        let mut data = Vec::new();
        for _ in 0..inputs * outputs / 32 {
            data.extend([0x00, 0x1c]); // 2^-8
            data.extend((0..32).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            }));
        }
        self.push(name, vec![inputs as u64, outputs as u64], Q8_0, data);
    }

    fn gain(&mut self, name: &str, width: usize) {
        let data = (0..width).flat_map(|n| (1.0 + n as f32 / 64.0).to_le_bytes());
        self.push(name, vec![width as u64], F32, data.collect());
    }

    /// Adds a tensor.
    pub(super) fn push(&mut self, name: &str, dims: Vec<u64>, kind: u32, data: Vec<u8>) {
        self.tensors.push(Tensor {
            name: format!("{name}.weight"),
            dims,
            kind,
            data,
            offset: None,
        });
    }

    /// The header, and all of the file.
    pub(crate) fn bytes(&self) -> (usize, Vec<u8>) {
        let tensors = self.counts.0.unwrap_or(self.tensors.len() as u64);
        let entries = self.counts.1.unwrap_or(self.metadata.len() as u64);
        let mut file = b"GGUF".to_vec();
        file.extend(self.version.to_le_bytes());
        file.extend(tensors.to_le_bytes());
        file.extend(entries.to_le_bytes());
        for (key, kind, value) in &self.metadata {
            file.extend(text(key));
            file.extend(kind.to_le_bytes());
            file.extend(value);
        }
        let mut data = Vec::new();
        for tensor in &self.tensors {
            let offset = tensor.offset.unwrap_or(data.len() as u64);
            file.extend(text(&tensor.name));
            file.extend((tensor.dims.len() as u32).to_le_bytes());
            file.extend(tensor.dims.iter().flat_map(|dim| dim.to_le_bytes()));
            file.extend(tensor.kind.to_le_bytes());
            file.extend(offset.to_le_bytes());
            data.extend(&tensor.data);
            data.resize(data.len().next_multiple_of(self.alignment), 0);
        }
        let header = file.len();
        file.resize(header.next_multiple_of(self.alignment), 0);
        file.extend(data);
        (header, file)
    }
}

/// A file in a folder that goes with it.
pub(crate) struct Written {
    pub(crate) path: PathBuf,
    _folder: TempDir,
}

/// Writes a file `tiny.gguf`.
pub(crate) fn write(bytes: &[u8]) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tiny.gguf");
    std::fs::write(&path, bytes).unwrap();
    Written {
        path,
        _folder: folder,
    }
}
