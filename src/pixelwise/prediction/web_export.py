"""Any model as a web page by itself: a folder for any host of files. A visitor's photo stays in their browser."""

from __future__ import annotations

import base64
import gzip
import json
import lzma
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.bundle.bundle_file import BundleFile, read_bundle
from pixelwise.bundle.golden_image import image_entries
from pixelwise.bundle.metadata import Metadata
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.errors import UsageError
from pixelwise.images.files import printable, shown
from pixelwise.images.image_files import encode_png
from pixelwise.prediction.large.tile_plan import WHOLE_PIXELS
from pixelwise.prediction.load_model import find_bundle
from pixelwise.records import RGB
from pixelwise.version import __version__

BUILT = Path(__file__).parent / "web_page"  # made from web/ by hatch_build.py
BUNDLE = "model.onnx"
NAMED_BANDS = 8  # named in a message
LICENCES = """This page runs ONNX Runtime Web (https://onnxruntime.ai), under the MIT License:

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of
the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO
THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT,
TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.

What ONNX Runtime itself is made of: https://github.com/microsoft/onnxruntime/blob/main/ThirdPartyNotices.txt

It also runs Svelte (https://svelte.dev), under the same licence: Copyright (c) 2016-2025 Svelte contributors.

The page itself is part of Pixelwise, under the Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0
"""


@dataclass(frozen=True)
class WebFolder:
    """What was written."""

    path: Path
    bundle_bytes: int
    other_bytes: int  # of everything beside the bundle

    def __str__(self) -> str:
        folder = shown(self.path)
        return (
            f"{folder}: the web page of this model, {self.bundle_bytes / 1e6:.1f} MB and "
            f"{self.other_bytes / 1e6:.1f} MB beside it. Copy the folder to any web host, or try it here:\n"
            f"python -m http.server --bind 127.0.0.1 --directory {folder}"
        )


def export_web(model: Path | str, out: Path, title: str = "") -> WebFolder:
    """Write a folder that is a web page by itself: the bundle, ONNX Runtime Web and a page that labels photos.

    Args:
        model: what `load` takes: a bundle, a run directory, or the name of a built-in model.
        out: a new or empty folder.
        title: of the page. "": the name of the model.

    Raises:
        UsageError: no such model, one that takes other than RGB images, or a checkout whose page is not built.
        BundleError: it is damaged.
        OutputError: `out` is not empty, or cannot be written.
    """
    require_new(out)
    bundle = read_bundle(find_bundle(model))
    require_photos(bundle)
    described = {"title": title or title_of(bundle.path), **facts_of(bundle)}
    with new_folder(out, None) as folder:
        shutil.copytree(BUILT, folder, dirs_exist_ok=True)
        (folder / "standalone.html").rename(folder / "index.html")
        packed = folder / "onnxruntime.wasm.xz"  # browsers unpack gzip alone
        (folder / "onnxruntime.wasm.gz").write_bytes(gzip.compress(lzma.decompress(packed.read_bytes()), 9, mtime=0))
        packed.unlink()
        (folder / BUNDLE).write_bytes(bundle.model)
        (folder / "model.json").write_text(json.dumps(described, ensure_ascii=False, indent=1), encoding="utf-8")
        (folder / "third-party.txt").write_text(LICENCES, encoding="utf-8")
    sizes = {path.name: path.stat().st_size for path in out.rglob("*") if path.is_file()}
    return WebFolder(out, sizes[BUNDLE], sum(sizes.values()) - sizes[BUNDLE])


def require_photos(bundle: BundleFile) -> None:
    """Raises UsageError: the page cannot be made for this bundle, or here."""
    bands = bundle.metadata.bands
    if bands != RGB:
        named = ", ".join(bands.names[:NAMED_BANDS]) + (" …" if len(bands) > NAMED_BANDS else "")
        many = f"{len(bands)} {'band' if len(bands) == 1 else 'bands'}"
        raise UsageError(
            f"{shown(bundle.path)}: a model of {many} ({bands.dtype}: {named}). A web page can only open what browsers "
            "open, photos of 8-bit red, green and blue. Use `pixelwise serve` or `pixelwise predict` for this model."
        )
    if not (BUILT / "standalone.html").is_file():
        raise UsageError(
            f"{shown(BUILT)} is missing: the page is not built. In the repository, run: python hatch_build.py"
        )


def title_of(path: Path) -> str:
    """The name of a model for people: of its run directory or its file."""
    return printable(path.absolute().parent.name if path.name == BUNDLE else path.stem)


def facts_of(bundle: BundleFile) -> dict[str, Any]:
    """What the page says of the model, and the reference image on which it checks the browser."""
    metadata, golden = bundle.metadata, bundle.golden
    return {
        "file": BUNDLE,
        "bytes": len(bundle.model),
        "digest": bundle.digest,
        "classes": metadata.classes.to_json(),
        "temperature": metadata.temperature,
        "size": list(metadata.size),
        "policy": metadata.policy,
        "max_pixels": WHOLE_PIXELS[metadata.policy],
        "licence": metadata.licence,
        "scores": scores_of(metadata),
        "golden": {
            **image_entries(golden.image, metadata.bands),
            "labels_png": base64.b64encode(encode_png(golden.labels)).decode(),
        },
        "pixelwise": __version__,
    }


def scores_of(metadata: Metadata) -> dict[str, Any] | None:
    """The scores in a bundle and what they were measured on; None if it holds none."""
    stated = metadata.provenance.get("metrics")
    if not isinstance(stated, dict) or not isinstance(stated.get("split"), str):
        return None
    return {key: stated.get(key) for key in ("split", "images", "miou", "accuracy")}
