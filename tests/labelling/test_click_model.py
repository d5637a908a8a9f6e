"""Pairs of ONNX files of the Segment Anything kind: each family works through one door; unsafe and other files do not.

The pairs are tiny: an encoder that averages squares of 4×4 pixels, and a decoder that finds what has the colour of the
first point. They have the names, types and shapes of the real exports.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from pixelwise.errors import BundleError, UsageError
from pixelwise.labelling.click_model import ClickModel
from pixelwise.labelling.click_points import Click
from pixelwise.labelling.patch import Window
from pixelwise.records import RGB, Bands, Raster

SIDE, COARSE = 64, 16
FLOAT, INT32, BOOL, UINT8 = TensorProto.FLOAT, TensorProto.INT32, TensorProto.BOOL, TensorProto.UINT8
Graph = onnx.GraphProto


def value(name: str, shape: list[int | str], kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constants(**arrays: NDArray[np.generic]) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(array, name) for name, array in arrays.items()]


def saved(path: Path, graph: Graph, opset: int = 17, domain: str = "") -> Path:
    imports = (
        [helper.make_opsetid(domain, opset)]
        if not domain
        else [helper.make_opsetid("", 17), helper.make_opsetid(domain, 1)]
    )
    path.write_bytes(helper.make_model(graph, opset_imports=imports, ir_version=9).SerializeToString())
    return path


def encoder(names: list[str], entry: str = "planar", side: int = SIDE) -> Graph:
    """Averages of 4×4 pixels; further outputs are the same at other scales."""
    nodes = []
    if entry == "planar":
        inputs, source = [value("image", [1, 3, side, side])], "image"
    else:  # rows of raw values, normalised and padded inside
        inputs, source = [value("input_image", ["h", "w", 3], FLOAT if entry == "rows" else UINT8)], "padded"
        nodes = [
            helper.make_node("Cast", ["input_image"], ["float"], to=FLOAT),
            helper.make_node("Transpose", ["float"], ["planes"], perm=[2, 0, 1]),
            helper.make_node("Unsqueeze", ["planes", "zero"], ["batch"]),
            helper.make_node("Shape", ["batch"], ["shape"]),
            helper.make_node("Sub", ["full", "shape"], ["missing"]),
            helper.make_node("Concat", ["nothing", "missing"], ["pads"], axis=0),
            helper.make_node("Pad", ["batch", "pads"], ["padded"]),
        ]
    for place, name in enumerate(names):
        size = 4 if len(names) == 1 or place == len(names) - 1 else 2
        nodes.append(helper.make_node("AveragePool", [source], [name], kernel_shape=[size, size], strides=[size, size]))
    outputs = [value(name, [1, 3, "a", "b"]) for name in names]
    fixed = constants(zero=np.array([0]), full=np.array([1, 3, 1024, 1024]), nothing=np.zeros(4, np.int64))
    return helper.make_graph(nodes, "encoder", inputs, outputs, fixed if entry != "planar" else [])


def decoder(
    embedding: str,
    others: list[onnx.ValueInfoProto],
    outputs: list[str],
    labels: int = FLOAT,
    kind: int = FLOAT,
    near: float = 8,
) -> Graph:
    """Where the embedding is like that of the first point; a second mask, of everything, has a lower score."""
    inputs = [
        value(embedding, [1, 3, "a", "b"]),
        value("point_coords", [1, "n", 2]),
        value("point_labels", [1, "n"], labels),
    ]
    nodes = [
        helper.make_node("Gather", ["point_coords", "zero"], ["of_first"], axis=1),
        helper.make_node("Gather", ["of_first", "swapped"], ["row_column"], axis=2),
        helper.make_node("Div", ["row_column", "four"], ["places"]),
        helper.make_node("Floor", ["places"], ["whole"]),
        helper.make_node("Cast", ["whole"], ["index"], to=TensorProto.INT64),
        helper.make_node("Transpose", [embedding], ["rows"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["rows", "zero"], ["map"]),
        helper.make_node("GatherND", ["map", "index"], ["colour"]),
        helper.make_node("Reshape", ["colour", "as_colour"], ["wanted"]),
        helper.make_node("Sub", [embedding, "wanted"], ["difference"]),
        helper.make_node("Mul", ["difference", "difference"], ["squares"]),
        helper.make_node("ReduceSum", ["squares", "one"], ["distance"], keepdims=1),
        helper.make_node("Min", ["distance", "twice"], ["far"]),  # alike and unlike are as far from 0
        helper.make_node("Sub", ["near", "far"], ["alike"]),
        helper.make_node("Abs", ["far"], ["positive"]),
        helper.make_node("Add", ["positive", "near"], ["all"]),
        helper.make_node("Concat", ["all", "alike"], ["coarse"], axis=1),
        helper.make_node("Identity", ["scores"], ["iou_predictions"]),
    ]
    if "low_res_masks" in outputs:
        nodes.append(helper.make_node("Identity", ["coarse"], ["low_res_masks"]))
    if kind == BOOL:
        nodes.append(helper.make_node("Greater", ["coarse", "naught"], ["masks"]))
    else:
        nodes.append(helper.make_node("Identity", ["coarse"], ["masks"]))
    made = [value(name, [1, 2] if name == "iou_predictions" else [1, 2, "h", "w"], kind if name == "masks" else FLOAT)
            for name in outputs]  # fmt: skip
    fixed = constants(
        zero=np.array([0]), one=np.array([1]), swapped=np.array([1, 0]), four=np.float32(4), near=np.float32(near),
        twice=np.float32(2 * near),
        as_colour=np.array([1, 3, 1, 1]), scores=np.array([[0.2, 0.9]], np.float32), naught=np.float32(0),
    )  # fmt: skip
    return helper.make_graph(nodes, "decoder", [*inputs, *others], made, fixed)


OFFICIAL = [value("mask_input", [1, 1, COARSE, COARSE]), value("has_mask_input", [1]), value("orig_im_size", [2])]
FINE = [value("high_res_feats_0", [1, 3, "c", "d"]), value("high_res_feats_1", [1, 3, "e", "f"])]
ONNX_RUNTIMES = [
    value("image_features_0", [1, 3, "c", "d"]), value("image_features_1", [1, 3, "e", "f"]),
    value("input_masks", ["l", 1, COARSE, COARSE]), value("has_input_masks", ["l"]),
    value("original_image_size", [2], INT32),
]  # fmt: skip
MASKS = ["masks", "iou_predictions"]


def pair(folder: Path, family: str) -> tuple[Path, Path]:
    """An encoder and a decoder as a program exports them."""
    families: dict[str, tuple[Graph, Graph]] = {
        "Segment Anything": (
            encoder(["embeddings"]), decoder("image_embeddings", OFFICIAL, [*MASKS, "low_res_masks"]),
        ),
        "SAM 2 of samexporter": (
            encoder(["high_res_feats_0", "high_res_feats_1", "image_embed"]),
            decoder("image_embed", [*FINE, *OFFICIAL[:2]], MASKS),
        ),
        "SAM 2 of ONNX Runtime": (
            encoder(["image_features_0", "image_features_1", "image_embeddings"]),
            decoder("image_embeddings", ONNX_RUNTIMES, [*MASKS, "low_res_masks"], INT32, BOOL),
        ),
    }  # fmt: skip
    first, second = families[family]
    return saved(folder / "encoder.onnx", first), saved(folder / "decoder.onnx", second)


FAMILIES = ["Segment Anything", "SAM 2 of samexporter", "SAM 2 of ONNX Runtime"]


def picture(height: int, width: int, bands: int = 3) -> tuple[Raster, NDArray[np.bool_]]:
    """A bright rectangle, and where it is."""
    inside = np.zeros((height, width), np.bool_)
    inside[height // 4 : height // 2, width // 8 : width // 2] = True
    return np.where(inside, 220, 30)[:, :, None].repeat(bands, 2).astype(np.uint8), inside


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 64), (48, 128)])
def test_each_family_finds_the_object(tmp_path: Path, family: str, height: int, width: int) -> None:
    model = ClickModel(*pair(tmp_path, family))
    image, inside = picture(height, width)
    region = model.click("a", image, RGB, [Click(width * 5 // 16, height * 3 // 8), Click(1, 1, positive=False)])
    found = np.zeros_like(inside)
    found[region.window.slices] = region.mask_hw
    assert (found & inside).sum() / (found | inside).sum() > 0.8
    assert region.mask_hw.any(axis=0)[[0, -1]].all()  # as small as it can be


@pytest.mark.parametrize("entry", ["rows", "bytes"])
def test_encoders_that_normalise_by_themselves_get_rows_of_raw_values(tmp_path: Path, entry: str) -> None:
    first = saved(tmp_path / "encoder.onnx", encoder(["image_embeddings"], entry))
    second = saved(tmp_path / "decoder.onnx", decoder("image_embeddings", [], [*MASKS, "low_res_masks"], near=27_000))
    image, inside = picture(90, 128)
    region = ClickModel(first, second).click("a", image, RGB, [Click(30, 30)])
    found = np.zeros_like(inside)
    found[region.window.slices] = region.mask_hw
    assert (found & inside).sum() / (found | inside).sum() > 0.9


def test_a_window_is_looked_at_alone_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ClickModel(*pair(tmp_path, FAMILIES[0]))
    image, _ = picture(200, 200, 5)
    bands = Bands(tuple("abcde"), "uint8", (0.0,) * 5, (255.0,) * 5)
    runs = []
    run = model._run
    monkeypatch.setattr(model, "_run", lambda path, *rest: (runs.append(path.name), run(path, *rest))[1])
    window = Window(40, 30, 90, 90)
    for x in (60, 70):
        region = model.click("a", image, bands, [Click(x, 60)], window)
        assert 38 <= region.x <= 42
        assert 48 <= region.y <= 52
    model.click("b", image, bands, [Click(60, 60)], window)
    assert runs == ["encoder.onnx", "decoder.onnx", "decoder.onnx", "encoder.onnx", "decoder.onnx"]


def test_clicks_outside_the_window_and_clicks_that_are_all_negative_are_refused(tmp_path: Path) -> None:
    model = ClickModel(*pair(tmp_path, FAMILIES[0]))
    image, _ = picture(64, 64)
    with pytest.raises(UsageError, match="column 50, row 5 lies outside the window"):
        model.click("a", image, RGB, [Click(50, 5)], Window(0, 0, 20, 20))
    with pytest.raises(UsageError, match="No click lies on the object"):
        model.click("a", image, RGB, [Click(5, 5, positive=False)])


def renamed(graph: Graph, before: str, after: str) -> Graph:
    for one in (*graph.input, *graph.output):
        one.name = after if one.name == before else one.name
    for node in graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = after if name == before else name
    return graph


DECODER: Callable[[], Graph] = lambda: decoder("image_embeddings", OFFICIAL, [*MASKS, "low_res_masks"])  # noqa: E731


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        (encoder(["embeddings"]), renamed(DECODER(), "point_coords", "clicks"), "decoder.onnx: expected .* clicks fl"),
        (encoder(["embeddings"]), renamed(DECODER(), "masks", "answer"), "decoder.onnx: expected .* outputs answer"),
        (encoder(["embeddings"]), renamed(DECODER(), "mask_input", "text"), "decoder.onnx: expected .* text float"),
        (encoder(["a", "b", "c"]), DECODER(), "decoder.onnx: expected"),
        (encoder(["embeddings", "more"]), DECODER(), "encoder.onnx: expected .* more float"),
        (encoder(["embeddings"], side=8192), DECODER(), "encoder.onnx: expected .*8192"),
        (DECODER(), DECODER(), "encoder.onnx: expected .* image_embeddings float"),
        (encoder(["embeddings"]), encoder(["embeddings"]), "decoder.onnx: expected .* inputs image float"),
    ],
)  # fmt: skip
def test_other_networks_are_refused_with_what_was_expected(
    tmp_path: Path, first: Graph, second: Graph, words: str
) -> None:
    with pytest.raises(BundleError, match=words):
        ClickModel(saved(tmp_path / "encoder.onnx", first), saved(tmp_path / "decoder.onnx", second))


def elsewhere(path: Path) -> None:
    """Weights in another file, such as one that the user may read and the author of the file may not."""
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    path.write_bytes(model.SerializeToString())


def of_a_domain(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[0].domain = "ai.evil"
    model.opset_import.append(helper.make_opsetid("ai.evil", 1))
    path.write_bytes(model.SerializeToString())


def of_contributed_operators(path: Path) -> None:
    model = onnx.load(path)
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path.write_bytes(model.SerializeToString())


def with_a_loop(path: Path) -> None:
    model = onnx.load(path)
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", [], ["x"], body=body))
    path.write_bytes(model.SerializeToString())


def with_functions(path: Path) -> None:
    model = onnx.load(path)
    model.functions.append(helper.make_function("mine", "f", [], [], [], [helper.make_opsetid("", 17)]))
    path.write_bytes(model.SerializeToString())


def of_an_old_opset(path: Path) -> None:
    model = onnx.load(path)
    model.opset_import[0].version = 9
    path.write_bytes(model.SerializeToString())


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def of_text(path: Path) -> None:
    path.write_text("no network at all", encoding="ascii")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (elsewhere, "another file"), (of_a_domain, "ai.evil"), (of_contributed_operators, "com.microsoft"),
        (with_a_loop, "graph of its own"), (with_functions, "operators of its own"), (of_an_old_opset, "opset 9"),
        (truncated, "cannot be used as a click model"), (of_text, "cannot be used as a click model"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", [0, 1])
def test_unsafe_files_never_reach_the_runtime(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None], words: str, which: int
) -> None:
    paths = pair(tmp_path, FAMILIES[0])
    if which == 0 and harm is elsewhere:
        paths = saved(paths[0], encoder(["embeddings"], "rows")), paths[1]
    harm(paths[which])
    opened: list[int] = []
    monkeypatch.setattr("pixelwise.labelling.click_model.open_session", lambda data, _threads: opened.append(len(data)))
    with pytest.raises(BundleError, match=words) as raised:
        ClickModel(*paths)
    assert str(paths[which]) in str(raised.value)
    assert len(opened) == which  # the harmless encoder at most


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"gone\.onnx"):
        ClickModel(tmp_path / "gone.onnx", tmp_path / "gone.onnx")


def test_an_answer_of_another_form_is_an_error_and_not_a_mask(tmp_path: Path) -> None:
    graph = DECODER()
    graph.node[-3].input[0] = "few"  # one score for two masks
    graph.initializer.extend(constants(few=np.ones((1, 1), np.float32)))
    graph.output[1].type.tensor_type.shape.dim[1].dim_param = "m"
    paths = pair(tmp_path, FAMILIES[0])[0], saved(tmp_path / "decoder.onnx", graph)
    image, _ = picture(64, 64)
    with pytest.raises(
        BundleError, match=r"expected masks \[1, M, height, width\] and iou_predictions \[1, M\]; it gave"
    ):
        ClickModel(*paths).click("a", image, RGB, [Click(20, 20)])


def test_nothing_found_is_a_region_of_no_true_pixel(tmp_path: Path) -> None:
    graph = DECODER()
    for tensor in graph.initializer:
        if tensor.name == "near":
            tensor.CopyFrom(numpy_helper.from_array(np.float32(-1), "near"))
    paths = pair(tmp_path, FAMILIES[0])[0], saved(tmp_path / "decoder.onnx", graph)
    image, _ = picture(64, 64)
    region = ClickModel(*paths).click("a", image, RGB, [Click(20, 21)])
    assert (region.x, region.y, region.mask_hw.tolist()) == (20, 21, [[False]])
