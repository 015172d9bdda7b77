"""The C interface of the llama.cpp that the package `xllamacpp` brings, through ctypes."""

import ctypes as c

import xllamacpp


class Params(c.Structure):
    """Any parameter struct: it goes by value through memory, so a larger block than the real one is as good."""

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


LIB = c.CDLL(xllamacpp.xllamacpp.__file__)


def function(name, result, *arguments):
    f = getattr(LIB, "llama_" + name)
    f.restype, f.argtypes = result, arguments
    return f


PTR, INT = c.c_void_p, c.c_int32
LOG = c.CFUNCTYPE(None, c.c_int, c.c_char_p, PTR)
silent = LOG(lambda level, text, data: None)
