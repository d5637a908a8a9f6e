"""The models that come with Pixelwise: a bundle, its int8 version and a model card each, in the folder `built_in`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.metadata import Metadata
from pixelwise.errors import UsageError

FOLDER = Path(__file__).parents[1] / "built_in"


@dataclass(frozen=True)
class BuiltIn:
    """A built-in model. Its name can be used as MODEL anywhere."""

    name: str  # "street", or "street-int8" for its int8 version
    path: Path

    @property
    def metadata(self) -> Metadata:
        return read_bundle(self.path).metadata

    @property
    def card(self) -> str:
        """The model card, in Markdown: purpose, data and licence, scores with their split, known failures."""
        return (FOLDER / f"{self.name.removesuffix('-int8')}.md").read_text(encoding="utf-8")

    @property
    def training_log(self) -> Path | None:
        """The folder with its training's epochs and previews, laid out as a run directory; None where it has none."""
        folder = FOLDER / f"{self.name.removesuffix('-int8')}-training"
        return folder if (folder / "trace.jsonl").is_file() else None

    def to_json(self) -> dict[str, Any]:
        metadata = self.metadata
        return {
            "name": self.name,
            "bytes": self.path.stat().st_size,
            "classes": metadata.classes.to_json(),
            "size": list(metadata.size),
            "policy": metadata.policy,
            "metrics": metadata.provenance.get("metrics", {}),
            "licence": metadata.licence,
        }


def models() -> tuple[BuiltIn, ...]:
    """List the built-in models.

    Returns:
        The models in order of their names, each with its `name`, `path`, `card` (Markdown) and `metadata`.

    Raises:
        BundleError: the installation is damaged: a built-in bundle cannot be read.

    Example:
        >>> import pixelwise as pw
        >>> [model.name for model in pw.models()]
        ['nuclei', 'street', 'street-int8']
    """
    return tuple(BuiltIn(path.stem, path) for path in sorted(FOLDER.glob("*.onnx"), key=lambda path: path.stem))


def built_in(name: str) -> BuiltIn:
    """The built-in model of this name.

    Raises:
        UsageError: there is none.
    """
    known = {model.name: model for model in models()}
    if name not in known:
        raise UsageError(f"{name}: no such built-in model. Built in: {', '.join(known)}.")
    return known[name]
