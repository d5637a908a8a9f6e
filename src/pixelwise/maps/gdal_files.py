"""Open image files with GDAL, which reads far more than it should of a file that someone else made.

GDAL follows what a file names: a VRT lists other files, on disk or on the network, and a sidecar (.aux.xml) can name
overviews. So only four formats are opened, a VRT's files lie in its own folder, and no request leaves the machine.

Formats: gdal.org/drivers/raster/vrt.html, gdal.org/user/virtual_file_systems.html.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pixelwise.errors import ImageError, MissingExtraError
from pixelwise.images.files import Refusal, read_bytes, read_head, shown
from pixelwise.images.tiff_header import HEADS
from pixelwise.images.xml_tree import parse_xml

JPEG2000_HEADS = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")  # a JP2 file, a bare codestream
DRIVER_OF = {
    **dict.fromkeys(HEADS, "GTiff"),
    **dict.fromkeys(JPEG2000_HEADS, "JP2OpenJPEG"),
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
}
OFFLINE = {  # GDAL's settings: nothing is requested, nothing is written beside the file
    "CPL_VSIL_CURL_ALLOWED_FILENAME": "none",
    "GDAL_HTTP_PROXY": "http://127.0.0.1:9",
    "GDAL_HTTPS_PROXY": "http://127.0.0.1:9",
    "GDAL_HTTP_MAX_RETRY": "0",
    "GDAL_HTTP_TIMEOUT": "1",
    "GDAL_VRT_ENABLE_PYTHON": "NO",
    "GDAL_VRT_ENABLE_RAWRASTERBAND": "NO",
    "GDAL_PAM_ENABLE_MARK_DIRTY": "NO",
    "VRT_SHARED_SOURCE": "0",
}
WORLD_FILES = {".tif": ".tfw", ".tiff": ".tfw", ".png": ".pgw", ".jpg": ".jgw", ".jpeg": ".jgw", ".jp2": ".j2w"}
MOST_XML_BYTES = 64 << 20
DEEPEST_VRT = 4  # a VRT of VRTs
HEAD_BYTES = 1024
# In lower case, because GDAL compares the names of elements and attributes in any case.
SUBCLASSES = ("", "vrtdataset", "vrtwarpeddataset", "vrtsourcedrasterband", "vrtwarpedrasterband")
NAMES_A_FILE = ("sourcefilename", "sourcedataset")
REFUSED = (
    *("pixelfunctiontype", "pixelfunctioncode", "group"),  # they compute pixels
    *("gdalopenoptions", "openoptions", "openoption", "rpctransformer", "geoloctransformer"),  # they open more files
)


def is_vrt(head: bytes) -> bool:
    return b"<VRTDataset" in head


def has_sidecar(path: Path) -> bool:
    """Whether a world file or GDAL's .aux.xml beside the image says where it lies."""
    world = WORLD_FILES.get(path.suffix.lower())
    if any(path.with_suffix(one).is_file() for one in (world, ".wld") if one):
        return True
    try:
        words = read_bytes(aux_of(path))
    except Refusal:
        return False
    return b"<GeoTransform>" in words or b"<SRS" in words


def aux_of(path: Path) -> Path:
    return path.with_name(path.name + ".aux.xml")


@contextmanager
def offline() -> Iterator[None]:
    """GDAL without a network, in this thread: for whatever opens files later, as reading a VRT does.

    Raises:
        MissingExtraError: the extra `geo` is not installed.
    """
    try:
        import rasterio
    except ModuleNotFoundError as error:
        raise MissingExtraError("rasterio, which reads maps,", "geo") from error
    with rasterio.Env(**OFFLINE), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def opened_by_gdal(path: Path) -> Any:
    """rasterio's dataset of a file, to be read and closed within `offline`.

    Raises:
        ImageError: it is of another format, damaged, or names files elsewhere.
        MissingExtraError: the extra `geo` is not installed.
    """
    try:
        driver = checked_driver(path)
    except Refusal as refusal:
        raise ImageError(f"{shown(path)}: {refusal}") from refusal
    with offline():
        import rasterio

        try:
            return rasterio.open(path.absolute(), driver=driver)
        except rasterio.errors.RasterioError as error:
            raise unreadable(path, error) from error


@contextmanager
def open_with_gdal(path: Path) -> Iterator[Any]:
    """As `opened_by_gdal`, closed at the end; errors of reading are raised as ImageError too."""
    opened = opened_by_gdal(path)
    with offline():
        import rasterio

        try:
            with opened:
                yield opened
        except rasterio.errors.RasterioError as error:
            raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> ImageError:
    return ImageError(f"{shown(path)}: GDAL cannot read it: {error}")


