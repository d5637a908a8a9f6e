"""One image and one split are scored the same to the last digit: by the page, REST, the command line and the report."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from serving import png, unpack
from typer.testing import CliRunner

from conftest import THREE, TOKEN, make_bundle, picture
from pixelwise.cli import app
from pixelwise.images.image_files import write_png
from pixelwise.prediction.confidence_maps import probabilities_of_rows
from pixelwise.prediction.load_model import load
from pixelwise.records import VOID
from pixelwise.server.app import create_app
from pixelwise.server.server_settings import ServerSettings

IMAGES, SIZE = 5, (90, 130)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset with a val split and one image as test split, and a run whose held-out images are that val split.

    The masks are the model's labels with void, wrong outlines, and wrong labels where the model is sure.
    """
    data, run = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("run")
    make_bundle(run / "model.onnx", "unet", temperature=0.5)
    model = load(run, threads=1)
    rows = []
    for i in range(IMAGES):
        image = picture(i, *SIZE)
        prediction = model.predict(image)
        mask = np.roll(prediction.labels, 2, axis=1)
        sure = probabilities_of_rows(prediction.scores, SIZE, slice(0, SIZE[0]), prediction.temperature).max(0) > 0.99
        mask[sure] = (prediction.labels[sure] + 1) % 3
        mask[:9, :40] = VOID
        for split in ("val", *(["test"] if i == 1 else [])):
            for part, pixels in (("images", image), ("masks", mask)):
                (data / split / part).mkdir(parents=True, exist_ok=True)
                write_png(data / split / part / f"{i}.png", pixels)
        rows.append([f"val/images/{i}", *(str(data / "val" / part / f"{i}.png") for part in ("images", "masks"))])
    (data / "dataset.toml").write_text(
        "".join(f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    )
    (run / "data.json").write_text(json.dumps({"mask_ids": {}, "splits": {"train": [], "val": rows}}))
    return data, run


@pytest.fixture(scope="module")
def asked(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    model = load(folders[1], threads=1)
    settings = ServerSettings(runs=tmp_path_factory.mktemp("runs"), token=TOKEN)
    with TestClient(create_app(model, settings), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


def command(*arguments: object) -> Any:
    found = CliRunner().invoke(app, [*map(str, arguments), "--json", "-"])
    return json.loads(found.stdout)


def test_a_split_has_one_score(folders: tuple[Path, Path], asked: TestClient, tmp_path: Path) -> None:
    data, run = folders
    page = asked.get("/v1/judged").json()
    report = command("evaluate", run, data, "--split", "val", "--threads", 1, "--html", tmp_path / "report.html")
    assert page["images"] == report["images"] == IMAGES
    assert page["matrix"] == report["matrix"]
    assert page["scores"] == {key: report[key] for key in page["scores"]}
    baseline = report["baseline"]
    assert page["commonest"] == {key: baseline[key] for key in ("class", "accuracy", "miou")}
    near = next(row for row in report["trimap"] if row["px"] == page["boundary"]["within_px"])
    assert page["boundary"]["accuracy"] == near["accuracy"]
    labelled = page["boundary"]["pixels"] + page["boundary"]["interior_pixels"]
    assert labelled == report["pixels"]
    assert page["boundary"]["pixels"] / labelled == near["share"]
    assert page["calibration"]["error"] == report["calibration"]["ece"]
    total = sum(row["pixels"] for row in page["calibration"]["bins"])
    assert [
        {"share": row["pixels"] / total, "confidence": row["confidence"], "accuracy": row["accuracy"]}
        for row in page["calibration"]["bins"]
    ] == report["calibration"]["bins"]
    html = re.sub(r"data:image[^\"]*", "", (tmp_path / "report.html").read_text("utf-8"))
    figures = [page["scores"]["miou"], page["scores"]["accuracy"], near["accuracy"], page["commonest"]["miou"]]
    figures += [row["iou"] for row in page["scores"]["classes"].values()]
    for value in figures:
        assert f"{value:.1%}" in html


def test_an_image_has_one_score(folders: tuple[Path, Path], asked: TestClient) -> None:
    data, run = folders
    report = command("evaluate", run, data, "--split", "test", "--threads", 1)
    image, mask = ((data / "test" / part / "1.png").read_bytes() for part in ("images", "masks"))
    name = unpack(asked.post("/v1/predict?answer=page", content=image).content)[0]["image"]
    sent, _ = unpack(asked.post(f"/v1/images/{name}/truth", content=mask).content)
    own, _ = unpack(asked.get(f"/v1/images/{name}/truth?sample=held-out-1").content)
    assert sent["scores"] == own["scores"] == {key: report[key] for key in sent["scores"]}
    labels = asked.post("/v1/predict?answer=png", content=image).content
    agreed, _ = unpack(asked.post(f"/v1/images/{name}/truth", content=png(opened(labels))).content)
    assert agreed["scores"]["miou"] == 1


def test_check_suspects_what_evaluate_suspects(folders: tuple[Path, Path]) -> None:
    data, run = folders
    expected = command("evaluate", run, data, "--split", "val", "--threads", 1)["suspects"]
    found = [row for row in command("check", data, "--model", run)["suspects"] if row["sample"].startswith("val/")]
    assert found
    assert [
        {"image": row["sample"], **dict(zip(("x", "y", "width", "height"), row["box"], strict=True)),
         "pixels": row["area_px"], "mask_says": row["labelled"], "model_says": row["predicted"],
         "confidence": row["confidence"]}
        for row in found
    ] == expected  # fmt: skip


def opened(body: bytes) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(Image.open(io.BytesIO(body)))
