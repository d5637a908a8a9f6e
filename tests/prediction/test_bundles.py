"""What a bundle computes, and every bundle that must be refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import THREE, make_bundle, picture
from pixelwise.bundle.bundle_file import PREFIX, read_bundle
from pixelwise.errors import BundleError, UsageError
from pixelwise.images.image_files import write_png
from pixelwise.prediction.engines.engine import Engine
from pixelwise.prediction.load_model import Model, load
from pixelwise.records import Pixels

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def model(tiny_bundle: Path) -> Model:
    return load(tiny_bundle, threads=2)


def exposed(model: Model, image: Pixels, tensor: str) -> Any:
    """A tensor from inside the bundle's graph."""
    proto = onnx.load_model_from_string(model.graph)
    proto.graph.output.append(onnx.ValueInfoProto(name=tensor))
    (value,) = model.open_session(proto.SerializeToString()).run([tensor], {"image": image})
    return value[0]


def full_scores(scores_Chw: Any, height: int, width: int) -> Any:
    torch = pytest.importorskip("torch")
    scores = torch.from_numpy(scores_Chw[None])
    return torch.nn.functional.interpolate(scores, (height, width), mode="bilinear")[0]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (7, 3), (33, 65), (64, 96), (129, 257), (500, 31)])
def test_any_size_gives_labels_of_that_size(model: Model, height: int, width: int) -> None:
    prediction = model.predict(picture(height, height, width))
    assert prediction.labels.shape == (height, width)
    assert prediction.labels.dtype == np.uint8
    assert prediction.labels.max() < 3
    assert sum(prediction.shares.values()) == pytest.approx(1)


@pytest.mark.parametrize(("height", "width"), [(80, 60), (37, 101)])
def test_labels_are_the_greatest_of_the_upsampled_scores(model: Model, height: int, width: int) -> None:
    prediction = model.predict(picture(2, height, width))
    full = full_scores(prediction.scores, height, width)
    top2 = full.topk(2, dim=0).values
    clear = (top2[0] - top2[1] > 1e-4).numpy()  # a tie may be rounded either way
    assert clear.mean() > 0.99
    assert len(np.unique(prediction.labels)) > 1
    assert (prediction.labels == full.argmax(0).numpy())[clear].all()


def test_probabilities_are_the_softmax_of_the_full_scores(model: Model) -> None:
    prediction = model.predict(picture(3, 71, 50))
    probabilities = (full_scores(prediction.scores, 71, 50) / model.metadata.temperature).softmax(0).numpy()
    for x, y in [(0, 0), (49, 70), (25, 35), (13, 69), (48, 1)]:
        given = prediction.probabilities(x, y)
        assert list(given) == list(THREE.names)
        np.testing.assert_allclose(list(given.values()), probabilities[:, y, x], atol=1e-5)
    with pytest.raises(IndexError, match="50×71"):
        prediction.probabilities(50, 0)


def test_red_reaches_the_network_as_red(model: Model, tmp_path: Path) -> None:
    red = np.zeros((40, 50, 3), np.uint8)
    red[:, :, 0] = 255
    write_png(tmp_path / "red.png", red)
    from pixelwise.images.image_files import read_image

    seen = exposed(model, read_image(tmp_path / "red.png"), "stage/input")
    mean, std = model.metadata.mean, model.metadata.std
    torch = pytest.importorskip("torch")
    from pixelwise.model.preprocess import exposure_of

    pure = torch.tensor([255.0, 0.0, 0.0]).view(1, 3, 1, 1)
    gain, offset = exposure_of(pure)
    levels = (pure * gain + offset).flatten() / 255
    assert levels[0] > 3 * levels[1] == 3 * levels[2]
    for channel, value in enumerate(levels.tolist()):
        np.testing.assert_allclose(seen[channel], (value - mean[channel]) / std[channel], atol=1e-3)
    assert (model.predict(red).labels == model.predict(tmp_path / "red.png").labels).all()


def test_grey_arrays_are_taken_as_grey(model: Model) -> None:
    grey = picture(4, 30, 30)[:, :, 0]
    assert (model.predict(grey).labels == model.predict(np.stack([grey] * 3, axis=2)).labels).all()


