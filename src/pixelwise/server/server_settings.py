"""What a server is told when it starts: where it listens, what it lets in, and where trainings go."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

LOOPBACK = ("127.0.0.1", "localhost", "::1")
EVERYWHERE = ("0.0.0.0", "::", "")  # hosts that mean every address of this machine


@dataclass(frozen=True)
class ServerSettings:
    """The defaults suit one person on their own machine."""

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None  # proof of who may use this machine's folders; None: made up by the server
    allowed_hosts: tuple[str, ...] = ()  # further names under which the server may be called
    max_bytes: int = 32 * 2**20  # of one upload
    max_pixels: int = 40_000_000  # of one image
    read_s: float = 20.0  # within which an upload must have arrived
    wait_s: float = 15.0  # for an answer, before a request that has not begun is given up
    workers: int = 1  # images at a time; ONNX Runtime spreads each over all cores
    queue: int = 8  # requests that may wait; further ones are told to come back
    decoders: int = 2  # processes in which uploads are decoded
    arriving_bytes: int = 128 * 2**20  # of all uploads that have yet to arrive whole
    remembered: int = 12  # images that the page may still ask about
    runs: Path = field(default_factory=lambda: Path("runs"))  # where trainings from the page go

    @property
    def is_local(self) -> bool:
        """Is this server called from this machine alone? Behind a proxy, which needs a name of its own, it is not."""
        return not self.allowed_hosts and (self.host in LOOPBACK or is_loopback(self.host))

    @property
    def is_everywhere(self) -> bool:
        """Does it listen on every address of this machine?"""
        return self.host in EVERYWHERE

    @cached_property
    def names(self) -> frozenset[str]:
        """Host names, without port, that a request may be addressed to, besides the address that it came in on."""
        own = own_names() if self.is_everywhere else (self.host,)
        return frozenset(name.lower() for name in (*LOOPBACK, *own, *self.allowed_hosts))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names() -> tuple[str, ...]:
    """This machine's names: as it calls itself, and as its neighbours do without a name server (multicast DNS)."""
    name = socket.gethostname()
    return name, f"{name.partition('.')[0]}.local"


def own_addresses() -> list[str]:
    """The addresses at which others reach this machine, IPv4 first; none that needs a zone, which no browser takes."""
    import psutil

    found = {
        row.address
        for name, rows in psutil.net_if_addrs().items()
        for row in rows
        if row.family in (socket.AF_INET, socket.AF_INET6)
    }
    usable = [ipaddress.ip_address(address) for address in found if "%" not in address]
    usable = [one for one in usable if not (one.is_loopback or one.is_link_local or one.is_unspecified)]
    return [str(one) for one in sorted(usable, key=lambda one: (one.version, int(one)))]
