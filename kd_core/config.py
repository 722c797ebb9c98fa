"""What a run is: frozen, validated on construction, JSON both ways.

It must not import torch, so that a page, a form or a command line can build and check a run at once.
Every rule a value breaks becomes one plain sentence in a ConfigError, which the page and the shell show as it is.
"""

import hashlib
from collections.abc import Mapping
from itertools import product
from typing import Any, Literal, NamedTuple, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from kd_core.base.config import Config, ConfigError, _shown
from kd_core.data.catalogue import TransferSetConfig, info_of
from kd_core.models.config import BLACK_BOX, CONVOLUTIONAL, PAPER_STUDENT, BroughtConfig, ModelConfig

Role = Literal["teacher", "baseline", "distilled"]
Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "constant", "one-cycle"]
Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
Device = Literal["auto", "cpu", "cuda", "mps"]
Average = Literal["probabilities", "logits"]
Needs = Literal["logits", "features", "maps"]


MAX_ENSEMBLE = 20
MAX_CELLS = 500


class MistakeInfo(NamedTuple):
    """A mistake found in public code, that a run may make on purpose.

    label: its name. public: what such code does; right: what is meant, both sentences. wrong_line, right_line: the same
    in a line of Python each. expect: the harm to expect, and why.
    """

    label: str
    public: str
    right: str
    wrong_line: str
    right_line: str
    expect: str


MISTAKES = {
    "no_t_squared": MistakeInfo(
        "T² left out",
        "The soft loss is taken at T and added to the hard one as it is.",
        "Where T is large against the logits, the gradient of the soft loss falls as 1/T²: times T², it keeps its size"
        " beside the hard loss (section 2 of the paper).",
        "loss = alpha * soft_loss + (1 - alpha) * hard_loss",
        "loss = alpha * T**2 * soft_loss + (1 - alpha) * hard_loss",
        "The teacher hardly influences training: the soft loss pulls T² times less, and at a high T the labels decide"
        " nearly alone.",
    ),
    "class_mean": MistakeInfo(
        "Soft loss averaged over classes",
        "The divergence is averaged over the classes as well as over the batch: PyTorch's default, reduction='mean'.",
        "A divergence is a sum over the classes; only the batch is averaged over (reduction='batchmean').",
        'soft_loss = F.kl_div(log_p_student, p_teacher, reduction="mean")',
        'soft_loss = F.kl_div(log_p_student, p_teacher, reduction="batchmean")',
        "The soft loss is K times too weak, with K classes: 10 times with ten, 100 times with a hundred.",
    ),
    "teacher_dropout": MistakeInfo(
        "Teacher with dropout on",
        "The teacher stays in train mode, so that its dropout goes on (and batch norm uses each batch's statistics).",
        "The teacher is in eval mode while it teaches: the same image, the same soft targets.",
        "with torch.no_grad(): teacher_logits = teacher(images)  # still in train mode",
        "teacher.eval()\nwith torch.no_grad(): teacher_logits = teacher(images)",
        "Each batch hears a different random part of the teacher. The noise averages out in part; how much is lost"
        " depends on how much is dropped.",
    ),
    "stale_cache": MistakeInfo(
        "Teacher cache out of step",
        "The teacher's logits are kept in the order of one shuffled pass, and read by position in later passes, which"
        " are shuffled anew.",
        "Kept logits belong to an image: they are found by the image's own index.",
        "for i, (images, labels) in enumerate(shuffled):\n    teacher_logits = cache[i]",
        "for index, images, labels in shuffled:\n    teacher_logits = cache[index]",
        "Each image is taught what the teacher said of some other one. All that is left of the soft targets is their"
        " mean over the images, and the labels have to win against it.",
    ),
    "colour_jitter": MistakeInfo(
        "Colour jitter for pixel jitter",
        "The paper jitters images by up to two pixels. Public reruns take torchvision's ColorJitter, which changes"
        " brightness and contrast (and saturation and hue, which a grey image has not).",
        "Each image moves by a few whole pixels, both ways; its values stay.",
        "transforms.ColorJitter(brightness=0.4, contrast=0.4)",
        "transforms.RandomCrop(28, padding=2)  # moves by up to two pixels",
        "Brighter ink teaches nothing about where a digit may stand: what moved images teach is missing.",
    ),
    "hasty_teacher": MistakeInfo(
        "A teacher trained for one epoch",
        "The teacher is trained for one epoch, to save time, and its student is then held against a baseline.",
        "A teacher is trained until its soft targets are worth learning: a student copies its mistakes too. Longer is"
        " not always better: a small student can learn less from a teacher that trained longer (Cho and Hariharan"
        " 2019).",
        "train(teacher, epochs=1)",
        "train(teacher, epochs=80)  # until the validation split says so",
        "The student matches what a bad teacher says, and may do worse than without any.",
    ),
    "test_choice": MistakeInfo(
        "The best epoch chosen on the test set",
        "The test set is looked at after every epoch, and the best number is reported.",
        "A validation split of the training set chooses the epoch; test errors are counted once it is chosen.",
        "best = max(best, accuracy(model, test_set))  # after every epoch",
        "if accuracy(model, validation_set) >= best: keep(model)",
        "The student is not worse, its number is: the luckiest of many looks at the same images promises what new"
        " images will not keep.",
    ),
}


