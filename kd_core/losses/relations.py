"""Objectives that compare how a batch's images lie to each other, so that student and teacher may differ in width.

Pure functions of features, (N, D) for the student and (N, E) for the teacher: N images of one batch, in the same
order; student first. Each gives a scalar, and its gradient goes to the student alone if the teacher's has none.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

ANGLE_GROUP = 64
"""Images among which angles are taken: the batch size of RepDistiller. A batch of 512 has 512³ of them, too many."""


def similarity_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Similarity preserving (Tung and Mori 2019, arXiv:1907.09682, section 3.1): mean over the N² pairs, no unit.

    (1/N²) · ‖G_t − G_s‖²_F, where G is F Fᵀ of the features F with each row divided by its length. (N, D), (N, E).
    """
    return (unit_rows(teacher @ teacher.T) - unit_rows(student @ student.T)).square().mean()


def distance_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Distance-wise relational distillation (Park et al. 2019, arXiv:1904.05068, section 3.2.1), no unit.

    Mean over the pairs i < j of huber(d_t(i, j) − d_s(i, j)), where d is the Euclidean distance divided by its mean
    over the pairs of the batch, and huber is x²/2 up to 1, then |x| − 1/2. (N, D), (N, E). 0 for a single image.
    """
    if len(student) < 2:
        return student.sum() * 0
    return F.smooth_l1_loss(_relative_distances(student), _relative_distances(teacher))


def angle_loss(student: Tensor, teacher: Tensor, *, group: int = ANGLE_GROUP) -> Tensor:
    """Angle-wise relational distillation (Park et al. 2019, arXiv:1904.05068, section 3.2.2), no unit.

    Mean over the triples of different images i, j, k of huber(cos_t(i, j, k) − cos_s(i, j, k)), where cos is the cosine
    of the angle at j between the directions to i and to k. (N, D), (N, E). The triples are those within each group of
    so many images, cut from the batch in its order. 0 where there is no triple.
    """
    parts = zip(student.split(group), teacher.split(group), strict=True)
    sums, triples = student.sum() * 0, 0
    for student_part, teacher_part in parts:
        n = len(student_part)
        if n < 3:
            continue
        apart = F.smooth_l1_loss(_cosines(student_part), _cosines(teacher_part), reduction="none")
        same = torch.eye(n, dtype=torch.bool, device=student.device)  # i = k: an angle of zero in every network
        sums = sums + apart.masked_fill(same, 0).sum()
        triples += n * (n - 1) * (n - 2)
    return sums / max(1, triples)


def unit_rows(rows: Tensor) -> Tensor:
    """Each row (the last dimension) divided by its length. A row of zeros stays so and has no gradient. Same shape.

    Where a student's units do not fire, dividing by nearly nothing would send its weights to infinity.
    """
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    return rows / lengths.masked_fill(lengths == 0, torch.inf)


def _relative_distances(features: Tensor) -> Tensor:
    """Distances of all pairs i < j divided by their mean, (N(N − 1)/2,); all 0 where all features are the same."""
    first, second = torch.triu_indices(len(features), len(features), offset=1, device=features.device)
    distances = _geometry(features)[1][first, second]
    return distances / distances.mean().clamp(min=torch.finfo(features.dtype).tiny)


def _cosines(features: Tensor) -> Tensor:
    """(N, D) -> (N, N, N): at [j, i, k] the cosine of the angle at j between the directions to i and to k.

    From inner products alone, as (f_i − f_j)·(f_k − f_j) is G_ik − G_ij − G_jk + G_jj: with the N² directions written
    out, a step on 512 images of 800 numbers took 20 times as long (one core, torch 2.13). 0 where j coincides with i
    or k, which has no direction.
    """
    inner, distances = _geometry(features)
    apart = distances > 0
    over = apart / distances.masked_fill(~apart, 1)
    between = inner - inner[:, :, None] - inner[:, None, :] + inner.diagonal()[:, None, None]
    return between * over[:, :, None] * over[:, None, :]


def _geometry(features: Tensor) -> tuple[Tensor, Tensor]:
    """Inner products of the centred features and distances, (N, N) each.

    Images nearer than rounding can tell are at 0, without gradient, as the root has none there.
    """
    centred = features - features.mean(dim=0)  # distances and angles stay, and rounding shrinks with the numbers
    inner = centred @ centred.T
    own = inner.diagonal()
    squares = own[:, None] + own - 2 * inner
    coincide = squares <= 16 * torch.finfo(features.dtype).eps * own.mean()
    return inner, squares.masked_fill(coincide, 1).sqrt().masked_fill(coincide, 0)
