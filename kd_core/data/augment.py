"""Training images changed at random, in batches on their device: moved, mirrored, recoloured, mixed.

Everything is drawn from a seed that the caller names, and leaves torch's own generator as it was: a step of training
sees the same views whatever else was drawn before it, and teacher and student of a step see the same ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from kd_core.base.torchvision import transforms

GROUPS = 16
"""Parts of a batch that each draw their own colours and operations. Whose images are together changes every epoch."""


@contextmanager
def drawn_by(seed: int) -> Iterator[None]:
    """Within, torch's generator on the CPU draws from this seed; after it, as if nothing had been drawn."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def shifted(images: Tensor, shifts: Tensor) -> Tensor:
    """Move each image by its own whole number of pixels; zeros come in. (B, C, H, W), (B, 2) down, right -> same."""
    batch, channels, height, width = images.shape
    margin = int(shifts.abs().max())
    padded = F.pad(images, (margin, margin, margin, margin))
    rows = torch.arange(height, device=images.device) + margin - shifts[:, :1]
    columns = torch.arange(width, device=images.device) + margin - shifts[:, 1:]
    examples = torch.arange(batch, device=images.device)[:, None, None, None]
    return padded[
        examples,
        torch.arange(channels, device=images.device)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def changed(images: Tensor, *, flip: bool, colour: float, operations: int) -> Tensor:
    """(B, C, H, W) uint8 -> same. flip: mirror about half of them, left to right.

    colour: brightness, contrast and saturation change by up to this share, both ways. operations: of RandAugment
    (Cubuk et al. 2020, arXiv:1909.13719), at torchvision's magnitude of 9 of 30.
    """
    v2 = transforms()
    steps: list[Any] = [v2.ColorJitter(brightness=colour, contrast=colour, saturation=colour)] if colour else []
    steps += [v2.RandAugment(num_ops=operations)] if operations else []
    if steps:
        change = v2.Compose(steps)
        images = torch.cat([change(part) for part in images.split(-(-len(images) // GROUPS))])
    if flip:
        mirrored = torch.rand(len(images)).lt(0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], v2.functional.horizontal_flip(images), images)
    return images


def mixed(inputs: Tensor, labels: Tensor, classes: int, *, mixup: float, cutmix: float) -> tuple[Tensor, Tensor]:
    """Each image with its neighbour in the batch: blended (mixup), or a rectangle of it pasted in (CutMix).

    inputs: (B, C, H, W) float. labels: (B,) int64 -> (B, K) shares. mixup, cutmix: alpha of the Beta distribution that
    the share is drawn from, 0 for none; of both, a batch gets one or the other. Zhang et al. 2018, arXiv:1710.09412;
    Yun et al. 2019, arXiv:1905.04899.
    """
    v2 = transforms()
    kinds = [(v2.MixUp, mixup), (v2.CutMix, cutmix)]
    ways = [kind(alpha=alpha, num_classes=classes) for kind, alpha in kinds if alpha]
    blended, shares = ways[int(torch.randint(len(ways), ()))](inputs, labels)
    return blended, shares
