"""Many faults at random moments, and what became of the runs: nothing finished may be lost, everything else goes on.

    KD_DATA_DIR=... python tools/faults/faults.py [--faults 100] [--seed 0] [--only N] [--report FILE]

A real server trains small stories and sweeps on a small disk of its own. Each fault comes from the seed and its number:
a worker or the server is killed or stopped, the disk is filled or made read-only, a checkpoint or the database is
damaged or the one newer than the other, the download of MNIST is cut, the clock is set, memory is short, a second
server works on the same home, or two of these at once. After each: the app runs its pages, finished runs are byte for
byte what they were, what was interrupted is resumed by the buttons of the app and ends with the weights and as many
records as an undisturbed run of the same config, and a sentence said what had happened. Exits with 1 where one of these
does not hold. Needs root, to mount a tmpfs. Bounded to loopback, to a folder under /tmp and to a minute a fault.
"""

import argparse
import collections
import contextlib
import hashlib
import json
import os
import platform
import random
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
import requests
import streamlit
import torch
import websockets
from world import ROOT, Disk, Mirror, Seen, Server, Tab, gone, may_mount, wait_until, whole

from kd_core.data.catalogue import TransferSetConfig
from kd_core.data.sets.like_mnist import FILES as MNIST_FILES
from kd_core.evaluation.speed import processor
from kd_core.exchange import shipped
from kd_core.experiments.story import StoryConfig
from kd_core.jobs.cluster import SECONDS_UNTIL_LOST
from kd_core.models.config import ModelConfig
from kd_core.runs.reading import BACKUP, DATABASE
from kd_core.runs.run import ACTIVE, RESUMABLE
from kd_core.runs.store import Store
from kd_core.training.config import TrainingConfig
from pages.shared.session.story import to_address

DISK_MEGABYTES = 2_000
AT_ONCE = 2
CHECKPOINT_SECONDS = 1.0
"""In place of five, so that runs of a few seconds have a checkpoint to go on from."""
LONGEST_WAIT = 4.0
"""Seconds of training before a fault strikes, at most."""
SECONDS_TO_BEGIN = 12.0
"""In which a new worker takes up what the one it replaces was doing."""
SWEEP_EPOCHS = 60
FEWEST_ACTIVE = 3
PAGES = ("", "temperature", "train", "runs", "compare", "sweep", "paper", "export")

SHIPPED = [json.loads(file.read_text())["run"]["id"] for file in shipped.FOLDER.glob("*/run.json")]
TRAINING = TrainingConfig(epochs=60, batch_size=64, learning_rate=5e-3, precision="float32")
STORIES = {
    "plain": StoryConfig.default("digits").replace(
        teacher=ModelConfig(hidden=(64,)),
        teacher_training=TRAINING.replace(epochs=40),
        student=ModelConfig(hidden=(16,)),
        training=TRAINING,
    ),
    "dropout and jitter": StoryConfig.default("digits").replace(
        teacher=ModelConfig(hidden=(48, 48), dropout_input=0.1, dropout_hidden=0.3),
        teacher_training=TRAINING.replace(epochs=30, jitter_pixels=1),
        student=ModelConfig(hidden=(20,), dropout_hidden=0.2),
        training=TRAINING.replace(epochs=40, jitter_pixels=1),
        temperature=4.0,
        seed=1,
    ),
    "another optimiser": StoryConfig.default("digits").replace(
        teacher=ModelConfig(hidden=(32,), batch_norm=True),
        teacher_training=TRAINING.replace(epochs=40, optimizer="sgd", schedule="one-cycle", learning_rate=0.1),
        student=ModelConfig(hidden=(24,)),
        training=TRAINING.replace(optimizer="adam", validation_fraction=0),
        transfer_set=TransferSetConfig(fraction=0.5),
        seed=2,
    ),
}
WIDE = STORIES["plain"].replace(
    teacher_training=TRAINING.replace(epochs=1),
    student=ModelConfig(hidden=(2000, 2000)),
    training=TRAINING.replace(epochs=2, batch_size=256),
)
"""Of 160 MB with gradients and moments, for a shortage of memory."""
MNIST = StoryConfig.default("mnist").replace(
    teacher=ModelConfig(hidden=(24,)),
    teacher_training=TRAINING.replace(epochs=1, batch_size=512, warmup_epochs=0),
    student=ModelConfig(hidden=(12,)),
    training=TRAINING.replace(epochs=1, batch_size=512, warmup_epochs=0),
)

NO_SENTENCE = re.compile(
    r"Traceback|\b[A-Z]\w*(Error|Exception|Worker)\b|Errno|<[\w.]+ object|\bNone\b|0x[0-9a-f]{6}|[\[{]'|\bSQL"
)
"""What no user should read: the names and values of Python."""


@dataclass
class Fault:
    """One fault, and what was seen of it."""

    number: int
    kind: str
    what: str = ""
    hits: set[str] = field(default_factory=set)  # runs that were queued or training
    halted: set[str] = field(default_factory=set)  # those of them that a user had to resume
    sentences: list[str] = field(default_factory=list)
    expected: str = ""  # what one of the sentences must say; nothing where no harm was done
    seconds: float | None = None  # until the app worked again, from when the cause was gone
    problems: list[str] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)  # runs, finished or not, that are gone or not what they should be

    def lose(self, run_id: str, problem: str) -> None:
        """Note that a run is not what it should be."""
        self.lost.add(run_id)
        self.problems.append(f"run {run_id} {problem}")

    def hear(self, sentence: str | None) -> None:
        """Note what the user could read."""
        if sentence and sentence not in self.sentences and not sentence.startswith("Downloading MNIST"):
            self.sentences.append(sentence)
            if NO_SENTENCE.search(sentence):
                self.problems.append(f"no sentence for people: {sentence}")

    def example(self) -> str | None:
        """The sentence that says what happened."""
        return next(
            (sentence for sentence in self.sentences if self.expected and re.search(self.expected, sentence)), None
        )


