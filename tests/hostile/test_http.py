"""Raw sockets against a real server: whatever is sent, it answers others, never says 500, and stays small."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import signal
import socket
import struct
import subprocess
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from conftest import TOKEN, picture, started_server

HOST = b"Host: 127.0.0.1\r\n"
PROOF = b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
GROWTH_BYTES = 120 * 2**20  # of the server, over all attacks
LATE_S = 12.0  # after which half a request's headers are cut off, with time for a busy machine


def request(line: bytes, *headers: bytes, body: bytes = b"", host: bytes = HOST) -> bytes:
    return line + b" HTTP/1.1\r\n" + host + b"".join(header + b"\r\n" for header in headers) + b"\r\n" + body


def get(path: bytes, *headers: bytes) -> bytes:
    return request(b"GET " + path, *headers)


def post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    return request(b"POST " + path, b"Content-Length: %d" % len(body), *headers, body=body)


def chunked(path: bytes, *parts: bytes) -> bytes:
    return request(b"POST " + path, b"Transfer-Encoding: chunked", PROOF.strip(), body=b"".join(parts))


def runs(body: bytes) -> bytes:
    return post(b"/v1/runs", body, b"Content-Type: application/json", PROOF.strip())


def form(boundary: bytes, body: bytes) -> bytes:
    return post(b"/v1/predict", body, b"Content-Type: multipart/form-data; boundary=" + boundary)


def random_bytes(seed: int, count: int) -> bytes:
    return random.Random(seed).randbytes(count)


def part(name: str, head: str = "") -> bytes:
    return f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n{head}\r\n1\r\n'.encode()


def png_of_chunks(count: int) -> bytes:
    """A PNG with so many empty chunks before its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 2, 0, 0, 0))
    return head + chunk(b"teSt", b"") * count + chunk(b"IDAT", zlib.compress(b"\0" * 200)) + chunk(b"IEND", b"")


