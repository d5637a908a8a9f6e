"""The error boundary around readers: any error in a file becomes a Refusal, or a problem that names the file.

Files are untrusted, so any value can have any type. Readers refuse the errors they expect; all others (a list instead
of a number, a file that vanished) are caught here and never become a traceback. Errors for users (`PixelwiseError`: an
extra that is not installed) pass through.
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
    """Convert a reader's exceptions to Refusal. Wraps every call of a reader for one file."""
    try:
        yield
    except (Refusal, PixelwiseError):
        raise
    except Exception as error:  # the point of this module
        raise refusal_of(error) from error


@contextmanager
def problems_of(listing: Listing, path: Path, what: str = "") -> Iterator[None]:
    """Report any error in one file, or in one of its records, in the listing, and continue after it.

    `what`: the record's name, such as "image a.png:".
    """
    try:
        yield
    except PixelwiseError:
        raise
    except Exception as error:
        refusal = refusal_of(error)
        listing.error(refusal.kind, path, f"{what} {refusal.what}".strip(), refusal.remedy)


def recognised(recognises: Callable[[Path], bool], root: Path, layout: str, problems: list[Problem]) -> bool:
    """Whether a layout recognises a folder; an error counts as no, and becomes a problem."""
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
    """Convert any exception to the reason for skipping a file."""
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
