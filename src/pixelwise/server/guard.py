"""Who may ask: Host, Origin and token are checked before anything else happens, and every answer is fenced in.

A page elsewhere on the web can make a browser send requests here. The Host check stops names that an attacker points at
this machine (DNS rebinding); the Origin check stops posts across sites; the token stops other machines on the network.
"""

from __future__ import annotations

import hmac
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixelwise.server.refusals import Refused, too_large
from pixelwise.server.settings import Settings

COOKIE = "pixelwise_token"
OPEN_PATHS = ("/healthz", "/readyz")  # a load balancer has no token, and they tell nothing

POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "style-src 'self' 'unsafe-inline'",  # Svelte sets widths and colours of single elements
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
FENCES = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware that refuses what must not come in."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in FENCES.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self.check(scope, Headers(scope=scope))
        except Refused as refused:
            answer = refused.response()
        await (answer or self.app)(scope, receive, send_fenced)

    def check(self, scope: Scope, headers: Headers) -> Response | None:
        """None where the request may pass; an answer where there is one already. Raises Refused."""
        if host_name(headers.get("host", "")) not in self.settings.names:
            raise Refused(
                421,
                "host-unknown",
                "This server does not answer under that name.",
                "Use the address that `pixelwise serve` printed, or start it with --allow-host.",
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            raise Refused(403, "origin-foreign", "Requests from other sites are refused.", "Open the page itself.")
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise Refused(403, "origin-foreign", "Requests from other sites are refused.", "Open the page itself.")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.settings.max_bytes + 65_536:  # multipart's own lines
            raise too_large("The upload is larger", f"{self.settings.max_bytes // 2**20} MB")
        return self.check_token(scope, headers)

    def check_token(self, scope: Scope, headers: Headers) -> Response | None:
        token = self.settings.token
        if token is None or scope["path"] in OPEN_PATHS:
            return None
        cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        given = [headers.get("authorization", "").removeprefix("Bearer "), cookie.value if cookie else ""]
        if any(hmac.compare_digest(value.encode(), token.encode()) for value in given):
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] == "GET" and hmac.compare_digest(asked.encode(), token.encode()):
            answer = RedirectResponse(scope["path"], 303)  # so that the token does not stay in the address
            answer.set_cookie(COOKIE, token, httponly=True, samesite="strict", max_age=12 * 3600)
            return answer
        raise Refused(
            401,
            "token-missing",
            "This server asks for a token.",
            "Open the address that `pixelwise serve` printed, or send the header: Authorization: Bearer TOKEN",
        )


def host_name(host: str) -> str:
    """ "localhost:8000" → "localhost", "[::1]:8000" → "::1"."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
