"""Data-parallel training: torchrun starts the processes, each trains on its part of every batch, the first one writes.

The result equals that of one process with the whole batch: loss sums, batch normalisation statistics and gradients are
reduced over all processes, so that only the rounding of sums differs.

Without torchrun, all functions here return their argument.
"""

from __future__ import annotations

import functools
import gc
import inspect
import json
import os
import socket
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from pixelwise.errors import StoppedError, TrainingError, UsageError
from pixelwise.images.files import write_whole
from pixelwise.locks import identity_of
from pixelwise.training.sync_batch_norm import share_statistics

# How long processes wait for each other. Long: the first checks the data and exports while the others wait. A dead
# process keeps nobody waiting: torchrun notices at once.
PATIENCE = timedelta(hours=6)
SAVING_S = 25.0  # on a stop, the others wait for the first to save: when one exits, torchrun kills the rest within 30 s

P = ParamSpec("P")
T = TypeVar("T")


def launched() -> bool:
    """Was this process started by torchrun?"""
    return dist.is_torchelastic_launched()


def process() -> int:
    """The rank of this process, from 0."""
    return int(os.environ["RANK"]) if launched() else 0


def processes() -> int:
    return int(os.environ["WORLD_SIZE"]) if launched() else 1


def is_first() -> bool:
    """Is this the first process? It alone checks the data, holds the lock, and writes files."""
    return process() == 0


# ── beginning and end ──


def together(work: Callable[P, T]) -> Callable[P, T]:
    """Run `work` in all processes that torchrun started, and end all of them if one ends.

    If processes fail, only the one that failed first reports an error; the others exit silently with code 1. If a
    signal stopped them all, the first process prints how to resume.

    Raises:
        TrainingError: another process was lost: killed, or its machine gone.
        whatever `work` raises, in the process that failed first; SystemExit in the others.
    """

    @functools.wraps(work)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        if not launched():
            return work(*args, **kwargs)
        store, rank, world = next(rendezvous("env://"))
        store = meeting_place(store, rank, world)
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
        try:
            done = work(*args, **kwargs)
            meet()  # an error while the first writes the bundle is an error of the whole training
        except StoppedError as stopped:
            if is_first():
                store.set("stopped", "")
                raise
            if not stopped.at_once:
                wait_for(store, "stopped", SAVING_S)
            raise SystemExit(stopped.exit_code) from stopped
        except Exception as error:
            if not failed_first(store):
                raise SystemExit(1) from error
            if lost_another(error):
                raise lost_error() from error
            raise
        gc.collect()  # what still refers to the group, such as the wrapped network, lies in circles of references
        dist.destroy_process_group()
        return done

    return run


def meeting_place(store: Store, rank: int, world: int) -> Store:
    """A part of the store for this set of processes, under a random name that the first one chooses.

    torchrun keeps its store when it starts lost processes again, and in it the addresses at which the processes before
    could be reached. Each process waits until the first one answers it by its own name: one from before does not.
    """
    own = uuid.uuid4().hex
    if rank == 0:
        store.set("first", own)
        for other in range(1, world):
            name = store.get(f"{own}/{other}").decode()
            store.set(f"{own}/{name}", "welcome")
        return PrefixStore(own, store)
    while True:
        first = store.get("first").decode()
        store.set(f"{first}/{rank}", own)
        if store.check([f"{first}/{own}"]):
            return PrefixStore(first, store)
        time.sleep(0.05)


def meet() -> None:
    """Wait until all processes call this."""
    if processes() > 1:
        dist.all_reduce(torch.zeros(1))  # not dist.barrier(), which on CUDA would take part in NCCL's order of things


def wait_for(store: Store, key: str, limit_s: float) -> None:
    """Wait until another process sets a key, at most `limit_s` seconds."""
    end = time.monotonic() + limit_s
    while time.monotonic() < end and not store.check([key]):
        time.sleep(0.05)


def failed_first(store: Store) -> bool:
    """Is this the first process to report a failure?"""
    try:
        return bool(store.add("failures", 1) == 1)
    except RuntimeError:  # the store went with torchrun itself
        return True


def lost_another(error: BaseException) -> bool:
    """Is this the error of a collective whose peer is gone? It has no type of its own."""
    return isinstance(error, dist.DistError) or any(
        sign in str(error) for sign in ("gloo", "Connection closed by peer")
    )


def lost_error() -> TrainingError:
    return TrainingError(
        f"process {process()} of {processes()}: another process was lost: killed, out of memory, or gone with its "
        "machine. Resume from the last checkpoint with --resume; torchrun --max-restarts N does so automatically."
    )


def remember_job(out: Path) -> None:
    """Record in RUN/job which torchrun started the training, so that it may resume it after a restart."""
    if launched():
        write_whole(out / "job", f"{job()}\n".encode())


def belongs_to_this_job(out: Path) -> bool:
    """Was the training in `out` started by the torchrun that started this process?"""
    try:
        return launched() and (out / "job").read_text(encoding="utf-8").strip() == job()
    except (OSError, UnicodeDecodeError):
        return False