def test_views_are_predicted_as_their_copies(model: Model) -> None:
    image = picture(5, 40, 60)
    assert (model.predict(image[::-1, ::2]).labels == model.predict(image[::-1, ::2].copy()).labels).all()


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\].*image \* 255"),
        (np.zeros((4, 4, 3), np.uint16), r"uint16 \[4, 4, 3\]"),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\].*alpha"),
        (np.zeros((3, 4, 5), np.uint8), r"transpose"),
        (np.zeros((1, 4, 4, 3), np.uint8), r"one image at a time"),
        (np.zeros((0, 4, 3), np.uint8), r"\[0, 4, 3\]"),
        ([[1, 2]], r"list"),
    ],
)
def test_what_is_no_image_is_refused_with_what_it_is(model: Model, image: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        model.predict(image)


def altered(bundle: Path, target: Path, change: Any) -> Path:
    proto = onnx.load(str(bundle))
    change(proto)
    target.write_bytes(proto.SerializeToString())
    return target


def set_prop(proto: Any, key: str, value: str) -> None:
    next(prop for prop in proto.metadata_props if prop.key == PREFIX + key).value = value


def change_weights(proto: Any) -> None:
    weights = next(constant for constant in proto.graph.initializer if len(constant.dims) == 4)
    weights.raw_data = bytes(len(weights.raw_data))


def with_new_digest(change: Any) -> Any:
    """Alter the graph and record its new digest, as somebody would who means it."""

    def changed(proto: Any) -> None:
        import hashlib

        change(proto)
        props = {prop.key: prop for prop in proto.metadata_props}
        golden = json.loads(props[PREFIX + "golden"].value)
        golden["graph_sha256"] = hashlib.sha256(proto.graph.SerializeToString()).hexdigest()
        props[PREFIX + "golden"].value = json.dumps(golden)

    return changed


def swap_classes(proto: Any) -> None:
    """The classifier's weights, with the classes turned round."""
    for constant in proto.graph.initializer:
        if "classifier" in constant.name:
            values = onnx.numpy_helper.to_array(constant)[::-1].copy()
            constant.CopyFrom(onnx.numpy_helper.from_array(values, constant.name))


def move_weights_out(proto: Any) -> None:
    weights = next(constant for constant in proto.graph.initializer if len(constant.dims) == 4)
    weights.ClearField("raw_data")
    # A file that is there, so that only the refusal keeps it from being read.
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.append(onnx.StringStringEntryProto(key="location", value="/etc/hostname"))


def rename_output(proto: Any) -> None:
    for node in proto.graph.node:
        for place, name in enumerate(node.output):
            if name == "labels":
                node.output[place] = "classes"
    next(value for value in proto.graph.output if value.name == "labels").name = "classes"


def unknown_operator(proto: Any) -> None:
    next(node for node in proto.graph.node if node.op_type == "Conv").op_type = "Convolute"


def foreign_domain(proto: Any) -> None:
    proto.opset_import.append(onnx.helper.make_opsetid("example.org", 1))


def foreign_operator(proto: Any) -> None:
    next(node for node in proto.graph.node if node.op_type == "Conv").domain = "example.org"


def own_function(proto: Any) -> None:
    proto.functions.append(onnx.FunctionProto(name="Conv", domain=""))


def many_operators(proto: Any) -> None:
    nodes = onnx.GraphProto(node=[onnx.NodeProto(op_type="Identity")] * 1000)
    for _ in range(150):
        proto.graph.MergeFrom(nodes)


def weights_in_a_branch(proto: Any) -> None:
    """A tensor in another file, hidden in a graph inside a node."""
    hidden = onnx.TensorProto(data_location=onnx.TensorProto.EXTERNAL)
    hidden.external_data.append(onnx.StringStringEntryProto(key="location", value="/etc/hostname"))
    branch = onnx.helper.make_graph([], "branch", [], [], [hidden])
    proto.graph.node.append(onnx.helper.make_node("If", ["labels"], ["x"], then_branch=branch, else_branch=branch))


def large_golden_image(proto: Any) -> None:
    import base64

    from pixelwise.images.image_files import encode_png

    prop = next(prop for prop in proto.metadata_props if prop.key == PREFIX + "golden")
    golden = json.loads(prop.value)
    golden["image_png"] = base64.b64encode(encode_png(np.zeros((3, 5000, 3), np.uint8))).decode()
    prop.value = json.dumps(golden)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_weights, "altered or damaged.*Export it again"),
        (lambda proto: set_prop(proto, "classes", '[{"name": "sky"}]'), "metadata is damaged"),
        (lambda proto: set_prop(proto, "golden", "{"), "metadata is damaged"),
        (lambda proto: set_prop(proto, "format", "99"), "format 99.*Update Pixelwise"),
        (lambda proto: proto.ClearField("metadata_props"), "not a Pixelwise bundle"),
        (with_new_digest(swap_classes), "labels of its golden image agree on"),
        (with_new_digest(move_weights_out), "lies in another file"),
        (with_new_digest(rename_output), "output labels should be"),
        (with_new_digest(unknown_operator), "operator 'Convolute' is not one of"),
        (lambda proto: proto.ClearField("opset_import"), "opset not declared; expected 17"),
        (lambda proto: setattr(proto.opset_import[0], "version", 99), "opset 99; expected 17 .*Update Pixelwise"),
        (foreign_domain, "needs operators of example.org"),
        (with_new_digest(foreign_operator), "uses an operator of 'example.org'"),
        (own_function, "defines operators of its own"),
        (with_new_digest(many_operators), "operators; a bundle has at most 20000"),
        (with_new_digest(weights_in_a_branch), "holds a graph of its own"),
        (large_golden_image, "golden image is 3×5000.*at most 1024"),
    ],
)
def test_altered_bundles_are_refused(tiny_bundle: Path, tmp_path: Path, change: Any, said: str) -> None:
    path = altered(tiny_bundle, tmp_path / "altered.onnx", change)
    with pytest.raises(BundleError, match=said) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 1


