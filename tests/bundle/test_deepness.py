"""The file for QGIS's plugin Deepness: its keys, and its labels, computed as the plugin computes them."""

import ast
import json
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from typer.testing import CliRunner

from pixelwise.bundle.bundle_file import read_bundle
from pixelwise.bundle.deepness import write_deepness
from pixelwise.cli import app
from pixelwise.errors import UsageError
from pixelwise.prediction.deepness_export import export_deepness, pixel_side_m
from pixelwise.prediction.load_model import find_bundle, load
from pixelwise.records import Bands

# The plugin's documentation, "Adding metadata to ONNX model", of segmentation models; `tile_size` is what it reads.
DOCUMENTED = {
    "model_type": str, "class_names": dict, "resolution": (int, float), "tiles_size": int, "tile_size": int,
    "tiles_overlap": int, "seg_thresh": (int, float), "seg_small_segment": int, "standardization_mean": list,
    "standardization_std": list,
}  # fmt: skip


class Plugin:
    """What the plugin does with a segmentation model, in its own order."""

    def __init__(self, path):
        self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (self.input,), (self.output,) = self.session.get_inputs(), self.session.get_outputs()
        assert len(self.output.shape) == 4
        assert self.output.shape[2] == self.output.shape[3]
        self.metadata = self.session.get_modelmeta().custom_metadata_map

    def class_names(self):
        try:
            names = json.loads(self.metadata["class_names"])
        except json.JSONDecodeError:
            names = ast.literal_eval(self.metadata["class_names"])
        assert sorted(map(int, names)) == list(range(len(names)))
        return [names[key] for key in sorted(names, key=int)]

    def labels(self, tile_HW3):
        mean, std = (
            np.array(json.loads(self.metadata[f"standardization_{name}"]), np.float32) for name in ("mean", "std")
        )
        batch = np.float32(tile_HW3[None, :, :, : self.input.shape[-3]] * 1.0 / 255.0)
        batch = np.transpose((batch - mean) / std, (0, 3, 1, 2))
        (result,) = self.session.run(None, {self.input.name: batch.astype(np.float32)})
        assert np.allclose(result.sum(axis=1), 1, atol=1e-4)
        result[result < float(json.loads(self.metadata["seg_thresh"]))] = 0.0
        return np.argmax(result, axis=1)[0]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("deepness") / "nuclei.onnx"
    export_deepness(find_bundle("nuclei"), out)
    return out


def test_keys_are_those_that_the_plugin_documents(made):
    metadata = Plugin(made).metadata
    assert set(metadata) <= set(DOCUMENTED)
    assert {key for key in DOCUMENTED if key != "resolution"} <= set(metadata)
    for key, value in metadata.items():
        assert isinstance(json.loads(value), DOCUMENTED[key]), key
    assert json.loads(metadata["model_type"]) == "Segmentor"


def test_input_and_output_have_the_plugins_fixed_shapes(made):
    plugin = Plugin(made)
    side = json.loads(plugin.metadata["tile_size"])
    classes = load("nuclei").classes.names
    assert (plugin.input.type, plugin.input.shape) == ("tensor(float)", [1, 3, side, side])
    assert (plugin.output.type, plugin.output.shape) == ("tensor(float)", [1, len(classes), side, side])
    assert plugin.class_names() == list(classes)
    onnx.checker.check_model(onnx.load(made))


def test_labels_are_those_of_the_bundle(made):
    plugin, model = Plugin(made), load("nuclei")
    side = json.loads(plugin.metadata["tile_size"])
    golden = read_bundle(find_bundle("nuclei")).golden.image
    tile = np.tile(golden, (-(-side // golden.shape[0]), -(-side // golden.shape[1]), 1))[:side, :side]
    expected = model.predict(tile).labels
    assert len(np.unique(expected)) > 1
    assert (plugin.labels(tile) == expected).mean() > 0.9995  # ties, and rounding of the interpolation


def test_resolution_is_that_of_the_training_images(tmp_path):
    bundle = find_bundle("nuclei")
    run = tmp_path / "run"
    run.mkdir()
    (run / "model.onnx").write_bytes(bundle.read_bytes())
    (run / "fingerprint.json").write_text(json.dumps({"pixel_size": [0.2, 0.2], "pixel_unit": "m"}))
    made = export_deepness(run, tmp_path / "out.onnx")
    assert made.pixel_m == pytest.approx(0.2)
    assert json.loads(Plugin(made.path).metadata["resolution"]) == 20
    (run / "fingerprint.json").write_text(json.dumps({"pixel_size": [1e-5, 1e-5], "pixel_unit": "°"}))
    assert pixel_side_m(run / "fingerprint.json") is None


def test_the_command_writes_it_and_refuses_what_it_cannot(tmp_path):
    run = CliRunner().invoke(app, ["export", "nuclei", "--deepness", str(tmp_path / "n.onnx")])
    assert run.exit_code == 0, run.output
    assert "for Deepness" in run.output
    for options in ([], ["--deepness", str(tmp_path / "m.onnx"), "--int8"]):
        refused = CliRunner().invoke(app, ["export", "nuclei", *options])
        assert isinstance(refused.exception, UsageError)
        assert "--out" in str(refused.exception)


def test_other_than_8_bit_images_are_refused(tmp_path):
    bundle = read_bundle(find_bundle("nuclei"))
    bands = Bands(("red", "nir"), "float32", (0.0, 0.0), (1.0, 1.0))
    raw = replace(bundle, metadata=replace(bundle.metadata, bands=bands))
    with pytest.raises(UsageError, match="8-bit images only"):
        write_deepness(raw, (512, 512), tmp_path / "m.onnx")
