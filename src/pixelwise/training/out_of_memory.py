"""Out of memory: how to recognise it, and which batch size fits, found by trying."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pixelwise.errors import OutOfMemoryError

WORDS = ("not enough memory", "can't allocate memory", "cannot allocate memory", "out of memory", "insufficient memory",
         "could not create a memory", "could not create a primitive",
         "std::bad_alloc", "status_alloc_failed")  # fmt: skip


def is_out_of_memory(error: BaseException) -> bool:
    """Is this an out-of-memory error of Python, torch, oneDNN, OpenCV, cuBLAS or cuDNN?"""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in WORDS)


def too_large(batch: int, size: tuple[int, int], fits: Callable[[int], bool], reason: str) -> OutOfMemoryError:
    """The error for a step with `batch` images that does not fit into memory, with a batch size that does.

    Args:
        size: height and width of the images in the batch.
        fits: tries a step with fewer images.
    """
    count = batch // 2
    while count and not fits(count):
        count //= 2
    remedy = (
        f"A batch of {count} was tried and fits: start over with --batch {count} and another --out."
        if count
        else "Not even one image fits: start over with a smaller --size and another --out, or close other programs."
    )
    first_line = reason.strip().splitlines()[0][:200] if reason.strip() else "no details"
    return OutOfMemoryError(
        f"a step with {batch} images of {size[0]}×{size[1]} needs more memory than there is ({first_line}). {remedy} "
        "The last checkpoint is kept; if memory was short only for a moment, use --resume."
    )