class Weight(NamedTuple):
    """A number that an objective weighs a term by, from 0 to most. symbol: LaTeX, as in the objective's formula."""

    default: float
    symbol: str
    meaning: str
    most: float = 10_000.0


class ObjectiveInfo(NamedTuple):
    """What can be said of an objective without computing it, as kd_core.objectives does.

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
"""The names of kd_core.objectives.SOFT_LOSSES, in the order in which forms offer them."""


def objective_weights(objective: str | None, given: Any) -> tuple[tuple[str, float], ...]:
    """Weights, a mapping or pairs, in the objective's order and without its defaults: equal settings, equal configs.

    Those of an unknown objective are left out, as that is refused itself. Raises ConfigError.
    """
    try:
        weights = {str(name): float(value) for name, value in dict(given).items()}
    except (TypeError, ValueError, OverflowError):
        raise ConfigError(f"weights must be numbers by name, such as {{'nontarget': 4}}, got {_shown(given)}") from None
    if objective not in OBJECTIVES:
        return ()
    known = OBJECTIVES[objective].weights
    for name, value in weights.items():
        if name not in known:
            has = f"its weights are {', '.join(known)}" if known else "it has none"
            raise ConfigError(f"{objective} has no weight '{name[:80]}': {has}")
        if not 0 <= value <= known[name].most:
            raise ConfigError(f"weight {name} of {objective} must be between 0 and {known[name].most:g}, got {value:g}")
    return tuple(
        (name, weights[name]) for name, weight in known.items() if weights.get(name, weight.default) != weight.default
    )


class DistillationConfig(Config):
    """How a student learns from its teacher (Hinton et al., arXiv:1503.02531, section 2, unless objective is another).

    Temperature and alpha may change linearly from the first step to the last (the idea of Jafari et al. 2021,
    arXiv:2104.07163, who cool T down to 1).
    """

    teachers: tuple[str, ...] = Field(
        min_length=1, max_length=MAX_ENSEMBLE, description="run ids of the teacher, several for an ensemble"
    )
    temperature: float = Field(
        4.0, gt=0, le=1000, description="T in softmax(z / T), for teacher and student alike in the soft loss"
    )
    alpha: float = Field(0.9, ge=0, le=1, description="weight of the soft loss; 1 - alpha weighs the hard one")
    t_squared: bool = Field(True, description="multiply the soft loss by T², which makes up for softening at a high T")
    ensemble: Average = Field("probabilities", description="what is averaged over several teachers")
    objective: str = Field("hinton", description="what the student minimises, one of kd_core.config.OBJECTIVES")
    weights: tuple[tuple[str, float], ...] = Field(
        (), description="of the objective's terms, by name, where they are not its defaults"
    )
    final_temperature: float | None = Field(None, gt=0, le=1000, description="T at the last step; by default T stays")
    final_alpha: float | None = Field(None, ge=0, le=1, description="alpha at the last step; by default alpha stays")

    @field_validator("objective")
    @classmethod
    def _known(cls, objective: str) -> str:
        if objective not in OBJECTIVES:
            raise ConfigError(f"unknown objective '{objective[:80]}': choose one of {', '.join(OBJECTIVES)}")
        return objective

    @field_validator("weights", mode="before")
    @classmethod
    def _of_the_objective(cls, weights: Any, told: ValidationInfo) -> Any:
        return objective_weights(told.data.get("objective"), weights)

    @field_serializer("weights")
    def _as_mapping(self, weights: tuple[tuple[str, float], ...]) -> dict[str, float]:
        return dict(weights)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.final_temperature is not None and not self.info.uses_temperature:
            raise ConfigError(f"{self.objective} has no temperature: leave final_temperature out")
        if self.final_alpha is not None and not self.info.mixed:
            raise ConfigError(f"{self.objective} is not weighed by alpha: leave final_alpha out")
        if self.info.needs != "logits" and len(self.teachers) > 1:
            raise ConfigError(f"{self.objective} compares a teacher's features with the student's: name one teacher")
        if self.info.needs != "logits" and not self.all_weights["hard"]:
            raise ConfigError(
                f"{self.objective} teaches what feeds the last layer, not the layer itself: keep its weight hard above"
                " 0"
            )
        return self

    @property
    def info(self) -> ObjectiveInfo:
        """What its objective is."""
        return OBJECTIVES[self.objective]

    @property
    def all_weights(self) -> dict[str, float]:
        """Of the objective's terms, by name."""
        return {name: weight.default for name, weight in self.info.weights.items()} | dict(self.weights)

    @property
    def has_hard_loss(self) -> bool:
        """Whether the cross-entropy with the labels is part of the loss, at any time."""
        if not self.info.mixed:
            return self.all_weights["hard"] > 0
        return self.alpha < 1 or (self.final_alpha is not None and self.final_alpha < 1)

    @property
    def reads_labels(self) -> bool:
        """Whether any label is read to compute the loss."""
        return self.has_hard_loss or self.info.needs_labels

    @property
    def average(self) -> Average:
        """What is averaged over several teachers, as the objective allows."""
        return "logits" if self.info.matches_logits else self.ensemble

    @property
    def changes(self) -> bool:
        """Whether temperature or alpha are not the same at every step."""
        return self.final_temperature is not None or self.final_alpha is not None

    def at(self, share: float) -> tuple[float, float]:
        """Temperature and alpha when a share of the steps is done, from 0 at the first to 1 at the last."""
        temperature, alpha = self.temperature, self.alpha
        if self.final_temperature is not None:
            temperature += (self.final_temperature - temperature) * share
        if self.final_alpha is not None:
            alpha += (self.final_alpha - alpha) * share
        return temperature, alpha

    @property
    def label(self) -> str:
        """What it is in short, e.g. 'T 4, alpha 0.9' or 'DIST, T 1'. Only what the objective reads."""

        def told(name: str, first: float, last: float | None) -> str:
            return f"{name} {first:g}" + ("" if last is None else f" to {last:g}")

        parts = [] if self.objective == "hinton" else [self.info.label]
        parts += [told("T", self.temperature, self.final_temperature)] if self.info.uses_temperature else []
        parts += [told("alpha", self.alpha, self.final_alpha)] if self.info.mixed else []
        parts += [f"{name} {value:g}" for name, value in self.weights]
        return ", ".join(parts)


