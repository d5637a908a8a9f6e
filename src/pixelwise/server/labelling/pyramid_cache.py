"""The images that are being labelled, decoded, within a bound of memory; and small pictures of all of them."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from pixelwise.server.labelling.image_pyramid import ImagePyramid

KEPT_BYTES = 1 << 29  # of decoded images with their levels; the newest is kept whatever its size
THUMBNAILS = 4096  # of a few kilobytes each


class PyramidCache:
    """Decoded images by id. Several requests for one image decode it once. Thread-safe."""

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self.most_bytes = most_bytes
        self.lock = threading.Lock()
        self.kept: OrderedDict[str, ImagePyramid] = OrderedDict()
        self.decoding: dict[str, threading.Lock] = {}

    def get(self, image_id: str, decode: Callable[[], ImagePyramid]) -> ImagePyramid:
        """The image; decoded by `decode` unless it is kept. Raises what `decode` raises."""
        with self.lock:
            if (found := self.found(image_id)) is not None:
                return found
            one_at_a_time = self.decoding.setdefault(image_id, threading.Lock())
        with one_at_a_time:
            with self.lock:
                if (found := self.found(image_id)) is not None:
                    return found
            try:
                made = decode()
            finally:
                with self.lock:
                    self.decoding.pop(image_id, None)
            with self.lock:
                self.kept[image_id] = made
                while len(self.kept) > 1 and sum(one.nbytes for one in self.kept.values()) > self.most_bytes:
                    self.kept.popitem(last=False)
            return made

    def found(self, image_id: str) -> ImagePyramid | None:
        if image_id in self.kept:
            self.kept.move_to_end(image_id)
        return self.kept.get(image_id)

    def clear(self) -> None:
        with self.lock:
            self.kept.clear()


class ThumbnailCache:
    """The newest small pictures, as JPEG, by id. Thread-safe."""

    def __init__(self, most: int = THUMBNAILS) -> None:
        self.most = most
        self.lock = threading.Lock()
        self.kept: OrderedDict[str, bytes] = OrderedDict()

    def get(self, image_id: str, make: Callable[[], bytes]) -> bytes:
        with self.lock:
            if image_id in self.kept:
                self.kept.move_to_end(image_id)
                return self.kept[image_id]
        made = make()
        with self.lock:
            self.kept[image_id] = made
            while len(self.kept) > self.most:
                self.kept.popitem(last=False)
        return made

    def clear(self) -> None:
        with self.lock:
            self.kept.clear()
