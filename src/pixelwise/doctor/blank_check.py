"""Masks that go on where the picture is blank: plain white or black, as what an aerial photo's flight missed."""

from __future__ import annotations

from functools import partial

from pixelwise.datasets.blank_areas import labels_without_structure_in_blanks
from pixelwise.datasets.inspect_pair import alone
from pixelwise.datasets.read_ahead import in_threads
from pixelwise.datasets.read_sample import image_size_of, label_strips, read_sample_image, read_sample_mask
from pixelwise.datasets.streamed_blank_areas import strips_without_structure_in_blanks
from pixelwise.datasets.streamed_pairs import has_streamed_image
from pixelwise.doctor.validate_pair import where
from pixelwise.errors import DataError
from pixelwise.images.tiff_windows import TiffWindows
from pixelwise.records import RGB, Dataset, Problem, Sample

LOOKED_AT = 32  # images, spread over the dataset


def blank_problems(dataset: Dataset) -> list[Problem]:
    """At most one warning, about the image where most is blank. Unreadable pairs are skipped: they are errors."""
    samples = [sample for split in dataset.splits.values() for sample in split if sample.mask is not None]
    if dataset.bands != RGB or not samples:
        return []
    count = min(len(samples), LOOKED_AT)
    chosen = [samples[i * len(samples) // count] for i in range(count)]
    shares = in_threads(lambda sample: _blank_share(sample, dataset), chosen)
    found = sorted(
        ((share, sample) for share, sample in zip(shares, chosen, strict=True) if share), key=lambda one: -one[0]
    )
    if not found:
        return []
    share, worst = found[0]
    others = "" if len(found) == 1 else f" So it is in {len(found)} of the {count} images looked at; this is the worst."
    what = f"{share:.0%} of the image is plain white or black, yet its mask has structure there.{others}"
    remedy = (
        "If nothing was recorded there, mark it as unlabelled in the mask. Training takes each area's most frequent "
        "class for all of it, as nobody could learn these labels; scores count the mask as it is."
    )
    return [Problem("warning", "labels-on-blank", where(dataset, worst.image), what, remedy)]


def _blank_share(sample: Sample, dataset: Dataset) -> float:
    try:
        height, width = image_size_of(sample)
        with alone(height * width):
            if has_streamed_image(sample):
                strips = partial(label_strips, sample, dataset.mask_ids, len(dataset.classes), (height, width))
                return strips_without_structure_in_blanks(TiffWindows(sample.image, dataset.bands), strips)[1]
            image = read_sample_image(sample, dataset.bands)
            mask = read_sample_mask(sample, dataset.mask_ids, len(dataset.classes), (image.shape[0], image.shape[1]))
            if mask.shape != image.shape[:2]:
                return 0.0
            return labels_without_structure_in_blanks(image, mask)[1]
    except DataError:
        return 0.0
