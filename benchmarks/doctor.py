"""How fast the doctor reads, how much memory it needs, and what it finds of the planted faults.

    python benchmarks/doctor.py [--pairs 10000] [--data FOLDER]

Speed and memory: pairs of 480×360 like CamVid's (or CamVid itself, or --data), linked to as often as needed under new
names, so that disk space does not matter. Faults: those of tests/planted.py, and the sound folder without any.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pixelwise.doctor.check import check
from pixelwise.scenes.render_scene import write_scenes

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
CAMVID = HERE.parents[1] / "shared/data/camvid/train"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument(
        "--data", type=Path, default=CAMVID, help="images; their masks in the folder of the same name + annot"
    )
    arguments = parser.parse_args()
    table = Table("what", "must", "measured", "how", box=None)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        for count in sorted({400, arguments.pairs}):
            wall, cpu, peak_mb, source = measure(work / str(count), count, arguments.data)
            table.add_row(
                f"pairs/s, {count:,} pairs", "≥ 400 on 2 cores", f"{count / wall:.0f}", f"wall time, {source}"
            )
            table.add_row("", "", f"{2 * count / cpu:.0f}", "2 cores ÷ processor time: without other load")
            table.add_row(
                f"peak memory, {count:,} pairs", "≤ 500 MB", f"{peak_mb:.0f} MB", "resident set of the process"
            )
        found, invented, total = planted_faults(work / "planted")
    table.add_row("planted faults found", "all", f"{found} of {total}", "kind expected for each")
    table.add_row("invented on sound data", "0", str(invented), "findings")
    Console(width=120).print(table)


def measure(root: Path, count: int, images: Path) -> tuple[float, float, float, str]:
    """Seconds, seconds of processors, peak memory in MB and the source's name, in a process of its own."""
    source = link_pairs(root, count, images)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        began, cpu = time.perf_counter(), time.process_time()
        check(root / "data")
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        os.write(writing, f"{time.perf_counter() - began} {time.process_time() - cpu} {peak}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    wall, cpu, peak = (float(n) for n in os.read(reading, 1000).split())
    return wall, cpu, peak, source


def link_pairs(root: Path, count: int, images: Path) -> str:
    """Fill DATA/{images,masks} with links; each image is linked to as often as it takes."""
    if images.is_dir():
        masks, source = images.with_name(f"{images.name}annot"), images.parent.name
    else:
        write_scenes(root / "scenes", {"train": 200}, height_px=360, width_px=480)
        images, masks, source = root / "scenes/train/images", root / "scenes/train/masks", "built-in scenes"
    files = sorted(images.glob("*.png"))
    for part in ("images", "masks"):
        (root / "data" / part).mkdir(parents=True)
    for i in range(count):
        file = files[i % len(files)]
        (root / f"data/images/{i:06}.png").symlink_to(file.resolve())
        (root / f"data/masks/{i:06}.png").symlink_to((masks / file.name).resolve())
    return source


def planted_faults(root: Path) -> tuple[int, int, int]:
    """Faults found, findings invented on sound data, faults planted."""
    import planted

    sound = planted.sound(root / "sound")
    invented = len(check(sound).findings.problems)
    found = 0
    for i, (kind, plant) in enumerate(planted.FAULTS.values()):
        shutil.copytree(sound, root / str(i))
        plant(root / str(i))
        found += kind in {problem.kind for problem in check(root / str(i)).findings.problems}
    return found, invented, len(planted.FAULTS)


if __name__ == "__main__":
    main()
