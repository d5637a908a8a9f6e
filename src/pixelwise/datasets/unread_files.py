"""Descriptions of unsupported files, by suffix, first bytes or first words, each with a remedy."""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from pixelwise.images.files import shown

FILES = 20_000  # to examine by name
PEEKED = 400  # files with an unknown ending to open
PEEK_BYTES = 4096
FOLDERS = 200  # to search for images of two dates
TOLD = 4  # maximum sentences about tables and annotations
RUNS = re.compile(r"(?:^|[,\"])\d+ \d+(?: \d+ \d+)*(?:[,\"\r]|$)", re.MULTILINE)
SLICER = "Save them as .nii.gz (3D Slicer: File, Save) into imagesTr/ and, under the same names, labelsTr/."
DRAW = (
    "Cut the map and the shapes over it into a dataset: pixelwise chips RASTER SHAPES OUT. It reads GeoPackage, "
    "Shapefile and GeoJSON; ogr2ogr converts others."
)
AS_PNG = "Save the images and masks in them as PNG, one file each"
FIJI = "Export them as TIFF or PNG, masks as PNG (Fiji with Bio-Formats, QuPath or the maker's program)."
KINDS = {  # endings → kind of file, and the remedy
    (".mat",): ("MATLAB files", f"{AS_PNG}; masks in .mat files are read where each has the name of its image."),
    (".h5", ".hdf5", ".hdf", ".he5", ".h5ad"): ("HDF5 files", f"{AS_PNG} (h5py)."),
    (".nc", ".nc4", ".cdf"): ("NetCDF files", f"{AS_PNG} (xarray, or gdal_translate of each variable)."),
    (".nii", ".nii.gz"): (
        "NIfTI volumes",
        "Put images into imagesTr/ and their labels, of the same names, into labelsTr/.",
    ),
    (".nrrd", ".nhdr"): ("NRRD files", SLICER),
    (".mha", ".mhd"): ("MetaImage files", SLICER),
    (".mgz", ".mgh", ".mnc"): ("FreeSurfer or MINC volumes", "Save them as .nii.gz (mri_convert, mnc2nii)."),
    (".dcm", ".dicom", ".ima"): (
        "DICOM files",
        "Make .nii.gz of them (dcm2niix, or 3D Slicer: also of segmentations) into imagesTr/ and labelsTr/.",
    ),
    (".zarr", ".n5"): ("Zarr arrays (OME-Zarr)", f"{AS_PNG} (zarr, ome-zarr, or Fiji)."),
    (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".bif", ".svslide"): (
        "slides of a scanner",
        "Cut tiles with their masks in QuPath (Export, or its TileExporter), as PNG.",
    ),
    (".czi", ".lif", ".nd2", ".oib", ".oif", ".lsm", ".ims", ".dv", ".vsi", ".stk"): ("microscope files", FIJI),
    (".roi",): ("outlines of ImageJ", "In Fiji, make masks of them (ROI Manager, then Edit, Selection, Create Mask)."),
    (".ndpa", ".qpdata", ".qpproj"): ("outlines of NDP.view or QuPath", "Export them as GeoJSON from QuPath."),
    (".tfrecord", ".tfrecords", ".tfrec"): ("TFRecord files", "Export images and masks as PNG first (tf.data)."),
    (".mdb", ".lmdb", ".rec"): ("record files (LMDB, MXNet)", "Export images and masks as PNG first."),
    (".npz",): ("NumPy archives", "Save each mask as .npy or PNG, each image as PNG."),
    (".pkl", ".pickle", ".pt", ".pth"): ("Python objects", "They run code when opened; save what they hold as PNG."),
    (".gpkg", ".shp", ".gml", ".kml", ".kmz", ".fgb", ".gdb"): ("maps of shapes (GIS)", DRAW),
    (".mbtiles", ".pmtiles"): ("maps of tiles", "Save the tiles as PNG (gdal_translate), their labels as masks."),
    (".ecw", ".sid", ".jxl", ".exr", ".psd", ".xcf", ".kra", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf"): (
        "images of other kinds",
        "Save them as PNG or TIFF, under the same names.",
    ),
    (".svg", ".dxf", ".dwg", ".ai", ".eps"): ("line drawings", "Draw them into masks of their images' size, as PNG."),
    (".pdf", ".djvu"): ("documents", "Save each page as PNG (pdftoppm -png)."),
    (".las", ".laz", ".ply", ".pcd", ".e57"): ("point clouds", "Only images are read: render them, with their labels."),
    (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"): (
        "films",
        "Save the frames that have masks as PNG (ffmpeg -i FILM frame_%06d.png); `pixelwise predict` labels films.",
    ),
    (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".gz", ".bz2", ".xz", ".zst"): (
        "archives",
        "Unpack them first.",
    ),
}
ENDINGS = tuple(ending for endings in KINDS for ending in endings)
MAGIC = {  # first bytes of files with an unknown ending → the usual ending
    b"NRRD00": ".nrrd",
    b"\x89HDF\r\n\x1a\n": ".h5",
    b"CDF\x01": ".nc",
    b"CDF\x02": ".nc",
    b"MATLAB 5.0": ".mat",
    b"\x1f\x8b": ".gz",
    b"PK\x03\x04": ".zip",
    b"%PDF": ".pdf",
}
DICOM = (".dcm", ".dicom", ".ima")
TWO_DATES = (
    ("a", "b"), ("t1", "t2"), ("time1", "time2"), ("im1", "im2"), ("img1", "img2"), ("image1", "image2"),
    ("imagea", "imageb"), ("pre", "post"), ("before", "after"), ("date1", "date2"), ("old", "new"),
)  # fmt: skip
SEGMENTATION, STRUCTURES = b"1.2.840.10008.5.1.4.1.1.66.4", b"1.2.840.10008.5.1.4.1.1.481.3"  # DICOM SOP classes
TEXTS = (".csv", ".json", ".jsonl", ".ndjson", ".xml", ".manifest")
PLAIN = (".txt", ".md", ".py", ".yaml", ".yml", ".toml", ".html", ".log", ".pdf", ".docx", ".xlsx", ".tsv", ".cfg")
IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".ppm", ".pgm", ".pbm", ".tga", ".npy")
JSON_WORDS = (  # words that must all occur → kind of file, and the remedy
    (("data_row", "projects"), "an export of Labelbox", "Download its masks as PNG, or convert it to COCO."),
    (("Labeled Data", "Label"), "an export of Labelbox", "Download its masks as PNG, or convert it to COCO."),
    (("vid_list", "project", "config"), "a project of VIA 3", "Export it as COCO from VIA 3 (or draw in VIA 2)."),
    (("asset", "regions"), "a drawing of VoTT", "Export it from VoTT, and convert that to COCO."),
    (("source-ref",), "a manifest of SageMaker", "Put images/ and the PNGs that its -ref lines name, as masks/."),
    (("jsonResponse",), "an export of Kili", "Export as COCO."),
    (("data_units",), "an export of Encord", "Export as COCO."),
    (("dm_format_version",), "a dataset of Datumaro", "datum convert -f coco_instances, or -f voc_segmentation."),
    (("infos", "categories", "items"), "a dataset of Datumaro", "datum convert -f coco_instances."),
    (("poly2d",), "labels of BDD100K or Scalabel", "Use BDD100K's own masks, or its to_mask and to_coco."),
    (("framesCount",), "a film in Supervisely", "Export its frames as images."),
    (("esriGeometry",), "shapes of ArcGIS", DRAW),
    (('"Topology"',), "shapes as TopoJSON", DRAW),
    (("segments_info", "file_name"), "panoptic COCO", "Add the PNGs that it names, in a folder of the JSON's name."),
    (("coordinates", "annotations", "label"), "boxes of CreateML", "Boxes are not masks: draw the outlines."),
)
XML_WORDS = (
    (("<ASAP_Annotations",), "outlines of ASAP", "Export them as GeoJSON (QuPath), in pixels of the images."),
    (("<Annotations",), "outlines of Aperio ImageScope", "Export them as GeoJSON from QuPath."),
    (("<annotationset", "<ndpviewstate"), "outlines of NDP.view", "Export them as GeoJSON from QuPath."),
    (
        ("<PcGts",),
        "regions of PAGE XML",
        "Draw them into masks of the pages' size, as PNG (dhSegment, or Transkribus).",
    ),
    (("<alto",), "regions of ALTO", "Draw them into masks of the pages' size, as PNG."),
    (("<LidcReadMessage",), "contours of LIDC-IDRI", "Make volumes of them (pylidc), as .nii.gz into labelsTr/."),
    (
        ("<bndbox>",),
        "boxes of Pascal VOC",
        "Boxes are not pixel masks: draw the outlines, or add SegmentationClass/.",
    ),
    (("<annotation>",), "boxes of Pascal VOC", "Boxes are not pixel masks: draw the outlines."),
)