class TrainingConfig(Config):
    """How weights are found. Times and rates carry their units in the description."""

    epochs: int = Field(12, ge=1, le=10_000, description="passes over the training set")
    batch_size: int = Field(512, ge=1, le=65_536, description="examples a step")
    optimizer: Optimizer = Field("adamw", description="update rule; sgd has momentum 0.9")
    learning_rate: float = Field(1e-3, gt=0, le=100, description="peak learning rate")
    schedule: Schedule = Field("cosine", description="learning rate over the steps")
    warmup_epochs: float = Field(0.5, ge=0, description="epochs over which the rate rises from 0 (not for one-cycle)")
    weight_decay: float | None = Field(
        None, ge=0, le=10, description="decoupled for adamw, L2 for adam and sgd; by default 0.01 for adamw, else 0"
    )
    jitter_pixels: int = Field(0, ge=0, le=8, description="each image shifts by up to this many pixels, both ways")
    validation_fraction: float = Field(
        1 / 12, ge=0, le=0.5, description="share of the training set kept to choose the best epoch; 0 takes the last"
    )
    precision: Precision = Field(
        "auto", description="arithmetic of the model; auto is settled before a run is queued (kd_core.precision)"
    )
    device: Device = Field("auto", description="auto takes a GPU where there is one")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each hard target spread over all classes (Szegedy et al. 2016, section 7)",
    )


