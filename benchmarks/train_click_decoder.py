"""Train the click tool's network, and write what is shipped: built_in/features/clicks.onnx.

    python benchmarks/train_click_decoder.py [DATA] --weights FILE.safetensors [--steps 2400] [--threads 1]
    python benchmarks/train_click_decoder.py --export FILE.safetensors [--out FILE.onnx]

DATA holds nuclei/train (Data Science Bowl 2018, CC0). Beside it the network learns from painted scenes and from
invented shapes (click_training_images.py); the encoder stays as ImageNet left it. Each object is clicked as a person
would: first inside it, then up to three times more in the largest error of what the network itself gave. Sometimes it
begins with a wrong region. 1,800 steps of eight objects take about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch
import torch.nn.functional as F
from click_training_images import Inside, Numbered, Numbers, Picture, Random, invented, nuclei, sample, scenes
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelwise.bundle.onnx_session import open_session
from pixelwise.bundle.weight_storage import store_weights
from pixelwise.images.files import write_whole
from pixelwise.labelling.click_network import BUILT_IN, MOST_CLICKS, SIDE_PX, guides
from pixelwise.labelling.encoder_features import FeatureSession
from pixelwise.model.click_decoder import CHANNELS, INPUTS, ClickDecoder, ClickGraph, ClickTensors, doubled

SHARES = {"nuclei": 1.0, "scenes": 1.5, "invented": 2.0}
BATCH, RATE, DECAY, WARMUP = 8, 2e-3, 0.02, 100
AVERAGED = 0.998  # of the running mean of the weights, which is exported
ROUNDS = 4  # fewer clicks than that in its own largest errors
ROUNDS_FROM = 50  # step
SAVED = 300  # steps after which the weights are written
OPSET = 20
CLOSE = 0.05  # of a logit's deviation: what float16 weights may change


@dataclass
class Example:
    """An object in a square, and the clicks on it so far."""

    picture: Picture
    maps: list[Any]
    inside: Inside
    region: Inside
    clicks: list[tuple[int, int, bool]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", type=Path, default=Path(__file__).parents[2] / "shared/data")
    parser.add_argument("--weights", type=Path, help="where the trained weights go")
    parser.add_argument("--steps", type=int, default=1800)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--export", type=Path, help="write the graph with these weights")
    parser.add_argument("--out", type=Path, default=BUILT_IN)
    chosen = parser.parse_args()
    if chosen.export:
        decoder = ClickDecoder()
        decoder.load_state_dict(load_file(chosen.export))
        model = to_onnx(decoder.eval())
        check(model, decoder)
        write_whole(chosen.out, model)
        return
    if not chosen.weights:
        parser.error("give --weights FILE, where the trained weights go, or --export FILE")
    torch.set_num_threads(chosen.threads)
    cv2.setNumThreads(1)
    train(chosen.data, chosen.steps, chosen.weights)


def train(data: Path, steps: int, target: Path) -> None:
    pictures: dict[str, Sequence[Numbered]] = {"nuclei": nuclei(data), "scenes": scenes()}
    pictures["invented"] = invented([one.picture for some in pictures.values() for one in some])
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    session, decoder = FeatureSession(threads=1), ClickDecoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(decoder.parameters(), RATE, weight_decay=DECAY)
    average = {name: value.clone() for name, value in decoder.state_dict().items()}
    began, scores = time.monotonic(), []
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(step / WARMUP + 0.01, 1) * (1 - step / steps) ** 0.9
        batch = [example(pictures, session, random) for _ in range(BATCH)]
        maps, colours = inputs_of(batch)
        for _ in range(int(random.integers(ROUNDS)) if step >= ROUNDS_FROM else 0):
            click_again(decoder, batch, maps, colours, random)
        inside_BHW = torch.from_numpy(np.stack([one.inside for one in batch])).float()
        logits_BHW = doubled(decoder(maps, colours, clicks_of(batch)))[:, 0]
        optimizer.zero_grad()
        loss_of(logits_BHW, inside_BHW).backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        optimizer.step()
        update(average, decoder, step)
        scores.append(float(iou(logits_BHW > 0, inside_BHW > 0.5).mean()))
        if step % SAVED == SAVED - 1 or step == steps - 1:
            save_file({name: value.contiguous() for name, value in average.items()}, target)
        if step % 50 == 49 or step == steps - 1:
            left = (time.monotonic() - began) / (step + 1) * (steps - step - 1)
            print(f"{step + 1}/{steps}: IoU {np.mean(scores[-50:]):.3f}, {left / 60:.0f} min left", flush=True)


def example(pictures: dict[str, Sequence[Numbered]], session: FeatureSession, random: Random) -> Example:
    """An object with its first clicks, sometimes with what another tool made of them."""
    shares = np.array([SHARES[name] for name in pictures])
    found = None
    while found is None:
        found = sample(list(pictures.values())[random.choice(len(shares), p=shares / shares.sum())], random)
    picture, inside, near = found
    region = before(inside, near, random)
    middle = middle_of(inside, random, exact=random.random() < 0.5)
    assert middle is not None
    clicks = [(*middle[:2], True)]
    for _ in range(int(random.integers(3))):
        around = cv2.dilate(inside.view(np.uint8), np.ones((25, 25), np.uint8)) > 0
        ys, xs = np.nonzero(inside if random.random() < 0.5 else around & ~inside)
        if len(ys):
            one = random.integers(len(ys))
            clicks.append((int(xs[one]), int(ys[one]), bool(inside[ys[one], xs[one]])))
    if region.any() and (again := worst(region, inside, random)):
        clicks.append(again)
    maps = [np.moveaxis(one.values_hwC, 2, 0) for one in session.maps(picture)]
    return Example(picture, maps, inside, region, clicks)


def before(inside: Inside, near: Numbers, random: Random) -> Inside:
    """The region that the network is given first: none, or a wrong one."""
    kind = random.random()
    if kind < 0.45:
        return np.zeros_like(inside)
    if kind < 0.6:  # with a neighbour
        ring = near[(cv2.dilate(inside.view(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~inside]
        others = ring[ring >= 0]
        return inside | (near == others[random.integers(len(others))]) if len(others) else inside.copy()
    if kind < 0.8:  # a part
        noise = random.normal(size=inside.shape).astype(np.float32)
        return np.asarray(inside & (cv2.GaussianBlur(noise, (0, 0), random.uniform(8, 40)) > 0))
    side = int(random.integers(1, 8)) * 2 + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray((cv2.dilate if random.random() < 0.5 else cv2.erode)(inside.view(np.uint8), disc) > 0)


def middle_of(wrong: Inside, random: Random, *, exact: bool) -> tuple[int, int, int] | None:
    """Column and row in the middle of the largest part, or near it, and the part's area."""
    padded = cv2.copyMakeBorder(wrong.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    _, names, facts, _ = cv2.connectedComponentsWithStats(padded, connectivity=4)
    if len(facts) < 2:
        return None
    one = 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())
    depth = cv2.distanceTransform((names == one).view(np.uint8), cv2.DIST_L2, 5)
    ys, xs = np.nonzero(depth >= (1 if exact else 0.5) * depth.max())
    place = 0 if exact else random.integers(len(ys))
    return int(xs[place]) - 1, int(ys[place]) - 1, int(facts[one, cv2.CC_STAT_AREA])


