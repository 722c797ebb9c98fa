"""What a store of many runs costs: CPU seconds of one rerun of every page, of opening it, and of `runs` in a shell.

    KD_DATA_DIR=... python tools/benchmarks/growing.py [--runs 10 100 1000 10000] [--kind stories|class] [--reruns 5]

Stores are made by writing rows and folders. stories: teachers, baselines and distilled students, three a batch, as one
person trains them. class: baselines and distilled students of many browsers, who share the teacher that ships. Each
size is measured in a process of its own, by AppTest, which runs a page's script in that process: what Streamlit's
server and the browser do besides is left out. Printed: the median over the reruns, and the largest store's ratio to the
smallest's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import measured
from app_test import app_on

from kd_core.data.catalogue import info_of
from kd_core.evaluation.speed import processor
from kd_core.exchange import shipped
from kd_core.experiments.story import StoryConfig
from kd_core.models.config import ModelConfig
from kd_core.runs import recovery
from kd_core.runs.run import RECORD_COLUMNS, new_id
from kd_core.runs.store import Store
from kd_core.training.config import RunConfig

SIZES = (10, 100, 1_000, 10_000)
EPOCHS, STEPS_AN_EPOCH = 12, 4
PAGES = (
    "overview", "temperature", "data", "train", "train?view=Watch", "runs", "compare", "sweep", "objectives", "paper",
    "mistakes", "limits", "export",
)  # fmt: skip
UNCLEAN, OPENING, SHELL = "opening it, never closed", "opening it, as it was left", "`runs` in a shell"


def make_store(home: Path, count: int, kind: str) -> None:
    """Fill a new home with what ships and so many runs, each with its curve and its files."""
    store = Store(home)
    shipped.offer(store)
    (teacher,) = (run for run in store.runs() if run.config.role == "teacher" and run.config.dataset == "digits")
    store.close()
    for name, value in (("weights", b"no weights"), ("logits", b"no logits")):
        (home / name).write_bytes(value)
    with recovery.sqlite3.connect(home / "lab.sqlite") as database:
        for number, (batch, browser, run_id, config) in enumerate(_configs(count, kind, teacher.id)):
            _enter(database, home, number, batch, browser, run_id, config)
    database.close()


def _configs(count: int, kind: str, shipped_teacher: str) -> Iterator[tuple[str, str, str, RunConfig]]:
    """Yield (batch, browser, run id, config), batch by batch."""
    number, left = 0, count
    while left > 0:
        settings = {"temperature": 1.0 + number % 19, "alpha": 0.5 + 0.1 * (number % 5)}
        story = StoryConfig.default("digits").replace(
            seed=number, student=ModelConfig(hidden=(8 + number % 23,)), **settings
        )
        batch, browser = new_id(), f"browser{number % 25}"
        teachers = [(new_id(), config) for config in story.teacher_runs()] if kind == "stories" else []
        ids = tuple(run_id for run_id, _ in teachers) or (shipped_teacher,)
        runs = [*teachers, *((new_id(), config) for config in story.student_runs(ids))]
        for run_id, config in runs[:left]:
            yield batch, browser if kind == "class" else "", run_id, config.computed_in("float32")
        left -= len(runs)
        number += 1


def _enter(database: Any, home: Path, number: int, batch: str, browser: str, run_id: str, config: RunConfig) -> None:
    text, created = config.model_dump_json(), 1.75e9 + number
    results = {
        "test_errors": 20 + number % 40, "test_examples": 360, "validation_errors": 5, "validation_examples": 120,
        "epochs": float(config.training.epochs), "classes": info_of(config.dataset).classes, "parameters": 2410,
        "size_bytes": 9640, "multiply_adds": 2368,
    }  # fmt: skip
    folder = home / "runs" / run_id
    folder.mkdir(parents=True)
    card = {"config": json.loads(text), "results": results, "weights_sha256": sha256(b"no weights").hexdigest()}
    (folder / "config.json").write_text(text)
    (folder / "card.json").write_text(json.dumps(card))
    (folder / "origin.json").write_text(json.dumps({"batch": batch, "browser": browser, "created_at": created}))
    os.link(home / "weights", folder / "weights.safetensors")
    os.link(home / "logits", folder / "logits.safetensors")
    environment = {"device": "cpu", "processor": processor(), "threads": 2, "precision": "float32"}
    steps = EPOCHS * STEPS_AN_EPOCH
    row = {
        "id": run_id, "created_at": created, "config": text, "batch": batch, "status": "finished",
        "owner": json.dumps({"host": "benchmark", "pid": 1, "started": 0.0}), "step": steps, "total_steps": steps,
        "started_at": created, "ended_at": created + 5, "environment": json.dumps(environment),
        "results": json.dumps(results), "browser": browser, "attempt": 1,
        "name": f"run {number}" if number % 10 == 0 else "", "tags": '["kept"]' if number % 20 == 0 else "[]",
    }  # fmt: skip
    database.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", [*row.values()])
    records = []
    for step in range(1, steps + 1):
        values: dict[str, Any] = {"epoch": step / STEPS_AN_EPOCH, "step": step, "loss": 2 / step, "hard_loss": 2 / step}
        records.append({"kind": "step", **values, "learning_rate": 1e-3, "samples_per_second": 1e4})
        if step % STEPS_AN_EPOCH == 0:
            records.append(
                {"kind": "epoch", **values, "seconds": 0.1, "validation_errors": 30, "validation_accuracy": 0.75}
            )
    marks = ", ".join("?" * (1 + len(RECORD_COLUMNS)))
    database.executemany(
        f"INSERT INTO records (run_id, {', '.join(RECORD_COLUMNS)}) VALUES ({marks})",
        [(run_id, *(record.get(column) for column in RECORD_COLUMNS)) for record in records],
    )


def measure(home: Path, reruns: int) -> dict[str, float]:
    """Measure every page of a home, in CPU seconds; call it in a process of its own."""
    os.environ["KD_HOME"] = str(home)
    from pages.shared.session import services

    services.WARM_UP_AFTER_SECONDS = 1e6  # no workers beside the pages
    seconds = {}
    for name in (UNCLEAN, OPENING):
        before = time.process_time()
        recovery.open_store(home).store.close()
        seconds[name] = time.process_time() - before
    for page in PAGES:
        name, _, query = page.partition("?")
        app = app_on(name, **dict([query.split("=")] if query else []))
        taken = []
        for _ in range(reruns):
            before = time.process_time()
            app.run()
            taken.append(time.process_time() - before)
        assert not app.exception, [error.value for error in app.exception]
        seconds[page] = median(taken)
    shell = subprocess.Popen([sys.executable, "-m", "kd_core", "runs"], stdout=subprocess.DEVNULL)
    usage = os.wait4(shell.pid, 0)[2]
    return seconds | {SHELL: usage.ru_utime + usage.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES)
    parser.add_argument("--kind", choices=("stories", "class"), default="stories")
    parser.add_argument("--reruns", type=int, default=5)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.reruns)))
        return
    columns: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="kd-lab-growing-") as folder:
        for count in arguments.runs:
            home = Path(folder) / str(count)
            make_store(home, count, arguments.kind)
            command = [sys.executable, __file__, "--measure", str(home), "--reruns", str(arguments.reruns)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            if done.returncode:
                sys.exit(done.stderr)
            columns[count] = json.loads(done.stdout.splitlines()[-1])
    first, last = columns[arguments.runs[0]], columns[arguments.runs[-1]]
    print(f"CPU seconds, a store of {arguments.kind}, {measured.machine()}\n")
    print(f"| | {' | '.join(f'{count:,} runs' for count in columns)} | ratio |")
    print(f"|---|{'---|' * (len(columns) + 1)}")
    for name in first:
        cells = " | ".join(f"{column[name]:.3f}" for column in columns.values())
        print(f"| {name} | {cells} | {last[name] / first[name]:.1f} |")


if __name__ == "__main__":
    main()
