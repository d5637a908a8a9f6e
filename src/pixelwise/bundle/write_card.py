"""Write a card into a bundle. The network's bytes stay as they are, and so does the digest that identifies it."""

from __future__ import annotations

import json
from pathlib import Path

from pixelwise.bundle.bundle_file import BundleFile, parse_bundle, read_bundle
from pixelwise.bundle.metadata import PREFIX
from pixelwise.bundle.model_card import ModelCard
from pixelwise.bundle.protobuf_reader import Reader
from pixelwise.images.files import write_whole

ENTRY = 14 << 3 | 2  # the tag of model.metadata_props
KEY, VALUE = 1 << 3 | 2, 2 << 3 | 2  # the tags of an entry's texts


def write_card(path: Path, card: ModelCard) -> BundleFile:
    """Put `card` in place of the card in a bundle, whole or not at all. Returns the bundle as it is now.

    Raises:
        BundleError: `path` is not a valid bundle.
        OutputError: `path` cannot be written; the file stays unchanged.
    """
    before = read_bundle(path)
    written = card.written()
    text = json.dumps(written, ensure_ascii=False) if written else None
    data = with_entry(before.model, PREFIX + "card", text)
    after = parse_bundle(data, path)  # never write a file that cannot be read back
    if data != before.model:
        write_whole(path, data)
    return after


def with_entry(model: bytes, key: str, value: str | None) -> bytes:
    """A serialised model with one entry of its `metadata_props` replaced, added, or with None left out."""
    reader = Reader(model)
    parts, at = [], 0
    while at < len(model):
        tag, content = reader.number(at)
        if tag & 7 == 0:
            _, end = reader.number(content)
        else:  # a bundle's model has nothing but numbers and what has a length
            length, content = reader.number(content)
            end = content + length
        if tag != ENTRY or reader.message("entry", content, end).get("key") != key:
            parts.append(model[at:end])
        at = end
    if value is not None:
        parts.append(field(ENTRY, field(KEY, key.encode()) + field(VALUE, value.encode())))
    return b"".join(parts)


def field(tag: int, content: bytes) -> bytes:
    return varint(tag) + varint(len(content)) + content


def varint(number: int) -> bytes:
    """A number as protobuf writes it: seven bits a byte, the lowest first."""
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
