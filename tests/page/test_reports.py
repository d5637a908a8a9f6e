"""The pages that `evaluate`, `check`, `trace` and a recipe search write, in a real browser: two widths, two themes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from browsing import AXE, FLAGS, chromium

import planted
from conftest import THREE, picture
from pixelwise.doctor.check import check
from pixelwise.doctor.check_page import write_check_page
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.images.image_files import write_png
from pixelwise.prediction.load_model import load
from pixelwise.tracing.trace import trace
from pixelwise.tracing.trace_page import write_trace_page
from pixelwise.training.search.trials_report import TrialRow, write_report


@pytest.fixture(scope="module")
def pages(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("pages")
    model = load(tiny_bundle)
    for part in ("images", "masks"):
        (root / "data/test" / part).mkdir(parents=True)
    for i in range(9):
        labels = model.predict(picture(i, 60, 80)).labels.copy()
        labels[: 5 * i] = np.uint8(i % 3)
        write_png(root / f"data/test/images/town{i % 2}_{i}.png", picture(i, 60, 80))
        write_png(root / f"data/test/masks/town{i % 2}_{i}.png", labels)
    rows = "".join(f'[[classes]]\nid = {i}\nname = "{name}"\n' for i, name in enumerate(THREE.names))
    (root / "data/dataset.toml").write_text(rows)
    evaluate(model, root / "data", html=root / "report.html")
    planted.sound(root / "sick")
    for fault in ("cut short", "blank", "a copy in val", "colours"):
        planted.FAULTS[fault][1](root / "sick")
    write_check_page(check(root / "sick"), root / "doctor.html")
    epochs = [{"event": "epoch", "epoch": i, "loss": 1 / i, "val_loss": 1.1 / i, "accuracy": 0.5, "miou": 0.1 * i,
               "observation": "improving"} for i in range(1, 4)]  # fmt: skip
    (root / "run").mkdir()
    (root / "run/trace.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in epochs))
    shutil.copy(tiny_bundle, root / "run/model.onnx")
    trained = load(root / "run/model.onnx")
    write_trace_page(trace(trained, picture(1, 60, 80), (3, 4)), trained, root / "trace.html")
    trials = [
        TrialRow(i, "done" if i else "diverged", 0.1 * i, 2, 9.0, {"rate": 10.0**-i, "zoom": 1.0}) for i in range(6)
    ]
    write_report(root, trials, {"rate": 0.7, "zoom": 0.3}, ["rate", "zoom"])
    return [root / f"{name}.html" for name in ("report", "doctor", "trace", "search")]


@pytest.mark.long
def test_the_pages_fit_and_axe_finds_nothing(pages: list[Path]) -> None:
    browser_path = chromium()
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: npm ci in web/")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path, args=list(FLAGS))
        for path in pages:
            for theme in ("light", "dark"):
                for width in (1280, 360):
                    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=theme)
                    page.goto(path.as_uri())
                    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
                    assert page.evaluate("document.documentElement.scrollWidth") <= width, (path.name, theme, width)
                    page.evaluate(AXE.read_text("utf-8"))
                    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
                    assert not found, (path.name, theme, width, [violation["id"] for violation in found])
                    page.close()
        browser.close()
