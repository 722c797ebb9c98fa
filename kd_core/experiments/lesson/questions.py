"""The lesson's questions: each with a truth that is computed from the models on screen, or from students that ship.

A truth holds no words: the answers' names, the one that holds, and the values of the sentences' placeholders. ask puts
the catalogue's words to it.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from kd_core.base.templates import Said, said
from kd_core.evaluation import bias
from kd_core.evaluation.accuracy import predictions
from kd_core.evaluation.claims import seed_difference
from kd_core.evaluation.soft import entropy_bits, softened
from kd_core.evaluation.statistics import FEWEST_SEEDS, mean_interval
from kd_core.experiments.lesson.catalogue import entry, say
from kd_core.experiments.lesson.material import COLD_STUDENT, HOT_STUDENT, WARM, Material, Seeds, Students, listed

HOT, LOSS_TEMPERATURE = 8.0, 20.0
FOLLOWED = 100
"""Test images of which the gradient is computed with and without T²."""
TOLERANCE = 0.2
"""Share of a difference within which another one is called as large."""


class Truth(NamedTuple):
    """answers: name of each -> values of its sentence. answer: the name of the true one. values: of prompt and why."""

    answers: Mapping[str, Mapping[str, object]]
    answer: str
    values: Mapping[str, object]


class Question(NamedTuple):
    """A question in words. answers: name -> sentence, of which answer is true. why: one sentence on it."""

    name: str
    prompt: str
    answers: Mapping[str, str]
    answer: str
    why: str


def ask(name: str, material: Material, shown: Callable[[str], str] = lambda text: text) -> Question | None:
    """Put a question of the catalogue; None where these models cannot answer it.

    shown: makes Markdown of a value, which may be the name of somebody's class.
    """
    truth = TRUTHS[name](material)
    if truth is None:
        return None
    texts, values = entry(f"questions.{name}"), _shown(truth.values, shown)
    words = {
        answer: say(f"questions.{name}.answers.{_sentence(answer, texts['answers'])}", **values, **_shown(own, shown))
        for answer, own in truth.answers.items()
    }
    why = say(f"questions.{name}.why.{_sentence(truth.answer, texts['why'])}", **values)
    if "printed" in truth.values:
        why = Said("{why} {printed}", why=why, printed=say(f"questions.{name}.printed", **values))
    return Question(name, say(f"questions.{name}.prompt", **values), words, truth.answer, why)


def _shown(values: Mapping[str, object], shown: Callable[[str], str]) -> dict[str, object]:
    return {name: shown(value) if isinstance(value, str) else value for name, value in values.items()}


def _sentence(answer: str, sentences: Mapping[str, str]) -> str:
    """Return the name of the sentence for an answer: of classes, which the models name, there is one for all."""
    return answer if answer in sentences else "class"


def _most_alike(material: Material) -> Truth | None:
    others = material.by_likeness
    if len(others) < 2:
        return None
    names, row = material.class_names, material.mean_soft[material.subject]
    offered = {others[place] for place in (0, 1, len(others) // 2, len(others) - 1)}
    return Truth(
        {str(k): {"name": names[k]} for k in sorted(offered)},
        str(others[0]),
        {
            "subject": names[material.subject],
            "likest": names[others[0]],
            "count": f"{int((material.labels == material.subject).sum()):,}",
            "share": f"{row[others[0]]:.1%}",
            "temperature": f"{WARM:g}",
        },
    )


def _what_t_changes(material: Material) -> Truth:
    order = np.argsort(-material.teacher, axis=1, kind="stable")
    cold, warm = (softened(material.teacher, T) for T in (1.0, HOT))
    reordered = int((np.diff(np.take_along_axis(warm, order, axis=1), axis=1) > 0).any(axis=1).sum())
    before, after = entropy_bits(cold), entropy_bits(warm)
    risen = int((after > before).sum())
    answer = "both" if reordered and risen else "order" if reordered else "entropy"
    values = {
        "hot": f"{HOT:g}",
        "count": f"{len(order):,}",
        "reordered": f"{reordered:,}" if reordered else said("none"),
        "risen": said("all") if risen == len(order) else said("{risen:,}", risen=risen),
        "cold": f"{before.mean():.2f}",
        "warm": f"{after.mean():.2f}",
    }
    return Truth({"order": {}, "entropy": {}, "both": {}}, answer, values)


def _without_t_squared(material: Material) -> Truth | None:
    if material.student is None:
        return None
    import torch

    from kd_core.losses.hinton import distillation_gradient

    student, teacher = (torch.from_numpy(logits[:FOLLOWED]).double() for logits in (material.student, material.teacher))
    labels = torch.from_numpy(material.labels[:FOLLOWED])
    with_it, without = (
        distillation_gradient(student, teacher, labels, temperature=LOSS_TEMPERATURE, alpha=1.0, t_squared=squared).soft
        for squared in (True, False)
    )
    times = float((with_it.norm(dim=1) / without.norm(dim=1).clamp_min(1e-300)).median())
    by_factor = {LOSS_TEMPERATURE: "root", 2 * LOSS_TEMPERATURE: "twice", LOSS_TEMPERATURE**2: "square", 1.0: "none"}
    nearest = min(by_factor, key=lambda factor: abs(np.log(times / factor)))
    values = {
        "temperature": f"{LOSS_TEMPERATURE:g}",
        "twice": f"{2 * LOSS_TEMPERATURE:g}",
        "square": f"{LOSS_TEMPERATURE**2:g}",
        "times": f"{times:.4g}",
        "count": f"{len(labels):,}",
    }
    return Truth({name: {} for name in ("root", "twice", "square", "none")}, by_factor[nearest], values)


def _bare_gradient(material: Material) -> Truth | None:
    if material.student is None:
        return None
    cold, warm = (material.bare_gradient(T) for T in (1.0, 2.0))
    rises = float((warm > cold).mean())
    ratio = float(np.median(warm / np.maximum(cold, np.finfo(float).tiny)))
    answer = "rises" if rises > 0.5 else "quarter" if ratio < 0.35 else "falls"
    values = {"share": f"{rises:.1%}", "ratio": f"{ratio:,.3g}", "count": f"{len(cold):,}"}
    return Truth({name: {} for name in ("quarter", "falls", "rises")}, answer, values)


def _over_seeds(students: Students, *lines: str) -> dict[str, object]:
    """Return what sentences on these lines of students have in common: their mean errors, and of what."""
    means = {f"{line}_errors": f"{np.mean(students.errors[line]):.1f}" for line in lines}
    return {
        **means,
        "data": students.data,
        "examples": f"{students.examples:,}",
        "seeds": len(students.errors[lines[0]]),
        "fraction": f"{students.fraction:.0%}",
        "units": students.units,
    }


def _difference(students: Students, first: str, second: str) -> tuple[int, dict[str, object]]:
    """Return whether the first line makes fewer errors (1), more (-1) or neither can be told (0), and the interval."""
    fewer, more = (dict(enumerate(students.errors[line])) for line in (first, second))
    apart = seed_difference(fewer, more)
    if apart is None or apart.interval is None:
        return 0, {"low": "–", "high": "–"}
    low, high = apart.interval
    return apart.sign, {"low": f"{low:.1f}", "high": f"{high:.1f}"}


def _hot(material: Material) -> Truth | None:
    if material.students is None:
        return None
    sign, interval = _difference(material.students, "hot", "cold")
    values = {
        **_over_seeds(material.students, "hot", "cold", "baseline"),
        **interval,
        "hot": HOT_STUDENT,
        "cold": COLD_STUDENT,
    }
    return Truth({"better": {}, "alike": {}, "worse": {}}, {1: "better", 0: "alike", -1: "worse"}[sign], values)


def _labels_or_teacher(material: Material) -> Truth | None:
    if material.students is None:
        return None
    sign, interval = _difference(material.students, "taught", "twice")
    values = {**_over_seeds(material.students, "few", "twice", "taught"), **interval}
    return Truth({"labels": {}, "teacher": {}, "alike": {}}, {1: "teacher", 0: "alike", -1: "labels"}[sign], values)


def saved(seeds: Seeds) -> dict[int, int]:
    """Return the test errors that the student saves against its baseline, by seed."""
    return {seed: baseline - student for seed, (baseline, student) in seeds.errors.items()}


def _next_seed(material: Material) -> Truth | None:
    seeds = material.seeds
    if seeds is None or len(seeds.errors) <= FEWEST_SEEDS or seeds.this not in seeds.errors:
        return None
    by_seed = saved(seeds)
    here = by_seed.pop(seeds.this)
    mean, low, high = mean_interval([*by_seed.values()])
    near = max(0.5, TOLERANCE * abs(here))
    answer = "smaller" if mean < here - near else "larger" if mean > here + near else "alike"
    baseline, distilled = seeds.errors[seeds.this]
    values = {
        "seed": seeds.this,
        "seeds": len(by_seed),
        "baseline": f"{baseline:,}",
        "distilled": f"{distilled:,}",
        "saved": f"{here:,}",
        "mean": f"{mean:.1f}",
        "low": f"{low:.1f}",
        "high": f"{high:.1f}",
        "data": seeds.data,
    }
    return Truth({"larger": {}, "alike": {}, "smaller": {}}, answer, values)


def _missing_class(material: Material) -> Truth | None:
    missing = material.missing
    if missing is None:
        return None
    of_it = np.isin(missing.labels, missing.classes)
    examples = int(of_it.sum())

    def right(by: float) -> int:
        top = predictions(bias.with_bias(missing.logits, missing.classes, by))
        return int((top == missing.labels)[of_it].sum())

    known = right(0.0)
    share = known / examples
    answer = "none" if share < 0.05 else "tenth" if share < 0.3 else "half" if share < 0.7 else "most"
    values = {
        "missing": listed(missing.classes),
        "examples": f"{examples:,}",
        "tenth": f"{examples // 10:,}",
        "half": f"{examples // 2:,}",
        "known": f"{known:,}",
        "corrected": f"{right(missing.prior_bias):,}",
        "bias": f"{missing.prior_bias:.1f}",
    }
    if missing.printed is not None:
        values["printed"], values["printed_corrected"] = (f"{count:,}" for count in missing.printed)
    return Truth({"none": {}, "tenth": {}, "half": {}, "most": {}}, answer, values)


TRUTHS: dict[str, Callable[[Material], Truth | None]] = {
    "most_alike": _most_alike,
    "what_t_changes": _what_t_changes,
    "without_t_squared": _without_t_squared,
    "bare_gradient": _bare_gradient,
    "hot": _hot,
    "next_seed": _next_seed,
    "labels_or_teacher": _labels_or_teacher,
    "missing_class": _missing_class,
}
"""By the question's name in the catalogue."""