class Lab:
    """The app under test, and what is known of its runs."""

    def __init__(self, work: Path, seed: int) -> None:
        self.seed = seed
        self.disk = Disk(work / "disk", DISK_MEGABYTES)
        self.home = self.disk.folder / "home"
        self.mirror = Mirror(Path(os.environ["KD_DATA_DIR"]) / "MNIST" / "raw")
        self.server = Server(work, self.home, self.mirror, checkpoint_seconds=CHECKPOINT_SECONDS, at_once=AT_ONCE)
        self.references: dict[str, str] = {}  # what a run is -> SHA-256 of its undisturbed weights
        self.recorded: dict[str, tuple[int, ...]] = {}  # what a run is -> how many records of each kind it leaves
        self.work = work
        self.finished: dict[str, tuple[Any, ...]] = {}
        self.known: dict[str, set[int]] = {}  # every run ever seen at work -> the faults that hit it
        self.keys: dict[str, str] = {}
        self.fault = Fault(0, "none")
        self._browser: dict[str, str] = {}
        self._tab: Tab | None = None
        self._over = False
        store = Store(self.home)
        store.save_finding(
            "shipped",
            (),
            {"ids": SHIPPED},
        )
        store.close()
        self.server.start()
        threading.Thread(target=self._listen, daemon=True).start()

    # ------------------------------------------------------------------------------------- what a user sees and does

    @property
    def tab(self) -> Tab:
        """A tab that is connected."""
        if self._tab is None:
            self._tab = Tab(self.server.address, self._browser)
        return self._tab

    def _with_tab(self, do: Callable[[Tab], Seen], *, patience: float = 90.0) -> Seen:
        """Do something in a tab; one that lost its server is reloaded, as a browser does."""
        deadline = time.monotonic() + patience
        while True:
            try:
                seen = do(self.tab)
                break
            except (OSError, requests.RequestException, websockets.WebSocketException, TimeoutError):
                self.forget_tab()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        for sentence in (*seen.errors, *seen.warnings):
            self.fault.hear(sentence)
        self.fault.problems += [f"a page crashed: {crash}" for crash in seen.crashes]
        return seen

    def forget_tab(self) -> None:
        if self._tab is not None:
            self._tab.close()
            self._tab = None

    def look(self, *pages: str) -> Seen:
        """Open pages; the last one."""
        for page in pages:
            seen = self._with_tab(lambda tab, page=page: tab.open(page))
        return seen

    def read(self) -> None:
        """Read what stands beside every run that has not finished."""
        ids = [row["id"] for row in self.rows() if row["status"] != "finished"][:60]
        if ids:
            with contextlib.suppress(OSError, requests.RequestException):
                self._hear_runs(self.tab.live(ids))

    def _hear_runs(self, answer: list[dict[str, Any]] | str) -> None:
        if isinstance(answer, str):
            self.fault.hear(answer)
            return
        for run in answer:  # what live.js shows of it
            if run["status"] not in ("paused", "finished"):
                self.fault.hear(run["message"])

    def _listen(self) -> None:
        """Follow the runs at work as an open page does, all the time."""
        tab: Tab | None = None
        while not self._over:
            try:
                tab = tab or Tab(self.server.address, self._browser)
                ids = [row["id"] for row in self.rows() if row["status"] in ACTIVE][:60]
                if ids:
                    self._hear_runs(tab.live(ids))
            except (OSError, requests.RequestException, websockets.WebSocketException, TimeoutError):
                tab = None
            time.sleep(0.2)

    def submit(self, story: StoryConfig) -> None:
        """Train a story from the train page, all of it anew."""
        self.forget_tab()  # the form lives in a session
        query = {"view": "Set up", "setup": to_address(story)}
        anew = {"Use what is trained already": ("bool_value", False)}
        self._with_tab(lambda tab: tab.press("train", "Train", anew, **query))

    def submit_sweep(self) -> None:
        """Train a sweep of the plain story's teacher from the sweep page."""
        plain = self._key(STORIES["plain"].teacher_runs()[0].model_dump_json())
        # the newest, as a page lists no others of many
        teacher = next(run_id for run_id in reversed(self.finished) if self.keys[run_id] == plain)
        seen = wait_until(
            lambda: (seen := self.look("sweep")).options.get("Teacher") and seen, 60, "no teacher to choose"
        )
        label = next(option for option in seen.options.get("Teacher", ()) if option.endswith(teacher[:4]))
        values = {
            "Teacher": ("string_value", label),
            "Seeds": ("double_value", 1.0),
            "Epochs": ("double_value", float(SWEEP_EPOCHS)),
        }
        self._with_tab(lambda tab: tab.press("sweep", "Train", values))

    def resume(self) -> None:
        """Press resume wherever it is offered, until nothing waits for it."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            resting = [row for row in self.rows() if row["status"] in RESUMABLE]
            if not resting:
                return
            self.read()
            self.fault.halted |= {row["id"] for row in resting}
            batches = collections.defaultdict(list)
            for row in resting:
                batches[row["batch"]].append(row)
            for batch, rows in batches.items():
                distilled = sum(json.loads(row["config"])["role"] == "distilled" for row in rows)
                if distilled >= 4:
                    self._with_tab(lambda tab, batch=batch: tab.press("sweep", "Go on with", batch=batch))
                else:
                    ids = [row["id"] for row in sorted(rows, key=lambda row: row["role"] != "teacher")]
                    self._with_tab(lambda tab, ids=ids, batch=batch: tab.ask(ids, "resume", batch))
            time.sleep(0.3)
        self.fault.problems.append(f"cannot be resumed: {[(row['id'], row['message']) for row in resting]}")

    def press_live(self, what: str) -> list[str]:
        """Pause or stop what trains, by its own button; a sweep by the sweep's."""
        training = [row for row in self.rows() if row["status"] == "running"]
        for batch in {row["batch"] for row in training}:
            ids = [row["id"] for row in training if row["batch"] == batch]
            if len(ids) >= 4:
                self._with_tab(lambda tab, batch=batch: tab.press("sweep", "Stop the sweep", batch=batch))
            else:
                self._with_tab(lambda tab, ids=ids, batch=batch: tab.ask(ids, what, batch))
        return [row["id"] for row in training]

    # ------------------------------------------------------------------------------------------- what the lab knows

    def rows(self) -> list[dict[str, Any]]:
        """All runs as the database has them but those that ship; nothing while it cannot be read.

        What ships is offered again where the list that knew of it is removed, and taken in from its folders after that.
        """
        try:
            with contextlib.closing(sqlite3.connect(f"file:{self.home / DATABASE}?mode=ro", uri=True)) as database:
                database.row_factory = sqlite3.Row
                rows = [dict(row) for row in database.execute("SELECT * FROM runs WHERE deleted_at IS NULL")]
                rows = [row for row in rows if row["id"] not in SHIPPED]
                return [{**row, "role": json.loads(row["config"])["role"]} for row in rows]
        except (sqlite3.Error, ValueError):
            return []

    def _counts(self, run_id: str) -> tuple[int, ...]:
        """How many steps, epochs and probes the list of runs holds of one."""
        queries = ("records WHERE kind = 'step' AND", "records WHERE kind = 'epoch' AND", "probes WHERE")
        with contextlib.closing(sqlite3.connect(f"file:{self.home / DATABASE}?mode=ro", uri=True)) as database:
            return tuple(
                database.execute(f"SELECT count(*) FROM {query} run_id = ?", (run_id,)).fetchone()[0]
                for query in queries
            )

    def active(self) -> set[str]:
        return {row["id"] for row in self.rows() if row["status"] in ACTIVE}

    def _key(self, config: str) -> str:
        """What a run is, whichever ids its teachers have."""
        values = json.loads(config)
        if values["distillation"]:
            values["distillation"]["teachers"] = [self.keys[teacher] for teacher in values["distillation"]["teachers"]]
        return json.dumps(values, sort_keys=True)

    def account(self, *, undisturbed: bool = False) -> None:
        """Hold every finished run to what it was, new ones to their references, and miss none that was ever there."""
        rows = {row["id"]: row for row in self.rows()}
        for row in sorted(rows.values(), key=lambda row: row["role"] == "distilled"):
            self.keys[row["id"]] = self._key(row["config"])
        for run_id in sorted({*self.known, *self.finished} - rows.keys()):
            self.fault.lose(run_id, "is lost")
            self.known.pop(run_id, None)
            self.finished.pop(run_id, None)
        for run_id, row in rows.items():
            self.known.setdefault(run_id, set())
            if row["status"] != "finished":
                if run_id in self.finished:
                    self.fault.lose(run_id, f"had finished and now reads {row['status']}")
                    del self.finished[run_id]
                continue
            folder = self.home / "runs" / run_id
            sums = [_sha256(folder / name) for name in ("weights.safetensors", "logits.safetensors", "card.json")]
            now = (row["config"], json.loads(row["results"] or "{}"), *sums)
            counts = self._counts(run_id)
            if undisturbed:
                self.recorded.setdefault(self.keys[run_id], counts)
            if run_id not in self.finished and counts != self.recorded.get(self.keys[run_id]):
                expected = self.recorded.get(self.keys[run_id])
                self.fault.problems.append(f"run {run_id} ({row['role']}) has {counts} records, not {expected}")
            if run_id not in self.finished:
                if undisturbed:
                    self.references.setdefault(self.keys[run_id], sums[0])
                if self.references.get(self.keys[run_id]) != sums[0]:
                    hits = sorted(self.known[run_id])
                    self.fault.lose(run_id, f"({row['role']}) has other weights than undisturbed, after faults {hits}")
            elif now != self.finished[run_id]:
                self.fault.lose(run_id, "had finished and was changed")
            self.finished[run_id] = now

    def keep_busy(self, generator: random.Random) -> None:
        """Queue more where little is left, so that there is always something training."""
        while len({row["batch"] for row in self.rows() if row["status"] in ACTIVE}) < FEWEST_ACTIVE:
            if generator.random() < 0.35:
                self.submit_sweep()
            else:
                self.submit(generator.choice(list(STORIES.values())))

    def wait_for_training(self, generator: random.Random) -> None:
        """A random moment of a run."""
        wait_until(lambda: any(row["status"] == "running" and row["step"] for row in self.rows()), 90, "nothing trains")
        time.sleep(generator.uniform(0, LONGEST_WAIT))

    def kill_server(self, *, wait: bool = True) -> None:
        """kill -9; where wait, its workers have gone afterwards."""
        workers = self.server.kill()
        self.forget_tab()
        if not gone(workers, 30 if wait else 0) and wait:
            self.fault.problems.append("workers outlive their server by 30 s")

    def hit(self) -> None:
        """Note whom the fault strikes: now."""
        self.fault.hits |= self.active()

    def recover(self, since: float) -> None:
        """Wait until the pages run without an error and what was resumed trains."""
        deadline = time.monotonic() + 90
        while (seen := self.look("", "train")).errors or seen.crashes:
            if time.monotonic() > deadline:
                self.fault.problems.append(f"the app does not recover: {seen.errors or seen.crashes}")
                return
            time.sleep(0.3)
        self.resume()
        wait_until(
            lambda: not self.active() or any(row["status"] == "running" and row["step"] for row in self.rows()),
            90,
            "nothing trains again",
        )
        self.fault.seconds = time.monotonic() - since

    def drain(self, seconds: float = 600) -> None:
        """Let everything end."""
        wait_until(
            lambda: (rows := self.rows()) and not any(row["status"] in ACTIVE for row in rows), seconds, "no end"
        )

    def close(self) -> None:
        self._over = True
        self.forget_tab()
        self.server.stop()
        self.mirror.close()
        self.disk.close()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"


