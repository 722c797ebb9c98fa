"""Dropout whose masks cost little on a CPU."""

import torch
from torch import Tensor, nn


class Dropout(nn.Dropout):
    """nn.Dropout, with masks that cost little on a CPU.

    There torch draws one double a unit: half the time of a step of the paper's teacher (two cores, torch 2.13). Here
    four units share 64 random bits, 16 each, so p is met to within 1/65,536. Other devices use torch's own.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Any shape -> same shape: each value is 0 with probability p, else divided by 1 - p. Identity in eval mode."""
        if not self.training or values.device.type != "cpu":
            return super().forward(values)
        words = torch.empty((values.numel() + 3) // 4, dtype=torch.int64)
        words.random_(torch.iinfo(torch.int64).min, None)
        lanes = words.view(torch.int16)[: values.numel()].view(values.shape)
        dropped = round(self.p * 65_536)
        mask = (lanes >= dropped - 32_768).to(values.dtype)
        return values * mask.mul_(65_536 / (65_536 - dropped))
