"""Writes a copy of a GGUF file with matrices in another form of those in FILE_TYPES: `convert.py IN OUT FORM`."""

import sys

from gguf import GGML_QUANT_VERSION, GGMLQuantizationType, GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType
from gguf.quants import dequantize, quantize


# What `general.file_type` says: all in F32, or all matrices in another form.
FILE_TYPES = {
    "F32": LlamaFileType.ALL_F32,
    "F16": LlamaFileType.MOSTLY_F16,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q4_1": LlamaFileType.MOSTLY_Q4_1,
}
# The types of whole numbers in blocks, which a version belongs to.
QUANTISED = {"Q8_0", "Q4_0", "Q4_1"}


def convert(path, out, form):
    if form not in FILE_TYPES:
        raise SystemExit(f"{form} is not one of {', '.join(FILE_TYPES)}")
    kind = GGMLQuantizationType[form]
    reader = GGUFReader(path)
    writer = GGUFWriter(out, reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        if key == "general.file_type":
            writer.add_file_type(FILE_TYPES[form])
            continue
        element = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], element)
    if "general.file_type" not in reader.fields:
        writer.add_file_type(FILE_TYPES[form])
    if form in QUANTISED and "general.quantization_version" not in reader.fields:
        writer.add_quantization_version(GGML_QUANT_VERSION)
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


if __name__ == "__main__":
    convert(*sys.argv[1:])