def worst(found: Inside, inside: Inside, random: Random) -> tuple[int, int, bool] | None:
    """A click in the largest error; None where nothing is wrong."""
    missed = middle_of(inside & ~found, random, exact=random.random() < 0.5)
    extra = middle_of(found & ~inside, random, exact=random.random() < 0.5)
    if missed and (not extra or missed[2] >= extra[2]):
        return *missed[:2], True
    return (*extra[:2], False) if extra else None


def inputs_of(batch: Sequence[Example]) -> tuple[list[Tensor], Tensor]:
    maps = [torch.from_numpy(np.stack([one.maps[place] for one in batch])) for place in range(len(CHANNELS))]
    colours = torch.from_numpy(np.stack([np.moveaxis(one.picture, 2, 0) for one in batch])).float() / 255
    return [one.contiguous(memory_format=torch.channels_last) for one in maps], colours


def clicks_of(batch: Sequence[Example]) -> ClickTensors:
    given = [guides(one.clicks[-MOST_CLICKS:]) for one in batch]
    discs, clicks, sides = (
        torch.from_numpy(np.stack([one[name] for one in given])).float() for name in ("discs", "clicks", "sides")
    )
    region = torch.from_numpy(np.stack([one.region for one in batch]))[:, None].float()
    return ClickTensors(discs, region, clicks, sides)


