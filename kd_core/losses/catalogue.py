"""The objectives by name: formula, source, weights and what each needs. Imports no torch."""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from kd_core.base.config import ConfigError
from kd_core.models.config import MODELS, ModelConfig

Needs = Literal["logits", "features", "maps"]


class Weight(NamedTuple):
    """A number that an objective weighs a term by, from 0 to most. symbol: LaTeX, as in the objective's formula."""

    default: float
    symbol: str
    meaning: str
    most: float = 10_000.0


class ObjectiveInfo(NamedTuple):
    """What can be said of an objective without computing it, as kd_core.losses.objective does.

    formula: of the soft loss, in LaTeX as an aligned environment takes it, narrow enough for a phone. where: what its
    symbols mean, beside T, y, CE and p, which is softmax(z / T) of student s and teacher t. An objective whose weights
    name `hard` weighs the cross-entropy with the labels by it, loss = soft_loss + hard * hard_loss, and alpha plays no
    part; any other is mixed by alpha as Hinton's is.
    differs: where it is not as in the authors' code, in a sentence; empty where nothing is known to differ.
    temperature: its own default, None where the data set's serves. matches_logits: it compares logits themselves, so
    that several teachers average these, whatever `ensemble` says. nats: the unit of its soft loss, which has none else.
    """

    label: str
    formula: str
    source: str
    when: str
    defaults_from: str
    weights: Mapping[str, Weight] = {}
    temperature: float | None = None
    uses_temperature: bool = True
    matches_logits: bool = False
    nats: bool = True
    needs_labels: bool = False
    needs: Needs = "logits"
    projector: bool = False
    where: str = ""
    differs: str = ""

    @property
    def mixed(self) -> bool:
        """Whether alpha weighs soft and hard loss, as in Hinton's; else the objective's own weights do."""
        return "hard" not in self.weights


