"""Checks of values from untrusted files: a value of the wrong type or out of range is refused.

Some JSON values are not valid numbers: true equals 1 in Python, 1e400 is infinite, 10**400 overflows a float.
"""

from __future__ import annotations

import math
from typing import Any

from pixelwise.images.files import Refusal, shown
from pixelwise.records import Colour

FAR = 1e15  # limit of the magnitude of any coordinate, size or number
CORRECT = "Correct the file, or export it again."


def whole(value: Any, what: str, low: int = 0, high: int = 2**31 - 1) -> int:
    """An integer in low … high, inclusive. Booleans, floats and text do not count. Raises Refusal."""
    if type(value) is not int or not low <= value <= high:
        expected = f"expected a whole number from {low:,} to {high:,}"
        raise Refusal("annotations", f"has {shown_value(value)} as its {what}; {expected}.", CORRECT)
    return value


def whole_text(value: Any, what: str, low: int = 0, high: int = 2**31 - 1) -> int:
    """An integer from text, as in XML and CSV. Raises Refusal."""
    text = value.strip() if isinstance(value, str) else ""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12):
        raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected a whole number.", CORRECT)
    return whole(int(text), what, low, high)


def number(value: Any, what: str, low: float = -FAR, high: float = FAR) -> float:
    """A finite number; booleans and text do not count. Raises Refusal."""
    if type(value) in (int, float):
        if -FAR <= value <= FAR and low <= value <= high:  # false for NaN; works for integers of any length
            return float(value)
        if low > -FAR or high < FAR:
            expected = f"a number from {low:g} to {high:g}"
            raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected {expected}.", CORRECT)
    raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected a finite number.", CORRECT)


def number_text(value: Any, what: str) -> float:
    """A finite number from text, as in XML and CSV. Raises Refusal."""
    try:
        found = float(value) if isinstance(value, str) and len(value) < 100 and "_" not in value else math.nan
    except ValueError:
        found = math.nan
    if not -FAR <= found <= FAR:
        raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected a finite number.", CORRECT)
    return found


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """The (H, W) that a file declares; None if it declares none. 480.0 counts as 480. Raises Refusal."""
    if height is None and width is None:
        return None
    return _side(height, "height"), _side(width, "width")


def same_size(declared: tuple[int, int] | None, size: tuple[int, int], who: str = "") -> None:
    """Raise Refusal if the declared size differs from the image's, before any allocation. Both are (H, W).

    `who`: the record's name, such as "image a.png".
    """
    if declared is not None and declared != size:
        said, real = (f"{width}×{height}" for height, width in (declared, size))
        what = f"{who} was annotated on an image of {said} pixels, but the image has {real}.".strip()
        raise Refusal("size-mismatch", what, "Draw on the image as it is (upright, not resized), or put the right one.")


def rows_of(value: Any, what: str) -> list[dict[str, Any]]:
    """A list of JSON objects. Raises Refusal."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected a list of objects.", CORRECT)
    return value


def table_of(value: Any, what: str) -> dict[str, Any]:
    """A JSON object. Raises Refusal."""
    if not isinstance(value, dict):
        raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected an object.", CORRECT)
    return value


def text_of(value: Any, what: str, encoded: str = "strict") -> str:
    """Non-empty text that can be encoded. Raises Refusal.

    `encoded`: "surrogateescape" for file names, which may contain non-UTF-8 bytes.
    """
    if not isinstance(value, str) or not value.strip() or not _writable(value, encoded):
        raise Refusal("annotations", f"has {shown_value(value)} as its {what}; expected a name.", CORRECT)
    return value


def colour_of(value: Any) -> Colour | None:
    """A colour from three levels 0 to 255; None for anything else, because colours do not affect masks."""
    if isinstance(value, list) and len(value) == 3 and all(type(n) is int and 0 <= n <= 255 for n in value):
        return value[0], value[1], value[2]
    return None


def shown_value(value: Any) -> str:
    """A short form of any value for a message; long values are never formatted in full."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, int) and not -(10**20) < value < 10**20:
        return "a number of more than twenty digits"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str):
        return repr(shown(value[:40])) + ("…" if len(value) > 40 else "")
    if isinstance(value, list | dict):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value):,}"
    return f"a {type(value).__name__}"


def _writable(text: str, errors: str) -> bool:
    try:
        text.encode("utf-8", errors)
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def _side(value: Any, what: str) -> int:
    if type(value) is float and 0 < value < FAR and value == int(value):
        value = int(value)
    return whole(value, what, 1)