def checked_driver(path: Path) -> str:
    """GDAL's name of a file's format.

    Raises Refusal if it is none that is read, or the file names files that do not lie in its own folder.
    """
    head = read_head(path, HEAD_BYTES)
    refuse_overviews_elsewhere(path)
    if is_vrt(head):
        _refuse_vrt(path, path.absolute().parent, 1)
        return "VRT"
    driver = _driver_of(head)
    if not driver:
        what = "is none of the formats that are read as maps: GeoTIFF, JPEG 2000, VRT, PNG and JPEG."
        raise Refusal("not-a-map", what, "Convert it: gdal_translate -of COG IN OUT.tif")
    return driver


def _driver_of(head: bytes) -> str:
    return next((driver for magic, driver in DRIVER_OF.items() if head.startswith(magic)), "")


def refuse_overviews_elsewhere(path: Path) -> None:
    sidecar = aux_of(path)
    if sidecar.is_file() and b"OVERVIEW_FILE" in read_bytes(sidecar).upper():
        what = f"the file {shown(sidecar.name)} beside it names overviews elsewhere."
        raise Refusal("names-elsewhere", what, "Delete that file; gdaladdo makes overviews again.")


def _refuse_vrt(path: Path, folder: Path, depth: int) -> None:
    if path.stat().st_size > MOST_XML_BYTES:
        raise Refusal("too-large", f"is a VRT of more than {MOST_XML_BYTES:,} bytes.", "Build it of fewer files.")
    if depth > DEEPEST_VRT:
        raise Refusal("too-deep", f"is a VRT of VRTs, more than {DEEPEST_VRT} deep.", "Build it from the images.")
    try:
        words = read_bytes(path).decode("utf-8")  # as GDAL reads it, whatever encoding it declares
    except UnicodeDecodeError as error:
        raise Refusal("damaged", "is a VRT that is not UTF-8.", "Build it again with gdalbuildvrt.") from error
    if "OVERVIEW_FILE" in words.upper():
        raise Refusal("names-elsewhere", "names overviews elsewhere.", "Build it again with gdalbuildvrt.")
    for element in parse_xml(words).iter():
        kind = str(element.tag).rpartition("}")[2].lower()
        attributes = {name.lower(): value for name, value in element.attrib.items()}
        subclass = attributes.get("subclass", "").lower()
        if kind in REFUSED or (kind in ("vrtdataset", "vrtrasterband") and subclass not in SUBCLASSES):
            what = (
                f"is a VRT that computes its pixels or opens files in its own way ({kind}, {subclass or 'no'} class)."
            )
            raise Refusal("computed", what, "Write it as a file of its own: gdal_translate -of COG IN OUT.tif")
        if kind in NAMES_A_FILE:
            _refuse_source(element.text or "", attributes.get("relativetovrt") == "1", path, folder, depth)


def _refuse_source(name: str, relative: bool, vrt: Path, folder: Path, depth: int) -> None:
    """Raise Refusal unless a file that a VRT names is an image in the folder of the outermost VRT."""
    base = vrt.absolute().parent if relative else Path.cwd()
    source = Path(os.path.normpath(base / name))
    remedy = "Move the VRT to a folder that holds its images, and build it there: gdalbuildvrt ALL.vrt */*.tif"
    if not name or name.startswith("/vsi") or not source.is_relative_to(folder):
        raise Refusal("names-elsewhere", f"names {shown(name)!r}, which is not in its own folder.", remedy)
    if not source.is_file():
        raise Refusal("missing", f"names {shown(name)!r}, which is not there.", remedy)
    refuse_overviews_elsewhere(source)
    head = read_head(source, HEAD_BYTES)
    if is_vrt(head):
        _refuse_vrt(source, folder, depth + 1)
    elif not _driver_of(head):
        what = f"names {shown(name)!r}, which is none of the formats that are read: GeoTIFF, JPEG 2000, PNG, JPEG."
        raise Refusal("not-a-map", what, "Convert it: gdal_translate -of COG IN OUT.tif")


def is_vrt_file(path: Path) -> bool:
    try:
        return is_vrt(read_head(path, HEAD_BYTES))
    except Refusal:
        return False


def jpeg2000_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a JPEG 2000 file; None of others, of damaged ones, and without the extra `geo`."""
    try:
        if not read_head(path, HEAD_BYTES).startswith(JPEG2000_HEADS):
            return None
        with open_with_gdal(path) as opened:
            return int(opened.height), int(opened.width)
    except (Refusal, ImageError, MissingExtraError):
        return None
