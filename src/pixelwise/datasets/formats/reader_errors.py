"""The one boundary around readers: whatever goes wrong with a file becomes a Refusal, or a problem with its name.

Files come from anywhere, so any value in them can be of any kind. Readers refuse what they
expect; anything else (a list instead of a number, a file that vanished) ends here, never as a traceback. Errors
for users (`PixelwiseError`: an extra that is not installed) pass.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pixelwise.datasets.listing import Listing
from pixelwise.errors import PixelwiseError
from pixelwise.images.files import Refusal, shown
from pixelwise.records import Problem

AGAIN = "Export it again; if other programs read it, report this message together with the file."
LONGEST = 200  # characters of a foreign message


@contextmanager
def refusals() -> Iterator[None]:
    """Raise what a reader raises as a Refusal. Around every call of a reader for one file."""
    try:
        yield
    except (Refusal, PixelwiseError):
        raise
    except Exception as error:  # the point of this module
        raise refusal_of(error) from error


@contextmanager
def problems_of(listing: Listing, path: Path, what: str = "") -> Iterator[None]:
    """Put whatever stops the reading of one file, or of one record in it, into the listing, and go on after it.

    `what`: the words that name the record, such as "image a.png:".
    """
    try:
        yield
    except PixelwiseError:
        raise
    except Exception as error:
        refusal = refusal_of(error)
        listing.error(refusal.kind, path, f"{what} {refusal.what}".strip(), refusal.remedy)


def recognised(recognises: Callable[[Path], bool], root: Path, layout: str, problems: list[Problem]) -> bool:
    """Whether a layout recognises a folder; one whose recognition fails does not, and that is a problem."""
    try:
        return recognises(root)
    except PixelwiseError:
        raise
    except Exception as error:
        refusal = refusal_of(error)
        what = f"could not be looked at as {layout}: {refusal.what}"
        problems.append(Problem("error", refusal.kind, shown(root.name) or ".", what, refusal.remedy))
        return False


def refusal_of(error: Exception) -> Refusal:
    """Any exception as the reason why a file is not taken."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryError):
        return Refusal("too-large", "needs more memory than there is.", "Cut it into smaller files.")
    if isinstance(error, RecursionError):
        return Refusal("annotations", "is nested too deeply to be read.", "Export it again.")
    if isinstance(error, OSError):
        where = f" {shown(str(error.filename))[-LONGEST:]}" if error.filename is not None else ""
        what = f"{shown(error.strerror or str(error))[:LONGEST]}{where}"
        return Refusal("unreadable", f"cannot be read ({what}).", "Check that the file is there and may be read.")
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    what = f"holds what no reader expects ({type(error).__name__}{place}: {shown(str(error))[:LONGEST]})."
    return Refusal("annotations", what, AGAIN)