def job() -> str:
    """An identifier of this torchrun: its --rdzv-id, or if none was given, the torchrun process."""
    given = os.environ["TORCHELASTIC_RUN_ID"]
    if given not in ("", "none"):
        return given
    started = (identity_of(os.getppid()) or {}).get("started", "")  # a number alone comes back, with a time it does not
    return f"{socket.gethostname()} {os.getppid()} {started}".strip()


# ── what each process does ──


def choose_device(name: str = "auto") -> torch.device:
    """Where this process computes: its own GPU where there is one, or the processor.

    Args:
        name: "auto", "cpu", "cuda" or "mps" (Apple's GPU: written after torch's documentation, not yet tried).

    Raises:
        UsageError: another name, or no GPU for this process.
    """
    if name not in ("auto", "cpu", "cuda", "mps"):
        raise UsageError(f"--device {name}: expected auto, cpu, cuda or mps.")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise UsageError(f"--device mps: torch {torch.__version__} finds no Apple GPU here; leave --device out.")
        if launched():
            raise UsageError("--device mps: one process only; start it without torchrun.")
        return torch.device("mps")
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"--device cuda: torch {torch.__version__} finds no CUDA device here. Check that nvidia-smi lists one and "
            "that torch was installed for CUDA (https://pytorch.org/get-started), or leave --device out."
        )
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    own, there = int(os.environ["LOCAL_RANK"]) if launched() else 0, torch.cuda.device_count()
    if own >= there:
        raise UsageError(
            f"process {own + 1} of this machine has no GPU of its own: there are {there}. Start torchrun with "
            f"--nproc-per-node {there}, or use the processors with --device cpu."
        )
    torch.cuda.set_device(own)
    return torch.device("cuda", own)


def require_equal_shares(batch: int) -> None:
    """Raise UsageError if the processes cannot divide a batch evenly."""
    if batch % processes():
        lower, upper = batch // processes() * processes(), (batch // processes() + 1) * processes()
        choices = f"--batch {lower} or {upper}" if lower else f"--batch {upper}"
        raise UsageError(
            f"a batch of {batch} cannot be divided evenly among {processes()} processes. Choose {choices} (it "
            "counts the images of all processes), or another number of processes."
        )


def own_part(count: int, kept: int = 0) -> list[int]:
    """The indices below `count` that this process handles: round-robin, but the first process gets the first `kept`."""
    return [index for index in range(count) if (0 if index < kept else index % processes()) == process()]


def parallel(network: nn.Module) -> nn.Module:
    """The network wrapped so that gradients and normalisation statistics are reduced over all processes.

    It shares its parameters with `network`.
    """
    if processes() == 1:
        return network
    share_statistics(network)
    device = next(network.parameters()).device
    # Buffers need no copying at every step: they follow from statistics that are the same everywhere. The option for it
    # got another name in torch 2.13.
    options: dict[str, Any] = {"gradient_as_bucket_view": True}
    known = inspect.signature(DistributedDataParallel).parameters
    options["forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"] = False
    return DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None, **options)


class SumOverProcesses(torch.autograd.Function):
    """Forward: the sum over all processes. Backward: the gradient of this process's part."""

    @staticmethod
    def forward(_ctx: Any, part: Tensor) -> Tensor:
        total = part.detach().clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * processes()  # DistributedDataParallel takes the processes' mean; the gradient is their sum


def sum_over_all(part: Tensor) -> Tensor:
    """A tensor's sum over all processes, for a loss whose gradients DistributedDataParallel reduces."""
    if processes() == 1:
        return part
    total: Tensor = SumOverProcesses.apply(part)  # type: ignore[no-untyped-call]
    return total


def total_of(counts: NDArray[Any]) -> NDArray[Any]:
    """Counts summed over all processes."""
    if processes() == 1:
        return counts
    total = torch.from_numpy(np.ascontiguousarray(counts).copy())
    dist.all_reduce(total)
    return total.numpy()


def largest(number: int) -> int:
    """The largest of all processes' numbers."""
    if processes() == 1:
        return number
    numbers = torch.tensor(number)
    dist.all_reduce(numbers, dist.ReduceOp.MAX)
    return int(numbers)


# ── broadcasts from the first process ──


def from_first(value: Any = None) -> Any:
    """Broadcast the first process's value, which must be serialisable as JSON. With one process, the value itself."""
    if processes() == 1:
        return value
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)  # JSON, as no process should run another's pickle
    size = torch.tensor([len(text)])
    dist.broadcast(size, src=0)
    content = torch.from_numpy(text.copy()) if is_first() else torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(content, src=0)
    return json.loads(content.numpy().tobytes())


def tensors_from_first(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Broadcast the first process's tensors, on the CPU."""
    forms = from_first([[name, list(tensor.shape), str(tensor.dtype)] for name, tensor in tensors.items()])
    told = {}
    for name, shape, dtype in forms:
        if is_first():
            told[name] = tensors[name].detach().cpu().contiguous()
        else:
            told[name] = torch.empty(shape, dtype=getattr(torch, dtype.removeprefix("torch.")))
        dist.broadcast(told[name], src=0)
    return told
