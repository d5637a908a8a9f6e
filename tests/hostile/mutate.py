"""Seeded damage: valid bytes, texts and tables → ones that a careless or hostile program could have written.

The same generator state gives the same mutant, so a finding is repeated by its seed and number.
"""

from __future__ import annotations

import copy
import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

NUMBERS = (
    *(0, 1, -1, 2, 127, 128, 255, 256, 65_535, 65_536, 2**31 - 1, -(2**31), 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64),
    *(10**18, 10**400, -(10**400), 0.5, -0.5, 1e-320, 1e308, math.inf, -math.inf, math.nan, True, False),
)
TEXTS = (
    *("", " ", "0", "-1", "nan", "1e400", "null", "\0", "\x1b[31m", "[bold]x[/bold]", "\ud800", "a\u0301", "\u202e"),
    *(
        "../../../etc/passwd",
        "/etc/passwd",
        "..\\..\\boot.ini",
        "C:\\x.png",
        "file:///etc/passwd",
        "%2e%2e%2f",
        "~root/x",
    ),
    *(
        "x" * 300,
        "x" * 70_000,
        "<b>",
        "&amp;",
        "'; --",
        "=1+1",
        "None",
        "background",
        "void",
        "__ignore__",
        "\u20ac\U0001f697",
    ),
)
CHUNK = (1, 2, 3, 4, 8, 16, 64, 256)


def mutated_bytes(data: bytes, rng: Random, others: Sequence[bytes] = ()) -> bytes:
    """One to four random changes. `others`: valid files of the same kind, parts of which are spliced in."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        rng.choice(BYTE_CHANGES)(out, rng, others)
        if not out:
            break
    return bytes(out)


def place(out: bytearray, rng: Random) -> int:
    """Somewhere in the bytes; more often near their beginning, where headers are."""
    return rng.randrange(min(len(out), 64)) if rng.random() < 0.4 and out else rng.randrange(max(len(out), 1))


def flip(out: bytearray, rng: Random, _others: Sequence[bytes]) -> None:
    for _ in range(rng.choice((1, 1, 1, 8, 32))):
        if out:
            out[place(out, rng)] ^= 1 << rng.randrange(8)


def overwrite_number(out: bytearray, rng: Random, _others: Sequence[bytes]) -> None:
    """A whole number of 8 to 64 bits, of either byte order: lengths, offsets and counts are such."""
    letter, bits = rng.choice((("B", 8), ("H", 16), ("I", 32), ("Q", 64)))
    value = rng.choice(
        (0, 1, 2**bits - 1, 2 ** (bits - 1), 2 ** (bits - 1) - 1, rng.getrandbits(bits), rng.randrange(64))
    )
    at = place(out, rng)
    packed = struct.pack(rng.choice("<>") + letter, value & (2**bits - 1))
    out[at : at + len(packed)] = packed


def cut(out: bytearray, rng: Random, _others: Sequence[bytes]) -> None:
    if rng.random() < 0.5:
        del out[place(out, rng) :]
    else:
        at = place(out, rng)
        del out[at : at + rng.choice(CHUNK)]


def repeat(out: bytearray, rng: Random, _others: Sequence[bytes]) -> None:
    at, size = place(out, rng), rng.choice(CHUNK)
    out[at:at] = out[at : at + size] * rng.choice((1, 2, 16, 200))


def insert(out: bytearray, rng: Random, _others: Sequence[bytes]) -> None:
    filler = rng.choice((b"\0", b"\xff", b"\n", b" ", bytes([rng.randrange(256)])))
    at = place(out, rng)
    out[at:at] = filler * rng.choice(CHUNK)


def splice(out: bytearray, rng: Random, others: Sequence[bytes]) -> None:
    if others:
        other = rng.choice(others)
        start = rng.randrange(max(len(other), 1))
        at = place(out, rng)
        part = other[start : start + rng.choice((4, 16, 64, 1024))]
        out[at : at + (len(part) if rng.random() < 0.5 else 0)] = part


BYTE_CHANGES: tuple[Callable[[bytearray, Random, Sequence[bytes]], None], ...] = (
    *(flip, flip, overwrite_number, overwrite_number, cut, repeat, insert, splice),
)


def mutated_text(text: str, rng: Random) -> str:
    """A text (XML, CSV, TOML, lists) with numbers, words, lines or tags exchanged, repeated or removed."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        text = rng.choice(TEXT_CHANGES)(text, rng)
    return text


def other_number(text: str, rng: Random) -> str:
    found = list(re.finditer(r"-?\d+(?:\.\d+)?", text))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start()] + in_words(rng.choice(NUMBERS)) + text[one.end() :]


def other_word(text: str, rng: Random) -> str:
    found = list(re.finditer(r"[A-Za-z_][\w./-]*", text))
    if not found:
        return text
    one = rng.choice(found)
    return text[: one.start()] + rng.choice((*TEXTS, rng.choice(found)[0])) + text[one.end() :]


def other_lines(text: str, rng: Random) -> str:
    lines = text.splitlines(keepends=True)
    if not lines:
        return text
    at = rng.randrange(len(lines))
    kind = rng.randrange(4)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines[at:at] = [lines[at]] * rng.choice((1, 2, 500))
    elif kind == 2:
        lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
    else:
        lines[at], lines[-1] = lines[-1], lines[at]
    return "".join(lines)


def other_tags(text: str, rng: Random) -> str:
    found = list(re.finditer(r"<[^<>]*>", text))
    if not found:
        return other_lines(text, rng)
    one = rng.choice(found)
    new = rng.choice(("", one[0] * 2, rng.choice(found)[0], "<a>" * 5000, "<!DOCTYPE x [<!ENTITY y 'z'>]>", "&x;"))
    return text[: one.start()] + new + text[one.end() :]


def other_nesting(text: str, rng: Random) -> str:
    opening = rng.choice(("[", '{"a":', "(", "<a>", "[["))
    at = rng.randrange(len(text) + 1)
    return text[:at] + opening * rng.choice((1, 3, 20_000)) + text[at:]


TEXT_CHANGES: tuple[Callable[[str, Random], str], ...] = (
    *(other_number, other_number, other_number, other_word, other_word, other_lines, other_tags, other_nesting),
)


def mutated_json(value: Any, rng: Random) -> str:
    """The text of a table in which one to four values are of other types or sizes, missing, repeated or nested."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        places = list(places_in(value))
        if not places:
            break
        holder, key = rng.choice(places)
        change = rng.randrange(10)
        if change == 0:
            del holder[key]
        elif change == 1 and isinstance(holder, list):
            holder[key:key] = [copy.deepcopy(holder[key])] * rng.choice((1, 2, 100))
        elif change == 2:
            holder[key] = rng.choice(({}, [], [[]], {"": None}, [None], {"a": {"b": {}}}))
        elif change == 3:
            holder[key] = copy.deepcopy(rng.choice(places)[0])
        elif change == 4:
            holder[key] = [holder[key]]
        elif change == 5:
            holder[key] = in_words(holder[key]) if not isinstance(holder[key], (dict, list)) else None
        elif change == 6 and isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = holder.pop(key)
        else:
            holder[key] = rng.choice((None, *NUMBERS, *TEXTS))
    text = json.dumps(value)  # NaN and Infinity are written as Python writes them
    return other_nesting(text, rng) if rng.random() < 0.02 else text


def places_in(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) in a table, however deep."""
    found: list[tuple[Any, Any]] = []
    open_ = [value]
    while open_:
        holder = open_.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                open_.append(holder[key])
    return found


def in_words(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
