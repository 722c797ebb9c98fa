"""What a speed measurement says of itself. How fast anything is, is no test's business."""

import torch
from torch import nn

from kd_core import speed


class Counting(nn.Module):
    """Notes the order in which models are called."""

    def __init__(self, name, calls):
        super().__init__()
        self.name, self.calls, self.weight = name, calls, nn.Parameter(torch.zeros(3))

    def forward(self, values):
        assert not self.training
        self.calls.append((self.name, len(values)))
        return values


def test_models_take_turns_and_every_number_is_positive(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS_PER_MODEL", 0.01)
    calls = []
    candidates = {name: Counting(name, calls).train() for name in ("teacher", "student")}
    result = speed.measure(candidates, torch.zeros(4, 1, 2, 2), threads=1)
    singles = [name for name, size in calls if size == 1]
    assert singles[6:] == ["teacher", "student"] * (len(singles[6:]) // 2)
    for measured in result["models"].values():
        assert 0 < measured["latency_ms_p50"] <= measured["latency_ms_p95"]
        assert measured["images_per_second"] > 0
        assert measured["batch_size"] == 512
    assert result["conditions"]["threads"] == 1


def test_thread_count_is_put_back():
    before = torch.get_num_threads()
    speed.measure({"m": nn.Identity()}, torch.zeros(1, 1, 2, 2), threads=1)
    assert torch.get_num_threads() == before


def test_size_counts_parameters_and_buffers_in_their_own_width():
    model = nn.Sequential(nn.Linear(3, 4).half(), nn.BatchNorm1d(4))
    assert speed.size_bytes(model) == 2 * (12 + 4) + 4 * (4 + 4 + 4 + 4) + 8
