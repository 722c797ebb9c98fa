"""What came of an experiment on the limits of distillation, here or where the results that ship were made.

SHIPPED holds the latter with a fingerprint of the settings: results of other settings are never shown.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import softmax

from kd_core.base.templates import Said, said
from kd_core.data.catalogue import info_of
from kd_core.evaluation.accuracy import Logits, agreement
from kd_core.evaluation.claims import SeedDifference, seed_difference
from kd_core.evaluation.statistics import FEWEST_SEEDS, mean_interval
from kd_core.experiments.limits.catalogue import TEXTS, Claim, Limit, limit
from kd_core.experiments.table import Redone, machines
from kd_core.training.config import RunConfig

SHIPPED = Path(__file__).with_name("shipped.json")

Word = Literal["helps", "harms", "open"]
BySeed = Mapping[int, float]


class Outcome(NamedTuple):
    """What came of each line, by seed; machine: on what it was computed.

    errors: test errors, of so many examples. agreeing: test images on which student and teacher have the same top
    class, empty where the experiment does not count them. confidence: of teachers alone, the mean of their largest
    probability over the test set, from 0 to 1.
    """

    examples: int
    errors: Mapping[str, BySeed]
    agreeing: Mapping[str, BySeed]
    confidence: Mapping[str, BySeed]
    machine: str


def outcome(redo: Redone, logits: Callable[[str], Logits]) -> Outcome:
    """Gather what finished runs came to. logits: run id -> (N, K) over the test set."""
    given = limit(redo.experiment.name, redo.dataset)
    finished = {line.label: redo.finished(line.label) for line in redo.experiment.lines}
    errors = {
        line: {seed: float(run.results["test_errors"]) for seed, run in runs.items()} for line, runs in finished.items()
    }
    examples = info_of(redo.dataset).test_examples
    agreeing = {}
    if given.fidelity:
        teachers = finished["teacher"]
        agreeing = {
            line: {
                seed: float(round(examples * agreement(logits(run.id), logits(teachers[seed].id))))
                for seed, run in runs.items()
                if seed in teachers
            }
            for line, runs in finished.items()
            if line != "teacher"
        }
    confidence = {
        line: {seed: _confidence(logits(run.id)) for seed, run in runs.items()}
        for line, runs in finished.items()
        if line.startswith("teacher_")
    }
    return Outcome(examples, errors, agreeing, confidence, machines(redo.all_finished))


def _confidence(logits: Logits) -> float:
    return float(softmax(logits.astype(np.float64), axis=1).max(axis=1).mean())


# ------------------------------------------------------------------------------------------------- what it says


class Verdict(NamedTuple):
    """Whether the main line makes fewer test errors than the reference, and a sentence of Markdown on how sure.

    saved: by how many, seed by seed; None without a seed that both have.
    """

    word: Word
    sentence: str
    saved: SeedDifference | None


def verdict(given: Limit, result: Outcome) -> Verdict:
    """Judge the question: the 95% interval of what is saved, seed by seed (Student's t), leaves out 0 or does not."""
    saved = seed_difference(result.errors[given.main], result.errors[given.reference])
    return Verdict(_word(saved), _sentence("verdict", given, saved, result.examples), saved)


def agreement_in_words(given: Limit, result: Outcome) -> str:
    """Say which of the two agrees with its teacher more often; empty where that is not counted."""
    if not result.agreeing:
        return ""
    more = seed_difference(result.agreeing[given.reference], result.agreeing[given.main])
    return _sentence("agreement", given, more, result.examples)


def beside(claim: Claim, word: Word) -> str:
    """Say whether a verdict bears a paper's claim out."""
    return Said(TEXTS["beside"]["open" if word == "open" else "agrees" if word == claim.expects else "otherwise"])


def _word(gain: SeedDifference | None) -> Word:
    if gain is None or not gain.sign:
        return "open"
    return "helps" if gain.sign > 0 else "harms"


def _sentence(kind: str, given: Limit, gain: SeedDifference | None, examples: int) -> str:
    """Fill in the sentence of [kind] in catalogue.toml that a difference asks for. gain: of the main line.

    Its value Main is the main line's label as a sentence begins: who translates it gives it anew.
    """
    texts, main = TEXTS[kind], given.labels[given.main]
    if gain is None or gain.interval is None:
        return Said(texts["few"], fewest=FEWEST_SEEDS)
    size, (low, high), word = f"{abs(gain.mean):.1f}", gain.interval, _word(gain)
    way = "equal" if not float(size) else "more" if (gain.mean > 0) == (kind == "agreement") else "fewer"
    if gain.mean < 0 and float(size):
        low, high = -high, -low
    return Said(
        texts[f"open_{way}" if word == "open" else word],
        Main=main[0].upper() + main[1:],
        main=main,
        reference=given.labels[given.reference],
        size=size,
        low=f"{low:.1f}",
        high=f"{high:.1f}",
        seeds=len(gain.by_seed),
        examples=f"{examples:,}",
    )


def differences(given: Limit, result: Outcome) -> dict[str, SeedDifference]:
    """Return how many test errors more than the reference each other kind of student makes, by line."""
    reference = result.errors[given.reference]
    more = {line: seed_difference(reference, result.errors[line]) for line in given.students}
    return {line: difference for line, difference in more.items() if difference is not None}


def head(given: Limit, result: Outcome) -> tuple[str, ...]:
    """Name the columns of the table."""
    texts = TEXTS["table"]
    columns = [Said(text, reference=given.labels[given.reference]) for text in texts["head"]]
    columns += [Said(texts["agreeing"])] * bool(result.agreeing)
    return (*columns, *[Said(texts["confidence"])] * bool(result.confidence))


def cells(given: Limit, result: Outcome) -> list[tuple[str, ...]]:
    """Return the table, a line for each kind of run that any seed has finished."""
    more, rows = differences(given, result), []
    for line, errors in result.errors.items():
        if not errors:
            continue
        label = given.labels[line]
        row = [label[0].upper() + label[1:], _mean(errors), _signed(more.get(line))]
        row += [_mean(result.agreeing.get(line, {}))] * bool(result.agreeing)
        if result.confidence:
            shares = result.confidence.get(line)
            row.append(f"{sum(shares.values()) / len(shares):.2%}" if shares else "–")
        rows.append(tuple(row))
    return rows


def note(result: Outcome) -> str:
    """Say how to read the table."""
    return Said(TEXTS["table"]["note"], examples=f"{result.examples:,}")


def _mean(by_seed: BySeed) -> str:
    values = list(by_seed.values())
    if len(values) < FEWEST_SEEDS:
        return " ".join(f"{value:.0f}" for value in values) or "–"
    mean, low, high = mean_interval(values)
    return said("{mean:.1f} ({low:.1f} to {high:.1f})", mean=mean, low=low, high=high)


def _signed(difference: SeedDifference | None) -> str:
    if difference is None:
        return "–"
    if difference.interval is None:
        return f"{difference.mean:+.1f}"
    low, high = difference.interval
    return said("{mean:+.1f} ({low:+.1f} to {high:+.1f})", mean=difference.mean, low=low, high=high)


# ------------------------------------------------------------------------------------------------- what ships


def fingerprint(given: Limit) -> str:
    """Return 16 hexadecimal digits that change with any setting of any run of an experiment.

    A setting at its default is left out: one that is new, at what was done before, changes nothing.
    """
    taught: list[RunConfig] = []
    teachers = given.experiment.teachers(0)
    for place, teacher in enumerate(teachers):
        if not isinstance(teacher, str):
            taught.append(teacher if isinstance(teacher, RunConfig) else teacher(0, _ids(place)))
    students = [line.make(0, _ids(len(teachers))) for line in given.experiment.lines]
    texts = [config.model_dump_json(exclude_defaults=True) for config in (*taught, *students)]
    return sha256("\n".join(texts).encode()).hexdigest()[:16]


def _ids(count: int) -> tuple[str, ...]:
    return tuple(f"teacher{place}" for place in range(count))


def shipped(given: Limit) -> Outcome | None:
    """Return the results that came with KD Lab; None where there are none of these settings."""
    written = None if given.own else read_shipped(SHIPPED).get(given.dataset, {}).get(given.name)
    if written is None or written["fingerprint"] != fingerprint(given):
        return None
    errors, agreeing, confidence = (_by_seed(written[part]) for part in _PARTS)
    return Outcome(written["examples"], errors, agreeing, confidence, written["machine"])


_PARTS = ("errors", "agreeing", "confidence")


def _by_seed(lines: Mapping[str, list[float]]) -> dict[str, BySeed]:
    return {line: dict(enumerate(values)) for line, values in lines.items()}


@cache
def read_shipped(path: Path) -> dict[str, Any]:
    """Read SHIPPED: data set -> experiment -> results. Empty where there is none."""
    written: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return written


def as_json(given: Limit, result: Outcome) -> dict[str, Any]:
    """Return results as SHIPPED holds them. They are of the seeds 0, 1, …, all finished."""
    parts = {
        part: {line: [round(by_seed[seed], 4) for seed in range(len(by_seed))] for line, by_seed in lines.items()}
        for part, lines in zip(_PARTS, (result.errors, result.agreeing, result.confidence), strict=True)
    }
    return {"fingerprint": fingerprint(given), "machine": result.machine, "examples": result.examples, **parts}