# ------------------------------------------------------------------------------------------------------ the faults


def kill_worker(lab: Lab, generator: random.Random) -> None:
    """A worker process dies while runs train; nobody does anything about it."""
    lab.hit()
    lab.fault.what = "kill -9 of a worker"
    before = {row["id"]: row["attempt"] for row in lab.rows() if row["status"] == "running"}
    start = time.monotonic()
    with contextlib.suppress(psutil.NoSuchProcess):
        generator.choice(lab.server.workers()).kill()

    def began_anew() -> bool:
        return any(row["attempt"] > before.get(row["id"], row["attempt"]) for row in lab.rows())

    wait_until(lambda: len(lab.server.workers()) >= AT_ONCE, 60, "the worker is not replaced")
    replaced = time.monotonic()
    wait_until(lambda: began_anew() or time.monotonic() - replaced > SECONDS_TO_BEGIN, 60, "")
    if began_anew():  # else it was one without work
        lab.fault.expected = "was lost"
        wait_until(lambda: lab.fault.example() or time.monotonic() - replaced > 2 * SECONDS_TO_BEGIN, 60, "")
    lab.recover(start)


def kill_server(lab: Lab, generator: random.Random) -> None:
    """The server dies, and is started again at once or when its workers have gone."""
    lab.hit()
    wait = generator.random() < 0.5
    lab.fault.what = f"kill -9 of the server, started again {'when its workers had gone' if wait else 'at once'}"
    lab.fault.expected = "The program that ran it ended"
    lab.kill_server(wait=wait)
    start = time.monotonic()
    lab.server.start()
    lab.recover(start)


