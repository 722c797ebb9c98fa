"""Make the results that ship of "When does it not help?", and their document, docs/measurements/limits.md.

    KD_HOME=... KD_DATA_DIR=... python tools/benchmarks/limits.py [--datasets digits mnist] [--experiments small gap]

Trains in the store of KD_HOME what is missing there, five seeds of each experiment, and goes on where it was broken
off. Other data sets and experiments keep the results that they have. --document writes the document anew, and no more.
"""

import argparse
import json

import measured  # noqa: F401

from kd_core.base import paths
from kd_core.base.files import write_atomic
from kd_core.cli import watch
from kd_core.cli.runs import open_store
from kd_core.data.catalogue import info_of
from kd_core.experiments import table
from kd_core.experiments.limits import outcome
from kd_core.experiments.limits.catalogue import NAMES, SCALES, SEEDS, Limit, limit
from kd_core.runs import artifacts

DOCUMENT = paths.ROOT / "docs" / "measurements" / "limits.md"
OPENING = """\
# When does it not help?

<!-- Written by tools/benchmarks/limits.py: change that, and make this anew. -->

Experiments on the limits of distillation, each with the question that [its page](../pages.md#when-not) has predicted
before it shows the answer. Each has {seeds} seeds; the students of a seed start from the same weights and see images in
the same order. A difference is paired by seed: where its 95% interval (Student's t over the seeds) leaves out 0 the
verdict is *it helps* or *it harms*, elsewhere *we cannot tell*. Among so many intervals one in twenty leaves out 0 by
luck. All settings were fixed before the first run and none was changed for its result. The networks are small: what a
paper found with large ones on other images need not hold here. What a paper states is in our words, after reading the
places named.

`python -m kd_core limits NAME --dataset mnist` redoes an experiment in the shell, *Run it again here* on the page;
`python tools/benchmarks/limits.py` made the results that ship, and this document of them.
"""


def train(given: Limit) -> dict[str, object]:
    """Train what is missing of an experiment in the store, and return its results as they ship."""
    store = open_store()
    watch.train_in_groups(store, table.plan(given.experiment, range(SEEDS), store.runs()))
    redo = table.redone(given.experiment, SEEDS, store.runs())
    result = outcome.outcome(redo, lambda run_id: artifacts.test_logits(store.folder(run_id)))
    store.close()
    return outcome.as_json(given, result)


def document() -> str:
    """Return the document of the results that ship."""
    parts = [OPENING.format(seeds=SEEDS)]
    for dataset in SCALES:
        results = {name: outcome.shipped(limit(name, dataset)) for name in NAMES}
        if any(results.values()):
            parts.append(f"## {info_of(dataset).label}\n")
        parts += [section(limit(name, dataset), there) for name, there in results.items() if there is not None]
    return "\n".join(parts)


def section(given: Limit, there: outcome.Outcome) -> str:
    """Return an experiment as a part of the document."""
    verdict = outcome.verdict(given, there)
    rows = [outcome.head(given, there), *outcome.cells(given, there)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join("---" for _ in rows[0]) + " |")
    claims = [
        f"- [{claim.paper}](https://arxiv.org/abs/{claim.arxiv}), {claim.where}: {claim.states}"
        f" **{outcome.beside(claim, verdict.word)}**"
        for claim in given.claims
    ]
    verdicts = " ".join(filter(None, (verdict.sentence, outcome.agreement_in_words(given, there))))
    note = f"{outcome.note(there)} {there.machine}."
    parts = (
        f"### {given.title}",
        f"{given.question} {given.setting}",
        "\n".join(lines),
        verdicts,
        "\n".join(claims),
        note,
    )
    return "\n\n".join(parts) + "\n"


def main() -> None:
    """Train, write the results, write the document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", nargs="+", choices=SCALES, default=[*SCALES])
    parser.add_argument("--experiments", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--document", action="store_true", help="train nothing, write the document anew")
    options = parser.parse_args()
    for dataset in [] if options.document else options.datasets:
        for name in options.experiments:
            there = json.loads(outcome.SHIPPED.read_text(encoding="utf-8")) if outcome.SHIPPED.is_file() else {}
            there.setdefault(dataset, {})[name] = train(limit(name, dataset))
            write_atomic(outcome.SHIPPED, (json.dumps(there, indent=1) + "\n").encode())
    outcome.read_shipped.cache_clear()
    write_atomic(DOCUMENT, document().encode())


if __name__ == "__main__":
    main()
