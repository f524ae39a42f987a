"""A network's flatbuffer, changed through the schema's objects."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

if TYPE_CHECKING:
    from pathlib import Path


class Editor:
    """Reads a file; :meth:`save` writes what was made of it."""

    def __init__(self, path: Path):
        self.model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
        self.graph = self.model.subgraphs[0]
        for operation in self.graph.operators:
            operation.inputs = list(operation.inputs)

    def find(self, name):
        """The first operation of this kind."""
        code = getattr(schema.BuiltinOperator, name)
        return next(
            o
            for o in self.graph.operators
            if self.model.operatorCodes[o.opcodeIndex].builtinCode == code
        )

    def retype(self, operation, name, version=1, custom=None, **options):
        """Turn an operation into one of another kind."""
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        code.customCode = custom
        self.model.operatorCodes.append(code)
        operation.opcodeIndex = len(self.model.operatorCodes) - 1
        if options:
            kind = options.pop("kind")
            operation.builtinOptions = getattr(schema, f"{kind}T")()
            operation.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            vars(operation.builtinOptions).update(options)
        return operation

    def tensor(self, index):
        return self.graph.tensors[index]

    def constant(self, *values):
        """A new constant int32 tensor's index."""
        buffer = schema.BufferT()
        buffer.data = list(struct.pack(f"<{len(values)}i", *values))
        self.model.buffers.append(buffer)
        tensor = schema.TensorT()
        tensor.shape = [len(values)]
        tensor.type = schema.TensorType.INT32
        tensor.buffer = len(self.model.buffers) - 1
        tensor.name = b"parameters"
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def content(self) -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def save(self, path):
        path.write_bytes(self.content())
        return path