def fill_disk(lab: Lab, generator: random.Random) -> None:
    """The disk is full to the last byte for some seconds, and then is not."""
    lab.hit()
    seconds = generator.uniform(1, 6)
    killed = generator.random() < 0.25
    lab.fault.what = f"the disk full for {seconds:.1f} s" + (
        ", the server killed and started meanwhile" if killed else ""
    )
    lab.fault.expected = "disk .*(is full|has only)"
    lab.disk.fill()
    until = time.monotonic() + seconds
    if killed:
        time.sleep(0.5)
        lab.kill_server()
        lab.disk.fill()
        lab.server.start()
        lab.look("", generator.choice(PAGES))
        lab.fault.expected += "|The program that ran it ended"  # there may be room in the write-ahead log
    else:
        while time.monotonic() < until:
            lab.disk.fill()  # a checkpoint that was replaced gives back its place
            lab.look("", generator.choice(PAGES))
            time.sleep(0.3)
        lab.disk.fill()
        with contextlib.suppress(StopIteration):
            lab.submit(STORIES["plain"])
    lab.read()
    lab.disk.free()
    lab.recover(time.monotonic())


def make_read_only(lab: Lab, generator: random.Random) -> None:
    """The store cannot be written: under a running server, or from before it starts."""
    lab.hit()
    lab.fault.expected = "cannot be written"
    if generator.random() < 0.5:
        seconds = generator.uniform(2, 6)
        lab.fault.what = f"the store read-only for {seconds:.1f} s under the running server"
        with lab.disk.read_only(lab.home):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                lab.look("", generator.choice(PAGES))
                lab.read()
                time.sleep(0.3)
            lab.submit(STORIES["plain"])
    else:
        lab.fault.what = "the server killed, and started on a read-only file system"
        lab.kill_server()
        lab.disk.freeze()
        lab.server.start()
        lab.look("", generator.choice(PAGES))
        lab.disk.thaw()
    lab.recover(time.monotonic())


def damage_checkpoint(lab: Lab, generator: random.Random) -> None:
    """A checkpoint of a run at rest is cut short, or some of its bytes change."""
    name = generator.choice(["checkpoint.pt", "checkpoint.pt", "together.pt"])

    def there() -> list[Path]:
        active = lab.active()
        return [file for file in lab.home.glob(f"runs/*/{name}") if file.parent.name in active]

    if not there():
        lab.submit_sweep() if name == "together.pt" else lab.submit(STORIES["dropout and jitter"])
    wait_until(there, 120, f"no {name} is written")
    lab.hit()
    by_pause = name == "checkpoint.pt" and generator.random() < 0.5
    if by_pause:
        ids = lab.press_live("pause")
        wait_until(lambda: not (lab.active() & {*ids}), 60, "the runs do not pause")
    else:
        lab.kill_server()
    checkpoints = [file for file in lab.home.glob(f"runs/*/{name}") if file.parent.name not in lab.finished]
    damages = [f"{file.parent.name[:4]}/{name} {_damage(file, generator)}" for file in checkpoints]
    lab.fault.what = f"{'paused' if by_pause else 'server killed'}, {', '.join(damages) or 'no checkpoint left'}"
    lab.fault.expected = "checkpoint was damaged" if damages else ""
    start = time.monotonic()
    if not by_pause:
        lab.server.start()
    lab.recover(start)
    ids = {file.parent.name for file in checkpoints}
    wait_until(  # until their turn has come
        lambda: lab.fault.example() or not (lab.active() & ids) or not damages, 120, "the runs do not go on"
    )


