"""The objectives that compare logits alone; kd_core.losses.hinton and kd_core.losses.logits hold their formulas."""

from typing import TYPE_CHECKING

from kd_core.losses.objectives.definition import HARD, Batch, ObjectiveInfo, Settings, Weight

if TYPE_CHECKING:
    from torch import Tensor


def _hinton(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hinton

    return hinton.soft_target_loss(*batch.logits, **settings.softening)


HINTON = ObjectiveInfo(
    "Hinton's KD",
    _hinton,
    r"T^2\,\mathrm{KL}\big(p^t_T \,\big\|\, p^s_T\big)",
    "Hinton, Vinyals and Dean 2014, arXiv:1503.02531, section 2",
    "The place to start: one temperature, one weight, and hard to beat.",
    "alpha 0.9 and T 4 as in mdistiller's mdistiller/engine/cfg.py (KD)",
)


def _logit_matching(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.logit_matching(*batch.logits)


LOGIT_MATCHING = ObjectiveInfo(
    "Logit matching",
    _logit_matching,
    r"\tfrac{1}{2K}\,\big\| z^s - z^t \big\|^2",
    "Ba and Caruana 2014, arXiv:1312.6184, equation 1; the limit of T² KL for high T: Hinton et al., section 2.1",
    "No temperature to choose, for a student large enough to follow every logit of its teacher.",
    "no weight of its own",
    uses_temperature=False,
    matches_logits=True,
    nats=False,
)


def _dkd(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.decoupled(*batch.logits, batch.known_labels, **settings.keywords)


DKD = ObjectiveInfo(
    "DKD",
    _dkd,
    r"T^2\,\big[w_\mathrm{t}\,\mathrm{KL}(b^t_T \| b^s_T)"
    r" \\ &\quad + w_\mathrm{n}\,\mathrm{KL}(\hat p^t_T \| \hat p^s_T)\big]",
    "Zhao et al. 2022, arXiv:2203.08679, equation 7",
    "When the teacher is so sure that its dark knowledge hardly counts: that part gets a weight of its own.",
    "megvii-research/mdistiller, mdistiller/engine/cfg.py (DKD, without its 20 epochs of warm-up)",
    {
        "hard": HARD,
        "target": Weight(1.0, r"w_\mathrm{t}", "weight of the target part: label against all others"),
        "nontarget": Weight(8.0, r"w_\mathrm{n}", "weight of the non-target part: how the others compare"),
    },
    temperature=4.0,
    needs_labels=True,
    where=r"$b$ is the label's probability and that of all others, $\hat p$ the others among themselves",
)


def _logit_standardisation(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hinton, logits

    student, teacher = logits.standardised(batch.student_logits), logits.standardised(batch.teacher_logits)
    return settings.weights["soft"] * hinton.soft_target_loss(student, teacher, **settings.softening)


LOGIT_STANDARDISATION = ObjectiveInfo(
    "Logit standardisation",
    _logit_standardisation,
    r"w_\mathrm{soft}\,T^2\,\mathrm{KL}\big(\tilde p^t_T \,\big\|\, \tilde p^s_T\big)",
    "Sun et al. 2024, arXiv:2403.01427, algorithm 1",
    "When the student is too small to reach the size of the teacher's logits: only their pattern is matched.",
    "sunshangquan/logit-standardization-KD, tools/train.py (soft 9, T 2)",
    {
        "hard": HARD,
        "soft": Weight(9.0, r"w_\mathrm{soft}", "weight of the soft targets of standardised logits"),
    },
    temperature=2.0,
    matches_logits=True,
    where=r"$\tilde p$ is softmax of each example's logits brought to mean 0 and standard deviation 1",
    differs="The weight hard 1 is ours; the authors' mdistiller/engine/cfg.py has had 1 and 0.1.",
)


def _dist(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.relations(*batch.logits, **settings.keywords)


DIST = ObjectiveInfo(
    "DIST",
    _dist,
    r"T^2\,\big[w_\mathrm{b}\,\big(1 - \overline{\rho}_\mathrm{rows}\big)"
    r" \\ &\quad + w_\mathrm{w}\,\big(1 - \overline{\rho}_\mathrm{columns}\big)\big]",
    "Huang et al. 2022, arXiv:2205.10536, section 3",
    "When the teacher is much stronger: only how it ranks classes, and examples within a class, is asked.",
    "hunto/image_classification_sota, lib/models/losses/kd_loss.py and dist_kd.py",
    {
        "hard": HARD,
        "between": Weight(1.0, r"w_\mathrm{b}", "weight of the correlation between classes, over each example"),
        "within": Weight(1.0, r"w_\mathrm{w}", "weight of the correlation within classes, over the batch"),
    },
    temperature=1.0,
    nats=False,
    where=r"$\rho$ is Pearson's correlation of $p^t_T$ and $p^s_T$, a row an example, a column a class",
    differs="No length counts as less than 1e-8; the authors add 1e-8 to the product of both lengths.",
)


def _jensen_shannon(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.jensen_shannon(*batch.logits, **settings.keywords)


JENSEN_SHANNON = ObjectiveInfo(
    "Jensen-Shannon",
    _jensen_shannon,
    r"T^2\,\big[\beta\,\mathrm{KL}(p^t_T \| m) \\ &\quad + (1-\beta)\,\mathrm{KL}(p^s_T \| m)\big]",
    "Agarwal et al. 2023 (GKD), arXiv:2306.13649, section 2",
    "To choose what a small student gives up: near beta 0 it covers all that the teacher holds possible, near 1 it"
    " keeps to the likeliest.",
    "huggingface/trl, trl/trainer/gkd_config.py",
    {"beta": Weight(0.5, r"\beta", "exactly 0: forward KL, as Hinton's; exactly 1: reverse KL", most=1.0)},
    where=r"$m = \beta p^t_T + (1-\beta) p^s_T$",
    differs="T² is ours; TRL's loss has none.",
)


def _nkd(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import logits

    return logits.normalised(*batch.logits, batch.known_labels, **settings.keywords)


NKD = ObjectiveInfo(
    "NKD",
    _nkd,
    r"-w_\mathrm{t}\,p^t_y \log p^s_y"
    r" \\ &\quad - w_\mathrm{n}\,T^2\,\textstyle\sum_{i \ne y} \hat p^t_{T,i} \log \hat p^s_{T,i}",
    "Yang et al. 2023, arXiv:2303.13005, section 3",
    "As DKD, with the label's own part bounded by how sure the teacher is of it.",
    "yzd-v/cls_KD, configs/distillers/cifar100/res34_distill_res18_cifar.py",
    {
        "hard": HARD,
        "target": Weight(1.0, r"w_\mathrm{t}", "weight of the target part"),
        "nontarget": Weight(3.5, r"w_\mathrm{n}", "weight of the non-target part"),
    },
    temperature=3.0,
    matches_logits=True,
    needs_labels=True,
    where=r"$p_y$ is the label's probability at T = 1, $\hat p$ those of the others among themselves",
)
