"""The built page's files, and the page that documents the REST interface."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from pixelwise.server.rest_docs import docs_html

STATIC = Path(__file__).parent / "static"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".woff2": "font/woff2"}
FOREVER = "public, max-age=31536000, immutable"  # their names contain a digest of their content
NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Pixelwise</title>
<body style="font: 1rem/1.6 system-ui; max-width: 40rem; margin: 4rem auto; padding: 0 1rem">
<h1>The page is not built</h1>
<p>The REST interface works: see <a href="/docs">/docs</a>. To build the page, run this in the repository:</p>
<pre>python hatch_build.py</pre></body></html>"""


class PageFiles:
    """The built files, listed once at start: no name from a client ever becomes a path."""

    def __init__(self, folder: Path = STATIC) -> None:
        found = [path for path in sorted(folder.rglob("*")) if path.is_file()] if folder.is_dir() else []
        self.files = {path.relative_to(folder).as_posix(): path for path in found}

    def add_to(self, app: FastAPI) -> None:
        @app.get("/", include_in_schema=False)
        async def index(request: Request) -> Response:
            return self.answer("index.html", request) or HTMLResponse(NOT_BUILT, 503)

        @app.get("/label", include_in_schema=False)
        async def labelling(request: Request) -> Response:
            return self.answer("label.html", request) or HTMLResponse(NOT_BUILT, 503)

        @app.get("/assets/{name}", include_in_schema=False)
        async def asset(name: str, request: Request) -> Response:
            return self.answer(f"assets/{name}", request) or Response(status_code=404)

        @app.get("/favicon.svg", include_in_schema=False)
        async def icon(request: Request) -> Response:
            return self.answer("favicon.svg", request) or Response(status_code=404)

        @app.get("/docs", include_in_schema=False)
        def docs(request: Request) -> HTMLResponse:
            return HTMLResponse(docs_html(app.openapi(), str(request.base_url).rstrip("/")))

    def answer(self, name: str, request: Request) -> Response | None:
        path = self.files.get(name)
        if path is None:
            return None
        cached = FOREVER if name.startswith("assets/") else "no-cache"
        kind = KINDS.get(path.suffix)
        packed = self.files.get(name + ".gz")
        if packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            headers = {"Cache-Control": cached, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return FileResponse(packed, media_type=kind, headers=headers)
        return FileResponse(path, media_type=kind, headers={"Cache-Control": cached, "Vary": "Accept-Encoding"})
