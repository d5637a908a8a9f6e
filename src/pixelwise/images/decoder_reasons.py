"""What a decoder's exception means for the file, in words.

Decoders report damage in terms of their own code ("unpack_from requires a buffer of at least 20 bytes", "tuple index
out of range"). Such a text never becomes part of a message: it is recognised and translated, or left out. The exception
remains the cause of the error that is raised, for developers.
"""

from __future__ import annotations

import re

from pixelwise.images.files import printable

ENDS_EARLY, DAMAGED_STREAM = "it ends too early", "its compressed data is damaged"
MEANINGS = (  # the first whose pattern is found in the exception's text
    (r"checksum|data check|\bcrc\b", "a checksum does not match"),
    (r"tile cannot extend|outside image", "a tile lies outside the image"),
    (r"memory alloc|allocate", "it needs more memory than there is"),
    (
        r"truncat|premature|unexpected end|\beof\b|ended before|only got|too few|not processed|wrong size"
        r"|requires a buffer|reading array header|extension content|smaller than requested|bytes, got \d+ bytes",
        ENDS_EARLY,
    ),
    (
        r"decompress|deflate|lookback|gzip|zlib|lzma|corrupt|huffman|arithmetic|instead of rst|broken data"
        r"|decoder error|codec|color planes|next frame|failed to decode|decoding|returned null|opj_|decoder object",
        DAMAGED_STREAM,
    ),
    (r"dimensions|image size|no data chunk|empty", "it states an impossible size"),
)
# What decoders say of kinds of images that they do not read, such as "Unsupported BMP compression (4)".
UNREAD_KIND = re.compile(r"^(?:unsupported|unknown|cannot handle) [\w ()/-]{3,60}$", re.IGNORECASE)
# Faults in a decoder's own code, whose texts are about that code; what set them off is damage in the file.
NOT_OF_THE_FILE = (TypeError, AttributeError, LookupError, ArithmeticError, AssertionError, UnicodeError)


def reason_in_words(error: BaseException) -> str:
    """What is wrong with the file, such as "it ends too early"; "" if the exception does not tell.

    Example:
        >>> import struct
        >>> try:
        ...     struct.unpack("<I", b"12")
        ... except struct.error as error:
        ...     print(reason_in_words(error))
        it ends too early
        >>> reason_in_words(IndexError("tuple index out of range"))
        ''
    """
    if isinstance(error, OSError) and error.errno is not None and error.strerror:
        return error.strerror  # of the operating system: "Input/output error"
    return meaning_of(str(error)) if not isinstance(error, NOT_OF_THE_FILE) else ""


def meaning_of(text: str) -> str:
    """As `reason_in_words`, of the text of an exception or a decoder's warning."""
    found = (words for pattern, words in MEANINGS if re.search(pattern, text, re.IGNORECASE))
    return next(found, "")


def unread_kind(error: BaseException) -> str | None:
    """The kind of image that a decoder does not read, in its words; "" if it does not say; None for other errors."""
    text = str(error).splitlines()[0].strip() if str(error) else ""
    if isinstance(error, NOT_OF_THE_FILE):
        return None
    if UNREAD_KIND.match(text):
        return text[:1].lower() + text[1:]
    return "" if isinstance(error, NotImplementedError) or "not supported" in text or "not available" in text else None


def because(what: str, error: BaseException) -> str:
    """ "its pixels cannot be decoded (it ends too early)"; only `what` if the exception does not tell."""
    reason = reason_in_words(error)
    return f"{what} ({reason})" if reason else what


def text_reason(error: Exception) -> str:
    """Why a text (JSON, TOML, XML) cannot be parsed: the parser's own words, which name line and column, if it has any.

    Example:
        >>> import json
        >>> try:
        ...     json.loads(b"[1, \\xff]")
        ... except ValueError as error:
        ...     print(text_reason(error))
        its byte 4 is not UTF-8 text
    """
    if isinstance(error, UnicodeDecodeError):
        return f"its byte {error.start} is not UTF-8 text"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, LookupError):
        return "its encoding is unknown"
    said = printable(str(error).strip().splitlines()[0] if str(error).strip() else "it is damaged")[:100]
    return "a number has too many digits" if "set_int_max_str_digits" in said or "Exceeds the limit" in said else said
