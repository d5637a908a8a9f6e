"""What goes wrong with a labelling folder, as answers to requests."""

from __future__ import annotations

import errno
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from pixelwise.errors import (
    BundleError,
    DataError,
    ImageError,
    LabelLockedError,
    OutputError,
    PixelwiseError,
    UsageError,
)
from pixelwise.server.error_responses import RequestError

FULL = (errno.ENOSPC, errno.EDQUOT)


class LabelRoute(APIRoute):
    """A route whose errors are those of a labelling folder. They name files: only requests with the token get here."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_label_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except PixelwiseError as error:
                raise as_request_error(error) from error

        return handle_label_errors


def as_request_error(error: PixelwiseError) -> RequestError:
    """The answer to an error of the labelling folder."""
    message = str(error)
    if isinstance(error, LabelLockedError):
        return RequestError(409, "label-locked", message, "Choose another image, or wait.")
    if isinstance(error, OutputError):
        return output_error(error, message)
    if isinstance(error, BundleError):
        return RequestError(500, "model-failed", message, "Choose another model.")
    if isinstance(error, ImageError):
        return RequestError(422, "photo-unreadable", message, "Save the photo again, and reload the page.")
    if isinstance(error, UsageError):
        return RequestError(422, "request-invalid", message, "See /docs.")
    if isinstance(error, DataError):
        return RequestError(422, "label-data-invalid", message, "Repair or remove the file.")
    return RequestError(500, "failed", message, "See the server's log.")


def output_error(error: OutputError, message: str) -> RequestError:
    cause = error.__cause__
    number = cause.errno if isinstance(cause, OSError) else None
    if number in FULL:
        return RequestError(507, "label-disk-full", message, "Free space on the disk; nothing that was saved is lost.")
    if number == errno.ENOENT:
        return RequestError(409, "label-gone", message, "Bring the folder back, or open another one.")
    return RequestError(409, "label-read-only", message, "Choose a folder that you may write to.")
