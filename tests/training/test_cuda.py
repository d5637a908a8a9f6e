"""Training on a GPU: what a processor learns, in bfloat16. Skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelwise.errors import OutOfMemoryError
from pixelwise.evaluation.evaluate import evaluate
from pixelwise.records import RGB
from pixelwise.scenes.render_scene import write_scenes
from pixelwise.trace_events import read_events
from pixelwise.training.recipe import Recipe
from pixelwise.training.step import learn, set_training, step_setup
from pixelwise.training.train import train
from pixelwise.training.training_state import start

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here; benchmarks/gpu_kit.sh")
CLASSES, POINTS = 5, 0.005
SHORT = Recipe(model="fast", size=(64, 96), small_epochs=0.0, epochs=6, batch=4)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, {"train": 32, "val": 8}, height_px=128, width_px=192)
    return folder


def losses(device: str, bfloat16: bool) -> list[float]:
    """Of the same steps on the same batch, from the same weights."""
    recipe = replace(SHORT, size=(96, 128))
    training = start(recipe, CLASSES, torch.device(device))
    lesson = replace(step_setup(training, [100] * CLASSES, RGB), bfloat16=bfloat16)
    set_training(training.network, recipe)
    rng = np.random.default_rng(0)
    labels_Bhw = torch.from_numpy(rng.integers(0, CLASSES, (4, 6, 8), np.uint8).repeat(16, 1).repeat(16, 2))
    images_Bhw3 = (labels_Bhw[..., None] * torch.tensor([40, 20, 10]) + 30).to(torch.uint8)
    found = []
    for _ in range(12):
        training.so_far.loss_sum = 0.0
        learn(training, lesson, images_Bhw3, labels_Bhw, 2e-3)
        found.append(training.so_far.loss_sum)
    return found


def test_a_gpu_learns_what_a_processor_learns() -> None:
    expected = losses("cpu", bfloat16=False)
    assert expected[-1] < expected[0] / 2
    np.testing.assert_allclose(losses("cuda", bfloat16=False), expected, rtol=0.02)
    np.testing.assert_allclose(losses("cuda", bfloat16=True), expected, rtol=0.1)


def test_bfloat16_is_used_where_the_gpu_has_it() -> None:
    lesson = step_setup(start(SHORT, CLASSES, torch.device("cuda")), [1] * CLASSES, RGB)
    assert lesson.bfloat16 == (torch.cuda.get_device_capability()[0] >= 8)


def test_a_run_on_a_gpu_exports_a_bundle_that_scores_the_same_on_a_processor(scenes: Path, tmp_path: Path) -> None:
    done = train(scenes, tmp_path / "run", SHORT, device="cuda")
    report = evaluate(done.bundle, scenes, split="val").to_json()
    assert done.best_miou > 0.15
    assert abs(report["miou"] - done.best_miou) < POINTS
    events = read_events(tmp_path / "run" / "trace.jsonl")
    assert [event["epoch"] for event in events if event["event"] == "epoch"] == list(range(1, SHORT.epochs + 1))


def test_a_gpu_run_goes_on_where_it_stopped(scenes: Path, tmp_path: Path) -> None:
    whole = train(scenes, tmp_path / "whole", SHORT, device="cuda")

    def stop_after_two(event: dict[str, object]) -> None:
        if event["event"] == "checkpoint" and event["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(scenes, tmp_path / "run", SHORT, device="cuda", tell=stop_after_two)
    resumed = train(scenes, tmp_path / "run", SHORT, resume=True, device="cuda")
    assert len(resumed.epochs) == SHORT.epochs
    # Sums on a GPU are in no fixed order, so that the weights are alike rather than the same.
    assert abs(resumed.epochs[-1]["loss"] - whole.epochs[-1]["loss"]) < 0.1 * whole.epochs[-1]["loss"]


def test_a_batch_too_large_for_the_gpu_names_one_that_fits(scenes: Path, tmp_path: Path) -> None:
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.5 * 2**30 / total, 1.0))
    try:
        with pytest.raises(OutOfMemoryError, match=r"a step with 32 images .*start over with --batch (16|8|4|2|1) "):
            train(scenes, tmp_path / "run", replace(SHORT, size=(448, 608), batch=32), device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def test_data_loading_processes_feed_a_gpu(scenes: Path, tmp_path: Path) -> None:
    run = train(scenes, tmp_path / "run", replace(SHORT, epochs=1, workers=2), device="cuda")
    alone = train(scenes, tmp_path / "alone", replace(SHORT, epochs=1), device="cuda")
    assert abs(run.epochs[0]["loss"] - alone.epochs[0]["loss"]) < 0.02
