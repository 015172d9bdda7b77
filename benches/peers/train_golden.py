"""The golden files of train_peers.py: what torch, PEFT and TRL make of a few examples."""

import math
import os
import tempfile
import time
from importlib.metadata import version

import numpy as np
import torch
from peft import get_peft_model
from transformers import LlamaForCausalLM

from train_model import END, IGNORED, MODULES, PEAK, Source, Tuning, as_text, fields, lora, positions
from train_texts import ANSWERS, HELD_OUT, PAIRS, TEXT

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
PACKAGES = ["torch", "transformers", "peft", "trl", "gguf", "numpy"]


def lcg(seed, count):
    """Numbers in [-1, 1), the same in every language: of 32 random bits the upper 24, which F32 holds exactly."""
    state, values = seed, np.empty(count, np.float32)
    for i in range(count):
        state = (state * 1664525 + 1013904223) & 0xFFFFFFFF
        values[i] = np.float32(state >> 8) / np.float32(1 << 23) - np.float32(1)
    return values


ADAPTER = (
    "LoRA of rank 4 and alpha 8 (factor 2), no dropout, on q, k, v, o, gate, up, down of every layer. The numbers are "
    "those of a generator of 32 bits: state = seed; for each number state = state * 1664525 + 1013904223 mod 2^32, "
    "v = (state >> 8) / 2^23 - 1 in F32. seed = layer * 7 + index of the module in the order above + 1. lora_A is "
    "(rank, inputs), row after row: v * (1 / sqrt(inputs)), each operation in F32. "
)
ZEROS = ADAPTER + "lora_B is zeros."
FILLED = ADAPTER + "lora_B is (outputs, rank), row after row, of seed + 1000: v * 0.02 in F32."


def fill(model, with_b):
    """Sets the adapter of a PEFT model as ADAPTER says."""
    for name, value in lora_tensors(model).items():
        layer, module = int(name.split(".layers.")[1].split(".")[0]), name.split(".")[-3]
        seed = layer * 7 + list(MODULES).index(module) + 1
        if "lora_A" in name:
            one = np.float32(1)
            values = lcg(seed, value.numel()) * (one / np.sqrt(np.float32(value.shape[1])))
        else:
            values = lcg(seed + 1000, value.numel()) * np.float32(0.02 if with_b else 0)
        value.data.copy_(torch.from_numpy(values.reshape(tuple(value.shape))))


def lora_tensors(model):
    """Parameters of the adapter under the names that PEFT saves them by."""
    return {name.replace(".default", ""): value for name, value in model.named_parameters() if ".default" in name}


def some(value):
    """First, middle and last entry, by flat index."""
    flat = value.detach().reshape(-1)
    return [fields(flat[i]) for i in (0, flat.numel() // 2, flat.numel() - 1)]


def checksum(value):
    wide = value.detach().double()
    return {"sum": wide.sum().item(), "squares": (wide * wide).sum().item(), "entries": some(value)}


def write(folder, name, value):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
        file.write(as_text(value) + "\n")


def head(path, adapter):
    return {
        "made_by": "benches/peers/train_peers.py",
        "versions": {name: version(name) for name in PACKAGES},
        "model": os.path.basename(path) + ", widened to F32",
        "adapter": adapter,
    }


def encoded(tokenizer, prompt, *answers):
    """Prompt and answers are tokenised apart; an answer closes with the end of a turn."""
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, *answers)]
    return [ids[0], *(answer + [END] for answer in ids[1:])]


def padded(examples):
    """A batch, padded on the right, whose labels are the completions."""
    width = max(len(e["prompt"]) + len(e["completion"]) for e in examples)
    batch = {"input_ids": [], "attention_mask": [], "labels": []}
    for e in examples:
        used, rest = len(e["prompt"]) + len(e["completion"]), width - len(e["prompt"]) - len(e["completion"])
        batch["input_ids"].append(e["prompt"] + e["completion"] + [END] * rest)
        batch["attention_mask"].append([1] * used + [0] * rest)
        batch["labels"].append([IGNORED] * len(e["prompt"]) + e["completion"] + [IGNORED] * rest)
    return {key: torch.tensor(value) for key, value in batch.items()}


