"""Contrastive representation distillation (Tian, Krishnan and Isola 2020, arXiv:1910.10699), with its memory bank.

An image's features in student and teacher are embedded in one space, where the two embeddings of an image should be
closer than those of two images. Both embeddings are trained, the teacher itself is not.
"""

import torch
from torch import Tensor, nn

from kd_core.losses.relations import unit_rows

EMBEDDED = 128
"""Numbers of an embedding. This and the next two are the values of the authors' train_student.py."""
CONTRAST_TEMPERATURE = 0.07
MOMENTUM = 0.5
"""Share of an image's old entry that stays in the memory bank when its embedding is seen anew."""
NEGATIVES = 4096
"""Most negatives a step, shared by its images: one matrix product. The authors draw 16,384 for each image."""


def contrastive_loss(positives: Tensor, negatives: Tensor, among: Tensor, *, count: int, images: int) -> Tensor:
    """The critic's loss with one side as anchor, in nats per image (section 3.1 of the paper; equation 18 in its code).

    −log h⁺ − N · mean over an image's negatives of log(1 − h⁻), mean over the B images, with h = s / (s + N/M).
    positives (B,) and negatives (B, P): scores s above 0. among (B, P) bool: which of P candidates are negatives of
    the image. count: N, negatives for each positive. images: M, how many images the negatives are drawn from.
    An image without negatives adds its positive alone.
    """
    noise = count / images
    hit = torch.log1p(noise / positives)  # −log(s / (s + N/M))
    misses = torch.log1p(negatives / noise).masked_fill(~among, 0)  # −log(1 − s / (s + N/M))
    return (hit + count * misses.sum(dim=1) / among.sum(dim=1).clamp(min=1)).mean()


class Contrast(nn.Module):
    """The embeddings of student and teacher, and a memory bank of both embeddings of each training image.

    student, teacher: widths of their features. images: M of the training set. Entries of the memory bank start as
    random directions. The scores' constants Z, one a side, are set in the first step, as the authors' code does.
    Everything is in the state dict, so a checkpoint holds it; which negatives a step gets is up to torch's global
    generator of the CPU.
    """

    student_bank: Tensor
    teacher_bank: Tensor
    names: Tensor
    constants: Tensor

    def __init__(self, student: int, teacher: int, images: int) -> None:
        super().__init__()
        self.embed_student = nn.Linear(student, EMBEDDED)
        self.embed_teacher = nn.Linear(teacher, EMBEDDED)
        self.register_buffer("student_bank", unit_rows(torch.randn(images, EMBEDDED)))
        self.register_buffer("teacher_bank", unit_rows(torch.randn(images, EMBEDDED)))
        self.register_buffer("names", -1 - torch.arange(images))  # of its own for an image of no known class
        self.register_buffer("constants", torch.zeros(2))

    def forward(self, student: Tensor, teacher: Tensor, indices: Tensor, labels: Tensor | None) -> Tensor:
        """Loss of both sides as anchors, in nats per image, and update the memory bank.

        student (B, D), teacher (B, E): features. indices (B,): where the images lie in the training set. labels (B,),
        so that an image known to be of the same class is no negative, as in the authors' code; None where no label is
        read: then all other images are negatives.
        """
        if labels is not None:
            self.names[indices] = labels
        images = len(self.student_bank)
        drawn = torch.randint(images, (min(NEGATIVES, images),)).to(indices.device)
        among = self.names[drawn] != self.names[indices][:, None]
        ours, theirs = unit_rows(self.embed_student(student)), unit_rows(self.embed_teacher(teacher))
        loss = self._side(0, ours, self.teacher_bank, indices, drawn, among)
        loss = loss + self._side(1, theirs, self.student_bank, indices, drawn, among)
        self._remember(self.student_bank, indices, ours)
        self._remember(self.teacher_bank, indices, theirs)
        return loss

    def _side(self, side: int, anchors: Tensor, bank: Tensor, own: Tensor, drawn: Tensor, among: Tensor) -> Tensor:
        """Loss of one side's anchors (B, EMBEDDED) against the other side's memory bank."""
        positives = ((anchors * bank[own]).sum(dim=1) / CONTRAST_TEMPERATURE).exp()
        negatives = (anchors @ bank[drawn].T / CONTRAST_TEMPERATURE).exp()
        known = self.constants[side].clone()
        z = torch.where(known == 0, negatives.detach().mean() * len(bank), known)
        self.constants[side] = z
        return contrastive_loss(positives / z, negatives / z, among, count=len(drawn), images=len(bank))

    @staticmethod
    @torch.no_grad()
    def _remember(bank: Tensor, indices: Tensor, embedded: Tensor) -> None:
        bank[indices] = unit_rows(MOMENTUM * bank[indices] + (1 - MOMENTUM) * embedded)
