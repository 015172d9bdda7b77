"""The LoRA trainer's counterpart in torch, PEFT and TRL: what it is checked against, and what it is measured beside.

    python3 -m venv target/train-peers && target/train-peers/bin/pip install -r benches/peers/train_requirements.txt
    target/train-peers/bin/python benches/peers/train_peers.py golden MODEL.gguf tests/golden/training

MODEL.gguf is SmolLM2-135M-Instruct, or another Llama in GGUF whose embeddings are tied; its weights are widened to F32
and all that is computed is F32, on the CPU.

`golden` writes the files that the tests compare with. `logits` prints what a folder with a PEFT adapter makes of given
tokens. `speed` tunes on pairs of token ids, `steps` times steps of whole batches.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

import torch
from peft import PeftModel, get_peft_model
from transformers import DataCollatorForSeq2Seq

from train_golden import PARTS, golden
from train_model import IGNORED, PEAK, Source, Tuning, as_text, lora, positions


def read_pairs(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def peak_mib():
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(**figures):
    for name, value in figures.items():
        print(f"{name}\t{value:.6g}", flush=True)


def speed(arguments):
    """Tuning as most would write it: PEFT's own start, the collator of transformers, the loss of the model."""
    source = Source(arguments.model)
    torch.manual_seed(arguments.seed)
    model = get_peft_model(source.model(arguments.attention), lora(arguments.rank, 2 * arguments.rank)).train()
    collate = DataCollatorForSeq2Seq(source.tokenizer(), label_pad_token_id=IGNORED, padding=True)

    def batch_of(pairs):
        rows = [
            {"input_ids": pair["prompt"] + pair["completion"], "labels": [IGNORED] * len(pair["prompt"]) + pair["completion"]}
            for pair in pairs
        ]
        return collate([{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows])

    pairs, size = read_pairs(arguments.pairs), arguments.batch
    steps = arguments.steps or len(pairs) // size
    if steps * size > len(pairs):
        raise SystemExit(f"{arguments.pairs} has {len(pairs)} pairs; {steps} steps of {size} take {steps * size}")
    tuning = Tuning(model, min(arguments.warm_up, steps - 1), steps, arguments.rate)
    tokens, slots, seconds = 0, 0, 0.0
    for k in range(steps):
        begin = time.perf_counter()
        batch = batch_of(pairs[size * k : size * (k + 1)])
        loss = model(**batch).loss
        loss.backward()
        loss = loss.item()
        seen = tuning.step()
        took = time.perf_counter() - begin
        seconds += took
        tokens += int(batch["attention_mask"].sum())
        slots += batch["input_ids"].numel()
        print(f"step {k + 1}: loss {loss:.6f}, norm {seen['gradient_norm']:.4f}, {took:.2f} s", flush=True)
    report(steps=steps, seconds=seconds, tokens=tokens, padded_tokens=slots, tokens_per_second=tokens / seconds)
    report(peak_mib=peak_mib())
    if arguments.held_out:
        model.eval()
        total, count = 0.0, 0
        held_out = read_pairs(arguments.held_out)
        with torch.no_grad():
            for begin in range(0, len(held_out), size):
                batch = batch_of(held_out[begin : begin + size])
                labels = int((batch["labels"][:, 1:] != IGNORED).sum())
                total, count = total + model(**batch).loss.item() * labels, count + labels
        report(held_out_loss=total / count, held_out_tokens=count)
    if arguments.save:
        model.save_pretrained(arguments.save)


def steps(arguments):
    """Seconds of a step whose positions all have a loss; each shape in its own process, for its own peak memory."""
    if not arguments.here:
        for shape in arguments.shape:
            command = [sys.executable, __file__, "--threads", str(arguments.threads), "steps", arguments.model, "--here"]
            options = ["--attention", arguments.attention, "--rank", str(arguments.rank), "--rounds", str(arguments.rounds)]
            subprocess.run([*command, *options, "--shape", shape], check=True)
        return
    rows, length = map(int, arguments.shape[0].split("x"))
    torch.manual_seed(1)
    model = get_peft_model(Source(arguments.model).model(arguments.attention), lora(arguments.rank, 2 * arguments.rank))
    model.train()
    tuning, times = Tuning(model, 0, 1000), []
    for _ in range(arguments.rounds + 1):
        ids = torch.randint(1000, 30000, (rows, length))
        begin = time.perf_counter()
        model(input_ids=ids, labels=ids).loss.backward()
        tuning.step()
        times.append(time.perf_counter() - begin)
    # The first step also reserves the memory.
    times = times[1:]
    print(f"{rows} x {length}: {min(times):.2f} to {max(times):.2f} s/step, peak {peak_mib():,.0f} MiB", flush=True)


def adapter_logits(arguments):
    with open(arguments.ids, encoding="utf-8") as file:
        ids = json.load(file)
    ids = ids["ids"] if isinstance(ids, dict) else ids
    model = PeftModel.from_pretrained(Source(arguments.model).model("eager"), arguments.adapter).eval()
    found = positions(model, ids)
    with model.disable_adapter():
        without = positions(model, ids)
    print(as_text({"ids": ids, "positions": found, "without": without}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("golden", help="write what the tests compare with")
    command.set_defaults(run=golden)
    command.add_argument("model")
    command.add_argument("folder")
    command.add_argument("--only", action="append", choices=PARTS)
    tuned = argparse.ArgumentParser(add_help=False)
    tuned.add_argument("--rank", type=int, default=16, help="alpha is twice the rank")
    tuned.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
    command = commands.add_parser("speed", parents=[tuned], help="tune on pairs of token ids, in the order of the file")
    command.set_defaults(run=speed)
    command.add_argument("model")
    command.add_argument("pairs", help='lines of {"prompt": [ids], "completion": [ids]}; step k takes lines 8k to 8k+7')
    command.add_argument("--held-out", help="pairs whose loss is measured at the end")
    command.add_argument("--batch", type=int, default=8)
    command.add_argument("--steps", type=int, help="by default as many as there are whole batches")
    command.add_argument("--warm-up", type=int, default=10)
    command.add_argument("--rate", type=float, default=PEAK)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--save", help="folder that the adapter is written to")
    command = commands.add_parser("steps", parents=[tuned], help="time steps whose positions all have a loss")
    command.set_defaults(run=steps)
    command.add_argument("model")
    command.add_argument("--shape", nargs="+", default=["1x256", "4x128", "8x256"], help="rows x tokens")
    command.add_argument("--rounds", type=int, default=3)
    command.add_argument("--here", action="store_true", help="the first shape, in this process")
    command = commands.add_parser(
        "logits", help="print what an adapter makes of tokens, as in the golden logits.json"
    )
    command.set_defaults(run=adapter_logits)
    command.add_argument("model")
    command.add_argument("adapter", help="folder of adapter_config.json and adapter_model.safetensors")
    command.add_argument("ids", help='a list of token ids, or a map with "ids", such as the golden logits.json')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
