"""The images that the page shows, kept for a while so that it need not upload them again.

Shapes: H, W the image's own size; N its bands; C classes; h, w the size of the scores.
"""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from pixelwise.images.pixel_size import PixelSize
from pixelwise.records import RGB, Bands, Prediction, Raster
from pixelwise.server.error_responses import unknown_image


@dataclass
class RememberedImage:
    """One image, its prediction, and what was computed for it since."""

    pixels: Raster  # [H, W, N] as the model takes it
    prediction: Prediction
    decode_ms: float
    predict_ms: float
    format: str
    bytes: int
    sha256: str = ""  # of the uploaded bytes, so that a client can match the answer to its request
    bands: Bands = RGB
    pixel: PixelSize | None = None  # the size of a pixel, where the file stated it
    layers: dict[str, Any] = field(default_factory=dict)  # name → [channels, h, w]; kept for the newest images only


class ImageMemory:
    """The latest images: at most `most`, with at most `max_pixels` in total. Thread-safe."""

    def __init__(self, most: int, max_pixels: int, with_layers: int = 2) -> None:
        self.most, self.max_pixels, self.with_layers = most, max_pixels, with_layers
        self.seen: OrderedDict[str, RememberedImage] = OrderedDict()
        self.lock = threading.Lock()

    def put(self, seen: RememberedImage) -> str:
        """Store an image. Returns a random name that cannot be guessed."""
        name = secrets.token_urlsafe(12)
        with self.lock:
            self.seen[name] = seen
            while len(self.seen) > 1 and (len(self.seen) > self.most or self.pixels() > self.max_pixels):
                self.seen.popitem(last=False)
            self.forget_layers()
        return name

    def get(self, name: str) -> RememberedImage:
        with self.lock:
            if name not in self.seen:
                raise unknown_image()
            self.seen.move_to_end(name)
            self.forget_layers()
            return self.seen[name]

    def pixels(self) -> int:
        """The memory of all images and their predictions, in pixels of three bytes."""
        made = [(seen.pixels, seen.prediction) for seen in self.seen.values()]
        kept = [array for image, found in made for array in (image, found.labels, found.scores, found.borders)]
        return sum(array.nbytes for array in kept if array is not None) // 3

    def forget_layers(self) -> None:
        """Layers take several megabytes per image: only the newest images keep theirs."""
        for seen in list(self.seen.values())[: -self.with_layers]:
            seen.layers.clear()
