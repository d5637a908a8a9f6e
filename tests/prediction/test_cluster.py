"""A folder labelled by a Ray cluster: a real one, of two machines' worth of processes, that loses both a worker and a
machine while it works."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from conftest import picture
from pixelwise.cli.predict_command import cluster_address
from pixelwise.errors import MissingExtraError, UsageError
from pixelwise.prediction.predict import predict
from pixelwise.trace_events import nobody

IMAGES = 300
DEADLINE_S = 280


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without a processor, and two nodes of one processor each. They listen to this machine alone."""
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # read when Ray is imported: addresses are 127.0.0.1
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    pytest.importorskip("ray", reason="a cluster needs Ray; install pixelwise[ray]")
    from ray.cluster_utils import Cluster

    own = {"node_ip_address": "127.0.0.1", "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **own})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, **own)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(10):
        Image.fromarray(picture(number, 600, 800)).save(folder / f"{number:03}.jpg")
    for number in range(10, IMAGES):
        shutil.copy(folder / f"{number % 10:03}.jpg", folder / f"{number:03}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "000.jpg").read_bytes()[:999])
    return folder


def lines(out: Path) -> list[dict[str, Any]]:
    path = out / "predictions.jsonl"
    return (
        [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        if path.exists()
        else []
    )


def workers() -> list[psutil.Process]:
    """The processes below this one that label an image."""
    return [p for p in psutil.Process().children(recursive=True) if "ray::label_remotely" in " ".join(cmdline(p))]


def two_workers() -> list[psutil.Process]:
    """Two that label at the same time."""
    deadline = time.monotonic() + DEADLINE_S
    while len(found := workers()) < 2:
        assert time.monotonic() < deadline
    return found


def cmdline(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []


def wait_for_lines(out: Path, count: int, command: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + DEADLINE_S
    while len(lines(out)) < count:
        assert command.poll() is None, command.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_worker_and_a_machine_are_lost_and_nothing_is_lost_nor_done_twice(
    cluster: Any, tiny_bundle: Path, many: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pixelwise", "predict", str(tiny_bundle), str(many), "--out", str(out),
               "--engine", "ray", "--address", cluster.address, "--json", str(tmp_path / "summary.json")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        wait_for_lines(out, 10, running)
        at_work = two_workers()
        at_work[0].kill()
        wait_for_lines(out, 60, running)
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
        assert running.poll() is None
        assert len(lines(out)) < IMAGES
        _, errors = running.communicate(timeout=DEADLINE_S)
    assert running.returncode == 1, errors  # for the broken image, as without a cluster
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["done"], summary["failures"]) == (IMAGES, 1)
    records = lines(out)
    assert sorted(record["name"] for record in records) == sorted(path.stem for path in many.iterdir())
    assert [record["name"] for record in records if record["error"]] == ["broken"]
    assert not list(out.rglob("*.part"))
    alone = predict(tiny_bundle, [many], tmp_path / "alone")
    assert (alone.done, alone.failures) == (IMAGES, 1)
    for record in lines(tmp_path / "alone"):
        for saved in record["saved"]:
            assert (out / saved).read_bytes() == (tmp_path / "alone" / saved).read_bytes(), saved


@pytest.mark.slow
def test_a_run_on_this_machine_alone_goes_on_where_it_was(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="a cluster needs Ray; install pixelwise[ray]")
    images = tmp_path / "images"
    images.mkdir()
    for number in range(6):
        Image.fromarray(picture(number, 60, 80)).save(images / f"{number}.png")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pixelwise", "predict", str(tiny_bundle), str(images), "--out", str(out),
               "--engine", "ray", "--json", "-"]  # fmt: skip
    first = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S).stdout)
    assert (first["done"], first["before"]) == (6, 0)
    Image.fromarray(picture(9, 60, 80)).save(images / "new.png")
    again = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_S).stdout)
    assert (again["done"], again["before"]) == (1, 6)


@pytest.mark.slow
def test_where_no_cluster_is(tiny_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="a cluster needs Ray; install pixelwise[ray]")
    Image.fromarray(picture(0, 60, 80)).save(tmp_path / "image.png")
    command = [sys.executable, "-m", "pixelwise", "predict", str(tiny_bundle), str(tmp_path / "image.png"),
               "--out", str(tmp_path / "out"), "--engine", "ray", "--address", "auto"]  # fmt: skip
    elsewhere = {**os.environ, "RAY_TMPDIR": str(tmp_path), "TMPDIR": str(tmp_path)}
    elsewhere.pop("RAY_ADDRESS", None)
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, env=elsewhere)
    assert done.returncode == 1
    assert "--address auto" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_ray_the_extra_is_named(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(picture(0, 60, 80)).save(tmp_path / "image.png")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pixelwise\[ray\]"):
        predict(tiny_bundle, [tmp_path / "image.png"], tmp_path / "out", cluster="local")
    with pytest.raises(UsageError, match="--flow"):
        predict(
            tiny_bundle, [tmp_path / "image.png"], tmp_path / "out", cluster="local", tell=lambda event: nobody(event)
        )


def test_an_address_is_that_of_a_cluster() -> None:
    assert (cluster_address("ray", None), cluster_address("ray", "auto")) == ("local", "auto")
    assert cluster_address("auto", None) is None
    with pytest.raises(UsageError, match="--address auto needs --engine ray"):
        cluster_address("openvino", "auto")
