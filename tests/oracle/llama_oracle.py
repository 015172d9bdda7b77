"""Answers questions with a real llama.cpp: one JSON request a line on stdin, one JSON answer a line on stdout.

Calls the C interface of the llama.cpp that the package `xllamacpp` brings, through ctypes, because its Python interface
shows no logits.

    {"op": "tokenize", "texts": [...]}                  -> [[id, ...], ...]   no added tokens, control strings as text
    {"op": "tokenize_special", "texts": [...]}          -> the same, control strings as what they say
    {"op": "logprob", "prompt": [id], "rest": [id]}     -> log P(rest | prompt) in nats
    {"op": "greedy", "prompt": [id], "n": 32}           -> {"ids": [...], "gaps": [...]}   gaps: top-1 minus top-2 logit
"""

import ctypes as c
import json
import sys

import numpy as np
from llama_c import INT, LOG, PTR, Batch, Params, function, silent, tokenize

CONTEXT = 4096


class Model:
    def __init__(self, path, threads):
        function("log_set", None, LOG, PTR)(silent, None)
        function("backend_init", None)()
        params = function("model_default_params", Params)()
        self.model = function("model_load_from_file", PTR, c.c_char_p, Params)(path.encode(), params)
        assert self.model, f"llama.cpp cannot load {path}"
        self.vocab = function("model_get_vocab", PTR, PTR)(self.model)
        self.n_vocab = function("vocab_n_tokens", INT, PTR)(self.vocab)
        self.is_eog = function("vocab_is_eog", c.c_bool, PTR, INT)

        params = function("context_default_params", Params)()
        # The struct begins with n_ctx and n_batch.
        c.memmove(c.addressof(params), (c.c_uint32 * 2)(CONTEXT, CONTEXT), 8)
        self.ctx = function("init_from_model", PTR, PTR, Params)(self.model, params)
        assert function("n_ctx", c.c_uint32, PTR)(self.ctx) == CONTEXT
        assert function("n_batch", c.c_uint32, PTR)(self.ctx) == CONTEXT
        function("set_n_threads", None, PTR, INT, INT)(self.ctx, threads, threads)
        self.memory = function("get_memory", PTR, PTR)(self.ctx)
        self.clear = function("memory_clear", None, PTR, c.c_bool)
        self.decode = function("decode", INT, PTR, Batch)
        self.logits_ith = function("get_logits_ith", c.POINTER(c.c_float), PTR, INT)
        self.batch = function("batch_init", Batch, INT, INT, INT)(CONTEXT, 0, 1)

    def run(self, ids, start, first=0):
        """Logits of all tokens from the first on, (n - first, vocab)."""
        self.batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            self.batch.token[i] = token
            self.batch.pos[i] = start + i
            self.batch.n_seq_id[i] = 1
            self.batch.seq_id[i][0] = 0
            self.batch.logits[i] = i >= first
        status = self.decode(self.ctx, self.batch)
        assert status == 0, f"llama_decode says {status}"
        rows = [np.ctypeslib.as_array(self.logits_ith(self.ctx, i), (self.n_vocab,)) for i in range(first, len(ids))]
        return np.stack(rows).astype(np.float64)

    def logprob(self, prompt, rest):
        self.clear(self.memory, True)
        logits = self.run((prompt + rest)[:-1], 0, len(prompt) - 1)
        top = logits.max(axis=1)
        log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        return float((logits[np.arange(len(rest)), rest] - log_sum).sum())

    def greedy(self, prompt, n):
        self.clear(self.memory, True)
        ids, gaps, new, start = [], [], prompt, 0
        while len(ids) < n:
            row = self.run(new, start, len(new) - 1)[0]
            start += len(new)
            first, second = np.partition(row, -2)[[-1, -2]]
            ids.append(int(row.argmax()))
            gaps.append(float(first - second))
            if self.is_eog(self.vocab, ids[-1]):
                break
            new = ids[-1:]
        return {"ids": ids, "gaps": gaps}


def main():
    model = Model(sys.argv[1], int(sys.argv[2]))
    for line in sys.stdin:
        request = json.loads(line)
        match request.pop("op"):
            case "tokenize":
                answer = [tokenize(model.vocab, text, False) for text in request["texts"]]
            case "tokenize_special":
                answer = [tokenize(model.vocab, text, True) for text in request["texts"]]
            case "logprob":
                answer = model.logprob(**request)
            case "greedy":
                answer = model.greedy(**request)
        print(json.dumps(answer), flush=True)


main()
