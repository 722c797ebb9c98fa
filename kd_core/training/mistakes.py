"""The catalogue of mistakes that a run can make on purpose, their words in mistakes.toml. Imports no torch.

Which training makes each is said in kd_core.training.mistaken.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from kd_core.base.config import ConfigError
from kd_core.base.templates import Said, prose, said

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
        raise ConfigError(said("a teacher that was brought is not trained here, so that it makes no mistake here"))
    if config.mistake not in MISTAKES:
        raise ConfigError(
            said(
                "unknown mistake '{mistake}': choose one of {known}", mistake=config.mistake, known=", ".join(MISTAKES)
            )
        )
    info = MISTAKES[config.mistake]
    if not info.possible(config):
        raise ConfigError(said("the mistake '{mistake}' needs {needs}", mistake=info.label, needs=info.needs))


def check_teacher(config: "RunConfig", teacher: "RunConfig") -> None:
    """Raise ConfigError where a run's mistake cannot be made with this teacher."""
    if config.mistake == "teacher_dropout" and not teacher.model.drops:
        raise ConfigError(said("to leave the teacher's dropout on needs a teacher with dropout: choose another one"))
    if config.mistake == "hasty_teacher" and teacher.training.epochs > 1:
        raise ConfigError(
            said(
                "a teacher of {epochs} epochs is not trained for one epoch: choose another one",
                epochs=teacher.training.epochs,
            )
        )


def _plain(config: "RunConfig") -> bool:
    """Whether a run distills with Hinton's objective, which stays the same over the steps."""
    objective = config.distillation
    unchanged = objective is not None and objective.objective == "hinton" and not objective.changes
    return unchanged and not config.training.label_smoothing


def _plain_with_t_squared(config: "RunConfig", t_squared: bool) -> bool:
    return _plain(config) and config.distillation is not None and config.distillation.t_squared == t_squared


_POSSIBLE: dict[str, Callable[["RunConfig"], bool]] = {
    "no_t_squared": lambda config: _plain_with_t_squared(config, False),
    "class_mean": lambda config: _plain_with_t_squared(config, True),
    "teacher_dropout": _plain,
    "stale_cache": lambda config: _plain(config) and not config.training.augments,
    "colour_jitter": lambda config: config.training.jitter_pixels > 0,
    "hasty_teacher": lambda config: (
        config.role == "distilled" or (config.role == "teacher" and config.training.epochs == 1)
    ),
    "test_choice": lambda config: config.training.validation_fraction > 0,
}
_TEXTS = prose(__file__)
MISTAKES = {
    name: MistakeInfo(
        **{key: Said(text) for key, text in _TEXTS[name].items()}
        | {"needs": Said(_TEXTS[name]["needs"], plain=Said(_TEXTS["plain"]))},
        possible=possible,
        keeps_logits=name != "teacher_dropout",
    )
    for name, possible in _POSSIBLE.items()
}
