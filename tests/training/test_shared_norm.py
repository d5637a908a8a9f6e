"""Batch normalisation over processes: alone in its group it is torch's own. (Two processes: test_distributed.py.)"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn

from pixelwise.training.sync_batch_norm import SharedBatchNorm, share_statistics


@pytest.fixture(scope="module", autouse=True)
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_alone_it_is_torchs_also_where_a_channel_is_dead(memory: torch.memory_format) -> None:
    random = torch.Generator().manual_seed(0)
    plain = nn.BatchNorm2d(5, eps=1e-3, dtype=torch.float64)
    with torch.no_grad():
        plain.weight.copy_(torch.rand(5, generator=random))
    shared = nn.Sequential(copy.deepcopy(plain))
    share_statistics(shared)
    assert isinstance(shared[0], SharedBatchNorm)
    x = 3 + torch.randn(4, 5, 6, 7, generator=random, dtype=torch.float64)
    x[:, 2] = 0  # as behind a ReLU that nothing passes any more
    slope = torch.randn(x.shape, generator=random, dtype=torch.float64)
    results = []
    for norm in (plain, shared):
        seen = x.clone(memory_format=memory).requires_grad_()
        y = norm(seen)
        (y * slope).sum().backward()
        results.append([y, seen.grad, *(p.grad for p in norm.parameters()), *norm.buffers()])
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_with_fixed_statistics_nothing_is_shared() -> None:
    plain = nn.BatchNorm2d(3).eval()
    shared = copy.deepcopy(plain)
    share_statistics(shared)
    x = torch.rand(2, 3, 4, 4)
    assert shared.eval()(x).equal(plain(x))
