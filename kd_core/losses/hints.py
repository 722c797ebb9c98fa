"""Objectives that compare what single images look like inside both networks: FitNets' hint and attention transfer.

Features are vectors (B, D) or maps (B, C, H, W) of one batch of B images; student first. Maps of two networks are
brought to the smaller of their two sizes by averaging, as RepDistiller (github.com/HobbitLong/RepDistiller) does for
attention transfer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kd_core.losses.relations import unit_rows
from kd_core.models.taps import Taps


def hint_loss(regressed: Tensor, teacher: Tensor) -> Tensor:
    """FitNets' hint (Romero et al. 2015, arXiv:1412.6550, equation 3), in squared units of the teacher's features.

    Mean of (r(student) − teacher)² over all their numbers, as RepDistiller takes it; the paper takes half the sum of an
    image's. regressed: the student's features after the regressor r, of the teacher's channels, (B, E) or
    (B, E, H, W). teacher: (B, E) or (B, E, H', W').
    """
    return F.mse_loss(*same_size(regressed, teacher))


def attention_loss(stages: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Activation-based attention transfer (Zagoruyko and Komodakis 2017, arXiv:1612.03928, equation 2, p = 2), no unit.

    Sum over the pairs of stages of the mean over images and positions of (Q_s/‖Q_s‖ − Q_t/‖Q_t‖)², where Q is
    attention of an image's maps; the mean over positions is that of the authors' code (cifar.py). stages: maps of the
    student (B, C, H, W) and of the teacher (B, C', H', W') at each, as joined gives them.
    """
    pairs = [same_size(*maps) for maps in stages]
    losses = [F.mse_loss(unit_rows(attention(ours)), unit_rows(attention(theirs))) for ours, theirs in pairs]
    return torch.stack(losses).sum()


def attention(maps: Tensor) -> Tensor:
    """Where a stage is active: the mean of the squares over channels (section 3.1), (B, C, H, W) -> (B, H · W)."""
    return maps.square().mean(dim=1).flatten(1)


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps averaged down to the smaller height and the smaller width of the two. Vectors stay as they are."""
    if student.ndim == 2:
        return student, teacher
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    return F.adaptive_avg_pool2d(student, size), F.adaptive_avg_pool2d(teacher, size)


def stage_pairs(student: int, teacher: int) -> list[tuple[int, int]]:
    """Pair the stages of student and teacher, counted from 0, given how many each has.

    The network with fewer gives all of its own, the other one the stages at the same share of its depth: last goes
    with last. 2 and 4 give (0, 1), (1, 3).
    """
    pairs = min(student, teacher)
    return [(i * student // pairs - 1, i * teacher // pairs - 1) for i in range(1, pairs + 1)]


def joined(student: Taps, teacher: Taps) -> list[tuple[Tensor, Tensor]]:
    """Maps of student and teacher at each pair of stages; none where one of them has no maps."""
    if not student.maps or not teacher.maps:
        return []
    pairs = stage_pairs(len(student.maps), len(teacher.maps))
    return [(student.maps[ours], teacher.maps[theirs]) for ours, theirs in pairs]


def hinted(student: Taps, teacher: Taps) -> tuple[Tensor, Tensor]:
    """What a hint compares: maps in the middle of both (Romero et al., section 2.2), else what feeds the last layer."""
    pairs = joined(student, teacher)
    return pairs[(len(pairs) - 1) // 2] if pairs else (student.features, teacher.features)


class Regressor(nn.Module):
    """Linear map from the student's channels to the teacher's: the same at each position of maps, a 1x1 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs), or (B, inputs, H, W) -> (B, outputs, H, W)."""
        if features.ndim == 2:
            return F.linear(features, self.linear.weight, self.linear.bias)
        return F.conv2d(features, self.linear.weight[:, :, None, None], self.linear.bias)
