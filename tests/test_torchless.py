"""predict, trace and evaluate where torch is not installed.

The environment is real: a folder that holds the base dependencies of this package, and theirs, and nothing else, with
Python told to look nowhere else.
"""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pixelwise
from conftest import make_bundle

pytest.importorskip("torch", reason="the bundle that is run without torch is made with torch")


def base_distributions() -> set[str]:
    """Names of everything that a plain `pip install pixelwise` brings."""
    todo, found = ["pixelwise"], set[str]()
    while todo:
        name = todo.pop()
        if name in found:
            continue
        try:
            requirements = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        for requirement in requirements:
            if "extra ==" not in requirement:
                match = re.match(r"[A-Za-z0-9._-]+", requirement)
                assert match
                todo.append(re.sub(r"[-_.]+", "-", match[0]).lower())
    return found - {"pixelwise"}


@pytest.fixture(scope="module")
def torchless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchless")
    try:
        names = base_distributions()
    except PackageNotFoundError:
        pytest.skip("pixelwise is not installed here, so its dependencies are not recorded")
    if not names:
        pytest.skip("pixelwise is not installed here, so its dependencies are not recorded")
    for name in names:
        for file in distribution(name).files or ():
            top = file.parts[0]
            source = Path(str(distribution(name).locate_file(top)))
            if top != ".." and source.exists() and not (folder / top).exists():
                (folder / top).symlink_to(source)
    (folder / "pixelwise").symlink_to(Path(pixelwise.__file__).parent)
    return folder


def run_without_torch(torchless: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    start = "import sys; sys.path.append(sys.argv.pop(1)); from pixelwise.__main__ import main; main()"
    command = [sys.executable, "-I", "-S", "-c", start, str(torchless), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_predict_trace_and_evaluate_run_without_torch(torchless: Path, tmp_path: Path) -> None:
    missing = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({str(torchless)!r}); import torch"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "No module named 'torch'" in missing.stderr

    bundle = tmp_path / "m.onnx"
    make_bundle(bundle, "unet")
    rng = np.random.default_rng(0)
    for folder, shape in (("images", (40, 50, 3)), ("masks", (40, 50))):
        (tmp_path / "data" / "test" / folder).mkdir(parents=True)
        array = rng.integers(0, 3 if folder == "masks" else 256, shape, dtype=np.uint8)
        Image.fromarray(array).save(tmp_path / "data" / "test" / folder / "a.png")
    toml = "".join(f'[[classes]]\nname = "{name}"\n' for name in ("sky", "road", "car"))
    (tmp_path / "data" / "dataset.toml").write_text(toml)
    image = tmp_path / "data" / "test" / "images" / "a.png"

    for arguments in (
        ("predict", bundle, image, "--out", tmp_path / "out"),
        ("trace", bundle, image, "--pixel", "3,4"),
        ("evaluate", bundle, tmp_path / "data", "--split", "test"),
        ("check", tmp_path / "data"),
    ):
        done = run_without_torch(torchless, *arguments)
        assert done.returncode in (0, 1) if arguments[0] == "check" else done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    refused = run_without_torch(torchless, "train", tmp_path / "data", "--out", tmp_path / "run")
    assert refused.returncode == 1
    assert "pixelwise[train]" in refused.stderr
