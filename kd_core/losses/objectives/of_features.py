"""The objectives that compare what networks show beside their logits: the inputs of the last layer, or maps.

Their formulas are in kd_core.losses.relations, kd_core.losses.hints and kd_core.losses.contrast.
"""

from typing import TYPE_CHECKING

from kd_core.losses.objectives.definition import HARD, Batch, ObjectiveInfo, Sample, Settings, Weight

if TYPE_CHECKING:
    from torch import Tensor, nn


def _similarity_preserving(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import relations

    return settings.weights["similarity"] * relations.similarity_loss(*batch.features)


SIMILARITY_PRESERVING = ObjectiveInfo(
    "Similarity preserving",
    _similarity_preserving,
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
)


def _rkd(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import relations

    distance, angle = settings.weights["distance"], settings.weights["angle"]
    return distance * relations.distance_loss(*batch.features) + angle * relations.angle_loss(*batch.features)


RKD = ObjectiveInfo(
    "RKD",
    _rkd,
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
)


def _hint(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hints

    student, teacher = hints.hinted(*batch.taps)
    return settings.weights["hint"] * hints.hint_loss(batch.projected(student), teacher)


def _regressor(sample: Sample) -> "nn.Module":
    from kd_core.losses import hints

    student, teacher = hints.hinted(sample.student, sample.teacher)
    return hints.Regressor(student.shape[1], teacher.shape[1])


HINT = ObjectiveInfo(
    "FitNets hint",
    _hint,
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
    projector=_regressor,
    nats=False,
    where=r"$F$ are features, $r$ is linear and trained along",
)


def _attention(batch: Batch, settings: Settings) -> "Tensor":
    from kd_core.losses import hints

    return settings.weights["attention"] * hints.attention_loss(hints.joined(*batch.taps))


ATTENTION = ObjectiveInfo(
    "Attention transfer",
    _attention,
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
)


def _crd(batch: Batch, settings: Settings) -> "Tensor":
    return settings.weights["contrast"] * batch.projected(*batch.features, batch.indices, batch.labels)


def _contrast(sample: Sample) -> "nn.Module":
    from kd_core.losses import contrast

    return contrast.Contrast(sample.student.features.shape[1], sample.teacher.features.shape[1], sample.examples)


CRD = ObjectiveInfo(
    "CRD",
    _crd,
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
    projector=_contrast,
    where=r"$h = \tfrac{s}{s + N/M}$, $s = \tfrac1Z e^{\langle g^t, g^s \rangle / \tau}$ of an image"
    r" with itself (+) and with $N$ of the other $M$ (−), $g$ linear maps of the features, trained along",
    differs="A step's images share 4,096 negatives; the authors draw 16,384 for each. Images of the same class are"
    " no negatives in either, but ours knows an image's class only once it was shown: not in the first epoch.",
)
