"""Synthetic street scenes with exact masks: seeded, without downloads or licence questions.

A scene is a small world in metres (a curved street between two rows of buildings, with cars, trees, people, poles and
signs in some weather), drawn back to front through a pinhole camera. Labels are written by the same strokes as colours,
so a mask is exact. Colour alone does not give a class away: walls, asphalt and cloud share their greys, cars wear any
colour, and shop boards and autumn leaves distract.

`scene_layout` holds what is there, `paint_street` and `paint_objects` how it is painted, `rasteriser` draws it; here
it is put in order, seen through a lens, and written to disk.

Shapes: H, W image.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from pixelwise.datasets.dataset_toml import SPLITS, dataset_toml
from pixelwise.errors import OutputError
from pixelwise.records import VOID, Labels, Pixels
from pixelwise.scenes.paint_objects import paint_car, paint_person, paint_pole, paint_tree
from pixelwise.scenes.paint_street import paint_ground, paint_lot, paint_sky
from pixelwise.scenes.rasteriser import Canvas, blank_canvas, dice, ellipse, hash_bits, plane, smooth_noise
from pixelwise.scenes.scene_layout import (
    PAINTS,
    PAVEMENT,
    ROAD,
    SCENE_CLASSES,
    Scene,
    compose,
    crossing_ahead_m,
    dim,
    light_on,
    pick,
    times,
)

__all__ = ["SCENE_CLASSES", "render_scene", "write_scenes"]

SCENES_PER_SPLIT = 1_000_000  # each split draws from its own million of indices, so growing one never touches another
MIN_SIDE_PX, MAX_SIDE_PX = 32, 4096


def _paint_things(canvas: Canvas, scene: Scene) -> None:
    """Houses and all that stands or moves in the street, far to near."""
    roll, (left_m, right_m) = dice(scene.key, 6), scene.kerbs_m
    strokes: list[tuple[float, Callable[[], None]]] = [
        (lot.far_m, partial(paint_lot, canvas, scene, lot)) for lot in scene.lots
    ]

    def sun_at(x: float) -> float:
        return 0.25 if x * scene.sun_side > 0 else 0.9

    def add(paint_thing: Callable[..., None], x: float, z: float, **more: object) -> None:
        own = dice(scene.key, 7, len(strokes))  # each thing's look is its own, whatever is added before it is drawn
        strokes.append((z, partial(paint_thing, canvas, scene, x, z, own, sun=sun_at(x), **more)))

    busy, crossing_m = roll(0.15, 0.95), crossing_ahead_m(scene)
    width_m = right_m - left_m
    for side, kerb_m in ((-1, left_m), (1, right_m)):
        if roll(0, 1) < 0.65:  # parked along the kerb
            z = roll(3, 9)
            while z < 60:
                if roll(0, 1) < busy and abs(z - crossing_m) > 6:
                    add(paint_car, kerb_m - side * 1.05, z, front=(side < 0) != (roll(0, 1) < 0.1))
                z += roll(5.6, 8)
        lane_m = (left_m + right_m) / 2 + side * width_m * 0.2
        z = roll(9, 45) if abs(lane_m) < 2.5 else roll(4, 30)
        while width_m > 8 and z < 110:  # driving
            if roll(0, 1) < busy * 0.8:
                add(paint_car, lane_m + roll(-0.3, 0.3), z, front=side < 0)
            z += roll(10, 35)
        step_m, z = roll(7, 15), roll(4, 14)
        if roll(0, 1) < 0.6:
            while z < 75:
                if roll(0, 1) < 0.8:
                    add(paint_tree, kerb_m + side * roll(0.8, 1.1), z)
                z += step_m
        z, step_m = roll(5, 22), roll(18, 28)
        while z < 90:
            add(paint_pole, kerb_m + side * 0.5, z, what="lamp")
            z += step_m
        for _ in range(int(roll(0, 3.6))):
            add(paint_pole, kerb_m + side * roll(0.35, 0.7), 4.5 + roll(0, 1) * roll(2, 34), what="sign")
        if crossing_m and roll(0, 1) < 0.7:
            add(paint_pole, kerb_m + side * 0.4, crossing_m - 0.3, what="light")
        for _ in range(int(roll(0, 5.5))):
            wall_m = abs(scene.walls_m[0 if side < 0 else 1])
            far_side = side * (abs(kerb_m) if kerb_m * side > 0 else 0.6)
            add(
                paint_person,
                roll(min(abs(far_side), wall_m) + 0.4, wall_m - 0.2) * side,
                3.5 + roll(0, 1) * roll(3, 30),
            )
    for _ in range(int(roll(0, 4)) if roll(0, 1) < 0.5 or crossing_m else 0):  # crossing the road
        z = crossing_m + roll(0.3, 2.7) if crossing_m else roll(6, 25)
        add(paint_person, roll(left_m, right_m), z)
    for lot in scene.backdrop:
        paint_lot(canvas, scene, lot)
    for _, stroke in sorted(strokes, key=lambda item: -item[0]):
        stroke()


# ── the camera ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _paint_air(canvas: Canvas, scene: Scene) -> None:
    """Reflections on wet ground, fog and rain."""
    weather, rgb, roll = scene.weather, canvas.rgb_3HW, dice(scene.key, 8)
    height = canvas.labels_HW.shape[0]
    if weather.wet:
        horizon = scene.vanish[1] * canvas.unit_px + height / 2
        below = np.arange(max(0, min(height, int(horizon) + 1)), height)
        mirrored = np.clip((2 * horizon - below).astype(np.int32), 0, height - 1)
        z = canvas.depth_HW[below]
        puddle = np.clip(0.75 + 0.6 * smooth_noise(z * 3 + roll(0, 999), canvas.u_1W * z * 3), 0.15, 1.0)
        ground = (canvas.labels_HW[below] == ROAD) + 0.6 * (canvas.labels_HW[below] == PAVEMENT)
        # water mirrors best at a grazing view, and what stands close to the viewer does not appear in it
        share = (ground.astype(np.float32) * puddle) * (
            weather.wet * np.clip(1.0 - 1.9 * (canvas.v_HW[below] - scene.vanish[1]), 0.0, 1.0)
        )
        rgb[:, below] += share * (rgb[:, mirrored] * 0.9 - rgb[:, below])
    fog = canvas.depth_HW / (canvas.depth_HW + weather.sight_m)
    rgb += fog * (plane(weather.horizon) - rgb)
    if weather.wet > 0.4:
        streaks = smooth_noise(canvas.v_HW * 55 + roll(0, 999), canvas.u_1W * 900 + canvas.v_HW * 120)
        rgb += np.clip(streaks - 0.35, 0.0, 1.0) * 0.35


def _paint_bonnet(canvas: Canvas, scene: Scene) -> None:
    """The camera car's bonnet along the lower edge of some scenes: void."""
    roll = dice(scene.key, 9)
    driving = scene.kerbs_m[0] < 0 < scene.kerbs_m[1]
    if driving and roll(0, 1) < 0.15:
        bottom = canvas.labels_HW.shape[0] / 2 / canvas.unit_px
        rise = roll(0.03, 0.08)
        ellipse(
            canvas,
            (roll(-0.1, 0.1), bottom + 0.3),
            (0.8, 0.3 + rise),
            times(pick(roll, PAINTS), light_on(scene, 0.5)),
            VOID,
        )