def _damage(file: Path, generator: random.Random) -> str:
    """Cut a file short, change some of its bytes, or blank a stretch of it; what was done, in words."""
    content = bytearray(file.read_bytes())
    match generator.choice(["cut", "flip", "flip", "blank"]):
        case "cut":
            content = content[: generator.randrange(len(content))]
            what = f"cut to {len(content)} bytes"
        case "flip":
            places = [generator.randrange(len(content)) for _ in range(generator.randint(1, 8))]
            for place in places:
                content[place] ^= generator.randint(1, 255)
            what = f"{len(places)} bytes changed"
        case _:
            start = generator.randrange(len(content))
            length = min(4096, len(content) - start)
            content[start : start + length] = bytes(length)
            what = f"{length} bytes blanked"
    file.write_bytes(content)
    return what


DATABASE_DAMAGES = (
    "cut short", "emptied", "header changed", "header blanked", "a page blanked", "pages changed", "some bytes changed",
    "the write-ahead log removed", "the write-ahead log changed", "the write-ahead log cut short", "removed",
)  # fmt: skip


def damage_database(lab: Lab, generator: random.Random) -> None:
    """The list of runs is damaged while the server is down."""
    lab.hit()
    lab.kill_server()
    done = _damage_database(lab.home, generator)
    lab.fault.what = f"server killed, the database: {done}"
    if generator.random() < 0.2:
        (lab.home / BACKUP).unlink(missing_ok=True)
        lab.fault.what += ", its backup removed"
    start = time.monotonic()
    lab.server.start()
    seen = lab.look("", "runs")
    warnings = [warning for warning in seen.warnings if "list of runs" in warning]
    # Bytes that nothing is read from, or a log that held nothing new, do no harm and need no words.
    lab.fault.expected = "The list of runs" if warnings or not re.search("log|some bytes", done) else ""
    lab.recover(start)


def _damage_database(home: Path, generator: random.Random) -> str:
    path, log = home / DATABASE, home / f"{DATABASE}-wal"
    done = generator.choice(DATABASE_DAMAGES)
    content = bytearray(path.read_bytes())
    pages = len(content) // 4096
    logged = bytearray(log.read_bytes()) if log.exists() else bytearray()
    match done:
        case "cut short":
            content = content[: generator.randrange(1, max(2, len(content) - 1))]
        case "emptied":
            content = bytearray()
        case "header changed":
            content[:100] = generator.randbytes(100)
        case "header blanked":
            content[:100] = bytes(100)
        case "a page blanked":
            start = 4096 * generator.randrange(max(1, pages))
            content[start : start + 4096] = bytes(4096)
        case "pages changed":
            for _ in range(3):
                start = 4096 * generator.randrange(max(1, pages))
                content[start : start + 4096] = generator.randbytes(4096)
        case "some bytes changed":
            start = generator.randrange(len(content) - 64)
            content[start : start + 64] = generator.randbytes(64)
        case "the write-ahead log changed" if logged:
            start = generator.randrange(len(logged))
            logged[start : start + 64] = generator.randbytes(min(64, len(logged) - start))
        case "the write-ahead log cut short" if logged:
            logged = logged[: generator.randrange(len(logged))]
    if "log" in done:
        log.unlink(missing_ok=True)
        if "removed" not in done:
            log.write_bytes(logged)
    elif done == "removed":
        path.unlink()
    else:
        log.unlink(missing_ok=True)  # else it would mend what was damaged
        path.write_bytes(content)
    return done


def cut_download(lab: Lab, generator: random.Random) -> None:
    """The mirrors of MNIST break off, hang or send something else, once or until they are mended."""
    how = generator.choice(["breaks off", "breaks off", "sends wrong bytes", "hangs", "worker killed"])
    file, once = generator.choice(MNIST_FILES) + ".gz", how == "hangs" or generator.random() < 0.4
    share, flipped, served = generator.random(), generator.randrange(1000), []
    begun = threading.Event()

    def behaviour(name: str, content: bytes) -> tuple[bytes, float]:
        if name != file or (once and served):
            return content, 0.0
        served.append(name)
        begun.set()
        match how:
            case "breaks off":
                return content[: int(share * len(content))], 0.0
            case "sends wrong bytes":
                place = flipped % len(content)
                return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :], 0.0
            case _:
                return content[: int(share * len(content))], 25.0

    lab.fault.what = f"the mirror {how} in {file} {'once' if once else 'until it is mended'}"
    lab.drain()  # a download happens at the start of a run: let it be the next
    shutil.rmtree(lab.server.cache, ignore_errors=True)
    lab.mirror.behaviour = behaviour
    lab.submit(MNIST)
    lab.hit()
    if how == "worker killed":
        begun.wait(30)
        time.sleep(0.2)
        lab.fault.what = f"kill -9 of the workers while {file} is downloaded"
        lab.fault.expected = "was lost|could not be downloaded"
        for worker in lab.server.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.kill()
    elif not once:
        lab.fault.expected = "could not be downloaded"
    wait_until(lambda: served and not lab.active(), 240, "the download neither ends nor fails")
    lab.read()
    lab.mirror.behaviour = whole
    lab.recover(time.monotonic())
    lab.drain()


