"""The state of a running server, available to every route."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from fastapi import Request

from pixelwise.server.body_limits import ArrivingBodies
from pixelwise.server.data_folders import DataFolders
from pixelwise.server.decoder_pool import DecoderPool
from pixelwise.server.evaluating.evaluation_jobs import EvaluationJobs
from pixelwise.server.gallery.galleries import Galleries
from pixelwise.server.image_memory import ImageMemory
from pixelwise.server.labelling.labelling_state import LabellingState
from pixelwise.server.model_cache import ModelCache
from pixelwise.server.monitoring import Monitor
from pixelwise.server.request_queue import RequestQueue
from pixelwise.server.run_list import Runs
from pixelwise.server.server_settings import ServerSettings
from pixelwise.server.shipping.ship_jobs import ShipJobs


@dataclass
class State:
    settings: ServerSettings
    models: ModelCache
    runs: Runs
    queue: RequestQueue
    decoders: DecoderPool
    arriving: ArrivingBodies
    memory: ImageMemory
    monitor: Monitor
    labelling: LabellingState
    data: DataFolders
    galleries: Galleries
    evaluations: EvaluationJobs
    shipping: ShipJobs
    stopping: threading.Event = field(default_factory=threading.Event)


async def state_of(request: Request) -> State:  # a plain function would run on a thread each time
    state: State = request.app.state.pixelwise
    return state
