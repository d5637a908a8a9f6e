"""An epoch's batches, whatever becomes of the processes that load them: killed ones are replaced."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

from torch import Tensor
from torch.utils.data import DataLoader

from pixelwise.errors import PixelwiseError, WorkerError
from pixelwise.training.batch_order import Order

RESTARTS = 3  # of killed workers, per epoch


def batches_from(
    batches: DataLoader[list[Tensor]], order: Order, start: int, lost: Callable[[str], None]
) -> Iterator[list[Tensor]]:
    """An epoch's batches from number `start` on. Killed worker processes are replaced: the content of a batch
    depends on its position alone, so nothing is lost.

    Args:
        lost: called with the reason before the workers are replaced.

    Raises:
        WorkerError: they were replaced RESTARTS times and died again.
    """
    restarts = 0
    while start < len(order):
        order.start = start
        try:
            iterator = iter(batches)
            if batches.num_workers:
                leave_dead_workers_to_the_queue()
            for batch in iterator:
                start += 1
                yield batch
        except PixelwiseError as error:
            raise without_traceback(error) from error
        except (RuntimeError, OSError, EOFError) as error:
            if not batches.num_workers or not is_lost_worker(error):
                raise
            reason = str(error) or type(error).__name__
            restarts += 1
            if restarts > RESTARTS:
                raise WorkerError(
                    f"data loading processes died {restarts} times in one epoch ({reason}), most likely because memory "
                    "ran out. Free memory or cache fewer decoded images (--set cache_mb=256), then use --resume; or "
                    "start over with --workers 0."
                ) from error
            lost(reason)


def without_traceback(error: PixelwiseError) -> PixelwiseError:
    """An error raised in a worker, without the traceback that torch puts into its message."""
    message = str(error)
    return type(error)(message.rstrip().rpartition(f"{type(error).__name__}: ")[2]) if "Caught " in message else error


def leave_dead_workers_to_the_queue() -> None:
    """Remove torch's SIGCHLD handler, which raises in the middle of a step when a worker dies. Its queue notices dead
    workers within seconds, between two steps, when the next batch is fetched."""
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "SIGCHLD"):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def is_lost_worker(error: BaseException) -> bool:
    """Did a worker die, rather than raise? An error raised in a worker arrives with its traceback; a connection to a
    dead one breaks in several ways."""
    if "Caught " in str(error):
        return False
    return "DataLoader worker (pid" in str(error) or isinstance(error, (ConnectionError, EOFError, FileNotFoundError))
