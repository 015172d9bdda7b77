"""Serves a model file with the server of llama.cpp, until its standard input closes. Prints its address on a line.

    server.py MODEL SLOTS
"""

import sys

import xllamacpp

params = xllamacpp.CommonParams()
params.model.path = sys.argv[1]
params.n_parallel = int(sys.argv[2])
params.n_ctx = 4096 * params.n_parallel
params.port = 0
server = xllamacpp.Server(params)
print(server.listening_address, flush=True)
sys.stdin.read()
