"""The folder that is a web page by itself: what is in it, how large it is, and what it refuses."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.cli import app
from pixelwise.errors import OutputError, UsageError
from pixelwise.images.image_files import decode_image, decode_mask_ids
from pixelwise.prediction.load_model import find_bundle
from pixelwise.prediction.web_export import BUILT, LICENCES, export_web, require_photos, scores_of, title_of
from pixelwise.records import Bands

MOST_BYTES = 15_000_000  # beside the bundle

built = pytest.mark.skipif(
    not (BUILT / "standalone.html").is_file(), reason="the page is not built: python hatch_build.py"
)


@built
def test_the_folder_holds_everything_and_names_nothing_elsewhere(tmp_path: Path) -> None:
    made = export_web("street", tmp_path / "web")
    files = {path.relative_to(made.path).as_posix(): path for path in made.path.rglob("*") if path.is_file()}
    expected = {"index.html", "model.json", "model.onnx", "onnxruntime.mjs", "onnxruntime.wasm.gz", "service-worker.js"}
    assert set(files) - {name for name in files if name.startswith("assets/")} == {*expected, "third-party.txt"}
    assert files["model.onnx"].read_bytes() == find_bundle("street").read_bytes()
    assert made.bundle_bytes == files["model.onnx"].stat().st_size
    assert made.bundle_bytes + made.other_bytes == sum(path.stat().st_size for path in files.values())
    assert made.other_bytes <= MOST_BYTES
    page = files["index.html"].read_text(encoding="utf-8")
    assert "default-src 'self'" in page  # the browser itself keeps photos here
    assert '="/' not in page  # works below any address
    assert files["third-party.txt"].read_text(encoding="utf-8") == LICENCES


@built
def test_the_page_is_told_what_the_bundle_says(tmp_path: Path) -> None:
    export_web("street", tmp_path / "web", title="My streets")
    described = json.loads((tmp_path / "web/model.json").read_text(encoding="utf-8"))
    bundle = read_bundle(find_bundle("street"))
    assert described["title"] == "My streets"
    assert described["digest"] == bundle.digest
    assert described["classes"] == bundle.metadata.classes.to_json()
    assert described["scores"]["miou"] == bundle.metadata.provenance["metrics"]["miou"]
    golden = {key: base64.b64decode(value) for key, value in described["golden"].items()}
    assert np.array_equal(decode_image(golden["image_png"], "image"), bundle.golden.image)
    assert np.array_equal(decode_mask_ids(golden["labels_png"], "labels"), bundle.golden.labels)


@built
def test_the_command_writes_it_and_says_how_to_look_at_it(tmp_path: Path) -> None:
    out = tmp_path / "web"
    run = CliRunner().invoke(app, ["export", "nuclei", "--web", str(out)])
    assert run.exit_code == 0, run.output
    assert f"python -m http.server --bind 127.0.0.1 --directory {out}" in run.output
    again = CliRunner().invoke(app, ["export", "nuclei", "--web", str(out)])
    assert isinstance(again.exception, OutputError)
    assert "already exists" in str(again.exception)
    reduced = CliRunner().invoke(app, ["export", "nuclei", "--web", str(tmp_path / "other"), "--int8"])
    assert isinstance(reduced.exception, UsageError)
    assert not (tmp_path / "other").exists()


def test_other_bands_are_refused_in_words() -> None:
    bundle = read_bundle(find_bundle("street"))
    bands = Bands(("blue", "green", "red", "nir"), "float32", (0.0,) * 4, (10_000.0,) * 4)
    with pytest.raises(UsageError, match=r"a model of 4 bands \(float32: blue, green, red, nir\).*`pixelwise predict`"):
        require_photos(replace(bundle, metadata=replace(bundle.metadata, bands=bands)))


def test_a_checkout_without_the_built_page_says_how_to_build_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pixelwise.prediction.web_export.BUILT", tmp_path / "not-built")
    with pytest.raises(UsageError, match=r"python hatch_build\.py"):
        require_photos(read_bundle(find_bundle("street")))


def test_a_page_is_named_after_its_run_or_file() -> None:
    assert title_of(Path("runs/kerbs/model.onnx")) == "kerbs"
    assert title_of(Path("street.onnx")) == "street"


@pytest.mark.parametrize("provenance", [{}, {"metrics": None}, {"metrics": {"miou": 0.5}}])
def test_scores_that_name_no_split_are_left_out(provenance: dict[str, Any]) -> None:
    metadata = read_bundle(find_bundle("street")).metadata
    assert scores_of(replace(metadata, provenance=provenance)) is None