def what_is_there(root: Path) -> list[str]:
    """Sentences on the files that explain why a folder is not a dataset yet; [] if there are none."""
    found: Counter[str] = Counter()
    first: dict[str, Path] = {}
    told: dict[str, str] = {}  # keyed by sentence, so that each appears once
    dicoms: dict[Path, Path] = {}  # one per folder
    opened = 0
    for path in islice(_files(root), FILES):
        ending = ending_of(path.name)
        if not ending and not path.name.lower().endswith((*TEXTS, *PLAIN, *IMAGES)) and opened < PEEKED:
            opened += 1
            ending = _ending_of_bytes(path)
        elif path.suffix.lower() in TEXTS and len(told) < TOLD:
            says = _of_text(path)
            if says:
                told.setdefault(says, f"{shown(path.relative_to(root))} {says}")
        if ending:
            found[ending] += 1
            first.setdefault(ending, path)
            if ending in DICOM:
                dicoms.setdefault(path.parent, path)
    counted = _counted(found, {ending: shown(path.relative_to(root)) for ending, path in first.items()})
    return [*told.values(), *counted, *_dicom(list(dicoms.values())[:PEEKED], root), *_two_dates(root)]


def unread_files(names: Iterable[str]) -> list[str]:
    """The same sentences, from file names alone."""
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    for name in names:
        if ending := ending_of(name):
            found[ending] += 1
            first.setdefault(ending, shown(name))
    return _counted(found, first)


