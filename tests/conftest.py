"""Bundles of small untrained networks, made once a session for the tests that run models."""

from __future__ import annotations

import os
import shutil

# One thread for the tiny networks of the tests: two threads that wait for each other cost more than they save, and many
# times more on a machine that is busy. Set before torch is imported, and inherited by the processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shared_exports
from pixelwise.records import RGB, VOID, Bands, ClassList, Labels, Raster

# Some machines (containers, often) ask Python to keep nothing that it compiled: each of the hundreds of processes that
# the tests start would compile the whole package again, and each worker every test.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Started in the background of a shell, this process ignores Ctrl-C, and so would every process that the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TOKEN = "a-token-for-tests"  # of every server that they start
THREE = ClassList(("sky", "road", "car"), ((70, 130, 180), (128, 64, 128), (0, 0, 142)))


# Files that take more than half a minute, about the longest first. They begin first: one that begins last keeps one
# process busy while the others have nothing left to do.
LONGEST = [
    "docs/test_docs",
    "training/test_run",
    "page/test_label_trouble",
    "test_notebooks",
    "test_cli",
    "training/test_cross_validation",
    "page/test_project",
    "page/test_page",
    "test_portable",
    "page/test_pixel_cursor",
    "training/test_search",
    "model/test_mirrored",
    "test_house",
    "page/test_label_canvas",
    "server/test_running",
    "page/test_much_at_once",
    "page/test_label_page",
    "training/test_unusual_images",
    "bundle/test_banded_bundles",
    "training/test_beginning",
    "page/test_ship_room",
    "training/test_read_masks",
    "training/test_kills",
    "training/test_budget",
    "datasets/test_formats",
    "training/test_separate",
    "prediction/test_banded_prediction",
    "page/test_reports",
    "page/test_trouble",
    "hostile/test_campaign",
    "prediction/test_engines",
    "page/test_web_page",
    "page/test_textbook_page",
    "training/test_faults",
    "server/test_label_command",
    "page/test_everyone",
    "server/test_rest",
    "server/test_label_rest",
    "page/test_images_room",
    "doctor/test_planted",
    "page/test_train_page",
    "training/test_banded_training",
    "hostile/test_http",
    "page/test_evaluate_room",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {Path(__file__).parent / f"{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def make_bundle(
    path: Path,
    name: str,
    *,
    policy: str = "stretch",
    size: tuple[int, int] = (64, 96),
    even_exposure: bool = True,
    classes: ClassList = THREE,
    provenance: dict[str, Any] | None = None,
    temperature: float = 1.5,
    bands: Bands = RGB,
    images: Sequence[Raster] = (),
    around: Callable[[Any], Any] = lambda network: network,
) -> Any:
    """Write a bundle of an untrained network; returns the network as it was exported.

    Args:
        around: what is exported, made from the network.
        images: of `bands`, for the comparison with torch. Default: an RGB picture.
    """
    torch = pytest.importorskip("torch", reason="bundles are made with torch; install pixelwise[train]")
    from pixelwise.bundle.export import deployable, export_bundle, stages_of
    from pixelwise.bundle.metadata import Metadata
    from pixelwise.model.build_network import build
    from pixelwise.model.network import ModelConfig
    from pixelwise.model.preprocess import Preprocess

    torch.manual_seed(0)
    network: Any = build(ModelConfig(name=name, classes=len(classes), pretrained=False, bands=bands.names)).eval()
    images = images or [picture(0, 90, 120)]
    preprocess = Preprocess(size, policy, network.mean, network.std, even_exposure, bands)  # type: ignore[arg-type]
    with torch.no_grad():
        for part in network.modules():  # biases of zero would be left out of the graph
            if isinstance(part, torch.nn.BatchNorm2d):
                part.bias.uniform_(-0.2, 0.2)
        # An untrained network says one class everywhere; with its scores centred it says all of them somewhere.
        scores = network(preprocess(torch.from_numpy(images[0])[None]))
        spread = scores.std((0, 2, 3))
        # A classifier that answers for several pixels at once holds that many channels a class, one after the other.
        share = len(network.classifier.bias) // len(classes)
        scale, centre = (3 / spread).repeat_interleave(share), scores.mean((0, 2, 3)).repeat_interleave(share)
        network.classifier.weight *= scale[:, None, None, None]
        network.classifier.bias.copy_((network.classifier.bias - centre) * scale)
    network = around(network).eval()
    metadata = Metadata(
        classes=classes,
        size=size,
        policy=policy,
        stride=network.stride,
        mean=network.mean,
        std=network.std,
        temperature=temperature,
        even_exposure=even_exposure,
        stages=stages_of(network),
        provenance=provenance or {},
        bands=bands,
    )
    export_bundle(network, preprocess, metadata, images, path)
    return deployable(network)


def picture(seed: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A smooth random picture uint8 [H, W, 3]: noise has no places that could be told apart."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture(scope="session", autouse=True)
def once_a_session(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What every export would do again: torch.onnx parses its operators once a process, and a structure that several
    tests export is traced once."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "graphs"
    folder.mkdir(exist_ok=True)
    shared_exports.use(folder)
    os.environ["PIXELWISE_TEST_GRAPHS"] = str(folder)  # read by the processes that tests start
    started = str(Path(__file__).parent / "started")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (started, os.environ.get("PYTHONPATH"))))


@pytest.fixture
def no_bundles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings end without the export, most of the time of a tiny one: for tests of what is learned, said or kept."""
    pytest.importorskip("torch", reason="training needs torch; install pixelwise[train]")
    monkeypatch.setattr("pixelwise.training.train.export", lambda out, **_: out / "model.onnx")


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain U-Net for 64×96 images, untrained."""
    path: Path = tmp_path_factory.mktemp("bundles") / "tiny.onnx"
    make_bundle(path, "unet")
    return path


@pytest.fixture(scope="session")
def fast_bundle(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The default network, untrained, and its torch module."""
    path = tmp_path_factory.mktemp("bundles") / "fast.onnx"
    return path, make_bundle(path, "fast")


@pytest.fixture(scope="session")
def five_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small untrained model of five float32 bands, open."""
    from banded import FIVE, five_image
    from pixelwise.prediction.load_model import load

    path = tmp_path_factory.mktemp("bundles") / "five.onnx"
    make_bundle(path, "fast", bands=FIVE, images=[five_image(seed, 90, 120) for seed in range(2)])
    return load(path, threads=1)


@pytest.fixture(scope="session")
def grey_model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A small untrained model of 16-bit grey images, open."""
    from banded import GREY_16, grey_image
    from pixelwise.prediction.load_model import load

    images = [grey_image(seed, 90, 120)[:, :, None].astype(np.float32) for seed in range(2)]
    path = tmp_path_factory.mktemp("bundles") / "grey.onnx"
    make_bundle(path, "unet", policy="native", bands=GREY_16, images=images)
    return load(path, threads=1)


def blobs(seed: int, classes: int, height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Random labels uint8 [H, W] with regions of many sizes, from single pixels to a quarter of the map."""
    import cv2

    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (3, 3)).astype(np.uint8)
    for scale in (3, 7, 20):
        labels = cv2.resize(labels, (3 * scale, 3 * scale), interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
        changed = rng.random(labels.shape) < 0.08
        labels[changed] = rng.integers(0, classes, int(changed.sum()))
    return np.asarray(cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def label_maps(seed: int, classes: int, void: bool, height: int = 47, width: int = 61) -> tuple[Labels, Labels]:
    """Predicted and true labels with regions of many sizes; both void at the same places."""
    true = blobs(seed, classes, height, width)
    predicted = np.where(blobs(seed + 1, 5, height, width) == 0, blobs(seed + 2, classes, height, width), true)
    if void:
        hidden = blobs(seed + 3, 6, height, width) == 0
        predicted, true = np.where(hidden, VOID, predicted), np.where(hidden, VOID, true)
    return predicted.astype(np.uint8), true.astype(np.uint8)


# ── the server: as a process of its own, and asked without a network ──


@contextmanager
def started_server(
    model: Path, runs: Path, port: int = 0, options: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`pixelwise serve`, on a free port where none is named; gives its address, without TOKEN, and its process."""
    command = [sys.executable, "-m", "pixelwise", "serve", str(model), "--port", str(port), "--runs", str(runs)]
    command += options
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", "PIXELWISE_TOKEN": TOKEN}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "http://" in line:
                yield "http://" + line.split("http://")[1].split()[0].partition("/?")[0], process
                break
        else:
            raise AssertionError(f"the server did not start: exit code {process.wait()}")
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def served_model(fast_bundle: tuple[Path, Any]) -> Any:
    from pixelwise.prediction.load_model import load

    return load(fast_bundle[0], threads=1)


@pytest.fixture
def client(served_model: Any, tmp_path: Path) -> Any:
    """Asks a server of a small untrained model, with low limits."""
    from fastapi.testclient import TestClient

    from pixelwise.server.app import create_app
    from pixelwise.server.server_settings import ServerSettings

    settings = ServerSettings(
        runs=tmp_path / "runs", max_bytes=200_000, max_pixels=250_000, token=TOKEN, wait_s=120.0
    )  # the model is made ready before the first request, which takes its time on a busy machine
    with TestClient(create_app(served_model, settings), base_url="http://127.0.0.1") as client:
        client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield client


@pytest.fixture(scope="session")
def photo() -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.ascontiguousarray(picture(3, 70, 110))


# ── the page: one server and one browser for all its tests ──


@pytest.fixture(scope="session")
def address(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server of the small untrained model, with a second one beside it as a finished run."""
    from browsing import chromium

    chromium()
    runs = tmp_path_factory.mktemp("runs")
    (runs / "other").mkdir()
    shutil.copy(fast_bundle[0], runs / "other/model.onnx")
    (runs / "other/trace.jsonl").touch()
    with started_server(fast_bundle[0], runs) as (found, _):
        yield found


@pytest.fixture(scope="module")  # not longer: while Playwright is open, no other test of this thread can run asyncio
def browser() -> Iterator[Any]:
    from browsing import FLAGS, chromium

    path = chromium()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    from browsing import new_page

    with new_page(browser, address, viewport={"width": 1280, "height": 900}) as page:
        yield page


@pytest.fixture(scope="session")
def photo_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pixelwise.images.image_files import write_png

    path = tmp_path_factory.mktemp("photo") / "photo.png"
    write_png(path, np.ascontiguousarray(picture(9, 120, 200)))
    return path


# ── a training: a process in which faults happen, shared by the tests that need one ──


@pytest.fixture(scope="session")
def tiny_scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pixelwise.scenes.render_scene import write_scenes

    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 8, "val": 2}, height_px=32, width_px=48)
    return folder


@pytest.fixture(scope="session")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from faulty import Launcher  # beside the tests of training

    launcher = Launcher(tmp_path_factory.mktemp("launcher"))
    yield launcher
    launcher.close()