def check_shows(model: ModelConfig, objective: str, whose: str) -> None:
    """Raise ConfigError where such a network, the student or teacher, does not show what an objective compares."""
    info = OBJECTIVES[objective]
    if info.needs == "maps" and model.name not in CONVOLUTIONAL:
        raise ConfigError(
            f"{objective} compares maps, and the {whose}, {model.label}, has none: choose"
            f" {' or '.join(CONVOLUTIONAL)} for it, or another objective"
        )
    if info.needs == "features" and model.name == "mlp" and not model.hidden:
        raise ConfigError(
            f"{objective} compares what feeds the last layer, and the {whose}, {model.label}, has only its images"
            " there: give it hidden units, or choose another objective"
        )
    if info.needs != "logits" and model.name not in ("mlp", *CONVOLUTIONAL):
        raise ConfigError(
            f"{objective} compares features, and the {whose}, {model.label}, shows its logits alone: choose an"
            " objective that compares logits, such as hinton"
        )


class RunConfig(Config):
    """One training run, complete: the same config, device and seed give the same weights."""

    role: Role = Field(description="teacher, baseline (a student without a teacher) or distilled")
    dataset: str = Field("mnist", description="one of kd_core.data.catalogue.DATASETS, or a user's own")
    model: ModelConfig = PAPER_STUDENT
    distillation: DistillationConfig | None = Field(None, description="set for role distilled, and only for it")
    transfer_set: TransferSetConfig = TransferSetConfig()
    training: TrainingConfig = TrainingConfig()
    continues: str | None = Field(None, description="run whose weights training starts from, instead of random ones")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of weights, split, order, dropout and jitter")
    brought: BroughtConfig | None = Field(None, description="set for a teacher that was trained elsewhere")
    mistake: str | None = Field(None, description="one of kd_core.config.MISTAKES, made on purpose, for the lesson")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_brought()
        info_of(self.dataset)
        if self.role == "distilled" and self.distillation is None:
            raise ConfigError("a distilled student needs a teacher: name a teacher run")
        if self.role != "distilled" and self.distillation is not None:
            raise ConfigError(f"a {self.role} learns without a teacher: leave the distillation settings out")
        self._check_transfer_set()
        self._check_mistake()
        if self.distillation is not None:
            check_shows(self.model, self.distillation.objective, "student")
        if self.training.warmup_epochs >= self.training.epochs:
            raise ConfigError(
                f"warmup_epochs must be below epochs ({self.training.epochs}), got {self.training.warmup_epochs:g}"
            )
        return self

    def _check_brought(self) -> None:
        """A black box is only ever brought, and what is brought only ever teaches."""
        if (self.model.name == BLACK_BOX) != (self.brought is not None and self.brought.kind != "weights"):
            raise ConfigError("a black box gives logits alone, so it cannot be trained: bring it as a teacher")
        if self.brought is None:
            return
        if self.role != "teacher" or self.continues is not None:
            raise ConfigError("what its user brought is a teacher as it is: it continues no run")
        channels = info_of(self.dataset).image_shape[0]
        if self.brought.mean is not None and len(self.brought.mean) not in (1, channels):
            raise ConfigError(f"images of {self.dataset} have {channels} channels: state one mean, or one for each")

    def _check_transfer_set(self) -> None:
        info, part = info_of(self.dataset), self.transfer_set
        if self.role == "teacher" and not part.whole:
            raise ConfigError("a teacher learns from the whole training set: a transfer set is for its students")
        if part.only_classes is not None and max(part.only_classes) >= info.classes:
            raise ConfigError(f"{self.dataset} has classes 0 to {info.classes - 1}, got class {max(part.only_classes)}")
        if not part.labelled and (self.distillation is None or self.distillation.reads_labels):
            raise ConfigError(_how_without_labels(self.distillation))

    def _check_mistake(self) -> None:
        """A mistake is made only where there is something to get wrong."""
        told, mistake = self.distillation, self.mistake
        if mistake is None:
            return
        if self.brought is not None:
            raise ConfigError("a teacher that was brought is not trained here, so that it makes no mistake here")
        if mistake not in MISTAKES:
            raise ConfigError(f"unknown mistake '{mistake}': choose one of {', '.join(MISTAKES)}")
        hasty = self.role == "teacher" and self.training.epochs == 1
        hinton = told is not None and told.objective == "hinton" and not (told.changes or self.training.label_smoothing)
        plain = "a distilled student with Hinton's objective, at one temperature and alpha, without label smoothing"
        possible, needs = {
            "no_t_squared": (hinton and told is not None and not told.t_squared, f"{plain}, and t_squared off"),
            "class_mean": (hinton and told is not None and told.t_squared, f"{plain}, and t_squared on"),
            "teacher_dropout": (hinton, plain),
            "stale_cache": (
                hinton and not self.training.jitter_pixels,
                f"{plain}, and no jitter: with it the teacher's logits are not kept",
            ),
            "colour_jitter": (self.training.jitter_pixels > 0, "images that move: set jitter_pixels above 0"),
            "hasty_teacher": (told is not None or hasty, "a teacher of one epoch, or a student of such a teacher"),
            "test_choice": (
                self.training.validation_fraction > 0,
                "a validation split, by which epochs would rightly be chosen: set validation_fraction above 0",
            ),
        }[mistake]
        if not possible:
            raise ConfigError(f"the mistake '{MISTAKES[mistake].label}' needs {needs}")

    def check_teacher(self, teacher: "RunConfig") -> None:
        """Raise ConfigError where the mistake that this run makes takes another teacher than this one."""
        if self.mistake == "teacher_dropout" and not teacher.model.drops:
            raise ConfigError("to leave the teacher's dropout on needs a teacher with dropout: choose another one")
        if self.mistake == "hasty_teacher" and teacher.training.epochs > 1:
            raise ConfigError(
                f"a teacher of {teacher.training.epochs} epochs is not trained for one epoch: choose another one"
            )

    def in_precision(self, precision: Precision) -> Self:
        """The config with this precision in place of auto; one that names its own stays as it is."""
        if self.training.precision != "auto":
            return self
        return self.replace(training=self.training.replace(precision=precision))

    @property
    def network(self) -> str:
        """What it is without its role, e.g. 'mlp 800-800 (brought)'."""
        return f"{self.model.label} (brought)" if self.brought is not None else self.model.label

    @property
    def label(self) -> str:
        """A short name for tables and legends, e.g. 'distilled mlp 800-800, T 4, alpha 0.9'.

        A run that makes a mistake on purpose says so, that nobody takes it for a result.
        """
        text = f"{self.role} {self.model.label}"
        if self.distillation is not None:
            text += f", {self.distillation.label}"
        elif self.training.label_smoothing:
            text += f", label smoothing {self.training.label_smoothing:g}"
        if self.brought is not None:
            text += ", brought by its user"
        return text + self.mistake_said

    @property
    def mistake_said(self) -> str:
        """What follows a run's name where it makes a mistake, e.g. ', mistake: T² left out'; else nothing."""
        return "" if self.mistake is None else f", mistake: {MISTAKES[self.mistake].label}"

    @property
    def kind(self) -> str:
        """What its colour stands for: its role, or 'mistake' where it makes one on purpose."""
        return self.role if self.mistake is None else "mistake"

    @property
    def reads_teacher_logits(self) -> bool:
        """Whether it learns from what its teacher says of the training set as it lies, to be asked once for all epochs.

        Where images move, or features are compared, the teacher looks at each batch; without labels its logits still
        stand in for them on the validation split.
        """
        told = self.distillation
        anew = self.training.jitter_pixels > 0 or (told is not None and told.info.needs != "logits")
        anew = anew or self.mistake == "teacher_dropout"
        return told is not None and not (anew and self.transfer_set.labelled)

    @property
    def examples(self) -> int:
        """About how many images an epoch sees: exact but for rounding and for what classes differ in size."""
        info, part = info_of(self.dataset), self.transfer_set
        classes = 1.0 if part.only_classes is None else len(set(part.only_classes)) / info.classes
        kept = 1 - self.training.validation_fraction
        return max(1, round(info.train_examples * classes * part.fraction * kept))


