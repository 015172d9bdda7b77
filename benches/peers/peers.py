"""Sets the local engine beside llama.cpp, in one run, alternating, and prints one table.

    python3 -m venv target/peers && target/peers/bin/pip install -r tests/oracle/requirements.txt
    target/peers/bin/python benches/peers/peers.py MODEL.gguf [FORM ...]

FORM is `file` (the file itself), Q8_0, Q4_0 or BF16, made of the file by the package gguf; by default file, Q8_0 and BF16.
llama.cpp is called through its C interface: batches of tokens, no sampling, so it is measured at its best. Run it on an
idle machine.
"""

import ctypes as c
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.append(os.path.join(ROOT, "tests", "oracle"))

from llama_c import INT, LOG, PTR, Batch, Params, function, silent  # noqa: E402

THREADS = os.cpu_count()
ROUNDS = 3


def converted(path, form, folder):
    """A copy of the file whose matrices have another form."""
    from gguf import GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter
    from gguf.quants import dequantize, quantize

    kind = GGMLQuantizationType[form]
    out = os.path.join(folder, form + ".gguf")
    reader = GGUFReader(path)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], element)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type).reshape(tuple(reversed(tensor.shape.tolist())))
        if values.ndim == 2:
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
        else:
            writer.add_tensor(tensor.name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


class Peer:
    def __init__(self, path):
        function("log_set", None, LOG, PTR)(silent, None)
        function("backend_init", None)()
        params = function("model_default_params", Params)()
        self.model = function("model_load_from_file", PTR, c.c_char_p, Params)(path.encode(), params)
        assert self.model, f"llama.cpp cannot load {path}"
        self.batch = function("batch_init", Batch, INT, INT, INT)(4096, 0, 1)
        self.decode = function("decode", INT, PTR, Batch)
        self.random = np.random.default_rng(1)

    def context(self, tokens, sequences):
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

    def run(self, ctx, rows):
        """Runs (sequence, position, logits wanted) rows of random tokens; gives the seconds."""
        self.batch.n_tokens = len(rows)
        for i, (sequence, position, wanted) in enumerate(rows):
            self.batch.token[i] = int(self.random.integers(1000, 30000))
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
        ctx = self.context(tokens + 1, 1)
        seconds = self.run(ctx, [(0, i, i == tokens - 1) for i in range(tokens)])
        self.free(ctx)
        return tokens / seconds

    def streams(self, count):
        ctx = self.context(256, count)
        for sequence in range(count):
            self.run(ctx, [(sequence, i, i == 127) for i in range(128)])
        seconds = sum(self.run(ctx, [(s, 128 + step, 1) for s in range(count)]) for step in range(64))
        self.free(ctx)
        return 64 * count / seconds

    def labels(self):
        """400 x 20 tokens after 300 shared ones, whose cache is copied, 20 at a time."""
        copy = function("memory_seq_cp", None, PTR, INT, INT, INT, INT)
        remove = function("memory_seq_rm", c.c_bool, PTR, INT, INT, INT)
        ctx = self.context(512, 21)
        memory = function("get_memory", PTR, PTR)(ctx)
        seconds = self.run(ctx, [(20, i, 0) for i in range(300)])
        for _ in range(20):
            begin = time.perf_counter()
            for sequence in range(20):
                remove(memory, sequence, -1, -1)
                copy(memory, 20, sequence, -1, -1)
            seconds += time.perf_counter() - begin
            seconds += self.run(ctx, [(s, 300 + i, i == 19) for s in range(20) for i in range(20)])
        self.free(ctx)
        return 400 / seconds

    def table(self):
        rows = {f"prefill {n}, tokens/s": self.prefill(n) for n in (256, 1024)}
        rows |= {f"decode {n} streams, tokens/s": self.streams(n) for n in (1, 8, 32, 64, 128)}
        rows["400 label scores after 300 shared tokens, scores/s"] = self.labels()
        return rows


def ours(path):
    command = ["cargo", "bench", "--quiet", "--features", "candle", "--bench", "engine", "--", path]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {name: float(value) for name, value in (line.split("\t") for line in out.splitlines() if "\t" in line)}


def main():
    path = os.path.abspath(sys.argv[1])
    forms = sys.argv[2:] or ["file", "Q8_0", "BF16"]
    with tempfile.TemporaryDirectory() as folder:
        files = {form: path if form == "file" else converted(path, form, folder) for form in forms}
        best = {}
        for _ in range(ROUNDS):
            for name, measure in [("ours", lambda: ours(path))] + [
                (form, lambda file=file: Peer(file).table()) for form, file in files.items()
            ]:
                column = best.setdefault(name, {})
                for row, value in measure().items():
                    smaller_is_better = row.endswith("ms")
                    column[row] = min(value, column.get(row, value)) if smaller_is_better else max(value, column.get(row, 0))
    print("| | ours |", " | ".join(forms), "| ours / best |")
    print("|---" * (len(forms) + 3) + "|")
    for row, value in best["ours"].items():
        peers = [best[form].get(row) for form in forms]
        known = [peer for peer in peers if peer]
        ratio = f"{value / max(known):.2f}" if known else ""
        print(f"| {row} | {value:.0f} |", " | ".join(f"{p:.0f}" if p else "" for p in peers), f"| {ratio} |")


if __name__ == "__main__":
    main()
