"""A GeoTIFF of 20,000 × 20,000 pixels, labelled from end to end: objects, polygons and labels, time and peak memory.

    python benchmarks/large_map.py --side 20000 --objects 1000000 [--save labels,objects,geopackage] [--touching]
    python benchmarks/large_map.py --side 7072 --objects 100000 --classes 11 --save labels,confidence,probabilities

The map, in UTM, holds bright discs on dark ground. The model is one convolution that tells them apart by brightness,
so that what is measured is everything but the network, and the right answer is known: as many objects and polygons as
there are discs, unless they touch. The peak memory is that of `pixelwise predict`, a process of its own.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import pyogrio
import rasterio
from objects_memory import disc_rows
from onnx import TensorProto, helper, numpy_helper
from rasterio.windows import Window

from pixelwise.bundle.export import OPSET, SCORES_1, add_outputs, write_bundle
from pixelwise.bundle.metadata import GROUPS, Metadata, Stage
from pixelwise.records import ClassList

DARK, BRIGHT = 40, 200
BLOCK_PX = 512
MUST_GIB = 2.0


def write_model(path: Path, classes: ClassList) -> None:
    """A bundle that says "cell" where a pixel is brighter than halfway between DARK and BRIGHT; never the others."""
    sign = np.array([-1, 1, *[0] * (len(classes) - 2)], np.float32)
    weight = np.full((len(classes), 3, 1, 1), 1 / 30, np.float32) * sign[:, None, None, None]
    bias = np.where(sign == 0, -2, -sign * (DARK + BRIGHT) / 2 / 10)
    nodes = [
        helper.make_node("Cast", ["image"], ["values"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["values"], ["bands"], perm=[2, 0, 1]),
        helper.make_node("Unsqueeze", ["bands", "first"], ["stage/input"]),
        helper.make_node("Conv", ["stage/input", "weight", "bias"], [SCORES_1]),
    ]
    constants = {"first": np.array([0]), "weight": weight, "bias": bias.astype(np.float32)}
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["H", "W", 3])],
        [helper.make_tensor_value_info(SCORES_1, TensorProto.FLOAT, [1, len(classes), "H", "W"])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    add_outputs(model.graph, len(classes))
    onnx.checker.check_model(model)
    stages = (Stage("input", GROUPS[0], "stage/input"), Stage("scores", GROUPS[3], "scores"))
    metadata = Metadata(classes, (BLOCK_PX, BLOCK_PX), "native", 1, (0.0,) * 3, (1.0,) * 3, 1.0, stages)
    write_bundle(model, metadata, np.zeros((64, 64, 3), np.uint8), path)


def write_map(path: Path, side: int, objects: int, *, apart: bool) -> None:
    rows = disc_rows(side, objects, apart=apart)
    options = {"driver": "GTiff", "height": side, "width": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32632"}
    layout = {
        "tiled": True,
        "blockxsize": BLOCK_PX,
        "blockysize": BLOCK_PX,
        "compress": "deflate",
        "photometric": "rgb",
    }
    place = rasterio.transform.from_origin(500_000, 5_650_000, 0.5, 0.5)
    with rasterio.open(path, "w", transform=place, bigtiff="if_safer", interleave="pixel", **options, **layout) as file:
        for top in range(0, side, BLOCK_PX):
            part = slice(top, min(top + BLOCK_PX, side))
            values = np.where(rows(part), np.uint8(BRIGHT), np.uint8(DARK))
            file.write(np.broadcast_to(values, (3, *values.shape)), window=Window(0, top, side, len(values)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=20_000, help="pixels")
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--save", default="labels,objects,geopackage")
    parser.add_argument("--classes", type=int, default=2, help="of the model; only the first two occur")
    parser.add_argument("--touching", action="store_true", help="many discs touch their neighbours")
    parser.add_argument("--folder", type=Path, help="for the map and the results; none: a temporary one")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        model, image, out = folder / "brightness.onnx", folder / "map.tif", folder / "labelled"
        names = ("background", "cell", *(f"class {number}" for number in range(3, asked.classes + 1)))
        write_model(model, ClassList(names, tuple((20 * i, 255 - 20 * i, 120) for i in range(asked.classes))))
        if not image.exists():
            write_map(image, asked.side, asked.objects, apart=not asked.touching)
        began = time.perf_counter()
        command = [sys.executable, "-m", "pixelwise", "predict", model, image, "--out", out, "--save", asked.save]
        subprocess.run([*map(str, command), "--fresh"], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        record = json.loads((out / "predictions.jsonl").read_text())
        print(f"{asked.side:,}² px, {asked.objects:,} discs{' that touch' if asked.touching else ''}: {seconds:.0f} s")
        print(f"peak memory {peak:.2f} GiB ({'within' if peak <= MUST_GIB else 'ABOVE'} {MUST_GIB:g} GiB)")
        for name in record["saved"]:
            print(f"  {name}: {(out / name).stat().st_size / 1e6:,.1f} MB")
        if (table := out / "map.objects.csv").exists():
            with table.open() as file:
                print(f"objects: {sum(1 for _ in csv.reader(file)) - 1:,}; left out: {record['objects']['excluded']}")
        if (package := out / "map.gpkg").exists():
            print(f"polygons: {pyogrio.read_info(package, layer='labels', force_feature_count=True)['features']:,}")


if __name__ == "__main__":
    main()