def jpeg_of_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes so many times."""
    buffer = io.BytesIO()
    Image.fromarray(picture(1, 512, 512)).save(buffer, "JPEG", progressive=True)
    data = buffer.getvalue()
    begin = data.rindex(b"\xff\xda")
    return data[:-2] + data[begin:-2] * count + b"\xff\xd9"


@dataclass(frozen=True)
class Attack:
    name: str
    sent: bytes
    said: str  # a pattern of the statuses that may come; "" where the connection may be closed without a word


A = Attack
MB = 2**20
CHUNK = b"%x\r\n" % MB + b"0" * MB + b"\r\n"
ATTACKS = [
    A("a header that never ends", b"GET / HTTP/1.1\r\n" + HOST + b"a: " + b"b" * 4 * MB, "431|"),
    A("a header's name that never ends", b"GET / HTTP/1.1\r\n" + HOST + b"a" * 4 * MB, "431|400|"),
    A("a header bomb", get(b"/", *[b"a%d: b" % i for i in range(20_000)]), "431"),
    A("101 headers", get(b"/healthz", *[b"a%d: b" % i for i in range(101)]), "431"),
    A("an address that never ends", b"GET /" + b"a" * 4 * MB, "414|431|"),
    A("an address of 20 kB", get(b"/" + b"a" * 20_000), "414"),
    A("a header without colon", get(b"/", b"nothing"), "400"),
    A("a blank before the colon", get(b"/", b"a : b"), "400"),
    A("a folded header", get(b"/healthz", b"a: b\r\n c"), "400|200"),
    A("NUL in a header", get(b"/", b"a: \0"), "400"),
    A("a bare CR", get(b"/", b"a: b\rc: d"), "400"),
    A("bare LF", b"GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n", "400|200"),
    A("an unknown method", b"GETT / HTTP/1.1\r\n" + HOST + b"\r\n", "400"),
    A("a method in small letters", b"get / HTTP/1.1\r\n" + HOST + b"\r\n", "400"),
    A("HTTP/9.9", b"GET / HTTP/9.9\r\n" + HOST + b"\r\n", "400"),
    A("HTTP/0.9", b"GET /\r\n\r\n", "400|421"),
    A("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400"),
    A("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + random_bytes(0, 500), "400"),
    A("noise", random_bytes(1, 100_000), "400"),
    A("no host", request(b"GET /", host=b""), "421"),
    A("two hosts", get(b"/healthz", b"Host: 127.0.0.1"), "400"),
    A("a foreign host", request(b"GET /", host=b"Host: evil.example\r\n"), "421"),
    A("a host that is none", request(b"GET /", host=b"Host: [evil\r\n"), "421"),
    A("an absolute address elsewhere", request(b"GET http://evil.example/v1/runs", host=b"Host: evil.example\r\n"), "421"),  # noqa: E501
    A("length and chunks", post(b"/v1/predict", b"0\r\n\r\n", b"Transfer-Encoding: chunked"), "400"),
    A("two lengths", post(b"/v1/predict", b"abc", b"Content-Length: 4"), "400"),
    A("a length twice", post(b"/v1/predict", b"abc", b"Content-Length: 3"), "400"),
    A("a length below zero", request(b"POST /v1/predict", b"Content-Length: -1"), "400"),
    A("a length of 10^30", request(b"POST /v1/predict", b"Content-Length: 1" + b"0" * 30), "400|413"),
    A("a length of 10 GB", request(b"POST /v1/predict", b"Content-Length: 10000000000"), "413"),
    A("two lengths in one", request(b"POST /v1/predict", b"Content-Length: 3, 3", body=b"abc"), "400"),
    A("an unknown coding", request(b"POST /v1/predict", b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), "400"),
    A("chunks and then not", request(b"POST /v1/predict", b"Transfer-Encoding: chunked, identity", body=b"abc"), "400"),
    A("a chunk of 2^64", chunked(b"/v1/predict", b"FFFFFFFFFFFFFFFFFF\r\n"), "400"),
    A("a chunk of no number", chunked(b"/v1/predict", b"zz\r\n"), "400"),
    A("an extension that never ends", chunked(b"/v1/predict", b"1;a=" + b"b" * 2 * MB), "400|"),
    A("trailers that never end", chunked(b"/v1/predict", b"1\r\na\r\n0\r\n", b"a: b\r\n" * 100_000), "400|431|4.."),
    A("chunks of a byte", chunked(b"/v1/predict", b"1\r\na\r\n" * 200_000), "400|"),
    A("8 MB of JSON in chunks", chunked(b"/v1/runs", *[CHUNK] * 8), "413"),
    A("40 MB of image in chunks", chunked(b"/v1/predict", *[CHUNK] * 40), "413"),
    A("a body where none belongs", request(b"GET /healthz", b"Content-Length: %d" % MB, body=b"0" * MB), "413"),
    A("a body in chunks where none belongs", request(b"GET /healthz", b"Transfer-Encoding: chunked", body=CHUNK * 4), "413"),  # noqa: E501
    A("a stop with a body", chunked(b"/v1/runs/one/stop", *[CHUNK] * 2), "413"),
    A("an origin that is none", post(b"/v1/predict", b"abc", b"Origin: http://[evil"), "403"),
    A("an origin of bytes", post(b"/v1/predict", b"abc", b"Origin: \xff\xfe://\xe9"), "403|400"),
    A("cookies that are none", get(b"/v1/models", b'Cookie: a="\\;;=;[];,=\xff; pixelwise_token_0="'), "200"),
    A("60 kB of backslashes as cookie", get(b"/v1/models", b'Cookie: a="' + b"\\" * 60_000 + b'"'), "200"),
    A("a token of bytes", get(b"/v1/runs", b"Authorization: Bearer \xff\xfe"), "401"),
    A("5,000 ranges", get(b"/favicon.svg", b"Range: bytes=" + b",".join(b"%d-%d" % (i, i) for i in range(5000))), "...+"),  # noqa: E501
    A("ranges that are none", get(b"/favicon.svg", b"Range: bytes=-,9-1,a-b,-99999999999999999999"), "...+"),
    A("10,000 parameters", get(b"/v1/models?" + b"&".join(b"a%d=" % i for i in range(2_000))), "400"),
    A("percent signs", get(b"/%zz%ff%c0%ae%00%2e%2e/%"), "404"),
    A("NUL in the path", get(b"/v1/runs/a%00b", PROOF.strip()), "404"),
    A("up and away", get(b"/assets/..%2f..%2f..%2fetc/passwd"), "404"),
    A("a run's name up and away", get(b"/v1/runs/..%2f..", PROOF.strip()), "404"),
    A("a model's name up and away", get(b"/v1/model?model=../../x", PROOF.strip()), "404"),
    A("an epoch of 40 digits", get(b"/v1/runs/one/epochs/" + b"9" * 40, PROOF.strip()), "422"),
    A("a preview of 300 digits", get(b"/v1/runs/one/previews/" + b"9" * 300 + b"/0", PROOF.strip()), "422"),
    A("pixels that are none", post(b"/v1/pixel?x=1e999&y=NaN", b"abc"), "422"),
    A("pixels far away", post(b"/v1/pixel?x=" + b"9" * 5000 + b"&y=0", b"abc"), "422"),
    A("JSON 30,000 deep", runs(b"[" * 30_000), "4.."),
    A("objects 10,000 deep", runs(b'{"a":' * 10_000), "4.."),
    A("JSON of numbers that are none", runs(b'{"name":"a","epochs":1e999,"images":NaN,"size":[-Infinity,1]}'), "422"),
    A("JSON of a million digits", runs(b'{"name":"a","epochs":' + b"9" * 60_000 + b"}"), "4.."),
    A("half a surrogate", runs(b'{"name":"\\ud800","folder":"\\udfff"}'), "422"),
    A("half a surrogate as key", runs(b'{"\\ud800":1,"name":"a b"}'), "422"),
    A("JSON in bytes that are none", runs(b'{"name":"\xff\xfe"}'), "4.."),
    A("JSON that is a list", runs(b"[1]"), "422"),
    A("JSON that is nothing", runs(b""), "422"),
    *(
        A(f"a folder {named[:20]!r}", runs(json.dumps({"name": "a", "folder": named}).encode()), "422")
        for named in ("~nosuchuser", "~nosuchuser/x", "/dev/null", "a\0b", "x" * 900, "\ud83d\ude00" * 200, "\\\\host\\c$")  # noqa: E501
    ),
    A("a thousand parts", form(b"b", part("a") * 1000 + b"--b--\r\n"), "400"),
    A("a part's endless header", form(b"b", part("a", "x: " + "y" * MB + "\r\n") + b"--b--\r\n"), "400"),
    A("a form without boundary", form(b"", part("a") + b"--b--\r\n"), "400"),
    A("a boundary of 10 kB", form(b"b" * 10_000, b"--" + b"b" * 10_000 + b"--\r\n"), "400"),
    A("a form without end", form(b"b", part("a") + b'--b\r\nContent-Disposition: form-data; name="a"; filename="'), "400"),  # noqa: E501
    A("2 MB of CR in a form", form(b"b", part("a", "")[:-3] + b"\r" * 2 * MB + b"\r\n--b--\r\n"), "400"),
    A("a web socket", get(b"/v1/models", b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: x"), "200|4.."),  # noqa: E501
    A("HTTP/2 in the clear", get(b"/healthz", b"Connection: Upgrade", b"Upgrade: h2c"), "200|4.."),
    A("to be continued", request(b"POST /v1/predict", b"Content-Length: 5", b"Expect: 100-continue"), "100|"),
    A("5,000 requests at once", get(b"/healthz") * 5_000, "(200)*(400)?"),
    A("ten requests at once", get(b"/healthz") * 10, "(200){10}"),
    A("OPTIONS *", request(b"OPTIONS *"), "4.."),
    A("TRACE", request(b"TRACE /"), "405"),
    A("CONNECT", request(b"CONNECT evil.example:443"), "4.."),
    A("DELETE", request(b"DELETE /v1/runs/one", PROOF.strip()), "405"),
    A("a page number that is none", get(b"/v1/runs/one/events", PROOF.strip(), b"Last-Event-ID: \xb2\xff" + b"9" * 99), "404"),  # noqa: E501
    A("addresses forwarded", get(b"/healthz", b"X-Forwarded-For: [::1, \xff", b"X-Forwarded-Proto: \xff", b"Forwarded: ="), "200"),  # noqa: E501
    A("a kind that is none", post(b"/v1/predict", b"abc", b"Content-Type: multipart/form-data;;boundary*=\xff''%"), "4.."),  # noqa: E501
    A("an image of 30,000 chunks", post(b"/v1/predict", png_of_chunks(30_000)), "200|4.."),
    A("an image of 20,000 scans", post(b"/v1/predict", jpeg_of_scans(2_000)), "200|4.."),
    A("an image of comments", post(b"/v1/predict", b"P6\n" + b"# c\n" * MB + b"8 8\n255\n" + b"\0" * 192), "200|4.."),
    A("an image of noise", post(b"/v1/predict", b"\xff\xd8\xff\xe0" + random_bytes(2, 100_000)), "4.."),
    A("a mask of noise", post(b"/v1/images/nothing/truth", random_bytes(3, 100_000)), "404"),
]  # fmt: skip


@dataclass
class Served:
    address: str
    process: subprocess.Popen[str]
    half: list[socket.socket]  # with half of a request's headers sent
    since: float
    rss: int = 0

    @property
    def place(self) -> tuple[str, int]:
        found = urlsplit(self.address)
        return str(found.hostname), int(found.port or 0)

    def memory(self) -> int:
        return int(psutil.Process(self.process.pid).memory_info().rss)


@pytest.fixture(scope="module")
def served(fast_bundle: tuple[Path, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with started_server(fast_bundle[0], tmp_path_factory.mktemp("runs")) as (address, process):
        found = Served(address, process, [], 0.0)
        label(found)  # so that what a first image loads is there, and what the largest one below takes
        for _ in range(6):
            httpx.post(f"{address}/v1/predict?answer=page", content=large_photo(), timeout=60).raise_for_status()
        found.rss = found.memory()
        for i in range(300):
            one = socket.create_connection(found.place, timeout=5)
            one.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\na: " + b"b" * (i % 7))
            found.half.append(one)
        found.since = time.monotonic()
        yield found
        for one in found.half:
            one.close()


def label(served: Served) -> None:
    """An honest client is answered."""
    buffer = io.BytesIO()
    Image.fromarray(picture(4, 60, 80)).save(buffer, "PNG")
    answer = httpx.post(f"{served.address}/v1/predict", content=buffer.getvalue(), timeout=60)
    assert answer.status_code == 200, answer.text
    assert sum(answer.json()["rle"][1::2]) == 60 * 80


def large_photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture(5, 1200, 1600))).save(buffer, "JPEG")
    return buffer.getvalue()


def statuses(served: Served, sent: bytes, wait_s: float = 10.0) -> str:
    """What comes back, as statuses one after the other, until no more comes."""
    with socket.create_connection(served.place, timeout=wait_s) as one:
        one.settimeout(wait_s)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it was cut off while it was sending
            one.sendall(sent)
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionResetError):
            while more := one.recv(MB):
                got += more
                one.settimeout(0.3)  # more answers, or the end
    return "".join(found.decode() for found in re.findall(rb"HTTP/1.1 (\d{3}) ", got))


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_is_refused_and_others_are_answered(served: Served, attack: Attack) -> None:
    said = statuses(served, attack.sent, 0.5 if re.fullmatch(attack.said, "") else 30.0)
    assert re.fullmatch(attack.said, said), said
    assert "500" not in said
    assert httpx.get(f"{served.address}/healthz", timeout=30).status_code == 200


def test_half_requests_keep_nobody_out(served: Served) -> None:
    more = []
    for i in range(300):
        one = socket.create_connection(served.place, timeout=5)
        body = b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\n" + b"0" * (i * 7)
        with contextlib.suppress(OSError):
            one.sendall(body)
        more.append(one)
        if i % 60 == 0:
            label(served)
    label(served)
    assert httpx.get(f"{served.address}/readyz", timeout=30).status_code == 200
    for one in more:
        one.close()


def test_answers_that_nobody_reads_hold_nobody_up(served: Served) -> None:
    asked = post(b"/v1/predict?answer=page", large_photo())
    mute = []
    for _ in range(6):
        one = socket.create_connection(served.place, timeout=30)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.sendall(asked)
        mute.append(one)
    end = time.monotonic() + 60
    while (answer := httpx.get(f"{served.address}/readyz", timeout=30)).status_code != 200:
        assert time.monotonic() < end, answer.text
        time.sleep(0.1)
    label(served)
    for one in mute:
        one.close()


def test_half_requests_are_cut_off_in_time_and_nothing_is_left_of_any_attack(served: Served) -> None:
    time.sleep(max(served.since + LATE_S - time.monotonic(), 0))
    for one in served.half:
        one.settimeout(30)
        with contextlib.suppress(ConnectionResetError):
            assert one.recv(MB)[:12] in (b"HTTP/1.1 408", b"")
    label(served)
    end = time.monotonic() + 30
    while "pixelwise_places_taken 0.0\n" not in (told := httpx.get(f"{served.address}/metrics", timeout=30).text):
        assert time.monotonic() < end, told
        time.sleep(0.1)
    assert 'status="500"' not in told
    while (grown := served.memory() - served.rss) > GROWTH_BYTES and time.monotonic() < end:
        time.sleep(0.5)
    assert grown < GROWTH_BYTES, f"{grown / MB:.0f} MB more"
    served.process.send_signal(signal.SIGTERM)
    served.process.wait(10)
