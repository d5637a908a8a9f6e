"""Find an annotation's image: its name in the file → one image file below the root, or none.

A mask on the wrong image is worse than one without an image, so folders count: `b/0001.png` is never `a/0001.png`.
A name is tried as written first, then decoded step by step: backslashes, URLs, `?d=`, percent signs, Unicode forms,
Label Studio's upload prefix.
"""

from __future__ import annotations

import difflib
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from urllib.parse import unquote

from pixelwise.datasets.file_kinds import IMAGE_SUFFIXES, SPLIT_WORDS
from pixelwise.images.files import Refusal, real_path, shown

PLAIN_WORDS = frozenset((  # folder names that do not identify an image
    "images", "image", "imgs", "img", "jpegimages", "jpgs", "jpg", "jpeg", "png", "pngs", "photos", "photo",
    "pictures", "frames", "data", "dataset", "upload", "uploads", "default", "obj_train_data", "raw", "input",
    "inputs", "local-files",
))  # fmt: skip
OF_IMAGES = ("images", "image", "imgs", "img", "jpegimages")
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
UPLOAD = re.compile(rf"^(?:{_UUID}|[0-9a-f]{{4,}})[-_]")
LONG_UPLOAD = re.compile(rf"^(?:{_UUID}|(?=[0-9a-f]*[a-f]|[0-9]{{8}})[0-9a-f]{{6,}})[-_]")  # a year does not match
NEAREST = 2  # files named in the message for a missing image
COMPARED = 5000  # names searched for the nearest
Folders = tuple[str, ...]


def files_below(root: Path, suffixes: tuple[str, ...], depth: int = 4) -> list[Path]:
    """Files with these suffixes, in order; hidden files and links to folders are skipped."""
    found = []
    for parent, folders, names in os.walk(root):
        deep = len(Path(parent).relative_to(root).parts) >= depth
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if name.lower().endswith(suffixes) and name[0] != "."]
    return found


def below(folder: Path, name: str, root: Path | None = None) -> Path:
    """The path, in a folder, of a name from a file.

    Args:
        root: the folder that must contain it; defaults to `folder`.

    Raises:
        Refusal: it points outside: an absolute path, "..", a link to another folder.
    """
    top = root or folder
    path = Path(os.path.normpath(folder / name.replace("\\", "/"))) if "\0" not in name else Path("/")
    inside = path.is_relative_to(os.path.normpath(top)) and not PureWindowsPath(name).drive
    if not inside or not real_path(path.parent).is_relative_to(real_path(top)):
        what = f"names {shown(name[:200])!r}, which leads out of the folder."
        raise Refusal("outside", what, "Name a file below the folder.")
    return path


def spellings(name: str, *, uploaded: bool = False) -> Iterator[PurePosixPath]:
    """A name as written, then decoded step by step. `uploaded`: an upload prefix may be removed."""
    plain = name.replace("\\", "/")
    forms = [plain]
    if "?d=" in plain:
        forms.append(plain.split("?d=")[-1].split("&")[0])
    address = re.match(r"[a-zA-Z][\w+.-]+://[^/]*/?([^?#]*)", plain)
    if address and "?d=" not in plain:
        forms.append(f"/{address[1]}")
    forms += [form for form in map(unquote, list(forms)) if form not in forms]
    forms += [form for form in map(unquote, list(forms)) if form not in forms]  # escaped twice
    paths = [PurePosixPath(form.replace("\\", "/")) for form in forms]
    if uploaded:
        for path in list(paths):
            pattern = UPLOAD if "upload" in map(str.lower, path.parts) else LONG_UPLOAD
            cut = pattern.sub("", path.name, count=1)
            if cut not in ("", path.name):
                paths.append(path.with_name(cut))
    yield from dict.fromkeys(path for path in paths if path.name not in ("", "."))


