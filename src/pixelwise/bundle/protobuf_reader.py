"""A strict reader of ONNX files, so that every other reader sees the same content.

Protobuf readers are lenient and differ: a number has several encodings, so one reader skips a field as unknown while
another reads it; of a repeated single field, one takes the first value and another the last. A runtime could then load
content other than what was checked. So this reader rejects everything that the bundle writer does not write: overlong
numbers, unknown fields, repeated single fields, wrong types. The rest has one meaning for every reader, and the bytes
are passed on unchanged. The onnx package, whose import takes longer than labelling an image, is not needed.

The fields and their numbers are those of onnx.proto; see https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

Message = dict[str, Any]  # field → its value, or a list of values if it may repeat

MAX_FIELDS = 1_000_000  # in all messages; the built-in models have about 20,000
MAX_PACKED = 1 << 16  # bytes of a packed list of numbers; weights are in raw_data
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


class Field(NamedTuple):
    """The encoding of a field, and whether it may repeat."""

    name: str
    kind: str  # int, whole (0 … 2³¹−1), float, text, data, floats, ints, doubles; otherwise the message that it holds
    many: bool


WIRE = {"int": VARINT, "whole": VARINT, "float": FIXED32}  # everything else is BYTES
MESSAGES: dict[str, dict[int, str]] = {  # message → field number → "name kind", with * if it may repeat
    "model": {
        1: "ir_version int", 2: "producer_name text", 3: "producer_version text", 4: "domain text",
        5: "model_version int", 6: "doc_string text", 7: "graph graph", 8: "opset_import opset*",
        14: "metadata_props entry*",
    },
    "opset": {1: "domain text", 2: "version int"},
    "entry": {1: "key text", 2: "value text"},
    "graph": {
        1: "node node*", 2: "name text", 5: "initializer tensor*", 10: "doc_string text", 11: "input value*",
        12: "output value*", 13: "value_info value*", 16: "metadata_props entry*",
    },
    "node": {
        1: "input text*", 2: "output text*", 3: "name text", 4: "op_type text", 5: "attribute attribute*",
        6: "doc_string text", 7: "domain text", 9: "metadata_props entry*",
    },
    "attribute": {
        1: "name text", 2: "f float", 3: "i int", 4: "s data", 5: "t tensor", 7: "floats float*", 8: "ints int*",
        9: "strings data*", 13: "doc_string text", 20: "type whole",
    },
    "tensor": {
        1: "dims int*", 2: "data_type whole", 4: "float_data float*", 5: "int32_data int*", 7: "int64_data int*",
        8: "name text", 9: "raw_data data", 10: "double_data doubles*", 11: "uint64_data int*", 12: "doc_string text",
        14: "data_location whole", 16: "metadata_props entry*",
    },
    "value": {1: "name text", 2: "type type", 3: "doc_string text", 4: "metadata_props entry*"},
    "type": {1: "tensor_type tensor_type", 6: "denotation text"},
    "tensor_type": {1: "elem_type whole", 2: "shape shape"},
    "shape": {1: "dim dim*"},
    "dim": {1: "dim_value int", 2: "dim_param text", 3: "denotation text"},
}  # fmt: skip
ELSEWHERE = "part of its weights lies in another file, but a bundle is one file"
INSIDE = "an operator holds a graph of its own (If, Loop, Scan), whose cost has no bound; a bundle has one graph"
REFUSED = {  # ONNX fields that bundles do not use → a more specific reason
    ("model", 20): "holds training information, which a bundle does not use",
    ("model", 25): "defines operators of its own; a bundle uses ONNX's",
    ("tensor", 13): ELSEWHERE,
    ("attribute", 6): INSIDE,
    ("attribute", 11): INSIDE,
}


def compiled() -> dict[str, dict[int, Field]]:
    """MESSAGES by full tag: field number and wire type. A list of numbers may be packed or not."""
    table: dict[str, dict[int, Field]] = {}
    for message, fields in MESSAGES.items():
        tags = table[message] = {}
        for number, text in fields.items():
            name, kind = text.rstrip("*").split()
            many = text.endswith("*")
            tags[number << 3 | WIRE.get(kind, BYTES)] = Field(name, kind, many)
            if many and kind in ("int", "float"):
                tags[number << 3 | BYTES] = Field(name, kind + "s", many)
    return table


TAGS = compiled()


def read_model(data: bytes) -> tuple[Message, memoryview]:
    """Read an ONNX file: its model, texts as str and raw data as memoryview, and the bytes of its graph.

    Raises:
        ValueError: it is truncated, or not encoded as bundles are.
    """
    if len(data) > 0x7FFFFFFF:
        raise ValueError("it is larger than 2 GiB")
    try:
        reader = Reader(data)
        return reader.message("model", 0, len(data)), reader.graph
    except IndexError as error:
        raise ValueError("it is truncated") from error
    except UnicodeDecodeError as error:
        raise ValueError("a text in it is not UTF-8") from error


class Reader:
    """Reads messages from `data`. Offsets count from its start."""

    def __init__(self, data: bytes) -> None:
        self.data, self.view = data, memoryview(data)
        self.fields = 0
        self.graph = self.view[:0]  # the bytes of the graph, once read

    def message(self, kind: str, at: int, end: int) -> Message:
        """The message of this kind in bytes [at, end)."""
        data, tags = self.data, TAGS[kind]
        found: Message = {}
        while at < end:
            tag = data[at]
            at += 1
            if tag >= 0x80:  # field numbers from 16 take two bytes; longer tags match no field here
                second = data[at]
                at += 1
                if not 0 < second < 0x80:
                    raise ValueError(f"a field's number in a {kind} is written in more bytes than it needs")
                tag = tag & 0x7F | second << 7
            field = tags.get(tag)
            if field is None:
                raise ValueError(refusal(kind, tag))
            name, what, many = field
            if what in ("int", "whole"):
                value, at = self.number(at)
                if what == "whole" and value >= 1 << 31:
                    raise ValueError(f"{kind}.{name} is {value}")
                content: Any = value - (1 << 64) if value >= 1 << 63 else value
            elif what == "float":
                content = struct.unpack_from("<f", data, at)[0] if at + 4 <= end else None
                at += 4
            else:
                length, at = self.number(at)
                if at + length > end:
                    raise ValueError(f"{kind}.{name} reaches past the end")
                content = self.content(what, at, at + length)
                at += length
            if at > end:
                raise ValueError(f"{kind}.{name} reaches past the end")
            self.fields += 1
            if self.fields > MAX_FIELDS:
                raise ValueError(f"it has more than {MAX_FIELDS} fields")
            if not many:
                if name in found:
                    raise ValueError(several(kind, name))
                found[name] = content
            elif what in ("ints", "floats", "doubles"):
                found.setdefault(name, []).extend(content)
            else:
                found.setdefault(name, []).append(content)
        return found

    def number(self, at: int) -> tuple[int, int]:
        """The integer at `at`, 0 … 2⁶⁴−1, and the offset after it."""
        value, shift = 0, 0
        while True:
            byte = self.data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise ValueError("a number has more than ten bytes")
        if value >= 1 << 64 or (byte == 0 and shift):
            raise ValueError("a number is written in more bytes than it needs")
        return value, at

    def content(self, what: str, at: int, end: int) -> Any:
        """The content of bytes [at, end): a text, data, a list of numbers or a message."""
        if what == "text":
            text = self.data[at:end].decode()
            if "\0" in text:
                raise ValueError("a text in it has a NUL character, at which some readers end it")
            return text
        if what == "data":
            return self.view[at:end]
        if what == "graph":
            self.graph = self.view[at:end]
        if what in TAGS:
            return self.message(what, at, end)
        if end - at > MAX_PACKED and what != "floats":
            raise ValueError(f"a list of numbers takes {end - at} bytes; at most {MAX_PACKED}, more stand in raw_data")
        if what == "ints":
            numbers = []
            while at < end:
                value, at = self.number(at)
                numbers.append(value - (1 << 64) if value >= 1 << 63 else value)
            if at > end:
                raise ValueError("a list of numbers reaches past its end")
            return numbers
        letter, size = ("f", 4) if what == "floats" else ("d", 8)
        if (end - at) % size:
            raise ValueError("a list of numbers is not whole")
        return struct.unpack_from(f"<{(end - at) // size}{letter}", self.data, at)


def refusal(kind: str, tag: int) -> str:
    """The reason to refuse a field that bundles do not use."""
    number = tag >> 3
    if (kind, number) in REFUSED:
        return REFUSED[kind, number]
    if number in MESSAGES[kind]:
        name = MESSAGES[kind][number].split()[0]
        return f"{kind}.{name} is not written as its type is"
    return f"it has a field {number} in a {kind}, which no bundle has"


def several(kind: str, name: str) -> str:
    if (kind, name) == ("model", "graph"):  # a runtime would merge them, and the recorded digest covers one
        return "it holds 2 graphs or more; a bundle holds one"
    return f"{kind}.{name} is there twice"