def completion_loss(model, batch):
    """Cross-entropy, the mean over all tokens of the batch that have a label."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    return torch.nn.functional.cross_entropy(
        logits[:, :-1].reshape(-1, logits.shape[-1]), batch["labels"][:, 1:].reshape(-1), ignore_index=IGNORED
    )


def chosen_tensors(model):
    layers = model.config.num_hidden_layers
    kept = [f".layers.{layer}." for layer in (0, layers // 2 - 1, layers - 1)]
    return {name: checksum(value) for name, value in lora_tensors(model).items() if any(k in name for k in kept)}


def sft(source, path, folder):
    tokenizer = source.tokenizer()
    keys = ("prompt", "completion")
    examples = [dict(zip(keys, encoded(tokenizer, *texts))) for texts in ANSWERS]
    held_out = [dict(zip(keys, encoded(tokenizer, *texts))) for texts in HELD_OUT]
    steps, size = 20, 4
    batches = [[examples[(size * k + i) % len(examples)] for i in range(size)] for k in range(steps)]

    model = get_peft_model(source.model("eager"), lora(4, 8))
    fill(model, with_b=False)
    model.train()
    tuning, records = Tuning(model, 5, steps), []
    held_out_before = completion_loss(model, padded(held_out)).item()
    for batch in batches:
        loss = completion_loss(model, padded(batch))
        loss.backward()
        records.append({"loss": fields(loss), **tuning.step()})
    with torch.no_grad():
        held_out_after = completion_loss(model, padded(held_out)).item()
    compare_with_trl(source, [example for batch in batches for example in batch], records, size)
    about = (
        "Batch k holds the examples (4 k + i) mod 12 for i in 0..4. The loss is the mean over all completion tokens of the "
        "batch, prompts have none. `steps` has what each step saw before its update; the first has a rate of 0. "
        "held_out_loss is the mean over all completion tokens of both examples, before and after. `tensors` are the "
        "adapter's after the last step: sum and sum of squares in F64, entries first, middle (count / 2) and last."
    )
    record = {
        **head(path, ZEROS),
        "about": about,
        "tuning": tuning.settings,
        "examples": examples,
        "held_out": held_out,
        "steps": records,
        "held_out_loss": [fields(held_out_before), fields(held_out_after)],
        "tensors": chosen_tensors(model),
    }
    write(folder, "sft.json", record)


def quiet(folder, **settings):
    """What the trainers of TRL need not to change what is computed, nor to write."""
    return dict(
        output_dir=folder, report_to="none", save_strategy="no", disable_tqdm=True, use_cpu=True, bf16=False,
        activation_checkpointing=False, max_length=None, **settings,
    )  # fmt: skip


def compare_with_trl(source, examples, records, size):
    """TRL's SFTTrainer, given the same batches, must see the same losses, norms and rates."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"input_ids": e["prompt"] + e["completion"], "labels": [IGNORED] * len(e["prompt"]) + e["completion"]} for e in examples
    ]
    with tempfile.TemporaryDirectory() as folder:
        settings = SFTConfig(
            **quiet(folder, per_device_train_batch_size=size, max_steps=len(records), learning_rate=PEAK),
            warmup_steps=5, lr_scheduler_type="cosine", max_grad_norm=1.0, optim="adamw_torch", weight_decay=0.0,
            train_sampling_strategy="sequential", logging_steps=1,
        )  # fmt: skip
        trainer = SFTTrainer(
            source.model("eager"), args=settings, train_dataset=Dataset.from_list(rows), peft_config=lora(4, 8),
            processing_class=source.tokenizer(),
        )  # fmt: skip
        fill(trainer.model, with_b=False)
        trainer.train()
        theirs = [line for line in trainer.state.log_history if "grad_norm" in line]
    assert len(theirs) == len(records)
    for ours, line in zip(records, theirs):
        for key, other in (("loss", "loss"), ("gradient_norm", "grad_norm"), ("learning_rate", "learning_rate")):
            assert math.isclose(ours[key], line[other], rel_tol=1e-4, abs_tol=1e-9), (key, ours, line)
    worst = max(abs(ours["loss"] / line["loss"] - 1) for ours, line in zip(records, theirs))
    print(f"SFTTrainer's losses differ by {worst:.1e} at most, relatively", flush=True)


