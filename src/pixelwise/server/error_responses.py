"""Errors as answers: one form for all, in plain words, without paths or stack traces.

{"error": {"kind": "image-unreadable", "message": "…", "remedy": "…"}}
"""

from __future__ import annotations

from typing import Any

from fastapi.responses import JSONResponse


class RequestError(Exception):
    """An error that becomes the answer to a request."""

    def __init__(
        self, status: int, kind: str, message: str, remedy: str = "", retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message, self.remedy = status, kind, message, remedy
        self.retry_after_s = retry_after_s

    def response(self) -> JSONResponse:
        headers = {"Retry-After": str(self.retry_after_s)} if self.retry_after_s is not None else None
        return JSONResponse(body(self.kind, self.message, self.remedy), self.status, headers)


def body(kind: str, message: str, remedy: str = "") -> dict[str, Any]:
    return {"error": {"kind": kind, "message": message, "remedy": remedy}}


def too_large(what: str, limit: str) -> RequestError:
    return RequestError(413, "too-large", f"{what}; the limit is {limit}.", "Send a smaller image.")


def too_slow(seconds: float) -> RequestError:
    message = f"The upload took longer than {seconds:.0f} s."
    return RequestError(408, "too-slow", message, "Try again, or send a smaller image.")


def busy(seconds: int) -> RequestError:
    return RequestError(503, "busy", "The server is busy: its queue is full.", f"Try again in {seconds} s.", seconds)


def unknown_image() -> RequestError:
    return RequestError(404, "image-unknown", "The server no longer has this image.", "Send it again.")
