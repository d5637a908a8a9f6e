"""When memory does not suffice: told from other errors, and which batch would fit, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pixelwise.errors import OutOfMemoryError

WORDS = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "insufficient memory",
         "could not create a memory", "could not create a primitive",
         "std::bad_alloc", "status_alloc_failed")  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had: Python's, torch's, oneDNN's, OpenCV's, cuBLAS's, cuDNN's."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)


def too_large(batch: int, size: tuple[int, int], fits: Callable[[int], bool], reason: str) -> OutOfMemoryError:
    """The error for a step with `batch` images that found no room, with what would.

    Args:
        size: height and width of the images in the batch.
        fits: tries a step with fewer images.
    """
    count = batch // 2
    while count and not fits(count):
        count //= 2
    remedy = (
        f"A batch of {count} was tried and fits: start anew with --batch {count} and another --out."
        if count
        else "Not even one image fits: start anew with a smaller --size and another --out, or close other programs."
    )
    first_line = reason.strip().splitlines()[0][:200] if reason.strip() else "no more was said"
    return OutOfMemoryError(
        f"a step with {batch} images of {size[0]}×{size[1]} needs more memory than there is ({first_line}). {remedy} "
        "The last checkpoint is kept; where the memory was only taken for the moment, go on with --resume."
    )