def ending_of(name: str) -> str:
    """The ending that marks a file as an unsupported kind; "" if none."""
    lower = name.lower()
    return max((ending for ending in ENDINGS if lower.endswith(ending)), key=len, default="")


def _counted(found: Counter[str], first: dict[str, str]) -> list[str]:
    told = []
    for endings, (what, remedy) in KINDS.items():
        if count := sum(found[ending] for ending in endings):
            name = next(first[ending] for ending in first if ending in endings)
            one = re.sub(r"s\b", "", what, count=1)
            which = f"{count:,} {what}, such as {name}, are" if count > 1 else f"1 {one}, {name}, is"
            told.append(f"{which} not read. {remedy}")
    return told


def _files(root: Path) -> Iterator[Path]:
    """Files below a root; a Zarr array or an ArcGIS database is a folder but counts as one file."""
    for parent, folders, names in os.walk(root):
        whole = [name for name in folders if name.lower().endswith((".zarr", ".n5", ".gdb"))]
        folders[:] = sorted(name for name in folders if name not in whole and not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(whole))
        if any(name in (".zgroup", ".zarray", ".zattrs", "zarr.json") for name in names):
            folders[:] = []
            yield Path(parent, "array.zarr")
            continue
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def _head(path: Path) -> bytes:
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(PEEK_BYTES)
    except OSError:
        return b""


def _ending_of_bytes(path: Path) -> str:
    """The ending that matches a file's first bytes; "" if they are unknown."""
    data = _head(path)
    if data[128:132] == b"DICM":
        return ".dcm"
    return next((ending for magic, ending in MAGIC.items() if data.startswith(magic)), "")


def _dicom(paths: list[Path], root: Path) -> list[str]:
    """Describe DICOM files that are not images, by their headers."""
    told = {}
    for path in paths:
        head, name = _head(path), shown(path.relative_to(root))
        if SEGMENTATION in head:
            told["seg"] = f"{name} is a segmentation (DICOM-SEG): segimage2itkimage of dcmqi makes .nii.gz of it."
        elif STRUCTURES in head:
            told["struct"] = f"{name} is a set of contours (RTSTRUCT): dcmrtstruct2nii makes .nii.gz of it."
    return list(told.values())


def _two_dates(root: Path) -> list[str]:
    """Detect change-detection data: two image folders and one mask folder, all with the same names."""
    for parent, folders, _ in islice(os.walk(root), FOLDERS):
        lower = {name.lower(): name for name in folders}
        for one, other in TWO_DATES:
            if one not in lower or other not in lower:
                continue
            names = {name: _image_names(Path(parent, name)) for name in folders}
            first, second = names[lower[one]], names[lower[other]]
            masks = [n for n in folders if n not in (lower[one], lower[other]) and names[n] and names[n] <= first]
            if first and first == second and masks:
                where = Path(parent).relative_to(root)
                a, b, mask = (f"{shown(where / name)}/" for name in (lower[one], lower[other], masks[0]))
                return [
                    f"{a} and {b} hold two images for each mask of {mask} (change detection), of which a model here "
                    "sees one. To train on one date, call its folder images/ and the masks' folder masks/."
                ]
    return []


def _image_names(folder: Path) -> set[str]:
    """Names of a folder's images, without suffix."""
    try:
        return {path.stem for path in folder.iterdir() if path.suffix.lower() in IMAGES}
    except OSError:
        return set()


def _of_text(path: Path) -> str:
    """The kind of a table or annotation file and the remedy, by its beginning; "" if unknown."""
    text = _head(path).decode("utf-8", "replace")
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return _of_table(text)
    for words, what, remedy in XML_WORDS if suffix == ".xml" else JSON_WORDS:
        if all(word in text for word in words):
            many = not what.startswith(("a ", "an ", "panoptic"))
            return f"{'holds' if many else 'is'} {what}, which {'are' if many else 'is'} not read. {remedy}"
    return ""


def _of_table(text: str) -> str:
    head, _, rows = text.partition("\n")
    columns = {re.sub("[^a-z0-9]", "", name.lower()) for name in next(csv.reader([head]), [])}
    if {"xmin", "ymin"} <= columns or {"x1", "y1", "x2", "y2"} <= columns:
        return (
            "holds boxes, not pixel masks. Draw the outlines; in Roboflow, download the project as "
            "Semantic Segmentation Masks or COCO Segmentation."
        )
    if "maskpath" in columns:
        return "lists the masks of Open Images, one file per object. Arrange them as masks/CLASS/IMAGE.png."
    if re.search(r"\bPOLYGON\s*(?:Z\s*)?\(\(", rows):
        return f"holds polygons as text (WKT), which are not read. {DRAW}"
    if RUNS.search(rows):
        named = ", ".join(name.strip() for name in head.split(",")[:8])
        return (
            f"holds run lengths, but its columns ({shown(named)}) do not say which image they belong to. "
            "Name them ImageId and EncodedPixels (and ClassId)."
        )
    return ""