def _expose(canvas: Canvas, scene: Scene) -> Pixels:
    """Lens and sensor: softness, vignette, exposure, cast, noise, 8 bits. Returns uint8 [H, W, 3]."""
    roll, rgb = dice(scene.key, 10), canvas.rgb_3HW
    height, width = canvas.labels_HW.shape
    softness = roll(0.05, 0.22)
    for axis in (1, 2):
        edge = np.pad(rgb, [(0, 0), (int(axis == 1),) * 2, (int(axis == 2),) * 2], mode="edge")
        before, after = (edge[:, :-2], edge[:, 2:]) if axis == 1 else (edge[:, :, :-2], edge[:, :, 2:])
        rgb = rgb * (1 - 2 * softness) + (before + after) * softness
    x, y = (np.arange(n, dtype=np.float32) / float(n) - 0.5 for n in (width, height))
    vignette = 1.0 - roll(0.1, 0.5) * (x * x + (y * y)[:, None])
    gain = roll(0.88, 1.12)
    cast = (gain * roll(0.96, 1.04), gain, gain * roll(0.96, 1.04))
    rgb = rgb * (plane(dim(cast, 255.0)) * vignette)
    bits = hash_bits(height * width, scene.key).astype("<u8").view(np.uint8).reshape(height, width, 8)
    noise = roll(0.008, 0.03) * (1.5 if scene.weather.lamps > 0.9 else 1.0)
    luma = (bits[..., 0].astype(np.float32) + bits[..., 1] + bits[..., 2]) - 382.5
    out = np.empty((height, width, 3), np.uint8)
    for channel in range(3):
        grain = (luma + (bits[..., 3 + channel].astype(np.float32) - 127.5)) * noise
        out[..., channel] = np.clip(rgb[channel] + grain + 0.5, 0.0, 255.0).astype(np.uint8)
    return out


