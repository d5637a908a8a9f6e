"""What a server is told when it starts: where it listens, what it lets in, and where trainings go."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """The defaults suit one person on their own machine."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None  # asked for on every request; made up where the host is not this machine's own
    allowed_hosts: tuple[str, ...] = ()  # further names under which the server may be called
    max_bytes: int = 32 * 2**20  # of one upload
    max_pixels: int = 40_000_000  # of one image
    read_s: float = 20.0  # within which an upload must have arrived
    wait_s: float = 15.0  # for an answer, before a request that has not begun is given up
    workers: int = 1  # images at a time; ONNX Runtime spreads each over all cores
    queue: int = 8  # requests that may wait; further ones are told to come back
    readers: int = 24  # uploads that may arrive at a time
    remembered: int = 12  # images that the page may still ask about
    runs: Path = field(default_factory=lambda: Path("runs"))  # where trainings from the page go

    @property
    def is_local(self) -> bool:
        return self.host in LOOPBACK

    @property
    def names(self) -> frozenset[str]:
        """Host names, without port, that a request may be addressed to."""
        own = () if self.host in ("0.0.0.0", "::") else (self.host,)  # these two mean every address
        return frozenset(name.lower() for name in (*LOOPBACK, *own, *self.allowed_hosts))
