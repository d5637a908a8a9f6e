"""XML → element tree. The parser refuses a DOCTYPE in every encoding: the formats read here have none.

A DOCTYPE allows entities, which can exhaust memory (billion laughs) or read other files.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

from pixelwise.images.decoder_reasons import text_reason
from pixelwise.images.files import Refusal

MAX_DEPTH = 100
MAX_ELEMENTS = 20_000_000


def parse_xml(data: bytes | str) -> ElementTree.Element:
    """The root element. Raises Refusal: damaged, a DOCTYPE, an unknown encoding, nested too deeply."""
    try:
        return ElementTree.fromstring(data, ElementTree.XMLParser(target=_Tree()))
    except (ElementTree.ParseError, ValueError, LookupError) as error:  # the last two: unknown encodings
        raise Refusal("annotations", f"is not valid XML ({text_reason(error)}).", "Export it again.") from error


class _Tree(ElementTree.TreeBuilder):
    """A tree builder with limits."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = self.elements = 0

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        del name, pubid, system
        raise Refusal("annotations", "has a DOCTYPE, which may declare entities and is not read.", "Remove it.")

    def start(self, tag: Any, attrs: dict[Any, Any], /) -> ElementTree.Element:
        self.depth += 1
        self.elements += 1
        if self.depth > MAX_DEPTH or self.elements > MAX_ELEMENTS:
            raise Refusal("annotations", f"has elements nested more than {MAX_DEPTH} deep.", "Export it again.")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> ElementTree.Element:
        self.depth -= 1
        return super().end(tag)
