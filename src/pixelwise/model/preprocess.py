"""Image → network input, and scores → labels at the image's own size, its inverse.

Both are part of the network: training, evaluation and export run this code, and a bundle carries it in its graph.

Shapes: H, W the image's size; N its bands; h, w the network's input size, multiples of 32; s the stride of the scores;
C classes.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pixelwise.records import RGB, Bands

Policy = Literal["stretch", "fit", "native"]
POLICIES: tuple[Policy, ...] = ("stretch", "fit", "native")
LARGE_PIXELS = 8_000_000  # larger images are resized in parts: at once would take 12 bytes per pixel
STRIP_PIXELS = 1 << 20
MULTIPLE = 32  # every network halves its input at most five times
MIDDLE = 127.5  # on 0–255, the value of pixels without data
OUTSIDE = (-128.0, 383.0)  # on 0–255, where values far outside a band's range are clipped: half a range beyond it


def network_size(height: int, width: int, size: tuple[int, int], policy: Policy) -> tuple[int, int]:
    """The network's input size (h, w) for an image of `height` × `width`.

    stretch: exactly `size`, whatever the shape of the image.
    fit:     as large as fits into `size` with the shape kept, each side to the nearest multiple of 32.
    native:  the image's own size, each side to the nearest multiple of 32.

    Written with whole numbers and torch.sym_min/max only, so that it can be exported with height and width unknown.
    """
    if policy == "stretch":
        return size

    def nearest(numerator: int, denominator: int) -> int:
        multiples = (2 * numerator + MULTIPLE * denominator) // (2 * MULTIPLE * denominator)
        return int_max(multiples, 1) * MULTIPLE

    if policy == "native":
        return nearest(height, 1), nearest(width, 1)
    h, w = size
    # The scale is the smaller of h/height and w/width; multiplied out by height·width to stay whole.
    scaled_height, scaled_width = int_min(h * width, w * height), height * width
    return (
        int_min(nearest(scaled_height * height, scaled_width), h),
        int_min(nearest(scaled_height * width, scaled_width), w),
    )


def int_min(a: int, b: int) -> int:
    return int(min(a, b)) if isinstance(a, int) and isinstance(b, int) else torch.sym_min(a, b)


def int_max(a: int, b: int) -> int:
    return int(max(a, b)) if isinstance(a, int) and isinstance(b, int) else torch.sym_max(a, b)


def scaled(image: Tensor, bands: Bands) -> Tensor:
    """Stored values [..., N] → float32, with a band's low value at 0 and its high value at 255.

    Values far outside are clipped to OUTSIDE. Pixels without data (NaN, infinite) get the middle of the range.
    8-bit RGB is returned unchanged, as uint8.
    """
    if bands == RGB:
        return image
    values = image.float()
    low_N = torch.tensor(bands.low, dtype=torch.float32, device=values.device)
    factor_N = torch.tensor(
        [255 / (high - low) for low, high in zip(bands.low, bands.high, strict=True)],
        dtype=torch.float32,
        device=values.device,
    )
    # The test is on the stored value: a finite one may become infinite in the arithmetic, and is clipped then.
    known = torch.where(values.isfinite(), (values - low_N) * factor_N, MIDDLE)
    return known.clamp(*OUTSIDE)


def resize_image(image_BHWN: Tensor, size: tuple[int, int]) -> Tensor:
    """[B, H, W, N] → float [B, N, h, w]. Antialiased, so that shrinking averages pixels rather than skipping them.

    uint8 stays whole numbers, so that a picture kept as uint8 is exactly the network's input.
    """
    image_BNHW = image_BHWN.permute(0, 3, 1, 2).float()
    resized_BNhw = F.interpolate(image_BNHW, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized_BNhw.round() if image_BHWN.dtype == torch.uint8 else resized_BNhw


def resize_in_strips(image_BHWN: Tensor, size: tuple[int, int], bands: Bands = RGB) -> Tensor:
    """`resize_image` of `scaled`, bit for bit, without the whole image as floats: it is resized in groups of rows."""
    _, height, width, _ = image_BHWN.shape
    rows = max(STRIP_PIXELS // width, 1)
    narrowed = []
    for top in range(0, height, rows):
        strip_BRWN = scaled(image_BHWN[:, top : top + rows], bands)
        strip_BNRW = strip_BRWN.permute(0, 3, 1, 2).float()
        narrowed.append(
            F.interpolate(
                strip_BNRW, size=(strip_BNRW.shape[2], size[1]), mode="bilinear", align_corners=False, antialias=True
            )
        )
    narrow_BNHw = torch.cat(narrowed, dim=2)
    resized_BNhw = F.interpolate(narrow_BNHw, size=size, mode="bilinear", align_corners=False, antialias=True)
    return resized_BNhw.round() if bands == RGB else resized_BNhw


EXPOSED_MEAN, EXPOSED_STD = 112.0, 70.0  # brightness and contrast of a well exposed daylight photo, 0–255
LARGEST_GAIN = 4.0  # of contrast: more would only amplify noise


def exposure_of(image_BNhw: Tensor) -> tuple[Tensor, Tensor]:
    """The gain and the offset, [B, 1, 1, 1] each, that light each image like a daylight photo, as a camera's automatic
    exposure does: brightness and contrast.

    One gain and one offset for all bands, so that colours keep their ratios.
    A network that saw mostly noon then meets dusk in the light that it knows. Pixels that are white or black in all
    bands do not count: what a flight missed, or what lies around a microscope's field, says nothing of the light.

    Args:
        image_BNhw: float, 0–255.
    """
    middle_B1hw = (image_BNhw - 127.5).abs().amin(dim=1, keepdim=True)
    counts_B1hw = (middle_B1hw < 127.5).to(image_BNhw.dtype)
    share_B111 = counts_B1hw.mean(dim=(1, 2, 3), keepdim=True)
    counts_B1hw = torch.where(share_B111 > 0, counts_B1hw, torch.ones_like(counts_B1hw))
    share_B111 = torch.where(share_B111 > 0, share_B111, torch.ones_like(share_B111))
    counted_BNhw = image_BNhw * counts_B1hw
    mean_B111 = counted_BNhw.mean(dim=(1, 2, 3), keepdim=True) / share_B111
    # Mean square minus squared mean saves one pass over the pixels. For values up to 255 the loss of precision is
    # negligible, and the clamp handles blank images.
    square_B111 = (counted_BNhw * image_BNhw).mean(dim=(1, 2, 3), keepdim=True) / share_B111
    variance_B111 = square_B111 - mean_B111.square()
    spread_B111 = variance_B111.clamp(min=(EXPOSED_STD / LARGEST_GAIN) ** 2).sqrt()
    gain_B111 = EXPOSED_STD / spread_B111
    return gain_B111, EXPOSED_MEAN - mean_B111 * gain_B111


def per_channel(values: tuple[float, ...]) -> Tensor:
    """[1, N, 1, 1], or [1, 1, 1, 1] where all are equal: several times faster in graphs whose channels come last."""
    return torch.tensor(values[:1] if len(set(values)) == 1 else values).view(1, -1, 1, 1)


class Preprocess(nn.Module):
    """Image → network input."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        size: tuple[int, int],
        policy: Policy,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        even_exposure: bool = False,
        bands: Bands = RGB,
    ) -> None:
        """`mean`, `std`: for each band, on 0–1 from its low to its high value."""
        super().__init__()
        self.size, self.policy, self.even_exposure, self.bands = size, policy, even_exposure, bands
        self.black, self.white = -mean[0] / std[0], (1 - mean[0]) / std[0]  # as the network gets them
        self.register_buffer("mean", per_channel(mean), persistent=False)
        self.register_buffer("std", per_channel(std), persistent=False)

    def normalise(self, image_BNhw: Tensor) -> Tensor:
        """0–255, as `scaled` → normalised exposure, if enabled → 0–1 → the encoder's statistics.

        All of it is one factor and one summand for each image, so that its pixels are touched once each.
        """
        image_BNhw = image_BNhw.float()
        scale, shift = 1 / (255 * self.std), -self.mean / self.std  # 0–1 and the encoder's statistics
        if not self.even_exposure:
            return image_BNhw * scale + shift
        gain_B111, offset_B111 = exposure_of(image_BNhw)
        evened_BNhw = image_BNhw * (gain_B111 * scale) + (offset_B111 * scale + shift)
        # Clip to black and white.
        if scale.numel() == 1:
            return evened_BNhw.clamp(self.black, self.white)
        return torch.minimum(torch.maximum(evened_BNhw, shift), 255 * scale + shift)

    def forward(self, image_BHWN: Tensor) -> Tensor:
        """Stored values [B, H, W, N], uint8 for RGB → float [B, N, h, w]."""
        size = network_size(image_BHWN.shape[1], image_BHWN.shape[2], self.size, self.policy)
        return self.normalise(resize_image(scaled(image_BHWN, self.bands), size))

    def of_any_size(self, image_BHWN: Tensor) -> Tensor:
        """`forward` in less memory for large images. Not for export: the computation depends on the size."""
        height, width, count = image_BHWN.shape[1:]
        if height * width * count <= LARGE_PIXELS * len(RGB):
            seen: Tensor = self(image_BHWN)
            return seen
        size = network_size(height, width, self.size, self.policy)
        return self.normalise(resize_in_strips(image_BHWN, size, self.bands))


def resize_scores(scores_BChw: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores at any resolution → at `size`, bilinear with pixel centres at half-integers."""
    return F.interpolate(scores_BChw, size=size, mode="bilinear", align_corners=False)


def labels_from_scores(scores_BChw: Tensor, size: tuple[int, int]) -> Tensor:
    """Scores → uint8 [B, H, W] class ids at the image's own size. On a tie the lower id wins."""
    return resize_scores(scores_BChw, size).max(dim=1).indices.to(torch.uint8)  # argmax is six times slower here
