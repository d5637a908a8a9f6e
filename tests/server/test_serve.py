"""`pixelwise serve` and what it stands on: addresses, no torch, one file for the whole story."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from pixelwise.errors import UsageError
from pixelwise.server.serve import addresses, listen
from pixelwise.server.server_settings import ServerSettings


def test_the_server_imports_no_torch() -> None:
    code = "import sys, pixelwise.server.serve; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_addresses_that_people_can_open() -> None:
    assert addresses(ServerSettings(port=81)) == ["http://127.0.0.1:81/"]
    assert addresses(ServerSettings(host="::1", port=81)) == ["http://[::1]:81/"]
    assert addresses(ServerSettings(host="192.0.2.7", port=81, token="t")) == ["http://192.0.2.7:81/?token=t"]
    everywhere = addresses(ServerSettings(host="0.0.0.0", port=81, token="t"))
    assert everywhere[0] == "http://127.0.0.1:81/?token=t"
    assert everywhere[-1] == f"http://{socket.gethostname()}:81/?token=t"
    assert not [one for one in everywhere if "0.0.0.0" in one or "[" in one]


def test_an_address_in_use_is_said_so() -> None:
    with listen(ServerSettings(port=0)) as taken:
        taken.listen()
        with pytest.raises(UsageError, match="--port"):
            listen(ServerSettings(port=taken.getsockname()[1]))