class ImageFiles:
    """The image files below a root, found by the names in annotations."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._folders: set[str] | None = None
        self.by_name: dict[str, list[Path]] = {}  # by file name in Unicode's composed form
        for path in files_below(root, IMAGE_SUFFIXES):
            self.by_name.setdefault(unicodedata.normalize("NFC", path.name), []).append(path)

    def find(
        self,
        name: str,
        near: Iterable[str] = (),
        outside: Path | None = None,
        base: Path | None = None,
        uploaded: bool = False,
    ) -> Path | None:
        """The image of this name, or None if it is missing, in a contradicting folder, or ambiguous.

        Args:
            name: from the annotations, with or without folders.
            near: further hints to its location: its split, folders of the annotation file below the root.
            outside: a folder of masks with the same names, not images.
            base: the folder to which the name is relative, if the format defines it; tried first.
            uploaded: whether Label Studio's prefix may be removed.
        """
        for wanted in spellings(name, uploaded=uploaded):
            candidates = self._named(wanted.name, outside)
            if base is not None and (there := self._at(base, wanted, candidates)):
                return there
            chosen = self._chosen(wanted, candidates, tuple(near))
            if chosen:
                return chosen
        return None

    def missing(self, name: str, outside: Path | None = None) -> str:
        """The reason `find` returned None, as a sentence that names the nearest files."""
        said = f"names {shown(name[:200])!r}"
        for wanted in spellings(name, uploaded=True):
            alike = self._named(wanted.name, outside)
            if alike:
                where = ", ".join(shown(path.relative_to(self.root)) for path in alike[:NEAREST])
                which = "a file of that name is in another folder" if len(alike) == 1 else "files of that name are in"
                return f"{said}, which was not found; {which}: {where}."
        plain = unicodedata.normalize("NFC", next(spellings(name), PurePosixPath("?")).name)[:100]
        pool = [key for key in self.by_name if abs(len(key) - len(plain)) < 12][:COMPARED]
        close = difflib.get_close_matches(plain, pool, n=NEAREST, cutoff=0.7)
        if close:
            nearest = ", ".join(shown(self.by_name[key][0].relative_to(self.root)) for key in close)
            return f"{said}, which was not found; the nearest name is {nearest}."
        return f"{said}, which was not found anywhere below the folder."

    def _named(self, name: str, outside: Path | None) -> list[Path]:
        """Files of a name: with exactly this spelling if any, otherwise in another Unicode form."""
        found = self.by_name.get(unicodedata.normalize("NFC", name), [])
        if outside is not None:
            found = [path for path in found if not path.is_relative_to(outside)]
        return [path for path in found if path.name == name] or found  # a file system may hold both forms

    def _at(self, base: Path, wanted: PurePosixPath, candidates: list[Path]) -> Path | None:
        if wanted.is_absolute():
            return None
        place = Path(os.path.normpath(base / wanted))
        return next((path for path in candidates if path.parent == place.parent), None)

    def _has_folder(self, named: Folders) -> bool:
        """Whether any folder in a name exists here; in another machine's path, none does."""
        if self._folders is None:
            parents = {path.parent for paths in self.by_name.values() for path in paths}
            self._folders = {part for parent in parents for part in _telling(parent.relative_to(self.root).parts)}
        return not self._folders.isdisjoint(_telling(named))

    def _chosen(self, wanted: PurePosixPath, candidates: list[Path], near: tuple[str, ...]) -> Path | None:
        """The candidate whose folders agree best, if unique."""
        own = tuple(part for part in wanted.parts[:-1] if part not in ("/", ".", ".."))
        foreign = wanted.is_absolute() and len(candidates) == 1 and not self._has_folder(own)
        scored = []
        for path in candidates:
            folders = path.relative_to(self.root).parts[:-1]
            if contradict(() if foreign else own, folders, near):
                continue
            of_images = any(part.lower() in OF_IMAGES for part in folders)
            words = len({*own, *near} & set(path.parts))
            scored.append(((folders == own, common_tail(own, folders), words, of_images), path))
        best = max((score for score, _ in scored), default=None)
        chosen = [path for score, path in scored if score == best]
        if len(chosen) > 1:  # of similar folders, the outermost: copies lie below it
            top = [path for path in chosen if all(other.is_relative_to(path.parent) for other in chosen)]
            chosen = top if len(top) == 1 else []
        return chosen[0] if chosen else None


def common_tail(named: Folders, there: Folders) -> int:
    """The number of trailing folders in common."""
    count = 0
    for a, b in zip(reversed(named), reversed(there), strict=False):
        if a != b:
            break
        count += 1
    return count


def contradict(named: Folders, there: Folders, near: Iterable[str] = ()) -> bool:
    """Whether the folders in an annotation's name contradict those of a file.

    They agree if one list contains the other in order, apart from words such as "images". Splits are compared by
    meaning: "valid" is "val"; those in `near` apply if the name has none.
    """
    own_split = _splits(named) or _splits(near)
    their_split = _splits(there)
    if own_split and their_split and not own_split & their_split:
        return True
    a, b = _telling(named), _telling(there)
    return not (_within(a, b) or _within(b, a))


def _splits(words: Iterable[str]) -> set[str]:
    found = (SPLIT_WORDS.get(re.sub(r"[\d_-]+$", "", word.lower())) for word in words)
    return {split for split in found if split}


def _telling(folders: Folders) -> Folders:
    lowered = (unicodedata.normalize("NFC", part).casefold() for part in folders)
    return tuple(p for p in lowered if p not in PLAIN_WORDS and re.sub(r"[\d_-]+$", "", p) not in SPLIT_WORDS)


def _within(few: Folders, many: Folders) -> bool:
    """Whether all of `few` occur in `many`, in their order."""
    rest = iter(many)
    return all(part in rest for part in few)
