"""The settings of a server: its address, its limits, and the folder of runs."""

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
    token: str | None = None  # needed for folders of this machine and for trainings; None: generated
    allowed_hosts: tuple[str, ...] = ()  # further host names that the server accepts
    max_bytes: int = 32 * 2**20  # of one upload
    max_pixels: int = 40_000_000  # of one image
    read_s: float = 20.0  # time for an upload to arrive
    wait_s: float = 15.0  # in the queue, before a request is rejected
    workers: int = 1  # images at a time; ONNX Runtime spreads each over all cores
    queue: int = 8  # requests that may wait; further ones are rejected with 503
    decoders: int = 2  # processes in which uploads are decoded
    arriving_bytes: int = 128 * 2**20  # of all uploads that are still arriving
    remembered: int = 12  # images kept for later requests of the page
    runs: Path = field(default_factory=lambda: Path("runs"))  # the folder of runs
    data: tuple[Path, ...] = ()  # folders of data that the page may read

    @property
    def is_local(self) -> bool:
        """Is this server reachable from this machine only? Behind a proxy, which needs --allow-host, it is not."""
        return not self.allowed_hosts and (self.host in LOOPBACK or is_loopback(self.host))

    @property
    def is_everywhere(self) -> bool:
        """Does it listen on every address of this machine?"""
        return self.host in EVERYWHERE

    @cached_property
    def names(self) -> frozenset[str]:
        """Host names, without port, that are accepted in addition to the address at which a request arrives."""
        own = own_names() if self.is_everywhere else (self.host,)
        return frozenset(name.lower() for name in (*LOOPBACK, *own, *self.allowed_hosts))


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names() -> tuple[str, ...]:
    """The names of this machine: its host name, and its multicast DNS name."""
    name = socket.gethostname()
    return name, f"{name.partition('.')[0]}.local"


def own_addresses() -> list[str]:
    """The addresses at which others reach this machine, IPv4 first; without zones, which browsers do not support."""
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
