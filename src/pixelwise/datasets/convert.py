"""The command `convert`: from any readable format to any writable one.

Every pixel's class is kept, and dataset.toml too, so names, ids, colours and void are read back unchanged.
Images keep their bytes if the format stores image files. A lossy conversion is refused, never done silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pixelwise.datasets.class_values import Given
from pixelwise.datasets.dataset_toml import FILE_NAME, SPLITS, bands_toml
from pixelwise.datasets.formats.writers import WRITERS, Pair
from pixelwise.datasets.image_copy import image_copy
from pixelwise.datasets.list_dataset import layout_of
from pixelwise.datasets.new_folder import new_folder, require_new
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask, upright_size
from pixelwise.errors import DatasetError, UsageError
from pixelwise.images.files import Refusal, shown, write_whole
from pixelwise.records import Dataset

__all__ = ["WRITERS", "convert"]

Progress = Callable[[str, int, int], None]


def convert(
    data: Path | str,
    out: Path | str,
    to: str,
    *,
    classes: Mapping[str, Given] | None = None,
    void: Given = (),
    masks: str = "",
    progress: Progress = lambda what, done, total: None,
) -> Dataset:
    """Convert a dataset to another format without loss.

    Args:
        data: dataset folder; its format is detected.
        out: new folder for the result.
        to: target format: "native", "pairs", "camvid", "cityscapes", "voc", "ade20k", "coco", "coco-panoptic", "yolo",
            "labelme", "geojson", "cvat", "labelstudio", "parquet", "image-folder" or "nifti".
        classes: class name → the mask values of the class, as in `open_dataset`. None: detected.
        void: mask values that mean unlabelled. Default: detected.
        masks: if an image has several masks: part of the folder or file name of the masks to use. Default: any.
        progress: called with (what is being done, done, total).

    Returns:
        The written dataset, opened.

    Raises:
        UsageError: no such folder or format; a value that no mask contains.
        DatasetError: problems prevent reading the data, or the format cannot hold the classes.
        ImageError: an image cannot be read.
        MaskError: a mask cannot be read.
        OutputError: `out` exists already or cannot be written.

    Example:
        >>> import pixelwise as pw
        >>> pw.convert("my_data", "my_coco", "coco").layout
        'coco'
    """
    out = Path(out)
    if to not in WRITERS:
        raise UsageError(f"{to!r} is not a format that can be written; expected one of: {', '.join(WRITERS)}.")
    require_new(out)
    dataset = open_dataset(data, classes=classes, void=void, masks=masks)
    errors = [problem for problem in dataset.problems if problem.severity == "error"]
    if errors:
        raise DatasetError("The dataset has problems to fix first; `pixelwise check` lists them.", errors)
    with new_folder(out, dataset.root) as part:
        settings = WRITERS[to](part, _pairs(dataset, progress), dataset.classes)
        write_whole(part / FILE_NAME, (settings + bands_toml(dataset.bands)).encode())
    assert layout_of(out) is not None
    return open_dataset(out)


def _pairs(dataset: Dataset, progress: Progress) -> Iterator[Pair]:
    jobs = [(split, sample) for split in SPLITS for sample in dataset.splits.get(split, ()) if sample.mask]
    taken: set[str] = set()
    for done, (split, sample) in enumerate(jobs, start=1):
        own = Path(sample.name).name if sample.image_part else shown(sample.image.stem)
        stem, number = own, 1
        while stem.casefold() in taken:  # formats with one folder for all splits need unique names
            number += 1
            stem = f"{own}-{number}"
        taken.add(stem.casefold())
        try:
            data, suffix = image_copy(sample, dataset.bands)
            size = upright_size(data)
        except Refusal as refusal:
            raise DatasetError(f"{shown(sample.image)}: {refusal}") from refusal
        yield Pair(split, stem, data, suffix, read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), size))
        progress("converting", done, len(jobs))