def combine(lab: Lab, generator: random.Random) -> None:
    """Two faults in a row, or one in the middle of a pause, a stop, a resume or a start."""
    what = generator.choice(
        ["both workers", "pausing", "stopping", "resuming", "starting", "checkpoint and database", "full and worker"]
    )
    lab.hit()
    lab.fault.expected = "The program that ran it ended"
    start = time.monotonic()
    match what:
        case "both workers":
            lab.fault.what, lab.fault.expected = "kill -9 of all workers, and of their successors", "was lost"
            for _ in range(2):
                for worker in wait_until(lab.server.workers, 60, "no worker comes back"):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        worker.kill()
                time.sleep(generator.uniform(0.5, 4))
        case "pausing" | "stopping":
            request = {"pausing": "pause", "stopping": "stop"}[what]
            lab.fault.what = f"{request} asked for, and the server killed"
            lab.press_live(request)
            time.sleep(generator.uniform(0, 0.1))
            lab.kill_server(wait=False)
            lab.server.start()
        case "resuming":
            lab.fault.what = "the server killed, its runs resumed, and killed again"
            lab.kill_server(wait=False)
            lab.server.start()
            lab.look("")
            lab.resume()
            time.sleep(generator.uniform(0, 3))
            lab.kill_server(wait=False)
            lab.server.start()
        case "starting":
            _kill_while_starting(lab, generator)
        case "checkpoint and database":
            _damage_checkpoints_and_database(lab, generator)
        case _:
            lab.fault.what, lab.fault.expected = "the disk full, and a worker killed", "disk .*is full|was lost"
            lab.disk.fill()
            with contextlib.suppress(psutil.NoSuchProcess):
                generator.choice(lab.server.workers()).kill()
            time.sleep(generator.uniform(1, 4))
            lab.look("")
            lab.read()
            lab.disk.free()
            start = time.monotonic()
    lab.recover(start)


def _kill_while_starting(lab: Lab, generator: random.Random) -> None:
    lab.fault.what = "the server killed, and killed again while it started"
    lab.kill_server(wait=False)
    lab.server.start()
    with contextlib.suppress(Exception):
        tab = Tab(lab.server.address, {})
        threading.Timer(generator.uniform(0, 1.5), lab.server.process.send_signal, [signal.SIGKILL]).start()
        tab.open("")
    lab.server.process.wait(timeout=30)
    lab.forget_tab()
    lab.server.start()


def _damage_checkpoints_and_database(lab: Lab, generator: random.Random) -> None:
    lab.kill_server()
    files = list(lab.home.glob("runs/*/checkpoint.pt"))
    damages = [f"{file.parent.name[:4]}: {_damage(file, generator)}" for file in files]
    done = _damage_database(lab.home, generator)
    lab.fault.what = f"server killed, checkpoints ({', '.join(damages)}) and database ({done}) damaged"
    lab.fault.expected = ""  # what must be said depends on what was hit; account() sees what was lost
    lab.server.start()


def stop_process(lab: Lab, generator: random.Random) -> None:
    """A process stands still, for ever or for a while: a worker, or the server with its queue."""
    seconds = generator.choice([None, None, 15.0, 60.0])
    of_server = seconds is not None and generator.random() < 0.3
    lab.fault.what = f"SIGSTOP of {'the server' if of_server else 'a worker'}"
    lab.fault.what += f" for {seconds:.0f} s" if seconds else " for ever"
    before = {row["id"]: row["attempt"] for row in lab.rows() if row["status"] == "running"}
    lab.hit()
    start = time.monotonic()
    victim = psutil.Process(lab.server.process.pid) if of_server else generator.choice(lab.server.workers())
    victim.suspend()
    if seconds:
        time.sleep(seconds)
        with contextlib.suppress(psutil.NoSuchProcess):  # a worker was replaced meanwhile
            victim.resume()
        start = time.monotonic()
    if not of_server and (seconds or SECONDS_UNTIL_LOST) >= SECONDS_UNTIL_LOST:
        wait_until(lambda: not victim.is_running(), 90, "a worker that hangs is not killed")
        wait_until(lambda: len(lab.server.workers()) >= AT_ONCE, 60, "the worker is not replaced")
        if any(row["attempt"] > before.get(row["id"], row["attempt"]) for row in lab.rows()):
            lab.fault.expected = "was lost"
    lab.recover(start)


def set_clock(lab: Lab, generator: random.Random) -> None:
    """Somebody sets the clock on the wall while runs train, and sets it back."""
    seconds = generator.choice([-86_400.0, -3600.0, -60.0, 60.0, 3600.0, 86_400.0])
    lab.fault.what = f"the clock set by {seconds:+.0f} s for 25 s"
    lab.hit()
    before = lab.active()
    lab.server.set_clock(seconds)
    until = time.monotonic() + 25
    while time.monotonic() < until:
        lab.look("", generator.choice(PAGES))
        time.sleep(1)
    lab.server.set_clock(0)
    stopped = [row["id"] for row in lab.rows() if row["id"] in before and row["status"] in RESUMABLE]
    if stopped:
        lab.fault.problems.append(f"the clock ended runs: {stopped}")
    lab.recover(time.monotonic())


def shorten_memory(lab: Lab, generator: random.Random) -> None:
    """The workers may have no more memory than they have, and then may again."""
    lab.hit()
    lab.fault.what = "a memory limit put on the workers, and lifted"
    workers = lab.server.workers()
    for worker in workers:
        worker.rlimit(psutil.RLIMIT_AS, (worker.memory_info().vms + 20_000_000, -1))
    lab.submit(WIDE)
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: any(row["status"] == "failed" for row in lab.rows()), 120, "")
    if failed := [row["message"] for row in lab.rows() if row["status"] == "failed"]:
        lab.fault.expected = "memory of this machine is full"
        lab.read()
        if not any("memory" in message for message in failed):
            lab.fault.problems.append(f"memory ran out, and the run says: {failed}")
    for worker in workers:
        with contextlib.suppress(psutil.NoSuchProcess):
            worker.rlimit(psutil.RLIMIT_AS, (-1, -1))
    lab.recover(time.monotonic())