def click_again(
    decoder: ClickDecoder, batch: Sequence[Example], maps: list[Tensor], colours: Tensor, random: Random
) -> None:
    """Let the network answer, and click where it is most wrong."""
    decoder.eval()
    with torch.no_grad():
        logits_BHW = doubled(decoder(maps, colours, clicks_of(batch)))[:, 0].numpy()
    decoder.train()
    for one, logits_HW in zip(batch, logits_BHW, strict=True):
        again = worst(logits_HW > 0, one.inside, random)
        one.region = logits_HW > 0
        if again:
            one.clicks.append(again)


def loss_of(logits_BHW: Tensor, inside_BHW: Tensor) -> Tensor:
    """Cross-entropy, the same of what is not sure yet (as focal loss, but each object counts alike), and soft IoU."""
    entropy = F.binary_cross_entropy_with_logits(logits_BHW, inside_BHW, reduction="none")
    probability = logits_BHW.sigmoid()
    doubt = torch.where(inside_BHW > 0.5, 1 - probability, probability).detach()
    focal = (doubt * entropy).sum((1, 2)) / doubt.sum((1, 2)).clamp_min(1)
    both = (probability * inside_BHW).sum((1, 2))
    either = (probability + inside_BHW).sum((1, 2)) - both
    return (focal + 2 * entropy.mean((1, 2)) + 1 - (both + 1) / (either + 1)).mean()


def iou(found: Tensor, inside: Tensor) -> Tensor:
    return (found & inside).sum((1, 2)) / (found | inside).sum((1, 2)).clamp_min(1)


def update(average: dict[str, Tensor], decoder: ClickDecoder, step: int) -> None:
    kept = min(AVERAGED, (step + 1) / (step + 10))
    for name, value in decoder.state_dict().items():
        if value.dtype.is_floating_point:
            average[name].mul_(kept).add_(value, alpha=1 - kept)
        else:
            average[name].copy_(value)


def example_inputs() -> tuple[Tensor, ...]:
    """Random inputs of the exported graph."""
    random = np.random.default_rng(0)
    maps = [random.normal(0, 5, (SIDE_PX // stride,) * 2 + (channels,)) for stride, channels in CHANNELS.items()]
    points = [(int(x), int(y), place % 2 == 0) for place, (x, y) in enumerate(random.integers(0, SIDE_PX, (5, 2)))]
    given = guides(points)
    return (
        *(torch.from_numpy(one.astype(np.float32)) for one in maps),
        torch.from_numpy(random.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)),
        torch.from_numpy(given["discs"]),
        torch.from_numpy(random.integers(0, 2, (SIDE_PX, SIDE_PX), np.uint8)),
        torch.from_numpy(given["clicks"]),
        torch.from_numpy(given["sides"]),
    )


def to_onnx(decoder: ClickDecoder) -> bytes:
    program = torch.onnx.export(
        ClickGraph(decoder),
        example_inputs(),
        dynamo=True,
        input_names=list(INPUTS),
        output_names=["logits"],
        opset_version=OPSET,
        verbose=False,
    )
    assert program is not None
    model: onnx.ModelProto = program.model_proto
    del model.metadata_props[:]
    for node in model.graph.node:
        del node.metadata_props[:]  # source locations: paths of this machine
        node.doc_string = ""
    return store_weights(model, "float16").SerializeToString()


def check(model: bytes, decoder: ClickDecoder) -> None:
    """End if ONNX Runtime computes other logits than torch."""
    given = example_inputs()
    with torch.inference_mode():
        expected = ClickGraph(decoder)(*given).numpy()
    named = {name: one.numpy() for name, one in zip(INPUTS, given, strict=True)}
    found = open_session(model, 1).run(None, named)[0]
    off = float(np.abs(found - expected).mean() / expected.std())
    if off > CLOSE:
        raise SystemExit(f"logits are off by {off:.3f} of their deviation; at most {CLOSE}.")
    print(f"{len(model) / 1e6:.2f} MB; logits as torch's but for {off:.4f} of their deviation")


if __name__ == "__main__":
    main()
