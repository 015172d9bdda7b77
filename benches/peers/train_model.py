"""What train_peers.py and train_golden.py share: the model of a GGUF file under PEFT, and one way to tune it."""

import json

import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize
from peft import LoraConfig
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, get_cosine_schedule_with_warmup

MODULES = {
    "q_proj": ("self_attn", "attn_q"),
    "k_proj": ("self_attn", "attn_k"),
    "v_proj": ("self_attn", "attn_v"),
    "o_proj": ("self_attn", "attn_output"),
    "gate_proj": ("mlp", "ffn_gate"),
    "up_proj": ("mlp", "ffn_up"),
    "down_proj": ("mlp", "ffn_down"),
}
IGNORED = -100
PEAK = 5e-4
# The token <|im_end|>, which also pads.
END = 2


class Source:
    """A GGUF file."""

    def __init__(self, path):
        self.path = path
        self.reader = GGUFReader(path)
        self.tensors = {tensor.name: tensor for tensor in self.reader.tensors}

    def field(self, key):
        return self.reader.fields[key].contents()

    def matrix(self, name, heads=None):
        tensor = self.tensors[name]
        values = dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        values = values.reshape(tuple(reversed(tensor.shape.tolist())))
        if heads:
            # Undoes LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py, which pairs the two halves of each head.
            rows = values.shape[0] // heads
            values = values.reshape(heads, rows // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        return torch.from_numpy(np.ascontiguousarray(values))

    def model(self, attention):
        llama = {key: self.field("llama." + key) for key in ("embedding_length", "block_count", "feed_forward_length")}
        heads, kv_heads = self.field("llama.attention.head_count"), self.field("llama.attention.head_count_kv")
        config = LlamaConfig(
            vocab_size=self.tensors["token_embd.weight"].shape.tolist()[1],
            hidden_size=llama["embedding_length"],
            num_hidden_layers=llama["block_count"],
            intermediate_size=llama["feed_forward_length"],
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            max_position_embeddings=self.field("llama.context_length"),
            rms_norm_eps=self.field("llama.attention.layer_norm_rms_epsilon"),
            rope_parameters={"rope_type": "default", "rope_theta": self.field("llama.rope.freq_base")},
            tie_word_embeddings=True,
            attn_implementation=attention,
            bos_token_id=1,
            eos_token_id=END,
            pad_token_id=END,
        )
        weights = {
            "model.embed_tokens.weight": self.matrix("token_embd.weight"),
            "model.norm.weight": self.matrix("output_norm.weight"),
        }
        for layer in range(config.num_hidden_layers):
            ours, theirs = f"model.layers.{layer}", f"blk.{layer}"
            weights[f"{ours}.input_layernorm.weight"] = self.matrix(f"{theirs}.attn_norm.weight")
            weights[f"{ours}.post_attention_layernorm.weight"] = self.matrix(f"{theirs}.ffn_norm.weight")
            for module, (part, name) in MODULES.items():
                permuted = {"q_proj": heads, "k_proj": kv_heads}.get(module)
                weights[f"{ours}.{part}.{module}.weight"] = self.matrix(f"{theirs}.{name}.weight", permuted)
        model = LlamaForCausalLM(config).to(torch.float32)
        missing, unexpected = model.load_state_dict(weights, strict=False)
        assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
        model.tie_weights()
        assert model.lm_head.weight is model.model.embed_tokens.weight
        return model

    def tokenizer(self):
        vocabulary = {token: i for i, token in enumerate(self.field("tokenizer.ggml.tokens"))}
        merges = [tuple(merge.split(" ")) for merge in self.field("tokenizer.ggml.merges")]
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
        # As the file's `tokenizer.ggml.pre`, smollm: single digits, then the words of GPT-2.
        digits = pre_tokenizers.Split(Regex(r"\p{N}"), behavior="isolated")
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
        tokenizer.decoder = decoders.ByteLevel()
        end = self.field("tokenizer.ggml.tokens")[END]
        return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=end, pad_token=end)


def lora(rank, alpha):
    return LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=list(MODULES), task_type="CAUSAL_LM"
    )


class Tuning:
    """AdamW without weight decay, gradients clipped to a norm of 1, warm-up from 0, then a cosine to 0."""

    def __init__(self, model, warm_up, steps, peak=PEAK):
        self.settings = {"peak": peak, "warm_up": warm_up, "steps": steps, "betas": [0.9, 0.999], "epsilon": 1e-8}
        self.settings |= {"weight_decay": 0, "max_gradient_norm": 1.0}
        self.trained = [value for value in model.parameters() if value.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trained, lr=peak, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
        self.schedule = get_cosine_schedule_with_warmup(self.optimizer, warm_up, steps)

    def step(self):
        """Gives the norm before clipping, and the rate."""
        norm = torch.nn.utils.clip_grad_norm_(self.trained, 1.0)
        rate = self.schedule.get_last_lr()[0]
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()
        return {"gradient_norm": fields(norm), "learning_rate": rate}


def fields(value):
    """A float as the shortest text that names it among F32."""
    value = value.item() if isinstance(value, torch.Tensor) else value
    return float(f"{value:.9g}")


def positions(model, ids):
    """At each position but the last: the eight highest logits, and the log probability of the token that follows."""
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([ids])).logits[0]
    found = []
    for i, target in enumerate(ids[1:]):
        values, tokens = logits[i].topk(8)
        log_probability = torch.log_softmax(logits[i].double(), 0)[target]
        found.append(
            {"target": target, "log_probability": fields(log_probability), "ids": tokens.tolist(),
             "logits": [fields(value) for value in values]}
        )  # fmt: skip
    return found


def as_text(value):
    """JSON with one line for each element of each list and map: short, and changes can be read."""

    def block(part):
        if isinstance(part, list) and part and isinstance(part[0], (dict, list)):
            return "[\n" + ",\n".join("  " + json.dumps(element) for element in part) + "\n ]"
        if isinstance(part, dict) and any(isinstance(element, (dict, list)) for element in part.values()):
            return "{\n" + ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in part.items()) + "\n }"
        return json.dumps(part)

    return "{\n" + ",\n".join(f" {json.dumps(k)}: {block(v)}" for k, v in value.items()) + "\n}"