HARD = Weight(1.0, r"w_\mathrm{hard}", "weight of the cross-entropy with the labels")
OBJECTIVES = {
    "hinton": ObjectiveInfo(
        "Hinton's KD",
        r"T^2\,\mathrm{KL}\big(p^t_T \,\big\|\, p^s_T\big)",
        "Hinton, Vinyals and Dean 2014, arXiv:1503.02531, section 2",
        "The place to start: one temperature, one weight, and hard to beat.",
        "alpha 0.9 and T 4 as in mdistiller's mdistiller/engine/cfg.py (KD)",
    ),
    "logit_matching": ObjectiveInfo(
        "Logit matching",
        r"\tfrac{1}{2K}\,\big\| z^s - z^t \big\|^2",
        "Ba and Caruana 2014, arXiv:1312.6184, equation 1; the limit of T² KL for high T: Hinton et al., section 2.1",
        "No temperature to choose, for a student large enough to follow every logit of its teacher.",
        "no weight of its own",
        uses_temperature=False,
        matches_logits=True,
        nats=False,
    ),
    "dkd": ObjectiveInfo(
        "DKD",
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
    ),
    "logit_standardisation": ObjectiveInfo(
        "Logit standardisation",
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
    ),
    "dist": ObjectiveInfo(
        "DIST",
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
    ),
    "jensen_shannon": ObjectiveInfo(
        "Jensen-Shannon",
        r"T^2\,\big[\beta\,\mathrm{KL}(p^t_T \| m) \\ &\quad + (1-\beta)\,\mathrm{KL}(p^s_T \| m)\big]",
        "Agarwal et al. 2023 (GKD), arXiv:2306.13649, section 2",
        "To choose what a small student gives up: near beta 0 it covers all that the teacher holds possible, near 1 it"
        " keeps to the likeliest.",
        "huggingface/trl, trl/trainer/gkd_config.py",
        {"beta": Weight(0.5, r"\beta", "exactly 0: forward KL, as Hinton's; exactly 1: reverse KL", most=1.0)},
        where=r"$m = \beta p^t_T + (1-\beta) p^s_T$",
        differs="T² is ours; TRL's loss has none.",
    ),
    "nkd": ObjectiveInfo(
        "NKD",
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
    ),
    "similarity_preserving": ObjectiveInfo(
        "Similarity preserving",
        r"w_\mathrm{s}\,\tfrac{1}{N^2}\,\big\| G^t - G^s \big\|_F^2",
        "Tung and Mori 2019, arXiv:1907.09682, section 3.1",
        "For networks that share no shape: only which images of a batch look alike to the teacher is asked.",
        "HobbitLong/RepDistiller, scripts/run_cifar_distill.sh, for batches of 64: larger ones make the term smaller",
        {
            "hard": HARD,
            "similarity": Weight(3000.0, r"w_\mathrm{s}", "weight of the difference in similarity"),
        },
        uses_temperature=False,
        needs="features",
        nats=False,
        where=r"$G = FF^\top$ with rows of length 1, $F$ the features of the $N$ images of a batch",
    ),
    "rkd": ObjectiveInfo(
        "RKD",
        r"w_\mathrm{d}\,\overline{h\big(d^t_{ij} - d^s_{ij}\big)} \\ &\quad"
        r" + w_\mathrm{a}\,\overline{h\big(\cos^t_{ijk} - \cos^s_{ijk}\big)}",
        "Park et al. 2019, arXiv:1904.05068, sections 3.2.1 (distances) and 3.2.2 (angles)",
        "For networks that share no shape, where how far images lie apart matters: its distances have no scale.",
        "lenscloth/RKD, run_distill_classification.py",
        {
            "hard": HARD,
            "distance": Weight(25.0, r"w_\mathrm{d}", "weight of the distances between two images, over their mean"),
            "angle": Weight(50.0, r"w_\mathrm{a}", "weight of the angles between three images"),
        },
        uses_temperature=False,
        needs="features",
        nats=False,
        where=r"$d$ are distances over their mean, $\cos$ of angles, between features of a batch; $h$ is Huber's loss",
        differs="The means leave out an image with itself, a 0 that the authors count in: at batches of 64 ours are"
        " 1.6% (distances) and 4.9% (angles) larger.",
    ),
    "hint": ObjectiveInfo(
        "FitNets hint",
        r"w_\mathrm{h}\,\overline{\big( r(F^s) - F^t \big)^2}",
        "Romero et al. 2015, arXiv:1412.6550, equation 3, in one stage with the labels as in RepDistiller",
        "For a thin and deep student: maps in the middle of its teacher lead it, or else what feeds the last layer.",
        "HobbitLong/RepDistiller, scripts/run_cifar_distill.sh",
        {
            "hard": HARD,
            "hint": Weight(100.0, r"w_\mathrm{h}", "weight of the squared difference from the teacher's features"),
        },
        uses_temperature=False,
        needs="features",
        projector=True,
        nats=False,
        where=r"$F$ are features, $r$ is linear and trained along",
    ),
    "attention": ObjectiveInfo(
        "Attention transfer",
        r"w_\mathrm{a}\textstyle\sum_\mathrm{stages}"
        r" \overline{\Big( \tfrac{Q^s}{\| Q^s \|} - \tfrac{Q^t}{\| Q^t \|} \Big)^2}",
        "Zagoruyko and Komodakis 2017, arXiv:1612.03928, equation 2 with p = 2",
        "For convolutional networks: the student looks where its teacher looks, at every stage.",
        "szagoruyko/attention-transfer, README.md (beta 1e+3), and RepDistiller, scripts/run_cifar_distill.sh",
        {
            "hard": HARD,
            "attention": Weight(1000.0, r"w_\mathrm{a}", "weight of the difference in attention"),
        },
        uses_temperature=False,
        needs="maps",
        nats=False,
        where=r"$Q = \tfrac1C \textstyle\sum_c A_c^2$ of the $C$ channels $A$ of a stage",
    ),
    "crd": ObjectiveInfo(
        "CRD",
        r"-w_\mathrm{c} \textstyle\sum_\mathrm{sides} \big[ \log h^+ \\ &\quad + N\,\overline{\log(1 - h^-)} \big]",
        "Tian et al. 2020, arXiv:1910.10699, section 3.1",
        "For a student whose features are to be used later: they are to tell apart each image, not only each class.",
        "HobbitLong/RepDistiller, train_student.py and scripts/run_cifar_distill.sh",
        {
            "hard": HARD,
            "contrast": Weight(0.8, r"w_\mathrm{c}", "weight of the contrast, both networks as anchors"),
        },
        uses_temperature=False,
        needs="features",
        projector=True,
        where=r"$h = \tfrac{s}{s + N/M}$, $s = \tfrac1Z e^{\langle g^t, g^s \rangle / \tau}$ of an image"
        r" with itself (+) and with $N$ of the other $M$ (−), $g$ linear maps of the features, trained along",
        differs="A step's images share 4,096 negatives; the authors draw 16,384 for each. Images of the same class are"
        " no negatives in either, but ours knows an image's class only once it was shown: not in the first epoch.",
    ),
}
"""The names of kd_core.losses.objective.SOFT_LOSSES, in the order in which forms offer them."""


def check_shows(model: ModelConfig, objective: str, whose: str) -> None:
    """Raise ConfigError where such a network, the student or teacher, does not show what an objective compares."""
    needs, architecture = OBJECTIVES[objective].needs, model.architecture
    if needs == "maps" and not architecture.maps:
        convolutional = [name for name, other in MODELS.items() if other.maps]
        raise ConfigError(
            f"{objective} compares maps, and the {whose}, {model.label}, has none: choose"
            f" {' or '.join(convolutional)} for it, or another objective"
        )
    if needs == "features" and model.opaque:
        raise ConfigError(
            f"{objective} compares features, and the {whose}, {model.label}, shows its logits alone: choose an"
            " objective that compares logits, such as hinton"
        )
    if needs == "features" and not architecture.features(model):
        raise ConfigError(
            f"{objective} compares what feeds the last layer, and the {whose}, {model.label}, has only its images"
            " there: give it hidden units, or choose another objective"
        )
