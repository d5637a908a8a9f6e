"""Silence decoders: they print warnings without a file name to stderr, and the checks here report what matters.

Import this before decoding.
"""

from __future__ import annotations

import ctypes
import logging
import warnings
from pathlib import Path
from typing import Any

import cv2
import PIL
from PIL import Image, features


def quieten() -> None:
    """Keep Pillow's, OpenCV's, libtiff's and nibabel's own messages from stderr."""
    for category in (UserWarning, Image.DecompressionBombWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    logging.getLogger("PIL").addHandler(logging.NullHandler())  # "More samples per pixel than can be decoded"
    logging.getLogger("nibabel.global").setLevel(logging.CRITICAL)  # what it repairs in a header
    opencv: Any = cv2.utils.logging
    opencv.setLogLevel(opencv.LOG_LEVEL_SILENT)
    if features.check("libtiff"):
        _quieten_libtiff()


def _quieten_libtiff() -> None:
    """Silence libtiff's errors; Pillow silences only its warnings. Its wheels ship libtiff, except on Windows."""
    package = Path(PIL.__file__).parent
    for pattern in ("../pillow.libs/libtiff*", ".dylibs/libtiff*", "../Pillow.libs/libtiff*"):
        for library in package.glob(pattern):
            try:
                ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
            except (OSError, AttributeError):  # another build: it still prints, which does no harm
                return
