"""The true objects of the separated classes, read with the training images.

Shapes: H, W an image's size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixelwise.datasets.instances import class_objects, has_instances, instances_of, source_of
from pixelwise.model.preprocess import LARGE_PIXELS
from pixelwise.records import Labels, Sample
from pixelwise.training.disk_copies import DiskArray, DiskCopies

ObjectMask = NDArray[np.uint16] | NDArray[np.uint32] | DiskArray  # [H, W]


@dataclass
class TrueObjects:
    """Object maps by index of the pair. The first that fit into `room_bytes` stay in memory; large ones are kept as
    copies on disk, and the rest are read again each time."""

    samples: Sequence[Sample]
    class_ids: tuple[int, ...]
    copies: DiskCopies | None = None
    room_bytes: int = 1 << 28
    kept: dict[int, ObjectMask | None] = field(default_factory=dict)

    def of(self, index: int, mask_HW: Any) -> ObjectMask | None:
        """The objects of an image's separated classes; None if the data do not tell them apart.

        Args:
            mask_HW: its labels.

        Raises:
            MaskError: they cannot be read.
        """
        if index in self.kept:
            return self.kept[index]
        found = self.read(index, mask_HW)
        needed = found.nbytes if isinstance(found, np.ndarray) else 0
        if needed <= self.room_bytes:
            self.room_bytes -= needed
            self.kept[index] = found
        return found

    def read(self, index: int, mask_HW: Any) -> ObjectMask | None:
        sample, size = self.samples[index], (mask_HW.shape[0], mask_HW.shape[1])
        if not has_instances(sample):
            return None
        large = self.copies is not None and size[0] * size[1] > LARGE_PIXELS
        key = self.key(sample) if large else ""
        if self.copies is not None and large and (found := self.copies.found(key)) is not None:
            return found
        objects_HW = objects_of_classes(np.asarray(mask_HW), instances_of(sample, size), self.class_ids)
        if self.copies is None or not large:
            return objects_HW
        self.copies.require_room(objects_HW.nbytes, f"the objects of {sample.image.name}")
        return self.copies.write(key, objects_HW.shape, objects_HW.dtype, [objects_HW])

    def key(self, sample: Sample) -> str:
        """The name of a copy: from where the objects are, and when they changed."""
        source = source_of(sample)
        text = f"objects {source} {source.stat().st_mtime_ns} {sample.mask_part} {self.class_ids}"
        return hashlib.sha256(text.encode()).hexdigest()[:40]


def objects_of_classes(
    labels_HW: Labels, instances_HW: NDArray[np.uint32] | None, class_ids: Sequence[int]
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """One map of the objects of several classes: a number occurs in two of them only where one instance does."""
    together = np.zeros(labels_HW.shape, np.uint32)
    for class_id in class_ids:
        own_HW = labels_HW == class_id
        together[own_HW] = class_objects(labels_HW, instances_HW, class_id)[own_HW]
    return together.astype(np.uint16) if together.max(initial=0) < 2**16 else together
