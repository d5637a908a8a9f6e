"""Access control: Host, Origin and token are checked first, and every answer gets security headers.

Any page on the web can make a browser send requests here. The Host check stops names that an attacker points at this
machine (DNS rebinding); the Origin check stops cross-site posts; the token stops everyone else.

Rights depend on the token, never on the client's address: behind a proxy, all requests come from this machine. A server
that only listens locally predicts and shows its model without the token; starting and stopping trainings, labelling,
and everything about folders of this machine, always needs it.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixelwise.server.error_responses import RequestError
from pixelwise.server.server_settings import ServerSettings

COOKIE = "pixelwise_token"  # plus the port: cookies of a host are sent to all ports
OPEN_PATHS = ("/healthz", "/readyz")  # a load balancer has no token, and they reveal nothing
# these, and paths below, always need the token
PROVEN_PATHS = ("/v1/runs", "/v1/label", "/v1/data", "/v1/evaluations", "/v1/train", "/v1/ship")
PROVEN = "pixelwise.proven"  # in a request's scope: did it have the token?
ONCE = ("host", "content-length", "origin", "transfer-encoding", "authorization")  # headers allowed once
MOST_FIELDS = 100  # parameters of an address

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


class RequestGuard:
    """ASGI middleware that rejects requests without the required rights."""

    def __init__(self, app: ASGIApp, settings: ServerSettings) -> None:
        if not settings.token:
            raise ValueError("a server needs a token")
        self.app, self.settings, self.token = app, settings, settings.token
        self.cookie = f"{COOKIE}_{settings.port}"
        self.proof = hmac.new(self.token.encode(), b"pixelwise cookie", hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no WebSockets here
            await send({"type": "websocket.close"})
            return

        async def send_fenced(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in FENCES.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            answer = self.check(scope, Headers(scope=scope))
        except RequestError as refused:
            answer = refused.response()
        # Cookies are used here only. Parsed later, on the event loop, 60 kB of backslashes take half a minute with
        # Python's parser before 3.11.10 and 3.12.6: CVE-2024-7592.
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        await (answer or self.app)(scope, receive, send_fenced)

    def check(self, scope: Scope, headers: Headers) -> Response | None:
        """None if the request may pass, or its answer. Raises RequestError."""
        if twice := next((name for name in ONCE if len(headers.getlist(name)) > 1), None):
            raise RequestError(400, "header-twice", f"The request has the header {twice} twice.", "Send it once.")
        if not self.is_own(host_name(headers.get("host", "")), scope):
            raise RequestError(
                421,
                "host-unknown",
                "This server does not accept this host name.",
                "Use the address that `pixelwise serve` printed, or start it with --allow-host.",
            )
        origin = headers.get("origin")
        if origin is not None and origin_host(origin) != headers.get("host"):
            raise RequestError(403, "origin-foreign", "Requests from other sites are refused.", "Open the page itself.")
        if scope["method"] not in ("GET", "HEAD") and headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            raise RequestError(403, "origin-foreign", "Requests from other sites are refused.", "Open the page itself.")
        return self.check_token(scope, headers)

    def is_own(self, host: str, scope: Scope) -> bool:
        """Is this a name of this server, or the address at which the request arrived? A foreign name that points here
        would appear as that name."""
        if host in self.settings.names:
            return True
        reached = as_address((scope.get("server") or ("",))[0])
        return not self.settings.is_local and reached is not None and reached == as_address(host)

    def check_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self.token_in_address(scope):
            return self.remember(scope, headers)
        scope[PROVEN] = self.is_proven(headers)
        if scope[PROVEN] or scope["path"] in OPEN_PATHS:
            return None
        is_plain = not is_proven_path(scope["path"]) and asked_for(scope, "model") in ("", "main")
        if self.settings.is_local and is_plain:
            return None
        raise token_missing()

    def is_proven(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and same(given.strip(), self.token):
            return True
        cookies = [part.strip() for part in headers.get("cookie", "").split(";")]
        return any(same(cookie, f"{self.cookie}={self.proof}") for cookie in cookies if cookie.startswith(self.cookie))

    def token_in_address(self, scope: Scope) -> bool:
        if scope["method"] != "GET" or b"token=" not in scope["query_string"]:
            return False
        return same(asked_for(scope, "token"), self.token)

    def remember(self, scope: Scope, headers: Headers) -> Response:
        """Set a cookie and redirect, so that the token does not stay in the address."""
        answer = RedirectResponse("/" + scope["path"].lstrip("/\\"), 303)
        forwarded = headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower()  # by a proxy that speaks TLS
        secure = "https" in (scope.get("scheme"), forwarded)
        answer.set_cookie(self.cookie, self.proof, httponly=True, samesite="strict", secure=secure, max_age=12 * 3600)
        return answer


def token_missing() -> RequestError:
    return RequestError(
        401,
        "token-missing",
        "This request needs the server's token.",
        "Open the address that `pixelwise serve` printed, or send the header: Authorization: Bearer TOKEN",
    )


def require_proof(scope: Scope) -> None:
    """Raises RequestError if the request does not have the token."""
    if not scope.get(PROVEN):
        raise token_missing()


def asked_for(scope: Scope, name: str) -> str:
    """A parameter of the address; "" if it is missing. Raises RequestError."""
    try:
        fields: dict[str, list[str]] = parse_qs(scope["query_string"].decode("latin-1"), max_num_fields=MOST_FIELDS)
    except ValueError as error:
        message = f"The address has over {MOST_FIELDS} parameters."
        raise RequestError(400, "address-long", message, "See /docs for the parameters.") from error
    return fields.get(name, [""])[0]


def same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode())


def is_proven_path(path: str) -> bool:
    """Whether this path always needs the token."""
    return any(path == root or path.startswith(f"{root}/") for root in PROVEN_PATHS)


def origin_host(origin: str) -> str | None:
    """Host and port of an origin; None if it is invalid."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def as_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address, IPv4-mapped IPv6 as IPv4; None if it is a name."""
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def host_name(host: str) -> str:
    """ "localhost:8000" → "localhost", "[::1]:8000" → "::1"."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()