def test_a_second_graph_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    """Protobuf would merge the two, and the recorded digest covers one."""
    first = onnx.ModelProto()
    first.graph.output.append(onnx.ValueInfoProto(name="stage/input"))
    path = tmp_path / "two.onnx"
    path.write_bytes(first.SerializeToString() + tiny_bundle.read_bytes())
    with pytest.raises(BundleError, match="holds 2 graphs or more"):
        load(path)


def test_a_file_too_large_is_not_even_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(600 * 2**20)  # a hole: it takes no room
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
    with pytest.raises(BundleError, match="600 MB; a bundle has at most 512 MB"):
        load(path)


@pytest.mark.parametrize("keep", [0, 10, 5000, -1])
def test_truncated_bundles_are_refused(tiny_bundle: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(tiny_bundle.read_bytes()[:keep])
    with pytest.raises(BundleError, match=r"cut\.onnx"):
        load(path)


@pytest.mark.parametrize(
    "content", [b"hello", b"PK\x03\x04 a zip file of something", bytes(1000), b"\x89PNG\r\n\x1a\n"]
)
def test_foreign_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.onnx"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"foreign\.onnx"):
        load(path)


def test_what_model_can_be(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such model.*bundle file.*run directory"):
        load(tmp_path / "nothing.onnx")
    with pytest.raises(UsageError, match="not a run directory"):
        load(tmp_path)
    run = tmp_path / "run"
    run.mkdir()
    (run / "recipe.toml").touch()
    with pytest.raises(UsageError, match=r"this run has no model\.onnx yet"):
        load(run)
    shutil.copy(tiny_bundle, run / "model.onnx")
    assert load(str(run), threads=1).path == run / "model.onnx"
    with pytest.raises(UsageError, match="threads is 0"):
        load(run, threads=0)


def test_a_policy_that_keeps_the_shape_runs_and_can_be_traced(tmp_path: Path) -> None:
    from pixelwise.tracing.trace import trace

    path = tmp_path / "policy.onnx"
    make_bundle(path, "unet", policy="fit")
    engine = Engine(read_bundle(path), threads=2)
    traced = trace(Model(engine), picture(6, 100, 70))
    assert traced.layers[0].shape[1:] == (64, 32)
    assert all(layer.receptive.known for layer in traced.layers)
    assert (traced.prediction.labels == engine.run(picture(6, 100, 70))[0]).all()
