"""Writes a copy of a GGUF file whose tensors are dequantised to F32: `to_f32.py IN OUT`."""

import sys

from gguf import GGUFReader, GGUFValueType, GGUFWriter
from gguf.quants import dequantize

reader = GGUFReader(sys.argv[1])
architecture = reader.fields["general.architecture"].contents()
writer = GGUFWriter(sys.argv[2], architecture)
for key, field in reader.fields.items():
    if key.startswith("GGUF.") or key in ("general.architecture", "general.file_type"):
        continue
    kind = field.types[0]
    element = field.types[-1] if kind == GGUFValueType.ARRAY else None
    writer.add_key_value(key, field.contents(), kind, element)
writer.add_file_type(0)
for tensor in reader.tensors:
    values = dequantize(tensor.data, tensor.tensor_type)
    writer.add_tensor(tensor.name, values.reshape(tuple(reversed(tensor.shape.tolist()))))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
