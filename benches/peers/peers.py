"""Measures the local engine and llama.cpp in one run, in turn, and prints one table.

    python3 -m venv target/peers && target/peers/bin/pip install -r tests/oracle/requirements.txt
    target/peers/bin/python benches/peers/peers.py MODEL.gguf [FORM ...]

FORM is `file` (the file itself), Q8_0, Q4_0, Q4_1, F16 or BF16, made of the file by the package gguf; by default the
first three and BF16. Each is run by the prebuilt llama.cpp of the package xllamacpp, and with --native Q8_0 also by one
that is built here, from the source package of llama-cpp-python, with all that this processor has (once, about 20
minutes on two cores). llama.cpp is called through its C interface: batches of tokens, no sampling, so it is measured at
its best. Run it on an idle machine; with the default model it takes about half an hour.
"""

import argparse
import ctypes as c
import itertools
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.append(os.path.join(ROOT, "tests", "oracle"))

import native  # noqa: E402
from convert import convert  # noqa: E402
from llama_c import INT, LOG, PTR, Batch, Params, function, silent, tokenize  # noqa: E402

THREADS = os.cpu_count()
ROUNDS = 3


class Peer:
    def __init__(self, path):
        begin = time.perf_counter()
        function("log_set", None, LOG, PTR)(silent, None)
        function("backend_init", None)()
        params = function("model_default_params", Params)()
        self.model = function("model_load_from_file", PTR, c.c_char_p, Params)(path.encode(), params)
        assert self.model, f"llama.cpp cannot load {path}"
        self.load_ms = (time.perf_counter() - begin) * 1e3
        self.batch = function("batch_init", Batch, INT, INT, INT)(4096, 0, 1)
        self.decode = function("decode", INT, PTR, Batch)
        self.random = np.random.default_rng(1)

    def make_context(self, tokens, sequences):
        params = function("context_default_params", Params)()
        # The struct begins with n_ctx, n_batch, n_ubatch and n_seq_max.
        head = (c.c_uint32 * 4)(tokens * sequences, 4096, 512, sequences)
        c.memmove(c.addressof(params), head, 16)
        ctx = function("init_from_model", PTR, PTR, Params)(self.model, params)
        assert ctx
        function("set_n_threads", None, PTR, INT, INT)(ctx, THREADS, THREADS)
        return ctx

    def free(self, ctx):
        function("free", None, PTR)(ctx)

    def run(self, ctx, rows, tokens=None):
        """Runs (sequence, position, logits wanted) rows of tokens, by default random ones; gives the seconds."""
        self.batch.n_tokens = len(rows)
        for i, (sequence, position, wanted) in enumerate(rows):
            self.batch.token[i] = tokens[i] if tokens else int(self.random.integers(1000, 30000))
            self.batch.pos[i] = position
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = sequence
            self.batch.logits[i] = wanted
        begin = time.perf_counter()
        status = self.decode(ctx, self.batch)
        seconds = time.perf_counter() - begin
        assert status == 0, f"llama_decode says {status}"
        return seconds

    def prefill(self, tokens):
        ctx = self.make_context(tokens + 1, 1)
        seconds = self.run(ctx, [(0, i, i == tokens - 1) for i in range(tokens)])
        self.free(ctx)
        return tokens / seconds

    def copies(self, ctx, sequence, others):
        """Gives others what a sequence holds."""
        memory = function("get_memory", PTR, PTR)(ctx)
        for other in others:
            function("memory_seq_rm", c.c_bool, PTR, INT, INT, INT)(memory, other, -1, -1)
            function("memory_seq_cp", None, PTR, INT, INT, INT, INT)(memory, sequence, other, -1, -1)

    def streams(self, count, past):
        """64 tokens of each of `count` sequences, whose beginnings are copies of one, which costs the peer least."""
        ctx = self.make_context(past + 65, count)
        self.run(ctx, [(0, i, i == past - 1) for i in range(past)])
        self.copies(ctx, 0, range(1, count))
        steps = [self.run(ctx, [(s, past + step, 1) for s in range(count)]) for step in range(65)]
        self.free(ctx)
        # The copies are made in the first step.
        return 64 * count / sum(steps[1:])

    def labels(self):
        """400 x 20 tokens after 300 shared ones, whose cache is copied, 20 at a time."""
        ctx = self.make_context(512, 21)
        seconds = self.run(ctx, [(20, i, 0) for i in range(300)])
        for _ in range(20):
            begin = time.perf_counter()
            self.copies(ctx, 20, range(20))
            seconds += time.perf_counter() - begin
            seconds += self.run(ctx, [(s, 300 + i, i == 19) for s in range(20) for i in range(20)])
        self.free(ctx)
        return 400 / seconds

    def rows_of_prefill(self):
        for n in (256, 1024):
            yield f"prefill {n}, tokens/s", best(lambda n=n: self.prefill(n))

    def rows_of_decode(self, counts):
        for n in map(int, (counts or "1,8,32,64,128").split(",")):
            yield f"decode {n} streams, tokens/s", self.streams(n, 128)

    def rows_of_labels(self):
        yield "400 label scores after 300 shared tokens, scores/s", self.labels()

    def rows_of_context(self):
        for n in (1, 8, 32):
            yield f"decode {n} streams at 1,024, tokens/s", self.streams(n, 960)

    def perplexity(self, text):
        """In windows of about 2,000 bytes of whole lines, each after a line break."""
        vocab = function("model_get_vocab", PTR, PTR)(self.model)
        n_vocab = function("vocab_n_tokens", INT, PTR)(vocab)
        logits_ith = function("get_logits_ith", c.POINTER(c.c_float), PTR, INT)
        ctx = self.make_context(4096, 1)
        clear = function("memory_clear", None, PTR, c.c_bool)
        memory = function("get_memory", PTR, PTR)(ctx)
        logprob, tokens = 0.0, 0
        for window in windows(text):
            ids = tokenize(vocab, "\n") + tokenize(vocab, window)
            clear(memory, True)
            self.run(ctx, [(0, i, 1) for i in range(len(ids) - 1)], ids)
            tokens += len(ids) - 1
            for i, token in enumerate(ids[1:]):
                row = np.ctypeslib.as_array(logits_ith(ctx, i), (n_vocab,))
                top = row.max()
                logprob += float(row[token] - top) - np.log(np.exp((row - top).astype(np.float64)).sum())
        yield "perplexity", float(np.exp(-logprob / tokens))


