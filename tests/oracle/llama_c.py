"""The C interface of llama.cpp, through ctypes.

It is that of the prebuilt library in the package `xllamacpp`, or of the library that the environment variable
LLAMA_LIBRARY names.
"""

import ctypes as c
import os


class Params(c.Structure):
    """Any parameter struct: it goes by value through memory, so a block that is larger than the real one works too."""

    _fields_ = [("bytes", c.c_uint8 * 2048)]


class Batch(c.Structure):
    _fields_ = [
        ("n_tokens", c.c_int32),
        ("token", c.POINTER(c.c_int32)),
        ("embd", c.POINTER(c.c_float)),
        ("pos", c.POINTER(c.c_int32)),
        ("n_seq_id", c.POINTER(c.c_int32)),
        ("seq_id", c.POINTER(c.POINTER(c.c_int32))),
        ("logits", c.POINTER(c.c_int8)),
    ]


def library():
    path = os.environ.get("LLAMA_LIBRARY")
    if path is None:
        import xllamacpp

        path = xllamacpp.xllamacpp.__file__
    return c.CDLL(path)


LIB = library()


def function(name, result, *arguments):
    f = getattr(LIB, "llama_" + name)
    f.restype, f.argtypes = result, arguments
    return f


PTR, INT = c.c_void_p, c.c_int32
LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, PTR)
silent = LOG(lambda level, text, data: None)


def tokenize(vocab, text, special=False):
    """Ids of a text, without added tokens; control strings are text, or with `special` what they say."""
    to_ids = function("tokenize", INT, PTR, c.c_char_p, INT, c.POINTER(INT), INT, c.c_bool, c.c_bool)
    data = text.encode()
    ids = (INT * (len(data) + 8))()
    n = to_ids(vocab, data, len(data), ids, len(ids), False, special)
    assert n >= 0
    return list(ids[:n])
