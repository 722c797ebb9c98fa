"""Objectives that are functions of logits: the soft losses of others than Hinton, whose own is in losses.hinton.

As there: logits are (N, K), N examples of K classes, labels (N,) int64, losses scalars in nats, mean over the N
examples, student first. T² keeps the gradients' size as T grows; t_squared=False drops it, to show what it is for.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def logit_matching(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Half the mean squared difference of the logits (Ba and Caruana, arXiv:1312.6184, equation 1).

    Divided by K, so that it is what T² · KL tends to for high T and logits of mean zero (Hinton et al., section 2.1):
    one alpha means the same in both.
    """
    return 0.5 * F.mse_loss(student_logits, teacher_logits)


def decoupled(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    target: float,
    nontarget: float,
    t_squared: bool = True,
) -> Tensor:
    """DKD: T² · (target · TCKD + nontarget · NCKD), Zhao et al., arXiv:2203.08679, equations 4 to 7.

    TCKD is the KL divergence of (p_y, 1 − p_y), label against all others, and NCKD that of the others' probabilities
    among themselves, both at T. With target 1 and nontarget 1 − p_y of the teacher, it is Hinton's (equation 6).
    """
    target_part, nontarget_part = (
        F.kl_div(of_student, of_teacher, reduction="batchmean", log_target=True)
        for of_student, of_teacher in zip(
            _split(student_logits / temperature, labels), _split(teacher_logits / temperature, labels), strict=True
        )
    )
    return _scale(temperature, t_squared) * (target * target_part + nontarget * nontarget_part)


def standardised(logits: Tensor) -> Tensor:
    """Each row with mean 0 and standard deviation 1 (Sun et al., arXiv:2403.01427, algorithm 1). (N, K) -> (N, K).

    Soft targets of these do not ask the student for logits as large as its teacher's. A row of equal logits becomes 0.
    """
    variance = logits.var(dim=-1, keepdim=True)
    return (logits - logits.mean(dim=-1, keepdim=True)) / (variance + 1e-14).sqrt()  # a root of 0 has no gradient


def relations(
    student_logits: Tensor,
    teacher_logits: Tensor,
    *,
    temperature: float,
    between: float,
    within: float,
    t_squared: bool = True,
) -> Tensor:
    """DIST: T² · (between · d(rows) + within · d(columns)), Huang et al., arXiv:2205.10536, section 3.

    d is the mean Pearson distance of the student's softened probabilities from the teacher's: over the K classes of
    each example, and over the N examples for each class. What does not vary, as in a batch of one, has distance 1.
    """
    student, teacher = (F.softmax(logits / temperature, dim=-1) for logits in (student_logits, teacher_logits))
    distance = between * pearson_distance(student, teacher) + within * pearson_distance(student.T, teacher.T)
    return _scale(temperature, t_squared) * distance


def pearson_distance(left: Tensor, right: Tensor) -> Tensor:
    """1 − Pearson's correlation of the rows, mean over them, 0 to 2. (R, C), (R, C) -> scalar."""
    left, right = (rows - rows.mean(dim=1, keepdim=True) for rows in (left, right))
    return 1 - F.cosine_similarity(left, right, dim=1).mean()


def jensen_shannon(
    student_logits: Tensor, teacher_logits: Tensor, *, temperature: float, beta: float, t_squared: bool = True
) -> Tensor:
    """T² times the generalised Jensen-Shannon divergence of the softened probabilities (arXiv:2306.13649).

    beta · KL(p_t ‖ m) + (1 − beta) · KL(p_s ‖ m) with m = beta · p_t + (1 − beta) · p_s (Agarwal et al., section 2).
    That tends to 0 at both ends; as in TRL, beta = 0 stands for what it is proportional to there: the forward
    KL(p_t ‖ p_s), which is Hinton's, and beta = 1 for the reverse KL(p_s ‖ p_t).
    """
    student, teacher = (F.log_softmax(logits / temperature, dim=-1) for logits in (student_logits, teacher_logits))
    if beta in (0, 1):
        to, of = (student, teacher) if beta == 0 else (teacher, student)
        divergence = F.kl_div(to, of, reduction="batchmean", log_target=True)
    else:
        shares = torch.tensor([beta, 1 - beta], dtype=student.dtype, device=student.device).log()
        mixture = torch.logaddexp(teacher + shares[0], student + shares[1])
        of_teacher, of_student = (
            F.kl_div(mixture, part, reduction="batchmean", log_target=True) for part in (teacher, student)
        )
        divergence = beta * of_teacher + (1 - beta) * of_student
    return _scale(temperature, t_squared) * divergence


def normalised(
    student_logits: Tensor,
    teacher_logits: Tensor,
    labels: Tensor,
    *,
    temperature: float,
    target: float,
    nontarget: float,
    t_squared: bool = True,
) -> Tensor:
    """NKD: −target · p_t[y] log p_s[y] − nontarget · T² · Σ q_t log q_s (Yang et al., arXiv:2303.13005, section 3).

    q are the probabilities of the classes other than y among themselves, at T; p those of all at T = 1. These are
    cross-entropies: at equal logits they are not 0, but their gradient in the non-target part is.
    """
    own = labels[:, None]
    log_student = F.log_softmax(student_logits, dim=-1).gather(1, own)
    sure = F.softmax(teacher_logits, dim=-1).gather(1, own)
    log_others = F.log_softmax(_others(student_logits / temperature, labels), dim=-1)
    others = F.softmax(_others(teacher_logits / temperature, labels), dim=-1)
    target_part = -(sure * log_student).mean()
    nontarget_part = -(others * log_others).sum(dim=-1).mean()
    return target * target_part + nontarget * _scale(temperature, t_squared) * nontarget_part


def _split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Log probabilities of label and all others together, (N, 2), and of the others among themselves, (N, K-1)."""
    others = _others(logits, labels)
    both = torch.cat([logits.gather(1, labels[:, None]), others.logsumexp(dim=-1, keepdim=True)], dim=1)
    return F.log_softmax(both, dim=-1), F.log_softmax(others, dim=-1)


def _others(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits of all classes but the label's, in order. (N, K), (N,) -> (N, K-1)."""
    classes = torch.arange(logits.shape[1] - 1, device=logits.device)
    return logits.gather(1, classes + (classes >= labels[:, None]))


def _scale(temperature: float, t_squared: bool) -> float:
    return temperature**2 if t_squared else 1.0
