"""Decoders print what they mind to stderr and name no file. What matters shows in the decoded image.

Imported by those who decode, before they do.
"""

from __future__ import annotations

import ctypes
import warnings
from pathlib import Path
from typing import Any

import cv2
import PIL
from PIL import Image, features


def quieten() -> None:
    """Keep Pillow's, OpenCV's and libtiff's own messages from stderr."""
    for category in (UserWarning, Image.DecompressionBombWarning):
        warnings.filterwarnings("ignore", category=category, module=r"PIL\.")
    logging: Any = cv2.utils.logging
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    if features.check("libtiff"):
        _quieten_libtiff()


def _quieten_libtiff() -> None:
    """Pillow silences libtiff's warnings, not its errors. Its wheels have libtiff as a file, but on Windows."""
    package = Path(PIL.__file__).parent
    for pattern in ("../pillow.libs/libtiff*", ".dylibs/libtiff*", "../Pillow.libs/libtiff*"):
        for library in package.glob(pattern):
            try:
                ctypes.CDLL(str(library)).TIFFSetErrorHandler(None)
            except (OSError, AttributeError):  # another build: it goes on printing, which is no fault of the image
                return
