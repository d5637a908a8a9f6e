"""REST: labels of an 8-bit upload are void where its file declares that it holds no data."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from serving import png, unpack

from conftest import picture
from pixelwise.records import VOID

tifffile: Any = pytest.importorskip("tifffile")


@pytest.mark.parametrize("no_data", [0, 255])
def test_labels_are_void_where_the_upload_declares_no_data(client: Any, served_model: Any, no_data: int) -> None:
    absent = np.zeros((60, 90), np.bool_)
    absent[:9] = absent[30, 1::7] = True
    pixels = picture(4, 60, 90).clip(1, 254)
    pixels[absent] = no_data
    for declared, tags in ((True, [(42113, 2, 0, str(no_data), True)]), (False, [])):
        body = io.BytesIO()
        tifffile.imwrite(body, pixels, photometric="rgb", metadata=None, extratags=tags)
        answer = client.post("/v1/predict?answer=png", content=body.getvalue())
        assert answer.status_code == 200, answer.text
        labels = np.asarray(Image.open(io.BytesIO(answer.content)))
        assert np.array_equal(labels == VOID, absent & declared)
        assert np.array_equal(labels[~absent], served_model.predict(pixels).labels[~absent])
        shown, _ = unpack(client.post("/v1/predict?answer=page", content=body.getvalue()).content)
        wrong = np.where(absent, (labels + 1) % len(served_model.classes), labels).astype(np.uint8)
        header, (truth,) = unpack(client.post(f"/v1/images/{shown['image']}/truth", content=png(wrong)).content)
        assert header["scores"]["pixels"] == wrong.size - (int(absent.sum()) if declared else 0)
        assert (header["scores"]["accuracy"] == 1) == declared
        assert np.array_equal(truth == VOID, absent & declared)
