"""What mask values mean: two values and steps train at once; --class and --void say otherwise, never in vain.

Shapes: H, W of one mask.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pixelwise.datasets.class_values import Values, parse_values, values_of
from pixelwise.datasets.open_dataset import open_dataset
from pixelwise.datasets.read_sample import read_sample_mask
from pixelwise.doctor.check import check
from pixelwise.doctor.findings import find_problems
from pixelwise.doctor.fix import Decisions
from pixelwise.errors import DatasetError, MaskError, UsageError
from pixelwise.images.image_files import write_png
from pixelwise.records import VOID, Dataset
from pixelwise.training.loader import Pairs

HEIGHT, WIDTH, COUNT = 48, 64, 6
Mask = NDArray[np.uint8]
Save = Callable[[Path, Mask], None]  # the path without its ending; a mask of ids 0, 1, 2 …


def two(i: int) -> Mask:
    """A mask of 0 and 1: a disc and a bar, about a fifth of the pixels."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (14 + 6 * i, 20), 9, 1, -1)
    mask[34:42, 6 : 30 + 3 * i] = 1
    return mask


def three(i: int) -> Mask:
    mask = two(i)
    mask[4:12, 40:60] = 2
    return mask


def folder(root: Path, save: Save, truth: Callable[[int], Mask] = two, masks: str = "masks") -> Path:
    rng = np.random.default_rng(5)
    for part in ("images", masks):
        (root / part).mkdir(parents=True)
    for i in range(COUNT):
        write_png(root / f"images/{i}.png", rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        save(root / masks / str(i), truth(i))
    return root


def values(*codes: int, dtype: type = np.uint8, ending: str = "png") -> Save:
    def save(path: Path, mask: Mask) -> None:
        Image.fromarray(np.array(codes, dtype)[mask]).save(path.with_suffix(f".{ending}"))

    return save


def colours(*codes: tuple[int, ...], ending: str = "png", quality: int = 0) -> Save:
    def save(path: Path, mask: Mask) -> None:
        image = Image.fromarray(np.array(codes, np.uint8)[mask])
        image.save(path.with_suffix(f".{ending}"), **({"quality": quality} if quality else {}))

    return save


def jpeg(top: int, quality: int) -> Save:
    def save(path: Path, mask: Mask) -> None:
        Image.fromarray(mask * np.uint8(top)).save(path.with_suffix(".jpg"), quality=quality)

    return save


def jpeg_in_png(path: Path, mask: Mask) -> None:
    buffer = io.BytesIO()
    Image.fromarray(mask * np.uint8(255)).save(buffer, "JPEG", quality=90)
    Image.open(buffer).save(path.with_suffix(".png"))


def smoothed(path: Path, mask: Mask) -> None:
    large = cv2.resize(mask * np.uint8(255), None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    Image.fromarray(cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)).save(path.with_suffix(".png"))


def one_bit(path: Path, mask: Mask) -> None:
    Image.fromarray(mask > 0).save(path.with_suffix(".png"))


def palette(path: Path, mask: Mask) -> None:
    image = Image.fromarray(mask, "P")
    image.putpalette([0, 0, 0, 250, 0, 0, 0, 0, 250])
    image.save(path.with_suffix(".png"))


def bits(depth: int) -> Save:
    def save(path: Path, mask: Mask) -> None:
        Image.fromarray(mask).save(path.with_suffix(".png"), bits=depth)

    return save


def array(*codes: int) -> Save:
    return lambda path, mask: np.save(path.with_suffix(".npy"), np.array(codes, np.uint8)[mask])


def sometimes_grey(path: Path, mask: Mask) -> None:
    """Red on black, where masks without red are plain grey files."""
    if path.name in "02":
        mask = np.zeros_like(mask)
        Image.fromarray(mask).save(path.with_suffix(".png"))
    else:
        colours((0, 0, 0), (255, 0, 0))(path, mask)


def behind_alpha(path: Path, mask: Mask) -> None:
    white = np.full((*mask.shape, 3), 255, np.uint8)
    Image.fromarray(np.dstack([white, mask * np.uint8(255)])).save(path.with_suffix(".png"))


TWO: dict[str, tuple[Save, float]] = {  # how masks of two values are stored; the share of pixels that come back
    "0 and 1": (values(0, 1), 1.0),
    "0 and 255": (values(0, 255), 1.0),
    "255 and 0": (values(255, 0), 1.0),
    "0 and 2": (values(0, 2), 1.0),
    "0 and 7": (values(0, 7), 1.0),
    "0 and 100": (values(0, 100), 1.0),
    "0 and 128": (values(0, 128), 1.0),
    "0 and 254": (values(0, 254), 1.0),
    "0 and 65535": (values(0, 65535, dtype=np.uint16), 1.0),
    "0 and 1000 in 16 bits": (values(0, 1000, dtype=np.uint16), 1.0),
    "0 and 255 in 32 bits": (values(0, 255, dtype=np.int32, ending="tif"), 1.0),
    "0.0 and 1.0": (values(0, 1, dtype=np.float32, ending="tif"), 1.0),
    "0.0 and 255.0": (values(0, 255, dtype=np.float32, ending="tif"), 1.0),
    "BMP": (values(0, 255, ending="bmp"), 1.0),
    "GIF": (values(0, 255, ending="gif"), 1.0),
    "1 bit": (one_bit, 1.0),
    "1 bit, of 2 in the file": (bits(2), 1.0),
    "a palette": (palette, 1.0),
    "NumPy, 0 and 255": (array(0, 255), 1.0),
    "black and white in colour": (colours((0, 0, 0), (255, 255, 255)), 1.0),
    "black and red": (colours((0, 0, 0), (255, 0, 0)), 1.0),
    "white and red": (colours((255, 255, 255), (255, 0, 0)), 1.0),
    "blue and yellow": (colours((0, 0, 255), (255, 255, 0)), 1.0),
    "black and white over alpha": (colours((0, 0, 0, 255), (255, 255, 255, 255)), 1.0),
    "alpha alone": (behind_alpha, 1.0),
    "red on black, some plain": (sometimes_grey, 1.0),
    "JPEG": (jpeg(255, 75), 0.97),
    "JPEG, fine": (jpeg(255, 95), 0.97),
    "JPEG of 0 and 128": (jpeg(128, 85), 0.97),
    "JPEG in colour": (colours((0, 0, 0), (255, 0, 0), ending="jpg", quality=92), 0.93),
    "a JPEG saved as PNG": (jpeg_in_png, 0.97),
    "smoothed": (smoothed, 0.95),
}
STEPS: dict[str, Save] = {
    "0, 128, 255": values(0, 128, 255),
    "0, 127, 254": values(0, 127, 254),
    "0, 127, 255": values(0, 127, 255),
    "0, 100, 200": values(0, 100, 200),
    "10, 20, 30": values(10, 20, 30),
    "1, 2, 3": values(1, 2, 3),
    "three colours": colours((0, 0, 0), (0, 255, 0), (255, 0, 0)),
}


def labels_of(dataset: Dataset) -> dict[int, Mask]:
    found = {}
    for samples in dataset.splits.values():
        pairs = Pairs(samples, dataset.mask_ids, len(dataset.classes), 0)
        found |= {int(sample.image.stem): pairs[i][1] for i, sample in enumerate(samples)}
    return found


def agreement(found: Mask, truth: Mask) -> float:
    """The share of pixels that agree, whichever of the two is called foreground."""
    same = float((found == truth).mean())
    return max(same, 1 - same) if truth.max() == 1 else same


@pytest.mark.parametrize("kind", TWO)
def test_masks_of_two_values_are_background_and_foreground(tmp_path: Path, kind: str) -> None:
    save, share = TWO[kind]
    root = folder(tmp_path / "data", save)
    report = check(root)
    assert report.sound, report.findings.errors
    assert not report.questions
    dataset = open_dataset(root)
    assert find_problems(dataset).errors == ()
    assert dataset.classes.names == report.classes.names == ("background", "foreground")
    for i, labels in labels_of(dataset).items():
        truth = two(i) if kind not in ("red on black, some plain",) or i not in (0, 2) else np.zeros_like(two(i))
        assert agreement(labels, truth) >= share, i
    told = [*report.notes, *(f"{one.message} {one.remedy}" for one in report.findings.warnings)]
    assert any("foreground" in line and ("--class" in line or "dataset.toml" in line) for line in told), told


@pytest.mark.parametrize("kind", STEPS)
def test_steps_are_a_class_each(tmp_path: Path, kind: str) -> None:
    root = folder(tmp_path / "data", STEPS[kind], three)
    report = check(root)
    assert report.sound
    assert not report.questions
    dataset = open_dataset(root)
    assert len(dataset.classes) == 3
    found = labels_of(dataset)
    pairs = {(int(a), int(b)) for i in found for a, b in zip(found[i].ravel(), three(i).ravel(), strict=True)}
    assert len(pairs) == 3
    copy = check(root, fix=tmp_path / "copy")
    assert copy.all_well
    fixed = labels_of(open_dataset(tmp_path / "copy"))
    assert all(np.array_equal(fixed[i], found[i]) for i in found), "a copy is read as the folder is"


def test_the_rarer_zero_is_told(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", values(255, 0), masks="membranes")
    (line,) = [note for note in open_dataset(root).notes if "rarer" in note]
    assert "--class membranes=0" in line


def test_255_beside_two_ids_is_void(tmp_path: Path) -> None:
    dataset = open_dataset(folder(tmp_path / "data", values(0, 1, 255), three))
    assert dataset.classes.names == ("background", "foreground")
    assert dataset.mask_ids[255] == VOID
    assert any("Void: 255" in note and "--class NAME=255" in note for note in dataset.notes)


def test_a_class_is_named_and_the_rest_is_background(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", values(0, 255))
    dataset = open_dataset(root, classes={"vessel": 255})
    assert dataset.classes.names == ("background", "vessel")
    assert check(root, classes={"vessel": 255}).classes.names == dataset.classes.names
    other = open_dataset(root, classes={"membrane": 0, "cell": 255})
    assert other.classes.names == ("membrane", "cell")
    assert all((labels == two(i)).all() for i, labels in labels_of(other).items())


def test_values_are_merged_and_left_out(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", colours((0, 0, 0), (255, 0, 0), (255, 255, 255)), three)
    merged = open_dataset(root, classes={"crack": ["#ff0000", "#ffffff"]})
    assert merged.classes.names == ("background", "crack")
    assert all((labels == (three(i) > 0)).all() for i, labels in labels_of(merged).items())
    left = open_dataset(root, classes={"crack": "#ff0000"}, void=["#ffffff"])
    assert all(((labels == VOID) == (three(i) == 2)).all() for i, labels in labels_of(left).items())
    assert open_dataset(root, void=["#ffffff"]).classes.names == ("colour #000000", "colour #ff0000")


def test_colours_of_a_palette_and_of_grey_are_understood(tmp_path: Path) -> None:
    root = folder(tmp_path / "palette", palette, three)
    assert open_dataset(root, classes={"a": "#fa0000", "b": "#0000fa"}).classes.names == ("background", "a", "b")
    grey = folder(tmp_path / "grey", values(0, 255))
    assert open_dataset(grey, classes={"a": "#ffffff"}).classes.names == ("background", "a")
    assert open_dataset(folder(tmp_path / "jpeg", jpeg(255, 80)), classes={"a": 255}).classes.names[1] == "a"


@pytest.mark.parametrize(
    ("classes", "void", "words"),
    [
        ({}, [9], "--void 9: no mask holds 9; the masks hold 0"),
        ({"x": 77}, [], "--class x=77: no mask holds 77"),
        ({"x": "#ff0000"}, [], "no mask holds #ff0000"),
        ({"x": "70-90"}, [], "no mask holds 70-90"),
        ({"x": 100}, [], "the masks also hold 200"),
        ({}, [0, 100, 200], "no class is left"),
        ({"x": 100, "y": 100}, [], "is given to"),
        ({"x": 100}, [100], "is given to"),
        ({"x": "blue"}, [], "is not a mask value"),
    ],
)
def test_what_is_said_in_vain_is_an_error(
    tmp_path: Path, classes: dict[str, int | str], void: list[int], words: str
) -> None:
    root = folder(tmp_path / "data", values(0, 100, 200), three)
    with pytest.raises(UsageError, match=words):
        open_dataset(root, classes=classes, void=void)
    with pytest.raises(UsageError, match=words):
        check(root, classes=classes, void=void)


@pytest.mark.parametrize(
    ("decisions", "words"),
    [
        (Decisions(binary_foreground="x"), "the masks hold 3 classes"),
        (Decisions(class_values=("9",)), "no mask holds 9"),
        (Decisions(void_values=("9",)), "no mask holds 9"),
        (Decisions(turn="left"), "no mask is rotated"),
        (Decisions(stretch_masks=True), "no mask has another shape"),
        (Decisions(drop_copies=True), "no image is a copy"),
        (Decisions(grouped_split=True), "no group is in several splits"),
        (Decisions(keep_classes=("road",)), "no such class"),
        (Decisions(commonest=9), "there are only 3 classes"),
    ],
)
def test_a_decision_that_changes_nothing_is_an_error(tmp_path: Path, decisions: Decisions, words: str) -> None:
    root = folder(tmp_path / "data", values(0, 100, 200), three)
    with pytest.raises(UsageError, match=words):
        check(root, fix=tmp_path / "copy", decisions=decisions)
    assert not (tmp_path / "copy").exists()


def test_what_is_said_of_the_copy_needs_one(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", values(0, 255))
    with pytest.raises(UsageError, match="add --fix OUT"):
        check(root, decisions=Decisions(turn="left"))


def test_dataset_toml_takes_several_values_of_a_class(tmp_path: Path) -> None:
    root = folder(tmp_path / "numbers", values(0, 100, 200), three)
    (root / "dataset.toml").write_text(
        'void = [0]\n[[classes]]\nname = "crack"\nid = [100, 200]\n[[classes]]\nname = "seal"\nid = 7\n'
    )
    dataset = open_dataset(root)
    assert dataset.classes.names == ("crack", "seal")
    assert all(((labels == 0) == (three(i) > 0)).all() for i, labels in labels_of(dataset).items())
    root = folder(tmp_path / "colours", colours((0, 0, 0), (255, 0, 0), (255, 255, 255)), three)
    (root / "dataset.toml").write_text(
        'void = ["#000000"]\n[[classes]]\nname = "crack"\ncolour = [[255, 0, 0], [255, 255, 255]]\n'
    )
    dataset = open_dataset(root)
    assert dataset.classes.names == ("crack",)
    assert all(((labels == VOID) == (three(i) == 0)).all() for i, labels in labels_of(dataset).items())


def test_names_without_ids_are_the_values_in_order(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", values(0, 255))
    (root / "dataset.toml").write_text('[[classes]]\nname = "ground"\n[[classes]]\nname = "vessel"\n')
    dataset = open_dataset(root)
    assert all((labels == two(i)).all() for i, labels in labels_of(dataset).items())
    assert any("in order" in note for note in dataset.notes)


def test_void_of_dataset_toml_is_void_though_two_values_are_there(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", values(0, 255))
    (root / "dataset.toml").write_text("void = [255]\n")
    assert open_dataset(root).mask_ids[255] == VOID


def test_colours_that_never_meet_are_told(tmp_path: Path) -> None:
    def save(path: Path, mask: Mask) -> None:
        colours((0, 0, 0), (255, 0, 0) if int(path.name) % 2 else (0, 255, 0))(path, mask)

    root = tmp_path / "data"
    for part, odd in (("a", 1), ("b", 0)):
        folder(root / part, save, two)
        for i in range(COUNT):
            if i % 2 != odd:
                for kind in ("images", "masks"):
                    next((root / part / kind).glob(f"{i}.*")).unlink()
    (problem,) = [one for one in check(root).findings.warnings if one.kind == "never-together"]
    assert "'NAME=#00ff00,#ff0000'" in problem.remedy
    report = check(root, classes={"crack": ["#00ff00", "#ff0000"]})
    assert report.classes.names == ("background", "crack")


def test_palettes_that_differ_are_told(tmp_path: Path) -> None:
    def save(path: Path, mask: Mask) -> None:
        image = Image.fromarray(mask, "P")
        image.putpalette([0, 0, 0, 250, 0, 0] if path.name != "3" else [0, 0, 0, 0, 250, 0])
        image.save(path.with_suffix(".png"))

    (problem,) = [p for p in check(folder(tmp_path / "data", save)).findings.warnings if p.kind == "palettes-differ"]
    assert problem.where == "masks/3.png"
    assert "#00fa00" in problem.message


def photographs(path: Path, mask: Mask) -> None:
    noise = np.random.default_rng(int(mask.sum())).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (7, 7), 2)).save(path.with_suffix(".jpg"))


def grey_photographs(path: Path, mask: Mask) -> None:
    noise = np.random.default_rng(int(mask.sum())).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    Image.fromarray(cv2.GaussianBlur(noise, (3, 3), 1)).save(path.with_suffix(".png"))


def noise_in_png(path: Path, mask: Mask) -> None:
    write_png(
        path.with_suffix(".png"), np.random.default_rng(int(mask.sum())).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    )


@pytest.mark.parametrize("save", [photographs, grey_photographs, noise_in_png])
def test_photographs_as_masks_are_called_so(tmp_path: Path, save: Save) -> None:
    root = folder(tmp_path / "data", save)
    (problem,) = [one for one in check(root).findings.errors if one.kind == "photo-masks"]
    assert "photographs" in problem.message
    with pytest.raises(DatasetError, match="photographs"):
        open_dataset(root)
    with pytest.raises(DatasetError, match="photographs"):
        check(root, fix=tmp_path / "copy")


@pytest.mark.parametrize(
    "save",
    [
        values(255, 255),
        values(0, 0),
        jpeg(0, 90),
        colours((0, 0, 0), (0, 0, 0)),
        colours((9, 9, 9), (9, 9, 9)),
        lambda path, mask: path.with_suffix(".png").write_bytes(b"no image"),
        lambda path, mask: np.save(path.with_suffix(".npy"), np.full(mask.shape, np.nan)),
        lambda path, mask: Image.new("LA", (WIDTH, HEIGHT)).save(path.with_suffix(".png")),
    ],
)
def test_states_without_two_classes_are_survived(tmp_path: Path, save: Save) -> None:
    root = folder(tmp_path / "data", save)
    report = check(root)
    assert report.findings.problems
    assert not any("declared void" in str(problem) for problem in report.findings.problems)
    dataset = open_dataset(root)
    assert find_problems(dataset).problems


def test_one_photograph_among_masks_is_one_error(tmp_path: Path) -> None:
    root = folder(tmp_path / "data", jpeg(255, 90))
    photographs(root / "masks/3", two(3))
    report = check(root)
    assert [one.where for one in report.findings.errors] == ["masks/3.jpg"]
    bad = next(s for part in open_dataset(root).splits.values() for s in part if s.image.stem == "3")
    with pytest.raises(MaskError):
        read_sample_mask(bad, {}, 2)


def test_a_mask_at_half_size_is_fitted_and_told(tmp_path: Path) -> None:
    def half(path: Path, mask: Mask) -> None:
        values(0, 255)(path, mask[::2, ::2] if path.name == "1" else mask)

    root = folder(tmp_path / "data", half)
    dataset = open_dataset(root)
    (problem,) = find_problems(dataset).problems
    assert (problem.severity, problem.kind) == ("warning", "size-mismatch")
    assert labels_of(dataset)[1].shape == (HEIGHT, WIDTH)


def test_values_are_written_and_read_back() -> None:
    said = parse_values(["vessel=255", "rust=#ff0000,#aa0000", "cell=1-99"], ["200,201"])
    assert Values.from_json(said.to_json()) == said
    assert values_of({"vessel": 255, "rust": ["#ff0000", "#aa0000"], "cell": "1-99"}, [200, 201]) == said
    assert said.options() == "--class vessel=255 --class 'rust=#ff0000,#aa0000' --class cell=1-99 --void 200,201"
    for wrong in ("vessel", "=255", "vessel=", "vessel=-1", "vessel=#ff"):
        with pytest.raises(UsageError):
            parse_values([wrong], [])
