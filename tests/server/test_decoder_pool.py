"""Decoding happens elsewhere: what comes back is the image, and a decoder that hangs or dies takes nothing with it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from serving import png

from conftest import picture
from pixelwise.server import decoder_pool as module
from pixelwise.server.decoder_pool import DecoderPool
from pixelwise.server.error_responses import RequestError
from pixelwise.server.server_settings import ServerSettings


@pytest.fixture
def decoders() -> Iterator[DecoderPool]:
    found = DecoderPool(1, ServerSettings(max_bytes=200_000, max_pixels=250_000))
    yield found
    found.kill()


def test_an_image_a_form_and_a_mask_come_back_as_they_are(decoders: DecoderPool) -> None:
    pixels = np.ascontiguousarray(picture(1, 70, 50))
    ids = pixels[:, :, 0] // 32
    told = decoders.decode(png(pixels), "image/png")
    assert np.array_equal(told.array, pixels)
    assert (told.format, told.size) == ("PNG", len(png(pixels)))
    form = (
        b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nwords\r\n'
        b'--b\r\nContent-Disposition: form-data; name="i"; filename="../x"\r\n\r\n' + png(pixels) + b"\r\n--b--\r\n"
    )
    again = decoders.decode(form, "multipart/form-data; boundary=b")
    assert np.array_equal(again.array, pixels)
    assert again.sha256 == told.sha256
    assert np.array_equal(decoders.decode(png(ids), "", mask=True).array, ids)


def test_a_process_that_was_killed_is_replaced(decoders: DecoderPool) -> None:
    body = png(np.ascontiguousarray(picture(1, 20, 30)))
    decoders.decode(body, "")
    process = decoders.every[0].process
    assert process is not None
    psutil.Process(process.pid).kill()
    process.wait()
    assert decoders.decode(body, "").array.shape == (20, 30, 3)
    assert decoders.every[0].process is not process


def hangs(path: Path, then: str) -> tuple[str, ...]:
    path.write_text(f"import os, sys, time\nsys.stdin.buffer.read(100)\n{then}\n")
    return sys.executable, str(path)


@pytest.mark.parametrize("then", ["time.sleep(60)", "os._exit(3)", "os.write(1, b'half')\ntime.sleep(60)"])
def test_one_that_hangs_or_dies_is_ended_and_said_so(
    decoders: DecoderPool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, then: str
) -> None:
    monkeypatch.setattr(module, "COMMAND", hangs(tmp_path / "bad.py", then))
    monkeypatch.setattr(module, "seconds_for", lambda pixels: 0.5)
    monkeypatch.setattr(module, "START_S", 0.5)
    began = time.monotonic()
    with pytest.raises(RequestError) as refused:
        decoders.decode(b"0" * 1000, "")
    assert refused.value.status == 422
    assert time.monotonic() - began < 30
    monkeypatch.undo()
    assert decoders.decode(png(np.zeros((4, 5, 3), np.uint8)), "").array.shape == (4, 5, 3)


def test_a_decoder_ends_when_nobody_asks_any_more(decoders: DecoderPool) -> None:
    process = decoders.every[0].start()
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(60) == 0


def test_messages_survive_any_bytes(decoders: DecoderPool) -> None:
    for seed in range(20):
        body = np.random.default_rng(seed).bytes(seed * 100)
        with pytest.raises(RequestError) as refused:
            decoders.decode(body, "multipart/form-data; boundary=" * (seed % 2))
        assert 400 <= refused.value.status < 500
