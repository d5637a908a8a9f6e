"""What tests of the server share: making requests' bodies and reading answers."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from conftest import picture
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings

TAB, OTHER_TAB = {"client": "tab-1"}, {"client": "tab-2"}


def png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def unpack(body: bytes) -> tuple[dict[str, Any], list[np.ndarray[Any, Any]]]:
    """The inverse of `answers.pack`."""
    (length,) = struct.unpack("<I", body[:4])
    header = json.loads(body[4 : 4 + length])
    arrays = []
    for row in header.pop("arrays"):
        count = int(np.prod(row["shape"]))
        found = np.frombuffer(body, row["dtype"], count, 4 + length + row["offset"])
        arrays.append(found.reshape(row["shape"]))
    return header, arrays


def make_photos(folder: Path) -> Path:
    """Three photos to label, one of them broken."""
    (folder / "yard").mkdir(parents=True)
    Image.fromarray(picture(1, 70, 110)).save(folder / "a.png")
    Image.fromarray(picture(2, 70, 110)).save(folder / "yard/b.jpg")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and nothing else")
    return folder


@contextmanager
def labelling(model: Any, photos: Path, runs: Path, classes: tuple[str, ...] = ("road", "sky")) -> Iterator[TestClient]:
    """Asks a server that has these photos open to label."""
    app = create_app(model, ServerSettings(runs=runs, token="sesame", wait_s=120.0))
    with TestClient(app, base_url="http://127.0.0.1", headers={"Authorization": "Bearer sesame"}) as client:
        opened = client.post("/v1/label/open", json={"folder": str(photos), "classes": list(classes)})
        assert opened.status_code == 200, opened.text
        yield client


def address_of(client: TestClient, name: str) -> str:
    """Of a photo."""
    rows = client.get("/v1/label/images").json()["images"]
    return f"/v1/label/images/{next(row['id'] for row in rows if row['name'] == name)}"


def edit_body(values: np.ndarray[Any, Any], x: int = 0, y: int = 0, **more: Any) -> bytes:
    """The body of an edit that changes all pixels of a rectangle."""
    h, w = values.shape
    header = {"client": "tab-1", "edit_id": "e1", "tool": "brush", "key": 0, "seconds": 1.5, "source": "person"}
    text = json.dumps({**header, "x": x, "y": y, "w": w, "h": h, **more}).encode()
    return struct.pack("<I", len(text)) + text + values.astype(np.uint8).tobytes() + b"\1" * values.size
