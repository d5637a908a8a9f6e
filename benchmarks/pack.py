"""One small file with a dataset, for a machine that has a GPU but not the data: photos as JPEG, masks as PNG.

    python benchmarks/pack.py DATASET PACKED.zip [--quality 95] [--most-mib 60]
    python -m zipfile -e PACKED.zip FOLDER      # unpacks it, a native dataset

CamVid's 118 MB become 34 MB at quality 95. A network trained on photos so packed scores what one trained on the
originals does to within chance; its scores should be measured on the originals all the same.
"""

from __future__ import annotations

import argparse
import sys
import zipfile
from pathlib import Path

import cv2

from pixelwise.datasets.dataset_toml import dataset_toml
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.images.image_files import encode_label_png
from pixelwise.records import RGB


def pack(folder: Path, out: Path, quality: int) -> int:
    """Write `folder` to the ZIP file `out`; returns the number of pairs."""
    dataset = open_dataset(folder)
    if dataset.bands != RGB:
        sys.exit(f"{folder}: its images have the bands {', '.join(dataset.bands.names)}; JPEG holds 8-bit RGB only.")
    pairs = 0
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr("dataset.toml", dataset_toml(dataset.classes))
        for split, samples in dataset.splits.items():
            short = len({Path(sample.name).name for sample in samples}) == len(samples)
            for sample in (one for one in samples if one.mask is not None):
                name = Path(sample.name).name if short else sample.name.replace("/", "-")
                image_HW3 = read_sample_image(sample, dataset.bands)
                size = image_HW3.shape[0], image_HW3.shape[1]
                labels_HW = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size)
                coded, jpeg = cv2.imencode(".jpg", image_HW3[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
                assert coded
                packed.writestr(f"{split}/images/{name}.jpg", jpeg.tobytes())
                packed.writestr(f"{split}/masks/{name}.png", encode_label_png(labels_HW, dataset.classes))
                pairs += 1
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--quality", type=int, default=95, help="of the JPEG files, 1 to 100")
    parser.add_argument("--most-mib", type=float, default=60, help="a larger file is an error")
    chosen = parser.parse_args()
    pairs = pack(chosen.dataset, chosen.out, chosen.quality)
    mib = chosen.out.stat().st_size / 2**20
    if mib > chosen.most_mib:
        sys.exit(f"{chosen.out}: {mib:.1f} MiB, more than {chosen.most_mib:g}; pack it with a lower --quality.")
    print(f"{chosen.out}: {pairs} pairs, {mib:.1f} MiB")


if __name__ == "__main__":
    main()
