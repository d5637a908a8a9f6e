"""What can go wrong around a training: full and read-only disks, vanished folders, too little memory, dead workers."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import psutil
import pytest
from faulty import Launcher
from test_kills import TINY, Case, require_same

from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.errors import ImageError
from pixelwise.trace_events import match_checkpoint, read_events, to_file
from pixelwise.training.batch_order import Order
from pixelwise.training.checkpoint import checkpoints, load_checkpoint
from pixelwise.training.loader import Pairs
from pixelwise.training.loop import batches_of
from pixelwise.training.lost_workers import batches_from
from pixelwise.training.out_of_memory import is_out_of_memory, too_large
from pixelwise.training.prepare import build_training
from pixelwise.training.recipe import Recipe
from pixelwise.training.training_state import CPU

WITH_WORKERS = Recipe.from_toml(TINY.to_toml().replace("workers = 0", "workers = 2"))


@pytest.mark.parametrize(
    ("then", "says"),
    [
        ("ENOSPC", "No space left on device). Free disk space"),
        ("EROFS", "Read-only file system). The file system is read-only"),
    ],
)
def test_a_disk_that_takes_no_more_keeps_the_last_checkpoint(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path, then: str, says: str
) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, calls, _ = case.whole()
    writes = [number for number, call in enumerate(calls, 1) if call.startswith("write checkpoints/.step-0000008")]
    run = tmp_path / "run"
    code, printed, _ = case.go(run, fault={"call": writes[0], "then": then})
    assert code == 1, printed
    assert says in printed
    assert "Traceback" not in printed
    assert load_checkpoint(checkpoints(run / "checkpoints")[-1])[1]["step"] == 4
    assert case.go(run)[0] == 0
    require_same(run, whole, then)


def test_a_trace_that_finds_no_room_stays_readable(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, calls, _ = case.whole()
    lines = [number for number, call in enumerate(calls, 1) if call == "write trace.jsonl"]
    run = tmp_path / "run"
    code, printed, _ = case.go(run, fault={"call": lines[-4], "then": "ENOSPC"})
    assert code == 1, printed
    assert "trace.jsonl: cannot be written: No space left on device" in printed
    assert case.go(run)[0] == 0
    require_same(run, whole, "a full disk under the trace")


def test_a_limit_on_file_sizes_is_told_from_a_full_disk(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    code, printed, _ = case.go(tmp_path / "run", limits={"FSIZE": 60_000})
    assert code == 1, printed
    assert "ulimit -f" in printed
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_run_directory_that_vanishes_is_not_made_again(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, calls, _ = case.whole()
    number = next(number for number, call in enumerate(calls, 1) if call == "mkdir previews/epoch-0002")
    run = tmp_path / "run"
    code, printed, _ = case.go(run, fault={"call": number, "then": "vanish"})
    assert code == 1, printed
    assert f"{run}: the run directory vanished" in printed
    assert not run.exists()
    (tmp_path / "run.gone").rename(run)
    assert case.go(run)[0] == 0
    require_same(run, whole, "a folder that was away for a while")


def test_a_clock_that_goes_back_changes_nothing(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    whole, _, _ = case.whole()
    code, printed, _ = case.go(tmp_path / "run", clock_goes_back=True)
    assert code == 0, printed
    require_same(tmp_path / "run", whole, "a clock that went back")
    times = [event["time"] for event in read_events(tmp_path / "run" / "trace.jsonl")]
    assert times == sorted(times, reverse=True)  # it did go back
    assert all(e["seconds"] > 0 for e in read_events(tmp_path / "run" / "trace.jsonl") if e["event"] == "epoch")


def test_a_killed_loader_worker_is_replaced(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, WITH_WORKERS)
    whole, _, _ = case.whole()
    run = tmp_path / "run"
    # An epoch of four steps is prefetched whole: a worker that dies then is not missed. Hence longer ones.
    long = Recipe.from_toml(WITH_WORKERS.to_toml().replace("plan = []", "plan = [[0, 2, 12]]"))
    case.recipe.write_text(long.to_toml())
    code, printed, _ = case.go(tmp_path / "long", fault={})
    assert code == 0, printed
    code, printed, _ = case.go(run, fault={"step": 2, "then": "kill a worker"})
    assert code == 0, printed
    assert "data loading processes died and were restarted" in printed
    assert whole.tensors != load(tmp_path / "long")
    assert load(run) == load(tmp_path / "long")


@pytest.mark.slow
def test_workers_that_die_again_and_again_are_an_error(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    long = Recipe.from_toml(WITH_WORKERS.to_toml().replace("plan = []", "plan = [[0, 2, 60]]"))
    case = Case(launcher, tiny_scenes, tmp_path, long)
    code, printed, _ = case.go(tmp_path / "run", fault={"step": 2, "then": "kill a worker", "again": True})
    assert code == 1, printed
    assert "died 4 times in one epoch" in printed
    assert "--workers 0" in printed


def load(run: Path) -> dict[str, bytes]:
    tensors, _ = load_checkpoint(checkpoints(run / "checkpoints")[-1])
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def test_workers_do_not_outlive_a_killed_training(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, WITH_WORKERS)
    note = tmp_path / "pids.json"
    assert case.go(tmp_path / "run", fault={"step": 2, "then": "workers", "note": str(note)})[0] == -9
    pids = json.loads(note.read_text())
    assert len(pids) == 2
    deadline = time.monotonic() + 120
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_batch_that_does_not_fit_names_one_that_does(launcher: Launcher, tiny_scenes: Path, tmp_path: Path) -> None:
    case = Case(
        launcher, tiny_scenes, tmp_path, Recipe(model="unet", size=(256, 256), small_epochs=0.0, epochs=1, batch=64)
    )
    code, printed, _ = case.go(tmp_path / "run", memory_for=5)
    assert code == 1, printed
    assert "a step with 64 images of 256×256 needs more memory than there is" in printed
    assert "A batch of 4 was tried and fits: start over with --batch 4 " in " ".join(printed.split())
    code, printed, _ = launcher.run(
        "train", tiny_scenes, "--out", tmp_path / "smaller", "--recipe", case.recipe, "--batch", 4, "--set",
        "plan=[[0,1,2]]", out=tmp_path / "smaller", memory_for=5, export=False,
    )  # fmt: skip
    assert code == 0, printed


def test_which_batch_fits_is_found_by_trying() -> None:
    tried: list[int] = []

    def fits(count: int) -> bool:
        tried.append(count)
        return count <= 3

    assert "--batch 3 " in str(too_large(24, (64, 64), fits, "CUDA out of memory"))
    assert tried == [12, 6, 3]
    assert "smaller --size" in str(too_large(4, (64, 64), lambda count: False, ""))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_resume_refuses_what_is_not_there_or_not_the_same(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path
) -> None:
    case = Case(launcher, tiny_scenes, tmp_path, TINY)
    run = tmp_path / "run"
    assert case.go(run, fault={"step": 6, "then": "SIGTERM"})[0] == 143

    def resume(out: Path, *options: object) -> tuple[int, str]:
        code, printed, _ = launcher.run("train", tiny_scenes, "--out", out, "--resume", *options, out=out, export=False)
        return code, printed

    code, printed = resume(tmp_path / "rnu")
    assert code == 2
    assert "holds no checkpoint to resume from" in printed
    assert not (tmp_path / "rnu").exists()
    code, printed = resume(run, "--batch", 3)
    assert code == 2
    assert "another recipe (different: batch)" in printed
    code, printed = resume(run, "--budget", "10m")
    assert code == 2
    assert "was started with no budget" in printed
    code, printed = resume(run, "--batch", 2, "--epochs", 2)  # what it has anyway
    assert code == 0, printed


def test_a_trace_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    tell = to_file(path)
    epochs = [{"event": "epoch", "epoch": number, "loss": 1 / number} for number in range(1, 5)]
    for event in ({"event": "data"}, epochs[0], epochs[1], epochs[1], {"event": "checkpoint", "epoch": 4}, epochs[3]):
        tell(event)
    with path.open("a") as file:
        file.write('{"event": "epo')
    match_checkpoint(path, epochs[:3])
    tell({"event": "stop"})
    events = list(read_events(path))
    assert [(e["event"], e.get("epoch")) for e in events] == [
        ("data", None), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("stop", None),
    ]  # fmt: skip
    match_checkpoint(path, ())
    assert [e["event"] for e in read_events(path)] == ["data", "stop"]


def test_wrong_calls_are_refused_and_the_finder_says_what_it_found(
    launcher: Launcher, tiny_scenes: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"

    def call(*options: object) -> tuple[int, str]:
        code, printed, _ = launcher.run(
            "train", tiny_scenes, "--out", out, "--model", "unet", "--size", 32, "--batch", 2, *options, out=out
        )
        return code, printed

    assert call("--budget", "10m", "--epochs", 3)[0] == 2
    assert call("--budget", "soon") == (2, AnyText("expected hours, minutes and seconds"))
    assert call("--find-lr", "--resume")[0] == 2
    assert not out.exists()
    assert call("--budget", "1s") == (2, AnyText("too short"))
    assert call("--find-lr") == (0, AnyText("suggestion: --learning-rate"))
    assert (out / "learning_rate.svg").is_file()


class AnyText(str):
    """Equal to every text that holds it."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and str(self) in other


@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_that_vanishes_while_training_is_named_plainly(
    tiny_scenes: Path, tmp_path: Path, workers: int
) -> None:
    data = Path(shutil.copytree(tiny_scenes, tmp_path / "data"))
    recipe = Recipe(model="unet", size=(32, 32), batch=2, workers=workers, cache_mb=0)
    dataset = open_dataset(data)
    pairs = Pairs(dataset.splits["train"], dataset.mask_ids, len(dataset.classes), 0)
    order = Order(len(pairs), 2, 0)
    dataset.splits["train"][0].image.unlink()
    training, data = build_training(recipe, dataset.classes, (pairs, pairs), [1] * len(dataset.classes), CPU)
    batches = batches_of(training, data, order)
    with pytest.raises(ImageError) as caught:
        list(batches_from(batches, order, 0, lambda reason: None))
    assert str(caught.value).startswith(str(dataset.splits["train"][0].image))
    assert "Traceback" not in str(caught.value)