def forget_records(lab: Lab, generator: random.Random) -> None:
    """The list of runs has not heard of the last records before a checkpoint, as of a worker that was cut off."""

    def there() -> list[str]:
        return [row["id"] for row in lab.rows() if (lab.home / "runs" / row["id"] / "checkpoint.pt").exists()]

    if not set(there()) & lab.active():  # a sweep's checkpoint is another file
        lab.submit(STORIES["dropout and jitter"])
    wait_until(lambda: set(there()) & lab.active(), 120, "no checkpoint is written")
    lab.hit()
    lab.kill_server()
    lab.fault.expected = "The program that ran it ended"
    share = generator.uniform(0.1, 1)
    with contextlib.closing(sqlite3.connect(lab.home / DATABASE)) as database:
        for run_id in there():
            last = database.execute("SELECT max(step) FROM records WHERE run_id = ?", (run_id,)).fetchone()[0] or 0
            for table in ("records", "probes"):
                database.execute(f"DELETE FROM {table} WHERE run_id = ? AND step > ?", (run_id, share * last))
        database.commit()
    lab.fault.what = f"server killed, the records after {share:.0%} of {len(there())} runs with checkpoints forgotten"
    start = time.monotonic()
    lab.server.start()
    lab.recover(start)


def serve_twice(lab: Lab, generator: random.Random) -> None:
    """A second server works on the same home, trains a story of its own there, and is killed or stopped."""
    other_work = lab.work / f"second-{lab.fault.number}"
    other_work.mkdir()
    # With as many at once, so that a run has as many threads: of another number the weights' last digits differ.
    other = Server(other_work, lab.home, lab.mirror, checkpoint_seconds=CHECKPOINT_SECONDS, at_once=AT_ONCE)
    lab.hit()
    try:
        other.start()
        tab = Tab(other.address, {})
        known = {row["id"] for row in lab.rows()}
        query = {"view": "Set up", "setup": to_address(STORIES["plain"])}
        seen = tab.press("train", "Train", {"Use what is trained already": ("bool_value", False)}, **query)
        wait_until(lambda: {row["id"] for row in lab.rows()} - known, 60, f"the second takes no run: {seen.errors}")
        mine = {row["id"] for row in lab.rows()} - known
        wait_until(
            lambda: any(row["step"] for row in lab.rows() if row["id"] in mine), 240, "the second server trains nothing"
        )
        lab.hit()
        until = time.monotonic() + generator.uniform(2, 8)
        while time.monotonic() < until:
            lab.look("", generator.choice(PAGES))
            if tab.open("runs").crashes:
                lab.fault.problems.append("the second server's page crashed")
        tab.close()
    finally:
        kill = generator.random() < 0.5
        lab.fault.what = f"a second server on the same home, {'killed' if kill else 'ended'}"
        workers = other.workers()
        other.kill() if kill else other.stop()
        gone(workers, 30)
    left = [row["id"] for row in lab.rows() if row["id"] in mine and row["status"] != "finished"]
    wait_until(
        lambda: all(row["status"] not in ACTIVE for row in lab.rows() if row["id"] in left),
        60,
        "the runs of the second server are not interrupted",
    )
    lab.fault.expected = "The program that ran it ended" if left else ""
    lab.recover(time.monotonic())


KINDS: dict[str, tuple[int, Callable[[Lab, random.Random], None]]] = {
    "worker killed": (14, kill_worker),
    "server killed": (14, kill_server),
    "process stopped": (6, stop_process),
    "disk full": (10, fill_disk),
    "store read-only": (7, make_read_only),
    "memory short": (4, shorten_memory),
    "clock set": (4, set_clock),
    "checkpoint damaged": (11, damage_checkpoint),
    "checkpoint newer": (4, forget_records),
    "database damaged": (11, damage_database),
    "download cut": (6, cut_download),
    "two servers": (3, serve_twice),
    "two at once": (6, combine),
}
"""How many of a hundred, and what they do."""


def deck(count: int, seed: int) -> list[str]:
    """The kinds of so many faults, in an order that the seed draws."""
    generator, kinds = random.Random(f"faults {seed}"), list(KINDS)
    hundred = [kind for kind, (share, _) in KINDS.items() for _ in range(share)]
    if count < len(hundred):  # each kind once, before any comes twice
        generator.shuffle(kinds)
    else:
        kinds = []
    while len(kinds) < count:
        generator.shuffle(hundred)
        kinds += hundred
    return kinds[:count]


def strike(lab: Lab, fault: Fault) -> None:
    """One fault, from its seed and number, and all that must hold afterwards."""
    generator = random.Random(f"fault {lab.seed} {fault.number}")
    lab.fault = fault
    try:
        lab.keep_busy(generator)
        lab.wait_for_training(generator)
        KINDS[fault.kind][1](lab, generator)
        for run_id in fault.hits:
            lab.known.setdefault(run_id, set()).add(fault.number)
        lab.look(*PAGES)
        lab.account()
    except (OSError, psutil.Error, RuntimeError, StopIteration, websockets.WebSocketException) as error:
        fault.problems.append(f"{type(error).__name__}: {error}")
    if fault.expected and not fault.example():
        fault.problems.append(f"no sentence says '{fault.expected}'; read: {fault.sentences}")


# ------------------------------------------------------------------------------------------------------- the report


