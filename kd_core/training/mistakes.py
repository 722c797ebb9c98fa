"""The catalogue of mistakes that a run can make on purpose. Imports no torch.

Which training makes each is said in kd_core.training.mistaken.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from kd_core.base.config import ConfigError

if TYPE_CHECKING:
    from kd_core.training.config import RunConfig


class MistakeInfo(NamedTuple):
    """A mistake found in public code, that a run may make on purpose.

    label: its name. public: what such code does; right: what is meant, both sentences. wrong_line, right_line: the same
    in a line of Python each. expect: the harm to expect, and why. possible: whether a run has something to get wrong in
    this way; needs: what it needs for that, in words. keeps_logits: whether the teacher's logits may be computed once.
    """

    label: str
    public: str
    right: str
    wrong_line: str
    right_line: str
    expect: str
    possible: Callable[["RunConfig"], bool]
    needs: str
    keeps_logits: bool = True


def check(config: "RunConfig") -> None:
    """Raise ConfigError where the run cannot make the mistake that it names."""
    if config.mistake is None:
        return
    if not config.trained_here:
        raise ConfigError("a teacher that was brought is not trained here, so that it makes no mistake here")
    if config.mistake not in MISTAKES:
        raise ConfigError(f"unknown mistake '{config.mistake}': choose one of {', '.join(MISTAKES)}")
    info = MISTAKES[config.mistake]
    if not info.possible(config):
        raise ConfigError(f"the mistake '{info.label}' needs {info.needs}")


def check_teacher(config: "RunConfig", teacher: "RunConfig") -> None:
    """Raise ConfigError where a run's mistake cannot be made with this teacher."""
    if config.mistake == "teacher_dropout" and not teacher.model.drops:
        raise ConfigError("to leave the teacher's dropout on needs a teacher with dropout: choose another one")
    if config.mistake == "hasty_teacher" and teacher.training.epochs > 1:
        raise ConfigError(
            f"a teacher of {teacher.training.epochs} epochs is not trained for one epoch: choose another one"
        )


def _plain(config: "RunConfig") -> bool:
    """Whether a run distils with Hinton's objective, which stays the same over the steps."""
    objective = config.distillation
    unchanged = objective is not None and objective.objective == "hinton" and not objective.changes
    return unchanged and not config.training.label_smoothing


def _plain_with_t_squared(config: "RunConfig", t_squared: bool) -> bool:
    return _plain(config) and config.distillation is not None and config.distillation.t_squared == t_squared


_PLAIN = "a distilled student with Hinton's objective, at one temperature and alpha, without label smoothing"
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
        lambda config: _plain_with_t_squared(config, False),
        f"{_PLAIN}, and t_squared off",
    ),
    "class_mean": MistakeInfo(
        "Soft loss averaged over classes",
        "The divergence is averaged over the classes as well as over the batch: PyTorch's default, reduction='mean'.",
        "A divergence is a sum over the classes; only the batch is averaged over (reduction='batchmean').",
        'soft_loss = F.kl_div(log_p_student, p_teacher, reduction="mean")',
        'soft_loss = F.kl_div(log_p_student, p_teacher, reduction="batchmean")',
        "The soft loss is K times too weak, with K classes: 10 times with ten, 100 times with a hundred.",
        lambda config: _plain_with_t_squared(config, True),
        f"{_PLAIN}, and t_squared on",
    ),
    "teacher_dropout": MistakeInfo(
        "Teacher with dropout on",
        "The teacher stays in train mode, so that its dropout goes on (and batch norm uses each batch's statistics).",
        "The teacher is in eval mode while it teaches: the same image, the same soft targets.",
        "with torch.no_grad(): teacher_logits = teacher(images)  # still in train mode",
        "teacher.eval()\nwith torch.no_grad(): teacher_logits = teacher(images)",
        "Each batch hears a different random part of the teacher. The noise averages out in part; how much is lost"
        " depends on how much is dropped.",
        _plain,
        _PLAIN,
        keeps_logits=False,
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
        lambda config: _plain(config) and not config.training.jitter_pixels,
        f"{_PLAIN}, and no jitter: with it the teacher's logits are not kept",
    ),
    "colour_jitter": MistakeInfo(
        "Colour jitter for pixel jitter",
        "The paper jitters images by up to two pixels. Public reruns take torchvision's ColorJitter, which changes"
        " brightness and contrast (and saturation and hue, which a grey image has not).",
        "Each image moves by a few whole pixels, both ways; its values stay.",
        "transforms.ColorJitter(brightness=0.4, contrast=0.4)",
        "transforms.RandomCrop(28, padding=2)  # moves by up to two pixels",
        "Brighter ink teaches nothing about where a digit may stand: what moved images teach is missing.",
        lambda config: config.training.jitter_pixels > 0,
        "images that move: set jitter_pixels above 0",
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
        lambda config: config.role == "distilled" or (config.role == "teacher" and config.training.epochs == 1),
        "a teacher of one epoch, or a student of such a teacher",
    ),
    "test_choice": MistakeInfo(
        "The best epoch chosen on the test set",
        "The test set is looked at after every epoch, and the best number is reported.",
        "A validation split of the training set chooses the epoch; test errors are counted once it is chosen.",
        "best = max(best, accuracy(model, test_set))  # after every epoch",
        "if accuracy(model, validation_set) >= best: keep(model)",
        "The student is not worse, its number is: the luckiest of many looks at the same images promises what new"
        " images will not keep.",
        lambda config: config.training.validation_fraction > 0,
        "a validation split, by which epochs would rightly be chosen: set validation_fraction above 0",
    ),
}
