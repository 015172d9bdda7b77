"""A llama.cpp that is built for the processor of this machine.

The prebuilt one of the package xllamacpp is for processors with AVX2. This one is built from the source package of
llama-cpp-python with what the processor has beyond that, so that this engine is compared with llama.cpp at its best.
AMX is left out: it faults in some virtual machines.
"""

import os
import subprocess
import sys

VERSION = "0.3.36"
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "target", "native-llama")
# Flags of the processor as Linux names them, and what they are for the build.
FLAGS = {
    "avx": "AVX",
    "avx2": "AVX2",
    "fma": "FMA",
    "f16c": "F16C",
    "bmi2": "BMI2",
    "avx512f": "AVX512",
    "avx512_vbmi": "AVX512_VBMI",
    "avx512vbmi": "AVX512_VBMI",
    "avx512_vnni": "AVX512_VNNI",
    "avx512_bf16": "AVX512_BF16",
    "avx_vnni": "AVX_VNNI",
}


def library():
    """The path of libllama.so, which is built if it is not there."""
    path = os.path.abspath(os.path.join(FOLDER, "llama_cpp", "lib", "libllama.so"))
    if not os.path.exists(path):
        build()
    return path


def build():
    with open("/proc/cpuinfo") as file:
        has = set(next(line for line in file if line.startswith("flags")).split())
    options = {"GGML_NATIVE": "OFF", "LLAMA_CURL": "OFF", "GGML_AMX_TILE": "OFF", "GGML_AMX_INT8": "OFF", "GGML_AMX_BF16": "OFF"}
    options |= {f"GGML_{option}": "ON" for flag, option in FLAGS.items() if flag in has}
    arguments = " ".join(f"-D{name}={value}" for name, value in options.items())
    print(f"building llama.cpp with {arguments}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-binary", "llama-cpp-python", "--target", FOLDER]
    subprocess.run([*command, f"llama-cpp-python=={VERSION}"], check=True, env={**os.environ, "CMAKE_ARGS": arguments})


if __name__ == "__main__":
    print(library())
