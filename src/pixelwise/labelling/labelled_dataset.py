"""The dataset that a labelling folder is: images/, masks/ and dataset.toml, derived from the logs, each file whole.

Masks hold keys, in the classes' colours; dataset.toml lists the keys of each class, so that a change of the classes is
a change of this one file. An image without a labelled pixel is not in the dataset.

Shapes: H, W of an image.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import tomlkit
from tomlkit.exceptions import TOMLKitError

from pixelwise.datasets.dataset_toml import FILE_NAME, bands_toml, dataset_toml
from pixelwise.datasets.image_copy import image_copy
from pixelwise.errors import ImageError, OutputError
from pixelwise.images.files import Refusal, remedy_for, shown, write_whole, writing_whole
from pixelwise.images.png_writer import label_png
from pixelwise.labelling.label_classes import LabelClasses
from pixelwise.labelling.patch import Keys
from pixelwise.labelling.photo_list import Photo
from pixelwise.records import Bands


def mask_path(folder: Path, photo: Photo) -> Path:
    return folder / "masks" / f"{photo.stem}.png"


def copies_of(folder: Path, photo: Photo) -> list[Path]:
    """The copies of a photo in the labelling folder: one, or none before its first edit."""
    place = folder / "images" / photo.stem
    if not place.parent.is_dir():
        return []
    return [path for path in place.parent.iterdir() if path.stem == place.name and path.name[0] != "."]


def put_in(folder: Path, photo: Photo, bands: Bands, mask_HW: Keys, classes: LabelClasses) -> None:
    """Write an image's mask, and before it a copy of the photo where there is none.

    Raises:
        OutputError: a file cannot be written.
        ImageError: the photo cannot be read.
    """
    if not copies_of(folder, photo):
        copy_photo(folder, photo, bands)
    path = mask_path(folder, photo)
    make_folders(path.parent)
    write_whole(path, label_png(mask_HW, classes.palette()))


def take_out(folder: Path, photo: Photo) -> None:
    """Remove an image's mask and its copy: no pixel of it is labelled any more. Raises OutputError."""
    copies = copies_of(folder, photo)
    paths = [mask_path(folder, photo), *([] if photo.path in copies or not photo.path.exists() else copies)]
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"{shown(path)}: cannot be removed ({error.strerror}). {remedy_for(error, path)}"
            ) from error


def copy_photo(folder: Path, photo: Photo, bands: Bands) -> None:
    """Copy a photo as it is; of a file that holds many images, as one of its own. Raises as `put_in`."""
    place = folder / "images" / photo.stem
    make_folders(place.parent)
    try:
        if photo.part:
            data, suffix = image_copy(photo.sample, bands)
            write_whole(place.with_name(place.name + suffix), data)
            return
        with photo.path.open("rb") as source:
            target = place.with_name(place.name + photo.path.suffix)
            with writing_whole(target) as file:
                shutil.copyfileobj(source, file, 1 << 20)
    except Refusal as refusal:
        raise ImageError(f"{shown(photo.path)}: {refusal}") from refusal
    except OSError as error:
        raise ImageError(
            f"{shown(photo.path)}: cannot be copied ({error.strerror}). Check that it is there."
        ) from error


def make_folders(path: Path) -> None:
    """Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{shown(path)}: cannot be created ({error.strerror}). {remedy_for(error, path)}") from error


def write_dataset_toml(folder: Path, classes: LabelClasses, bands: Bands) -> None:
    """Write the classes into dataset.toml; what else a person wrote there stays. Raises OutputError."""
    path = folder / FILE_NAME
    if not len(classes):
        return
    text = dataset_toml(classes.class_list(), classes.ids(), void=classes.deleted())
    kept = tomlkit.document()
    try:
        kept = tomlkit.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, TOMLKitError):  # none yet, or no TOML: all of it is written
        kept = tomlkit.document()
    others = {name: value for name, value in kept.unwrap().items() if name not in ("classes", "void", "bands")}
    own_bands = kept.unwrap().get("bands")
    plain = tomlkit.dumps({name: value for name, value in others.items() if not isinstance(value, dict)})
    tables = tomlkit.dumps({name: value for name, value in others.items() if isinstance(value, dict)})
    about_bands = "\n" + tomlkit.dumps({"bands": own_bands}) if own_bands else bands_toml(bands)
    data = (plain + text + ("\n" + tables if tables else "") + about_bands).encode()
    if not path.is_file() or path.read_bytes() != data:
        write_whole(path, data)
