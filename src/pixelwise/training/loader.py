"""Samples → batches of tensors, in an order that depends only on the seed.

Decoded images are cached in memory up to the recipe's limit. Of the others, large ones are read in windows, from tiled
TIFFs or decoded copies on disk; the rest are decoded again each epoch.

Shapes: B batch, H and W the original size, h and w the network's input size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from pixelwise.datasets.blank_areas import labels_without_structure_in_blanks
from pixelwise.datasets.read_sample import read_sample_image, read_sample_mask
from pixelwise.datasets.streamed_pairs import has_streamed_image
from pixelwise.errors import DataError
from pixelwise.images.no_data import labels_with_data
from pixelwise.model.preprocess import LARGE_PIXELS, Policy, exposure_of, network_size, scaled
from pixelwise.records import RGB, VOID, Bands, Labels, Raster, Sample
from pixelwise.training.augment import (
    PADDING,
    Crop,
    Mask,
    Picture,
    centred_on_rare,
    crop_image,
    crop_mask,
    crop_numbers,
    enlarged,
    generator,
    random_crop,
    rarest_crop,
    relight,
    rotated,
)
from pixelwise.training.augment_bands import relight_bands
from pixelwise.training.batch_order import CropKey, Order
from pixelwise.training.class_positions import ClassPositions
from pixelwise.training.disk_copies import DiskCopies, WithOverview
from pixelwise.training.large_pairs import copied, in_windows, streamed_pair, with_overview
from pixelwise.training.object_gaps import gaps_of
from pixelwise.training.stain import invert, restain, tint
from pixelwise.training.true_objects import ObjectMask, TrueObjects

LARGEST_SHARE = 4  # a pair larger than 1/4 of the cache is never cached
EXPOSED_PIXELS = 1 << 18  # of an image that its exposure is taken from
STRIP_PIXELS = 1 << 22  # of a large box that are resized at a time
PROBED = (16, 16)  # pixels of a crop that are looked at for labels
REDRAWS = 4  # of a crop that has none


class Pairs:
    """Decoded image–mask pairs by index. The first ones that fit into `cache_mb` stay in memory.

    Of the others, large ones are read where they lie (TIFF) or from decoded copies on disk, window by window; the rest
    are decoded again each time.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        mask_ids: Mapping[int, int],
        classes: int,
        cache_mb: int,
        copies: DiskCopies | None = None,
        bands: Bands = RGB,
    ) -> None:
        """`copies`: where copies of large images are kept. None: nowhere; they are decoded again each time."""
        self.samples, self.mask_ids, self.classes, self.bands = tuple(samples), dict(mask_ids), classes, bands
        self.cache_mb, self.room_bytes = cache_mb, cache_mb * 2**20
        self.most_bytes = self.room_bytes // LARGEST_SHARE
        self.kept: dict[int, tuple[Raster, Labels]] = {}
        self.copies = copies
        self.overviews = False  # whether crops are far smaller for the network than in images too large to be decoded
        self.large: dict[int, tuple[Picture, Mask]] = {}  # those that are read in windows
        self.class_positions = ClassPositions()  # filled by `pixels_as_seen`
        self.exposures: dict[int, tuple[float, float]] = {}  # gain and offset of the images that were asked about
        self.without_blanks = False  # whether a plain white or black area gets one class: see `blank_areas.py`
        self.objects: TrueObjects | None = None  # where objects of a class are to be separated
        self.blank_shares: dict[int, float] = {}  # of the images where some are: share of the pixels

    def __len__(self) -> int:
        return len(self.samples)

    def positions(self, index: int, class_id: int) -> NDArray[np.int32]:
        """Row and column of some of a class's pixels in an image, in its own pixels: int32 [n, 2], n at most 256.

        A uniform sample, the same in every process and after --resume; empty if the mask has no pixel of the class.
        """
        return self.class_positions.of(index, class_id)

    def __getitem__(self, index: int) -> tuple[Picture, Mask]:
        """The image as stored [H, W, N], uint8 if RGB, and its labels, uint8 [H, W]: arrays or, of a large pair, what
        is indexed like arrays."""
        if index in self.kept:
            return self.kept[index]
        if index in self.large:
            return self.large[index]
        sample = self.samples[index]
        if sample.mask is None:
            raise DataError(f"{sample.image}: has no mask, so it cannot be trained on.")
        if self.copies is not None and has_streamed_image(sample):
            image_HWN, mask_HW, blank = streamed_pair(
                sample, self.mask_ids, self.classes, self.reading, self.copies, self.bands,
                without_blanks=self.without_blanks,
            )  # fmt: skip
            self.blank_shares |= {index: blank} if blank else {}
            return self.keep_streamed(index, (image_HWN, mask_HW))
        image = read_sample_image(sample, self.bands)
        mask = read_sample_mask(sample, self.mask_ids, self.classes, (image.shape[0], image.shape[1]))
        if mask.shape != image.shape[:2]:
            raise DataError(
                f"{sample.mask}: {mask.shape[0]}×{mask.shape[1]}, but its image is "
                f"{image.shape[0]}×{image.shape[1]}. Export both at the same size."
            )
        mask = labels_with_data(image, mask)
        if self.without_blanks:
            mask, blank = labels_without_structure_in_blanks(image, mask)
            self.blank_shares |= {index: blank} if blank else {}
        if image.nbytes + mask.nbytes <= min(self.room_bytes, self.most_bytes):
            self.room_bytes -= image.nbytes + mask.nbytes
            self.kept[index] = (image, mask)
        elif self.copies is not None and mask.size > LARGE_PIXELS:
            self.large[index] = in_windows(sample, (image, mask), self.reading, self.copies, self.bands)
            return self.large[index]
        return image, mask

    def exposure(self, index: int) -> tuple[float, float]:
        """Gain and offset by which `exposure_of` normalises a whole RGB image, from every k-th row and column."""
        if index not in self.exposures:
            image_HW3, mask_HW = self[index]
            step = max(int((mask_HW.shape[0] * mask_HW.shape[1] / EXPOSED_PIXELS) ** 0.5), 1)
            rows = np.arange(step // 2, mask_HW.shape[0], step)
            few_RW3 = np.stack([image_HW3[row : row + 1, :][0, step // 2 :: step] for row in rows])
            gain, offset = exposure_of(torch.from_numpy(few_RW3).permute(2, 0, 1)[None].float())
            self.exposures[index] = (float(gain), float(offset))
        return self.exposures[index]

    def open_large(self, index: int) -> None:
        """Open a pair that another process found to be large, from its copies if they are here."""
        found = None if self.copies is None else copied(self.samples[index], self.reading, self.copies, self.bands)
        if found is None:
            self[index]
        elif has_streamed_image(self.samples[index]):
            self.keep_streamed(index, found)
        else:
            self.large[index] = found

    def keep_streamed(self, index: int, pair: tuple[Picture, Mask]) -> tuple[Picture, Mask]:
        """Keep an open pair that is too large to be decoded at once, with an overview if one is wanted."""
        image, mask = pair
        if self.overviews and self.copies is not None and self.bands == RGB:
            image = with_overview(self.samples[index], image, self.copies)
        self.large[index] = (image, mask)
        return image, mask

    def part(self, count: int) -> Pairs:
        """The first pairs, with nothing decoded yet."""
        few = Pairs(self.samples[:count], self.mask_ids, self.classes, self.cache_mb, self.copies, self.bands)
        few.without_blanks, few.objects = self.without_blanks, self.objects
        few.large = {index: pair for index, pair in self.large.items() if index < count}
        return few

    def spaced(self, count: int) -> Pairs:
        """So many pairs, evenly spaced, with what is decoded of them; all where `count` is 0 or no fewer."""
        if not 0 < count < len(self):
            return self
        chosen = [(2 * number + 1) * len(self) // (2 * count) for number in range(count)]
        few = Pairs([self.samples[index] for index in chosen], self.mask_ids, self.classes, self.cache_mb, self.copies,
                    self.bands)  # fmt: skip
        few.without_blanks, few.objects, few.room_bytes = self.without_blanks, self.objects, self.room_bytes
        few.kept = {place: self.kept[index] for place, index in enumerate(chosen) if index in self.kept}
        few.large = {place: self.large[index] for place, index in enumerate(chosen) if index in self.large}
        return few

    @property
    def reading(self) -> str:
        """How the values of masks are read: part of the name of a mask's copy."""
        blanks = " one class a blank area" if self.without_blanks else ""
        return f"{sorted(self.mask_ids.items())} {self.classes}{blanks}"


@dataclass(frozen=True)
class Augmentation:
    """How training crops differ from the originals."""

    size: tuple[int, int]  # of the crops at the network's input
    policy: Policy
    zoom: tuple[float, float]
    flip: bool
    light: float
    seed: int
    size_at: Callable[[int], tuple[int, int]] | None = None  # epoch → size of its crops; None: always `size`
    turn: bool = False  # by any number of quarter turns; for square crops
    crops: int = 1  # random ones, of which that with the most of the rare classes is taken
    rare: tuple[int, ...] = ()  # ids of the rare classes
    rare_share: float = 0.0  # of the crops, centred on a pixel of a rare class
    stain: float = 0.0
    invert: float = 0.0
    tilt: float = 0.0  # degrees
    bands: Bands = RGB  # of the images
    even_exposure: bool = False  # normalise each crop by the brightness and contrast of its whole image
    tint: float = 0.0
    whole: tuple[int, int] | None = None  # the network's input size in prediction; None: `size`


class CropDataset(TorchDataset[list[Tensor]]):
    """Augmented crops, addressed by keys so that a worker process needs no state."""

    def __init__(self, pairs: Pairs, augmentation: Augmentation) -> None:
        self.pairs, self.augmentation = pairs, augmentation

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, key: CropKey) -> list[Tensor]:
        """uint8 [h, w, 3], or float32 [h, w, N] scaled to 0–255 if not RGB; and uint8 [h, w] class ids, or where S
        classes are separated int64 [1 + S, h, w]: the ids, then `borders.gaps_of`."""
        index = key.sample
        image_HWN, mask_HW = self.pairs[index]
        rare = [places for id_ in self.augmentation.rare if len(places := self.pairs.positions(index, id_))]
        exposure = self.pairs.exposure(index) if self.augmentation.even_exposure else None
        true_objects = self.pairs.objects
        if true_objects is None:
            image_hwN, mask_hw, _ = augment_objects(image_HWN, mask_HW, None, self.augmentation, key, rare, exposure)
            return [torch.from_numpy(image_hwN), torch.from_numpy(mask_hw)]
        objects_HW = true_objects.of(index, mask_HW)
        image_hwN, mask_hw, objects_hw = augment_objects(
            image_HWN, mask_HW, objects_HW, self.augmentation, key, rare, exposure
        )
        gaps_Shw = gaps_of(mask_hw, objects_hw, true_objects.class_ids)
        return [torch.from_numpy(image_hwN), torch.from_numpy(np.concatenate([mask_hw[None], gaps_Shw])).long()]


def augment(
    image_HWN: Picture,
    mask_HW: Mask,
    how: Augmentation,
    epoch: int,
    index: int,
    rare_places: Sequence[NDArray[np.int32]] = (),
    exposure: tuple[float, float] | None = None,
) -> tuple[Raster, Labels]:
    """One random crop of a pair at the network's input size, where an epoch is one pass over all samples: uint8
    [h, w, 3], or float32 [h, w, N] scaled to 0–255 if not RGB; and uint8 [h, w].

    Args:
        rare_places: for each rare class that the mask has, rows and columns of some of its pixels, [n, 2].
        exposure: gain and offset of the crop's values, uint8; None: they stay as they are.
    """
    key = CropKey(epoch, index, epoch)
    image_hwN, labels_hw, _ = augment_objects(image_HWN, mask_HW, None, how, key, rare_places, exposure)
    return image_hwN, labels_hw


def augment_objects(
    image_HWN: Picture,
    mask_HW: Mask,
    objects_HW: ObjectMask | None,
    how: Augmentation,
    key: CropKey,
    rare_places: Sequence[NDArray[np.int32]] = (),
    exposure: tuple[float, float] | None = None,
) -> tuple[Raster, Labels, NDArray[Any] | None]:
    """As `augment`, with the same crop of a map of objects: resized, mirrored and turned alike, 0 outside the image."""
    rng = generator(how.seed, key.passes, key.sample)
    height, width = mask_HW.shape
    seen = network_size(height, width, how.whole or how.size, how.policy)
    size = how.size_at(key.epoch) if how.size_at else how.size
    seen_now = (seen[0] * size[0] // how.size[0], seen[1] * size[1] // how.size[1])  # the same crop, in fewer pixels
    crops = [random_crop(rng, (height, width), seen_now, size, how.zoom, how.flip) for _ in range(how.crops)]
    crop = rarest_crop(crops, mask_HW, size, how.rare) if how.crops > 1 else crops[0]
    if rare_places and how.rare_share and rng.random() < how.rare_share:
        crop = centred_on_rare(rng, crop, (height, width), rare_places)
    for _ in range(REDRAWS):
        if (crop_mask(mask_HW, crop, PROBED) != VOID).any():
            break
        crop = random_crop(rng, (height, width), seen_now, size, how.zoom, how.flip)
    angle = float(rng.uniform(-how.tilt, how.tilt)) if how.tilt and rng.random() < 0.5 else 0.0
    wide, wide_size = enlarged(crop, size, angle)
    source, box = image_HWN, wide
    if isinstance(image_HWN, WithOverview) and shrunk(wide, wide_size) >= 2 * image_HWN.factor:
        wide = snapped(wide, image_HWN.factor)  # the mask's box too
        source, box = image_HWN.overview, in_overview(wide, image_HWN.factor)
    resized_hwN = resized_crop(source, box, wide_size, how.bands)
    if crop.mirrored:
        resized_hwN = resized_hwN.flip(1)
    image_hwN, labels_hw = np.ascontiguousarray(resized_hwN.numpy()), crop_mask(mask_HW, wide, wide_size)
    objects_hw = None if objects_HW is None else crop_numbers(objects_HW, wide, wide_size, 0)
    if exposure is not None:
        image_hwN = np.asarray(cv2.LUT(image_hwN, exposed(np.arange(256), *exposure)), np.uint8)
    if angle:
        image_hwN, labels_hw = rotated(image_hwN, angle, size, PADDING), rotated(labels_hw, angle, size, VOID)
        objects_hw = None if objects_hw is None else rotated_objects(objects_hw, angle, size)
    lit_hwN = relit(rng, image_hwN, how)
    if how.turn:
        quarters = int(rng.integers(4))
        lit_hwN, labels_hw = (np.ascontiguousarray(np.rot90(array, quarters)) for array in (lit_hwN, labels_hw))
        objects_hw = None if objects_hw is None else np.ascontiguousarray(np.rot90(objects_hw, quarters))
    return lit_hwN, labels_hw, objects_hw


def rotated_objects(objects_hw: NDArray[Any], angle: float, size: tuple[int, int]) -> NDArray[Any]:
    """`rotated`, for numbers of any size: OpenCV turns 16 bits."""
    values, dense_hw = np.unique(objects_hw, return_inverse=True)
    turned_hw = rotated(dense_hw.reshape(objects_hw.shape).astype(np.uint16), angle, size, 0)
    return np.asarray(values[turned_hw])


def exposed(values: NDArray[Any], gain: float, offset: float) -> NDArray[np.uint8]:
    """Values on 0–255 with another contrast and brightness, clipped to black and white."""
    return np.asarray((values * gain + offset).round().clip(0, 255), np.uint8)


def relit(rng: np.random.Generator, image_hwN: NDArray[Any], how: Augmentation) -> NDArray[Any]:
    """A crop in other light, with other stains or inverted contrast, as `how` says."""
    if how.bands == RGB:
        other_hwN = tint(rng, restain(rng, relight(rng, image_hwN, how.light), how.stain), how.tint)
        return invert(rng, other_hwN, how.invert)
    return invert(rng, relight_bands(rng, image_hwN, how.light), how.invert)


def resized_crop(image_HWN: Picture, crop: Crop, size: tuple[int, int], bands: Bands = RGB) -> Tensor:
    """The pixels in a crop at `size`, scaled, not mirrored: [h, w, N], uint8 if RGB. A large box is resized in groups
    of rows, with the same result, so that memory does not grow with it."""

    def resized(part: Crop, size: tuple[int, int]) -> Tensor:
        box = scaled(torch.from_numpy(np.ascontiguousarray(crop_image(image_HWN, part)))[None], bands)
        # In integers: five times as fast as in floats, and equal to within 1 of 255.
        return F.interpolate(box.permute(0, 3, 1, 2), size, mode="bilinear", antialias=True)

    if crop.height * crop.width <= LARGE_PIXELS:
        return resized(crop, size)[0].permute(1, 2, 0)
    rows = max(STRIP_PIXELS // crop.width, 1)
    strips = [
        replace(crop, top=crop.top + top, height=min(rows, crop.height - top)) for top in range(0, crop.height, rows)
    ]
    narrow_1NHw = torch.cat([resized(strip, (strip.height, size[1])) for strip in strips], dim=2)
    return F.interpolate(narrow_1NHw, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def shrunk(crop: Crop, size: tuple[int, int]) -> float:
    """How many pixels a side of the image become one of the network's input."""
    return min(crop.height / size[0], crop.width / size[1])


def snapped(crop: Crop, factor: int) -> Crop:
    """The nearest box of whole pixels of an overview, so that image and mask show the same."""
    top, left = (factor * round(start / factor) for start in (crop.top, crop.left))
    height, width = (factor * max(round(side / factor), 1) for side in (crop.height, crop.width))
    return replace(crop, top=top, left=left, height=height, width=width)


def in_overview(crop: Crop, factor: int) -> Crop:
    """A `snapped` box in pixels of the overview."""
    top, left, height, width = (value // factor for value in (crop.top, crop.left, crop.height, crop.width))
    return replace(crop, top=top, left=left, height=height, width=width)


def training_batches(
    pairs: Pairs, augmentation: Augmentation, order: Order, workers: int, *, pinned: bool = False
) -> DataLoader[list[Tensor]]:
    """Batches of images as `augment` makes them and labels uint8 [B, h, w], an eighth of int64 to move between
    processes and to a GPU; set `order.epoch` before each pass.

    Args:
        pinned: in page-locked memory, from which a GPU copies while it computes.
    """
    return DataLoader(
        CropDataset(pairs, augmentation),
        batch_sampler=order,
        num_workers=workers,
        pin_memory=pinned,
    )