def report(faults: Sequence[Fault], lab: Lab, seed: int, seconds: float, last: Sequence[str]) -> str:
    """The whole of it as Markdown."""
    memory = psutil.virtual_memory().total / 2**30
    lines = [
        "# Faults",
        "",
        f"`python tools/faults/faults.py --faults {len(faults)} --seed {seed}` on {time.strftime('%d %B %Y, %H:%M')}:"
        f" {len(faults)} faults in {seconds / 60:.0f} minutes, {len(lab.finished)} finished runs at its end.",
        "",
        f"{processor()}, {memory:.0f} GiB; {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}, torch {torch.__version__}, streamlit {streamlit.__version__},"
        f" SQLite {sqlite3.sqlite_version}. The store lay on a tmpfs of {DISK_MEGABYTES} MB; {AT_ONCE} runs at once;"
        f" a checkpoint every {CHECKPOINT_SECONDS:g} s.",
        "",
        "Counted are runs that were queued or training when a fault struck; a run may be struck by several. *Resumed*:"
        " it was interrupted, stopped or failed, said so, was resumed by the app's own button and ended with the"
        " weights of an undisturbed run, bit by bit. *By itself*: it ended so without anybody doing anything."
        " *Reported*: it did not end, and said why. *Lost or changed*: anything else, of finished runs too. *Recovered"
        " in*: from when the cause was gone until pages run without an error and runs train again.",
        "",
        "| fault | times | runs struck | resumed | by itself | reported | lost or changed | broken rules"
        " | recovered in, median |",
        f"|{' --- |' * 9}",
    ]
    total: collections.Counter[str] = collections.Counter()
    for kind in KINDS:
        own = [fault for fault in faults if fault.kind == kind]
        if not own:
            continue
        count = collections.Counter(times=len(own), struck=sum(len(fault.hits) for fault in own))
        for fault in own:
            for run_id in fault.hits:
                ended = run_id in lab.finished
                count["resumed" if ended and run_id in fault.halted else "alone" if ended else "reported"] += 1
            count["lost"] += len(fault.lost)
            count["broken"] += len(fault.problems)
        total += count
        recovered = [fault.seconds for fault in own if fault.seconds is not None]
        lines.append(_row(kind, count) + (f" {median(recovered):.1f} s |" if recovered else " |"))
    lines += [_row("all", total) + " |", "", "What a user read, one of each kind:", ""]
    for kind in KINDS:
        example = next((text for fault in faults if fault.kind == kind and (text := fault.example())), None)
        if example:
            lines.append(f"- {kind}: *{example}*")
    lines += [
        "",
        "## Every fault",
        "",
        "| fault | kind | what | runs struck | halted | recovered in |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for fault in faults:
        took = "" if fault.seconds is None else f"{fault.seconds:.1f} s"
        lines.append(
            f"| {fault.number} | {fault.kind} | {fault.what} | {len(fault.hits)} | {len(fault.halted)} | {took} |"
        )
    broken = [f"- fault {fault.number} ({fault.kind}): {problem}" for fault in faults for problem in fault.problems]
    broken += [f"- at the end: {problem}" for problem in last]
    lines += ["", "## Broken rules", "", *(broken or ["None."]), ""]
    return "\n".join(lines)


def _row(name: str, count: collections.Counter[str]) -> str:
    parts = ("times", "struck", "resumed", "alone", "reported", "lost", "broken")
    return f"| {name} | {' | '.join(str(count[part]) for part in parts)} |"


def left_behind(lab: Lab) -> list[str]:
    """What stays where nothing should: processes, half files older than a day, complaints in the server's log."""
    problems = []
    lab.server.workers()
    lab.forget_tab()
    lab.server.stop()
    if not gone(list(lab.server.ever), 30):
        problems.append(f"workers are left: {[process.pid for process in lab.server.ever if process.is_running()]}")
    raw = lab.server.cache / "kd-lab" / "data" / "MNIST" / "raw"
    for half in (*lab.home.glob("runs/*/.*.partial"), *raw.glob("tmp*"), *raw.glob("*.partial")):
        os.utime(half, (time.time() - 2 * 86_400,) * 2)
    (raw / MNIST_FILES[-1]).unlink(missing_ok=True)  # so that a download is needed, which clears away
    lab.server.start()
    lab.submit(MNIST)
    lab.drain()
    halves = [*lab.home.glob("runs/*/.*.partial"), *raw.glob("tmp*"), *raw.glob("*.partial"), *raw.glob("*.gz")]
    return [*problems, *(f"half a file is left: {half}" for half in halves), *lab.server.complaints()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="strike with this one of them alone")
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "measurements" / "faults-report.md")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="kd-faults-"))
    if not may_mount(work / "try"):
        print("this machine does not let us mount a tmpfs: be root, with CAP_SYS_ADMIN", file=sys.stderr)
        return 2
    start = time.monotonic()
    lab = Lab(work, arguments.seed)
    faults: list[Fault] = []
    interrupted: list[int] = []  # Ctrl-C ends it after the fault that it struck in, with a report of those before
    signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
    try:
        lab.look("")
        for story in (*STORIES.values(), WIDE, MNIST):
            lab.submit(story)
        lab.drain()
        lab.account(undisturbed=True)
        of_stories = len(lab.references)
        lab.submit_sweep()
        lab.drain()
        lab.account(undisturbed=True)
        if lab.fault.problems or of_stories < 15 or len(lab.references) == of_stories:
            print(f"the undisturbed runs did not do: {lab.fault}", file=sys.stderr)
            return 2
        print(
            f"{len(lab.references)} undisturbed runs in {time.monotonic() - start:.0f} s; the folder is {work}",
            flush=True,
        )
        for number, kind in enumerate(deck(arguments.faults, arguments.seed)):
            if arguments.only is not None and number != arguments.only:
                continue
            if interrupted:
                break
            faults.append(Fault(number, kind))
            strike(lab, faults[-1])
            sentence = faults[-1].example() or "-"
            print(f"{time.monotonic() - start:6.0f} s  {number:3} {kind}: {faults[-1].what}. {sentence}", flush=True)
            for problem in faults[-1].problems:
                print(f"          BROKEN: {problem}  (again: --seed {arguments.seed} --only {number})", flush=True)
        lab.fault = Fault(-1, "none")
        lab.drain()
        lab.resume()
        lab.drain()
        lab.account()
        last = [*lab.fault.problems, *left_behind(lab)]
    finally:
        lab.close()
    text = report(faults, lab, arguments.seed, time.monotonic() - start, last)
    if arguments.only is None:
        arguments.report.write_text(text, encoding="utf-8")
    print(text)
    broken = any(fault.problems for fault in faults) or bool(last)
    if not broken:
        shutil.rmtree(work, ignore_errors=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