def windows(text):
    window = ""
    for line in text.splitlines(keepends=True):
        if len((window + line).encode()) > 2000:
            yield window
            window = ""
        window += line
    yield window


def best(measure):
    return max(measure() for _ in range(ROUNDS))


def status(key):
    """A line of what Linux says of this process, in MiB."""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith(key))


def memory(path):
    before = status("VmRSS:")
    peer = Peer(path)
    yield "peak memory after load, MiB", status("VmHWM:") - before
    peer.streams(32, 448)
    yield "peak memory, 32 streams of 512, MiB", status("VmHWM:") - before


def peer(path, case):
    """Measures one case in this process, and prints a line for each figure."""
    case, _, value = case.partition("=")
    if case == "memory":
        rows = memory(path)
    elif case == "load":
        rows = [("load, ms", -best(lambda: -Peer(path).load_ms))]
    elif case == "decode":
        rows = Peer(path).rows_of_decode(value)
    elif case == "perplexity":
        with open(value, encoding="utf-8") as file:
            rows = Peer(path).perplexity(file.read())
    else:
        rows = getattr(Peer(path), "rows_of_" + case)()
    for row, value in rows:
        print(f"{row}\t{value:.4f}", flush=True)


def figures(command, library=None):
    environment = {**os.environ, "LLAMA_LIBRARY": library} if library else os.environ
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout
    return {name: float(value) for name, value in (line.split("\t") for line in out.splitlines() if "\t" in line)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("forms", nargs="*", default=["file", "Q8_0", "BF16", "Q4_0"])
    parser.add_argument("--native", action="append", default=[], metavar="FORM", help="a form that a native llama.cpp runs too")
    parser.add_argument("--turns", type=int, default=2, help="how often each comes to its turn with the first four cases")
    cases = ["load", "prefill", "decode", "labels", "context", "memory", "perplexity"]
    parser.add_argument("--case", action="append", dest="cases", help=f"one of {', '.join(cases)}; decode=1,8 for fewer streams")
    parser.add_argument("--text", default=os.path.join(ROOT, "LICENSE-APACHE"), help="what perplexity is of")
    arguments = parser.parse_args()
    arguments.cases = arguments.cases or cases
    path = os.path.abspath(arguments.model)
    bench = ["cargo", "bench", "--quiet", "--features", "candle", "--bench", "engine", "--", path]
    table = {}
    library = native.library() if arguments.native else None
    with tempfile.TemporaryDirectory() as folder:
        # What stands in a column: the file, and the library that runs it, where it is not the prebuilt one.
        names = {"ours": (None, None)}
        files = {"file": path}
        for form in dict.fromkeys([*arguments.forms, *arguments.native]):
            if form not in files:
                files[form] = os.path.join(folder, form + ".gguf")
                convert(path, files[form], form)
        names |= {form: (files[form], None) for form in arguments.forms}
        names |= {f"{form}, native": (files[form], library) for form in arguments.native}
        once = ("context", "memory", "perplexity")
        cases = [case for case in arguments.cases for _ in range(1 if case in once else arguments.turns)]
        for case, (name, (file, library)) in itertools.product(cases, names.items()):
            argument = f"perplexity={os.path.abspath(arguments.text)}" if case == "perplexity" else case
            command = bench if file is None else [sys.executable, __file__, "--peer", file]
            print(f"{case}: {name}", file=sys.stderr, flush=True)
            for row, value in figures([*command, argument], library).items():
                table.setdefault(row, {}).setdefault(name, []).append(value)
    print("| |", " | ".join(names), "|")
    print("|---" * (len(names) + 1) + "|")
    for row, columns in table.items():
        better = max if row.endswith("/s") else min
        cells = [better(columns[name]) if columns.get(name) else None for name in names]
        digits = 3 if row == "perplexity" else 0
        print(f"| {row} |", " | ".join("" if cell is None else f"{cell:,.{digits}f}" for cell in cells), "|")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--peer"]:
        peer(*sys.argv[2:])
    else:
        main()
