"""A card is written into a bundle whole or not at all, and the network in it stays what it was."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import onnx
import pytest

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.model_card import MAX_FIELD, ModelCard, card_markdown
from pixelwise.bundle.write_card import with_entry, write_card
from pixelwise.errors import BundleError, OutputError

CARD = ModelCard(summary="Kerbs.", limits="Night; „Öl“ <script>alert(1)</script>\n\nRain.", licence="CC BY 4.0")


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_bundle, tmp_path / "model.onnx"))


def test_a_card_is_written_changed_and_taken_away(bundle: Path) -> None:
    before, plain = read_bundle(bundle), bundle.read_bytes()
    assert before.metadata.card == ModelCard()
    assert write_card(bundle, CARD).metadata.card == CARD
    after = read_bundle(bundle)
    assert (after.metadata.card, after.digest) == (CARD, before.digest)
    assert after.metadata.to_props().keys() - before.metadata.to_props().keys() == {"pixelwise.card"}
    assert write_card(bundle, ModelCard(summary="Other.")).metadata.card == ModelCard(summary="Other.")
    write_card(bundle, ModelCard())
    assert bundle.read_bytes() == plain


def test_other_readers_of_onnx_see_the_entry_once(bundle: Path) -> None:
    write_card(bundle, CARD)
    write_card(bundle, CARD)
    props = [row for row in onnx.load(bundle).metadata_props if row.key == "pixelwise.card"]
    assert len(props) == 1
    data = with_entry(bundle.read_bytes(), "x" * 300, "y" * 70_000)
    assert {row.key: row.value for row in onnx.load_model_from_string(data).metadata_props}["x" * 300] == "y" * 70_000


@pytest.mark.parametrize(
    "value", ["[]", '{"summary": 3}', '{"limits": null}', f'{{"data": "{"a" * (MAX_FIELD + 1)}"}}', '"text"']
)
def test_a_damaged_card_is_refused(bundle: Path, value: str) -> None:
    bundle.write_bytes(with_entry(bundle.read_bytes(), "pixelwise.card", value))
    with pytest.raises(BundleError, match="card"):
        read_bundle(bundle)


def test_fields_of_another_version_are_not_read(bundle: Path) -> None:
    bundle.write_bytes(with_entry(bundle.read_bytes(), "pixelwise.card", '{"summary": "a", "colour": {"b": 1}}'))
    assert read_bundle(bundle).metadata.card == ModelCard(summary="a")


def test_on_a_full_disk_the_bundle_stays(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    plain = bundle.read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError):
        write_card(bundle, CARD)
    assert bundle.read_bytes() == plain
    assert list(bundle.parent.iterdir()) == [bundle]


def test_texts_as_typed_become_texts_that_every_reader_shows() -> None:
    card = ModelCard.of({"summary": "  a \r\nb\0\ud800\t c  \n", "other": "left out"})
    assert card == ModelCard(summary="a\nb\t c")


def test_the_markdown_holds_texts_scores_and_licences() -> None:
    metrics = {"split": "val", "images": 4, "miou": 0.5, "classes": {"a|b": {"iou": 0.25}, "c": {"iou": None}}}
    text = card_markdown("kerbs", CARD, metrics, {"data": "CC0"})
    assert text.startswith("# kerbs\n\nKerbs.\n\n## Limits\n\nNight")
    assert "## Licence\n\nCC BY 4.0\n\nOf the data: CC0" in text
    assert "On the split val (4 images): mean IoU 0.500." in text
    assert "| a\\|b | 0.250 |\n| c | – |" in text
    assert card_markdown("m", ModelCard(), {}, {}) == "# m\n"


@pytest.mark.parametrize("folds", [2, 3, 10])
def test_a_card_says_that_an_average_of_folds_has_no_score_of_its_own(folds: int) -> None:
    metrics = {"split": "out of fold", "folds": folds, "images": 40, "miou": 0.5, "accuracy": 0.75}
    text = card_markdown("m", ModelCard(), metrics, {})
    assert f"Out of fold (40 images), of {folds} single networks, each on the images it was not trained on" in text
    assert "mean IoU 0.500, pixel accuracy 0.750." in text
    assert f"no score of its own here: {folds - 1} of them were trained on each image." in text
    assert "no score of its own" not in card_markdown("m", ModelCard(), {**metrics, "split": "val"}, {})