def preference_run(source, pairs, loss, smoothing, steps, warm_up, size=2):
    """Losses of TRL's DPOTrainer, called on one batch after the other; the reference is the disabled adapter."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    with tempfile.TemporaryDirectory() as folder:
        settings = DPOConfig(**quiet(folder), beta=0.1, loss_type=[loss], label_smoothing=smoothing)
        # The trainer wants texts to tokenise; the batches below are not made of them.
        unused = Dataset.from_list([{"prompt": "a", "chosen": " b", "rejected": " c"}])
        trainer = DPOTrainer(
            source.model("eager"), args=settings, train_dataset=unused, peft_config=lora(4, 8),
            processing_class=source.tokenizer(),
        )  # fmt: skip
    fill(trainer.model, with_b=False)
    model = trainer.model.train()
    collate = DataCollatorForPreference(pad_token_id=END)
    tuning, records = Tuning(model, warm_up, steps), []
    # Of a batch of one pair, whose order cannot change by sorting, "aot" is "sigmoid" with smoothed labels, which TRL's
    # own "sigmoid" no longer has.
    at_once = 1 if loss == "aot" else size
    for k in range(steps):
        batch = [pairs[(size * k + i) % len(pairs)] for i in range(size)]
        total = 0.0
        trainer._metrics["train"].clear()
        for begin in range(0, size, at_once):
            found = trainer.compute_loss(model, collate(batch[begin : begin + at_once])) * (at_once / size)
            found.backward()
            total += found.item()
        seen = {key: float(np.mean(values)) for key, values in trainer._metrics["train"].items()}
        record = {
            "loss": total,
            "chosen_reward": seen["rewards/chosen"],
            "rejected_reward": seen["rewards/rejected"],
            "margin": seen["rewards/margins"],
            "accuracy": seen["rewards/accuracies"],
            "chosen_log_probability": seen["logps/chosen"],
            "rejected_log_probability": seen["logps/rejected"],
        }
        records.append({**{key: fields(value) for key, value in record.items()}, **tuning.step()})
    return {"loss": loss, "label_smoothing": smoothing, "beta": 0.1, "tuning": tuning.settings}, records, model


def preferences(source, path, folder):
    tokenizer = source.tokenizer()
    keys = ("prompt_ids", "chosen_ids", "rejected_ids")
    pairs = [dict(zip(keys, encoded(tokenizer, *texts))) for texts in PAIRS]
    about = (
        "Batch k holds the pairs (2 k + i) mod 8 for i in 0..2. Each run starts from the same adapter. The losses are those "
        "of TRL's DPOTrainer, the mean over the pairs of a batch; the reference is the model without the adapter. "
        "x = beta * ((log p(chosen) - log p_ref(chosen)) - (log p(rejected) - log p_ref(rejected))), each the sum over the "
        "completion. `dpo`: -log sigmoid(x). `dpo_smoothed`, with smoothing e: -(1 - e) log sigmoid(x) - e log sigmoid(-x), "
        "got from TRL by its loss aot on batches of one pair, since its sigmoid takes no smoothing. `ipo`: "
        "(d - 1 / (2 beta))^2, where d is the difference of the two log ratios, each divided by the number of its "
        "completion's tokens, the end included. Rewards are beta times a log ratio (of sums, also for IPO), the log "
        "probabilities the model's own sums, means over the batch. margin = chosen_reward - rejected_reward; accuracy is the "
        "share of pairs whose chosen reward is the higher one. The first two steps see a model that equals the reference: "
        "their rewards are 0 up to rounding, so their accuracy says nothing. `tensors` as in sft.json, after dpo."
    )
    record = {**head(path, ZEROS), "about": about}
    record["pairs"] = [{key.removesuffix("_ids"): ids for key, ids in pair.items()} for pair in pairs]
    settings, steps, model = preference_run(source, pairs, "sigmoid", 0.0, steps=20, warm_up=5)
    record |= {"dpo": settings, "dpo_steps": steps, "tensors": chosen_tensors(model)}
    for name, loss, smoothing in (("dpo_smoothed", "aot", 0.1), ("ipo", "ipo", 0.0)):
        settings, steps, _ = preference_run(source, pairs, loss, smoothing, steps=5, warm_up=2)
        record |= {name: settings, name + "_steps": steps}
    write(folder, "preference.json", record)


def gradients(source, path, folder):
    tokenizer = source.tokenizer()
    examples = [dict(zip(("prompt", "completion"), encoded(tokenizer, *texts))) for texts in ANSWERS[:2]]
    model = get_peft_model(source.model("eager"), lora(4, 8))
    fill(model, with_b=True)
    loss = completion_loss(model, padded(examples))
    loss.backward()
    found = {name: value.grad for name, value in lora_tensors(model).items()}
    total = math.sqrt(sum((grad.double() ** 2).sum().item() for grad in found.values()))
    about = (
        "The gradient of the mean loss over all completion tokens of both examples. For each tensor: the L2 norm, then the "
        "first, the middle (flat index count / 2) and the last entry."
    )
    record = {
        **head(path, FILLED),
        "about": about,
        "examples": examples,
        "loss": fields(loss),
        "gradient_norm": total,
        "gradients": {name: [fields(grad.double().norm()), *some(grad)] for name, grad in found.items()},
    }
    write(folder, "gradient.json", record)


def logits(source, path, folder):
    model = get_peft_model(source.model("eager"), lora(4, 8)).eval()
    fill(model, with_b=True)
    ids = source.tokenizer()(TEXT, add_special_tokens=False)["input_ids"]
    about = (
        "At each position of the ids but the last: the token that follows, its log probability, and the eight highest "
        "logits with their tokens. `without` is the model without the adapter."
    )
    with model.disable_adapter():
        without = positions(model, ids)
    record = {
        **head(path, FILLED), "about": about, "ids": ids, "positions": positions(model, ids), "without": without
    }  # fmt: skip
    write(folder, "logits.json", record)


def check_model(source):
    """The weights must be those that transformers itself reads from the file, and plain English must cost little."""
    folder, name = os.path.split(os.path.abspath(source.path))
    theirs = LlamaForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).state_dict()
    model = source.model("eager")
    ours = model.state_dict()
    assert ours.keys() == theirs.keys() and all(torch.equal(value, theirs[key]) for key, value in ours.items())
    with open(os.path.join(ROOT, "LICENSE-APACHE"), encoding="utf-8") as file:
        ids = source.tokenizer()(file.read(3000), add_special_tokens=False)["input_ids"]
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        found = positions(model, ids)
        loss = -sum(position["log_probability"] for position in found) / len(found)
        print(f"the licence, {attention}: {loss:.6f} nats a token over {len(found)} tokens", flush=True)
        assert loss < 3.5, "the model was read wrongly"


PARTS = {"sft": sft, "preference": preferences, "gradient": gradients, "logits": logits}


def golden(arguments):
    source = Source(arguments.model)
    check_model(source)
    for name in arguments.only or PARTS:
        begin = time.perf_counter()
        PARTS[name](source, arguments.model, arguments.folder)
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
