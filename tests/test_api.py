"""The front door: what `import pixelwise` offers, and what it costs."""

import os
import subprocess
import sys
from pathlib import Path

import pixelwise


def test_all_is_exactly_the_sorted_public_names() -> None:
    assert pixelwise.__all__ == sorted(pixelwise.__all__, key=lambda name: (not name.isupper(), name))
    assert set(pixelwise.__all__) == set(pixelwise._HOMES)
    for name in pixelwise.__all__:
        assert getattr(pixelwise, name).__doc__ or name == "VOID", name


def test_importing_is_light() -> None:
    program = (
        "import sys, pixelwise; "
        "heavy = {'torch', 'onnxruntime', 'onnx', 'cv2', 'numpy', 'rich', 'typer'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "sys.argv = ['pixelwise', '--help']\n"
        "from pixelwise.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'cv2', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)


def test_verbs_stay_functions_whatever_was_imported() -> None:
    import pixelwise.bundle.bundle_file
    import pixelwise.prediction.load_model
    import pixelwise.tracing.trace
    import pixelwise.training.recipe

    for verb in (
        "accept",
        "check",
        "compare",
        "demo",
        "evaluate",
        "export",
        "load",
        "predict",
        "search",
        "suggest",
        "trace",
        "train",
    ):
        assert callable(getattr(pixelwise, verb)), verb


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(pixelwise, "no_such_thing")


def test_a_prediction_leaves_nothing_in_the_home_folder(tmp_path: Path) -> None:
    """Libraries that report to their makers first write down what they will send."""
    program = (
        "import numpy, pixelwise; pixelwise.load('nuclei', threads=1).predict(numpy.zeros((32, 32, 3), numpy.uint8))"
    )
    home = tmp_path / "home"
    home.mkdir()
    reporting = ("ORT_DISABLE_TELEMETRY", "CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in reporting}
    subprocess.run([sys.executable, "-c", program], check=True, env={**environment, "HOME": str(home)}, timeout=120)
    assert not list(home.rglob("*"))