def _how_without_labels(told: DistillationConfig | None) -> str:
    if told is None or told.info.mixed:
        return "without labels only a distilled student with alpha = 1 can learn: set alpha to 1"
    if told.info.needs_labels:
        return f"{told.objective} reads the label of every example: choose another objective, or keep the labels"
    if told.info.needs != "logits":
        return f"{told.objective} teaches the last layer by labels alone: choose hinton, or keep the labels"
    return f"without labels {told.objective} can only learn with its weight hard at 0: set it to 0"


class SweepConfig(Config):
    """Students that differ in temperature, alpha, seed and width, each with its baseline. Every cell is a run."""

    dataset: str = Field("mnist", description="one of kd_core.data.catalogue.DATASETS, or a user's own")
    teachers: tuple[str, ...] = Field(description="run ids of the trained teacher, several for an ensemble")
    model: ModelConfig = Field(ModelConfig(hidden=(30,)), description="the student, an mlp; widths replace its own")
    widths: tuple[int, ...] = Field((30,), description="units of every hidden layer, one student each")
    temperatures: tuple[float, ...] = Field((1.0, 2.0, 4.0, 8.0), description="T of the soft loss")
    alphas: tuple[float, ...] = Field((0.9,), description="weight of the soft loss")
    seeds: tuple[int, ...] = Field((0,), description="seed of weights, split and order")
    training: TrainingConfig = TrainingConfig()
    transfer_set: TransferSetConfig = TransferSetConfig()

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.model.name != "mlp" or not self.model.hidden:
            raise ConfigError("a sweep's student must be an mlp with a hidden layer, so that its width can change")
        for name in ("widths", "temperatures", "alphas", "seeds"):
            values = getattr(self, name)
            if not values:
                raise ConfigError(f"{name} is empty: name at least one value")
            twice = [value for value in values if values.count(value) > 1]
            if twice:
                raise ConfigError(f"{name} names {twice[0]:g} more than once: name each value once")
        if self.cell_count > MAX_CELLS:
            raise ConfigError(f"a sweep has at most {MAX_CELLS} cells, these would be {self.cell_count}: name fewer")
        self.cells()  # each cell checks its own values
        return self

    @property
    def cell_count(self) -> int:
        """How many runs these are, baselines included."""
        distilled = len(self.temperatures) * len(self.alphas)
        return len(self.widths) * len(self.seeds) * (distilled + self.transfer_set.labelled)

    def cells(self) -> list[RunConfig]:
        """Its runs: for each width and seed the baseline, then each temperature and alpha.

        Without labels there is no baseline, as it would have nothing to learn from.
        """
        cells = []
        for width, seed in product(self.widths, self.seeds):
            shared: dict[str, Any] = {
                "dataset": self.dataset,
                "model": self.model.replace(hidden=(width,) * len(self.model.hidden)),
                "training": self.training,
                "transfer_set": self.transfer_set,
                "seed": seed,
            }
            if self.transfer_set.labelled:
                cells.append(RunConfig(role="baseline", **shared))
            for temperature, alpha in product(self.temperatures, self.alphas):
                distillation = DistillationConfig(teachers=self.teachers, temperature=temperature, alpha=alpha)
                cells.append(RunConfig(role="distilled", distillation=distillation, **shared))
        return cells


def cell_key(config: RunConfig) -> str:
    """16 hexadecimal digits that name a run's settings: the same in every process, other settings give others."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