def render_scene(seed: int, index: int, height_px: int = 256, width_px: int = 256) -> tuple[Pixels, Labels]:
    """One street scene and its mask.

    The same arguments give the same arrays on every machine and NumPy version. Another size shows the same street, its
    shorter side spanning the same view; only grain and detail below a pixel differ.

    Args:
        seed: which endless series of scenes.
        index: which scene of that series; any integer.
        height_px, width_px: 32 to 4096 each.

    Returns:
        pixels uint8 [H, W, 3] RGB, and labels uint8 [H, W]: ids of SCENE_CLASSES, or VOID on the viewer's own bonnet,
        which some scenes show along their lower edge. Signs are traffic signs and signal heads; shop boards belong to
        their building, marks and puddles to the road, and crown, trunk and hedge are all tree.

    Raises:
        ValueError: a side outside 32 … 4096.
    """
    for name, side_px in (("height_px", height_px), ("width_px", width_px)):
        if not MIN_SIDE_PX <= side_px <= MAX_SIDE_PX:
            raise ValueError(f"{name} is {side_px}; expected {MIN_SIDE_PX} to {MAX_SIDE_PX} pixels")
    scene = compose(seed, index)
    canvas = blank_canvas(height_px, width_px, scene.roll)
    paint_sky(canvas, scene)
    paint_ground(canvas, scene)
    _paint_things(canvas, scene)
    _paint_air(canvas, scene)
    _paint_bonnet(canvas, scene)
    return _expose(canvas, scene), canvas.labels_HW


# ── to disk ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_scenes(
    folder: Path,
    counts: Mapping[str, int],
    *,
    seed: int = 0,
    height_px: int = 256,
    width_px: int = 256,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a dataset of scenes in the native layout: folder/SPLIT/{images,masks}/NNNN.png and folder/dataset.toml.

    Decoded images and masks are the same on every machine; the bytes of the PNG files depend on the zlib at hand. Masks
    are palette PNGs whose indices are class ids. Each file is written whole or not at all, and one that is there
    already is replaced, so a stopped call can simply be repeated. Splits never share a scene.

    Args:
        folder: made if it does not exist.
        counts: scenes in each of "train", "val" and "test"; a split may be left out.
        progress: called with (scenes written, scenes in all) after each.

    Raises:
        ValueError: an unknown split, a count outside 0 … 1,000,000, or a side outside 32 … 4096; nothing is written.
        OutputError: a file cannot be written.
    """
    for split, count in counts.items():
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; expected {', '.join(SPLITS)}")
        if not 0 <= count <= SCENES_PER_SPLIT:
            raise ValueError(f"{count} scenes for {split}; expected 0 to {SCENES_PER_SPLIT}")
    for side_px in (height_px, width_px):
        if not MIN_SIDE_PX <= side_px <= MAX_SIDE_PX:
            raise ValueError(f"{height_px}×{width_px} pixels; expected {MIN_SIDE_PX} to {MAX_SIDE_PX} on each side")
    _write_whole(folder / "dataset.toml", dataset_toml(SCENE_CLASSES).encode())
    palette, done, total = SCENE_CLASSES.palette().tobytes(), 0, sum(counts.values())
    for number, split in enumerate(SPLITS):
        for i in range(counts.get(split, 0)):
            pixels, labels = render_scene(seed, number * SCENES_PER_SPLIT + i, height_px, width_px)
            mask = Image.fromarray(labels)
            mask.putpalette(palette)
            _write_whole(folder / split / "images" / f"{i:04}.png", _png(Image.fromarray(pixels)))
            _write_whole(folder / split / "masks" / f"{i:04}.png", _png(mask))
            done += 1
            if progress is not None:
                progress(done, total)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _write_whole(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written ({error.strerror}). Choose a folder you can write to, with space left."
        ) from error
