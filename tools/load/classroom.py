"""A class of 30 opens the app at once: does it hold? Bounded, on loopback alone; not one of pytest's.

    KD_DATA_DIR=... python tools/load/classroom.py [--minutes 10] [--seed 0] [--report FILE]

The real app is started as it is served to a class: passwords, two runs at once, limits. A presenter opens it and starts
two long stories on MNIST (on digits, where MNIST is not at hand). Once two runs train, 29 guests open the app at once,
each a browser of its own (session.py), and all 30 browse, drag, change images, and start, watch, pause, resume and stop
runs on digits, each by its own seeded script. Then the queue runs empty, and what is left of every run is checked.
Exits with 1 where a required figure is missed.
"""

import argparse
import asyncio
import base64
import contextlib
import datetime
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image, ImageDraw

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "tests/helpers", "tools"))

from load import judging
from load.session import ANSWER_SECONDS, LIVE, REPLAY, Answer, Listener, Session
from serving import Server

from kd_core.data import paths
from kd_core.data.catalogue import DATASETS
from kd_core.evaluation.speed import processor
from kd_core.runs.run import ACTIVE, Run, folder_of
from kd_core.runs.store import Store

HERE = Path(__file__).resolve().parent
CLIENTS = 30
PASSWORD, PRESENTER_PASSWORD = "apples", "pears"
MOST_A_BROWSER, RUNS_AT_ONCE = 6, 2
SECONDS_BETWEEN_SAMPLES = 2.0
THINK_SECONDS, DRAG_SECONDS = (1.5, 5.0), (0.4, 1.2)
PRESENTER_EPOCHS_A_MINUTE = {"mnist": 30, "digits": 600}
"""Of the presenter's stories, for each minute of the load: more than a machine of two cores trains in it."""
START_SECONDS = 120.0
"""For the presenter's first two runs to train, before the class comes in."""
DRAIN_SECONDS = 120.0
DROP, RELOAD = 0.02, 0.02
"""How likely a client loses its connection, or reloads its page, before it turns to something else."""
LIMITS = ("of your runs wait or are at work, and this server takes", "the queue of this server is full")
DIGITS = DATASETS["digits"].label


class Ledger:
    """All that the clients see and are told."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.runs: dict[str, list[float]] = defaultdict(list)  # kind of interaction -> seconds
        self.responses: list[tuple[float, float]] = []  # (seconds since the load began, seconds) of those that count
        self.polls: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self.sentences: Counter[str] = Counter()
        self.did: Counter[str] = Counter()
        self.followed: dict[str, judging.Followed] = {}
        self.batches: dict[str, int] = {}  # of sweeps -> how many runs the button promised
        self.paused_batches: set[str] = set()  # sweeps that were stopped, which pauses what has not ended
        self.memory: dict[str, list[tuple[float, float]]] = defaultdict(list)  # process -> (seconds, MB)
        self.training: list[int] = []  # runs at work, at each sample

    def seconds(self) -> float:
        """Since the load began."""
        return time.monotonic() - self.began


class Client(Listener):
    """A visitor with a script of their own."""

    def __init__(self, number: int, address: str, ledger: Ledger, seed: int, minutes: float) -> None:
        self.number = number
        self.ledger = ledger
        self.random = random.Random(f"{seed}-{number}")
        self.minutes = minutes
        self.tab = Session(address, self)
        self.own: list[str] = []
        self.doing = ""

    # What the tab tells.

    def ran(self, kind: str, seconds: float) -> None:
        self.ledger.runs[kind].append(seconds)
        if kind not in APART:
            self.ledger.responses.append((self.ledger.seconds(), seconds))

    def asked(self, path: str, seconds: float) -> None:
        name = path.split("?")[0]
        kind = name if name in ("/live", "/probes", "/assets/plotly.min.js") else "/" + name.split("/")[1] + " …"
        self.ledger.polls[kind if name != "/" else "the page itself"].append(seconds)

    def wrong(self, what: str) -> None:
        self.ledger.wrong.append(f"{self.ledger.seconds():.1f} s, client {self.number}, {self.doing}: {what}")

    def unanswered(self, kind: str) -> None:
        if kind == "reconnect":  # Streamlit may send a run to the connection that was lost; the tab keeps its page
            self.ledger.did["reconnections after which the page as it was remained"] += 1
        else:
            self.wrong(f"no answer to '{kind}' in {ANSWER_SECONDS:.0f} s")

    def said(self, sentence: str) -> None:
        self.ledger.sentences[sentence] += 1

    # The script.

    async def come(self) -> None:
        """Give the password, and open the app."""
        self.doing = "opening"
        await self.tab.enter(PRESENTER_PASSWORD if self.number == 0 else PASSWORD)
        await self._measured_open("", "")

    async def attend(self, until: float) -> None:
        """Use the app until it is time to go."""
        if self.number != 0:
            await self.come()
        actions: dict[Callable[[], Awaitable[None]], int] = {
            self.feel_temperature: 6,
            self.watch: 5,
            self.train: 3,
            self.quick_demo: 2,
            self.sweep: 2,
            self.compare: 3,
            self.look_at_runs: 3,
            self.redo_paper: 1,
            self.take_away: 1,
        }
        while time.monotonic() < until:
            await self.maybe_lose_connection()
            (action,) = self.random.choices(list(actions), list(actions.values()))
            self.doing = action.__name__
            with contextlib.suppress(asyncio.CancelledError):  # its websocket was closed, which is told
                await action()
            await self.think()

    async def think(self, between: tuple[float, float] = THINK_SECONDS) -> None:
        await asyncio.sleep(self.random.uniform(*between))

    async def _measured_open(self, page: str, query: str) -> None:
        answer = await self.tab.open(page, query)
        self.ledger.runs["a whole page, opened from nothing"].append(answer.seconds)

    async def maybe_lose_connection(self) -> None:
        chance = self.random.random()
        if chance < DROP:
            self.doing = "reconnecting"
            self.ledger.did["websockets dropped and reconnected"] += 1
            await self.tab.reconnect(self.random.uniform(0.5, 4))
        elif chance < DROP + RELOAD:
            self.doing = "reloading"
            self.ledger.did["pages reloaded"] += 1
            names = {page_hash: name for name, page_hash in self.tab.pages.items()}
            await self._measured_open(names.get(self.tab.page_hash, ""), self.tab.query)

    async def change(self, key: str, value: Any, kind: str = "a choice") -> Answer:
        answer = await self.tab.change(key, value, kind)
        await self.think()
        return answer

    async def choose(self, key: str) -> None:
        """Another option of a selectbox, if it is on the page."""
        selectbox = self.tab.find(key)
        if selectbox is not None and len(selectbox.proto.options) > 1:
            await self.change(key, self.random.choice(list(selectbox.proto.options)))

    async def feel_temperature(self) -> None:
        await self.tab.go("temperature")
        await self.think()
        if self.tab.find("temperature_bars") is None:
            return  # nothing is trained yet
        if self.random.random() < 0.2:
            await self.choose_batch()
        for _ in range(self.random.randint(2, 5)):
            match self.random.choice(("drag", "drag", "image", "image", "kind", "alpha", "map", "draw")):
                case "drag":
                    for _ in range(self.random.randint(2, 4)):
                        if self.tab.find("temperature_bars") is not None:
                            temperature = float(f"{10 ** self.random.uniform(-1, 2):.3g}")
                            await self.tab.change("temperature_bars", {"temperature": temperature}, "drag T")
                            await self.think(DRAG_SECONDS)
                case "image":
                    gallery = self.tab.component("kd_lab_image_grid")
                    if self.tab.find("gallery") is not None and gallery is not None:
                        image = self.random.choice(gallery["tiles"])["id"]
                        await self.tab.trigger("gallery", "picked", image, "another image")
                        await self.think(DRAG_SECONDS)
                case "kind":
                    await self.choose(self.random.choice(("gallery_kind", "gallery_class")))
                case "alpha":
                    if self.tab.find("alpha") is not None:
                        for _ in range(2):
                            await self.tab.change("alpha", round(self.random.uniform(0, 1), 2), "drag a slider")
                            await self.think(DRAG_SECONDS)
                case "map":
                    if self.tab.find("dark_knowledge") is not None:
                        place = {"x": str(self.random.randrange(10)), "y": str(self.random.randrange(10))}
                        await self.tab.trigger("dark_knowledge", "clicked", place, "a click on a map")
                        await self.think()
                case "draw":
                    await self.change("image_source", "Draw")
                    await self.tab.change("canvas", {"drawing": self.drawing()}, "a drawing")
                    await self.think()
                    await self.change("image_source", "Test images")

    def drawing(self) -> str:
        """What the canvas sends of a stroke."""
        sheet = Image.new("L", (280, 280))
        corners = [(self.random.randint(60, 220), self.random.randint(40, 240)) for _ in range(4)]
        ImageDraw.Draw(sheet).line(corners, fill=255, width=22)
        buffer = io.BytesIO()
        sheet.convert("RGB").save(buffer, "PNG")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    async def choose_batch(self) -> None:
        if "batch_picker" in self.tab.keys("selectbox"):
            await self.choose("batch_picker")

    async def watch(self) -> None:
        """Look at a story, mostly one's own; stop, pause or resume what is one's own."""
        await self.tab.go("train")
        await self.think()
        await self.change("view", "Watch", "watch a story")
        if self.random.random() < 0.3:
            await self.choose_batch()
        for _ in range(self.random.randint(1, 3)):
            await asyncio.sleep(self.random.uniform(3, 6))
            if self.tab.component(LIVE) is None or self.tab.find("live") is None:
                return
            replay = self.tab.component(REPLAY)
            if replay is not None and self.random.random() < 0.4:
                self.tab.choose_probe(self.random.randrange(len(replay["labels"])))
            await self.ask_of_own()

    async def ask_of_own(self) -> None:
        data = self.tab.component(LIVE) or {"runs": []}
        runs = self.tab.view("live").runs
        mine = [run["id"] for run in data["runs"] if run["id"] in self.own and run["id"] in runs]
        if not mine or self.number == 0 or self.random.random() < 0.4:
            return
        run_id = self.random.choice(mine)
        status = runs[run_id]["status"]
        if status in ACTIVE:
            what = self.random.choice(("stop", "pause", "pause"))
        elif status in ("paused", "stopped"):
            what = "resume"
        else:
            return
        self.ledger.did[f"{what} asked for"] += 1
        self.ledger.followed[run_id] = judging.Followed(self.number, what)
        await self.tab.view("live").request({run_id: what})

    async def train(self) -> None:
        """Fill the form, and train what it says."""
        await self.tab.go("train")
        await self.change("view", "Set up", "the form")
        await self.change("form_dataset", DIGITS, "the form")
        for _ in range(self.random.randint(1, 3)):
            match self.random.choice(("temperature", "alpha", "epochs", "units")):
                case "temperature":
                    options = list(self.tab.find("form_temperature").proto.options)
                    await self.change("form_temperature", self.random.choice(options), "the form")
                case "alpha":
                    await self.change("form_alpha", self.random.choice((0.2, 0.5, 0.8, 0.9, 1.0)), "the form")
                case "epochs":
                    await self.change("form_epochs", self.random.choice((40, 80, 120)), "the form")
                case "units":
                    await self.change("form_student_hidden", self.random.choice(("20", "40", "64, 32")), "the form")
        await self.change("form_seed", self.random.randrange(10_000), "the form")
        await self.launch("train", "live")

    async def quick_demo(self) -> None:
        await self.tab.go("")
        await self.change("demo_dataset", DIGITS)
        await self.launch("quick_demo", "demo")

    async def launch(self, button: str, view: str) -> None:
        """Press a button that starts runs; note what the page then tells of them, or how it refuses."""
        before = self.tab.query
        answer = await self.tab.press(button, "press a start button")
        await self.note(answer, before, lambda: self.tab.find(view) is not None)
        component = self.tab.component(LIVE)
        if self.tab.query != before and self.tab.find(view) is not None and component is not None:
            batch_runs = [run["id"] for run in component["runs"] if run["yours"]]
            for run_id in batch_runs:
                if run_id not in self.ledger.followed:
                    self.own.append(run_id)
                    self.ledger.followed[run_id] = judging.Followed(self.number)
        await self.think()

    async def note(self, answer: Answer, before: str, shown: Callable[[], bool]) -> None:
        refused = [sentence for sentence in answer.errors if any(limit in sentence for limit in LIMITS)]
        if refused:
            self.ledger.did["submissions refused by the limit, in its sentence"] += 1
        elif self.tab.query != before and shown():
            self.ledger.did["submissions taken"] += 1
        else:
            self.ledger.did["presses without an answer"] += 1

    async def sweep(self) -> None:
        await self.tab.go("sweep")
        await self.think()
        if self.tab.find("sweep") is None:
            return  # there is no teacher yet
        temperatures = self.random.sample(["1.0", "2.0", "4.0", "8.0"], 2)
        alphas = self.random.sample(["0.3", "0.5", "0.9"], 2)
        await self.change("sweep_temperatures", temperatures, "the form")
        await self.change("sweep_alphas", alphas, "the form")
        await self.change("sweep_seeds", 1, "the form")
        if self.random.random() < 0.6:
            before = self.tab.query
            answer = await self.tab.press("sweep", "press a start button")
            await self.note(answer, before, lambda: True)
            if self.tab.query != before and not answer.errors:
                promised = int(self.tab.find("sweep").proto.label.split()[1])
                self.ledger.batches[self.tab.query.split("batch=")[1].split("&")[0]] = promised
        await self.think((3, 8))
        if self.tab.find("sweep_stop") is not None and self.random.random() < 0.2:
            self.ledger.paused_batches.add(self.tab.query.split("batch=")[1].split("&")[0])
            await self.tab.press("sweep_stop", "press a button")

    async def compare(self) -> None:
        await self.tab.go("compare")
        await self.think()
        if self.tab.find("closer") is None:
            return
        for _ in range(self.random.randint(1, 3)):
            parts = [option.content for option in self.tab.find("closer").proto.options]
            await self.change("closer", self.random.choice(parts))

    async def look_at_runs(self) -> None:
        await self.tab.go("runs")
        await self.think()
        tables = [key for key in self.tab.keys("dataframe") if key.startswith("runs_table_")]
        if tables:
            rows = sorted(self.random.sample(range(6), self.random.randint(1, 3)))
            selection = json.dumps({"selection": {"rows": rows, "columns": [], "cells": []}})
            await self.change(tables[0], selection, "rows of a table")
        await self.change("runs_search", self.random.choice(("digits", "distilled", "finished", "")))

    async def redo_paper(self) -> None:
        await self.tab.go("paper")
        await self.think()
        await self.change("paper_dataset", DIGITS)
        await self.choose("None")

    async def take_away(self) -> None:
        await self.tab.go("export")
        await self.think()
        await self.choose("usable_run")


class PresentingClient(Client):
    """Client number 0, who starts the long stories and ends the lesson."""

    async def start_stories(self) -> None:
        """Two long stories, so that two runs train for as long as the load lasts."""
        dataset = "mnist" if paths.available("mnist") else "digits"
        epochs = round(PRESENTER_EPOCHS_A_MINUTE[dataset] * self.minutes) + 1
        for seed in (1, 2):
            self.doing = "starting the presenter's stories"
            await self.tab.go("train")
            await self.tab.change("view", "Set up", "the form")
            await self.tab.change("form_dataset", DATASETS[dataset].label, "the form")
            for key, value in {"form_epochs": epochs, "form_teacher_epochs": epochs, "form_seed": seed}.items():
                await self.tab.change(key, value, "the form")
            await self.launch("train", "live")

    async def stop_all(self, runs: list[Run]) -> None:
        """Stop runs, batch by batch, as a presenter does at the end of a lesson."""
        self.doing = "stopping what is left"
        for batch in dict.fromkeys(run.batch for run in runs):
            await self.tab.open("train", f"view=Watch&batch={batch}")
            of_batch = [run.id for run in runs if run.batch == batch]
            await self.tab.view("live").request(dict.fromkeys(of_batch, "stop"))
            await asyncio.sleep(1)


# --------------------------------------------------------------------------------------------------- beside the class


async def sample(server: Server, store: Store, ledger: Ledger, until: float) -> None:
    """Note the memory of the server and its workers, and how many runs train, every two seconds."""
    names: dict[int, str] = {}
    while time.monotonic() < until:
        now = ledger.seconds()
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in [psutil.Process(server.process.pid), *server.workers()]:
                name = names.setdefault(process.pid, f"worker {len(names)} (pid {process.pid})" if names else "server")
                ledger.memory[name].append((now, process.memory_info().rss / 1e6))
        ledger.training.append(at_work(store))
        await asyncio.sleep(SECONDS_BETWEEN_SAMPLES)


def at_work(store: Store) -> int:
    """How many runs train."""
    return sum(row["status"] == "running" for row in store.statuses())


def active(store: Store) -> list[Run]:
    """What waits or is at work."""
    return store.runs(statuses=ACTIVE)


async def drain(store: Store, presenter: PresentingClient) -> set[str]:
    """Have the presenter stop the long stories, wait for the rest, then stop what is left. Returns what was stopped."""
    stopped: set[str] = set()
    own = set(presenter.own)
    for which in (lambda run: run.id in own, lambda run: True):
        left = [run for run in active(store) if which(run)]
        stopped |= {run.id for run in left}
        await presenter.stop_all(left)
        deadline = time.monotonic() + DRAIN_SECONDS
        while active(store) and time.monotonic() < deadline:
            await asyncio.sleep(1)
    return stopped


def fingerprints(home: Path, finished: list[Run]) -> tuple[dict[str, str], list[str]]:
    """The checksum of every finished run's weights, and a sentence on each whose files are not what its card says."""
    from kd_core.runs import artifacts

    sums, wrong = {}, []
    for run in finished:
        folder = folder_of(home, run.id)
        try:
            card = json.loads(folder.card.read_text(encoding="utf-8"))
            artifacts.load_trained(folder_of(home, run.id))
            sums[run.id] = hashlib.sha256(folder.weights.read_bytes()).hexdigest()
            logits = hashlib.sha256(folder.logits.read_bytes()).hexdigest() if card["logits_sha256"] else None
            if (sums[run.id], logits) != (card["weights_sha256"], card["logits_sha256"]):
                wrong.append(f"run {run.id}: its files are not those of its card")
        except Exception as error:
            wrong.append(f"run {run.id}: {type(error).__name__}: {error}")
    return sums, wrong


def checked_runs(store: Store, ledger: Ledger, stopped: set[str]) -> tuple[list[str], dict[str, Any]]:
    """What was lost, in sentences, and figures about what is there. The server is gone by now."""
    home, runs = store.home, store.runs()
    status = {run.id: run.status for run in runs}
    teachers = {run.id: run.config.distillation.teachers if run.config.distillation else () for run in runs}
    stopped = stopped | {run.id for run in runs if (run.message or "").startswith(judging.REFUSED)}
    lost = []
    for batch, promised in ledger.batches.items():
        of_batch = [run.id for run in runs if run.batch == batch]
        for run_id in of_batch:
            last_request = "pause" if batch in ledger.paused_batches else ""
            ledger.followed.setdefault(run_id, judging.Followed(-1, last_request))
        if len(of_batch) != promised:
            lost.append(f"sweep {batch} was to have {promised} runs and has {len(of_batch)}")
    for run_id, followed in ledger.followed.items():
        verdict = judging.lost(run_id, followed, status, teachers.get(run_id, ()), stopped)
        lost += [verdict] * bool(verdict)
    finished = [run for run in runs if run.status == "finished"]
    before, damaged = fingerprints(home, finished)
    used, pruned = disk_mb(home), store.prune(days=0)
    after, damaged_then = fingerprints(home, finished)
    if before != after or damaged_then != damaged:
        damaged.append("pruning touched the files of a finished run")
    return lost + damaged, {
        "statuses": Counter(status[run_id] for run_id in ledger.followed if run_id in status),
        "finished": len(finished),
        "disk_mb": used,
        "pruned_mb": used - disk_mb(home),
        "pruned": len(pruned),
    }


def disk_mb(home: Path) -> float:
    """What a folder holds."""
    return sum(file.stat().st_size for file in home.rglob("*") if file.is_file()) / 1e6


# ------------------------------------------------------------------------------------------------------ the report


def report(
    ledger: Ledger, lost: list[str], figures: dict[str, Any], minutes: float, seed: int, cpu: dict[str, float]
) -> tuple[str, bool]:
    """The report, and whether every required figure was reached."""
    memory = {name: judging.memory(samples) for name, samples in ledger.memory.items()}
    known = {name: judged for name, judged in memory.items() if judged is not None}
    verdicts = _verdicts(ledger, lost, known)
    lines = [
        *_head(minutes, seed, cpu),
        "## Verdicts",
        "",
        "| required | reached | measured |",
        "| --- | --- | --- |",
        *(f"| {name} | {'yes' if good else '**NO**'} | {measured} |" for name, (good, measured) in verdicts.items()),
        "",
        *_responses(ledger),
        *_happenings(ledger, figures),
        *_memory_lines(ledger, known),
        "## Sentences in red",
        "",
        *([f"- {count} times: {sentence}" for sentence, count in ledger.sentences.most_common()] or ["None."]),
        *(["", "## Errors", "", *(f"- {error}" for error in (*ledger.wrong, *lost))] if ledger.wrong or lost else []),
        "",
    ]
    return "\n".join(lines), all(good for good, _ in verdicts.values())


def _verdicts(ledger: Ledger, lost: list[str], memory: dict[str, judging.Memory]) -> dict[str, tuple[bool, str]]:
    """What is required -> whether it was reached, and what was measured."""
    everything = [seconds for _, seconds in ledger.responses]
    growth = judging.response_growth(ledger.responses)
    p95 = judging.quantiles(everything)[1]
    flat = bool(memory) and all(judged.flat for judged in memory.values())
    return {
        "no error page": (not ledger.wrong, f"{len(ledger.wrong)} errors"),
        "no lost run": (not lost, f"{len(lost)} of {len(ledger.followed)} runs lost"),
        f"page response p95 under {judging.RESPONSE_P95_SECONDS} s": (
            p95 < judging.RESPONSE_P95_SECONDS,
            f"{p95:.2f} s, of {len(everything):,} page runs; {_share(ledger.training, 2)} of the time two runs trained",
        ),
        f"page response p95 flat after {judging.SETTLED_SECONDS / 60:g} minutes": (
            growth is None or growth <= judging.MOST_RESPONSE_GROWTH,
            "the load was shorter" if growth is None else f"{growth:.2f} times in the last third of the time after",
        ),
        "memory flat after warm-up": (flat, "; ".join(f"{name} {_memory(judged)}" for name, judged in memory.items())),
    }


def _head(minutes: float, seed: int, cpu: dict[str, float]) -> list[str]:
    packages = ("torch", "streamlit", "distributed")
    return [
        "# A class opens the app at once",
        "",
        "Written by `tools/load/classroom.py`; do not edit.",
        "",
        f"- machine: {processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB",
        f"- versions: Python {platform.python_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages),
        f"- {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H:%M} UTC, seed {seed}, {minutes:g} minutes,"
        f" {CLIENTS} clients (a presenter and {CLIENTS - 1} guests), {RUNS_AT_ONCE} runs at once, {MOST_A_BROWSER} runs"
        " a browser",
        "- the clients run on the same cores as the app: they took"
        f" {cpu['clients']:.2f} cores, the server {cpu['server']:.2f}, its workers {cpu['workers']:.2f}",
        "",
    ]


def _responses(ledger: Ledger) -> list[str]:
    everything = [seconds for _, seconds in ledger.responses]
    polls = [seconds for kind in ("/live", "/probes") for seconds in ledger.polls[kind]]
    return [
        "## Responses",
        "",
        "Seconds from a client's message to the end of the page's run. The last line but polls is not part of the"
        " verdict: a page from nothing, with its assets and its websocket, most of them opened in the same second.",
        "",
        "| interaction | count | p50 | p95 | p99 | longest |",
        "| --- | --- | --- | --- | --- | --- |",
        _row("all that count", everything),
        *(_row(kind, ledger.runs[kind]) for kind in sorted(ledger.runs, key=lambda kind: (kind in APART, kind))),
        *(_row(f"HTTP: {kind}", ledger.polls[kind]) for kind in sorted(ledger.polls)),
        _row("HTTP: all polls", polls),
        "",
        f"p95 of each minute, s: {', '.join(f'{p95:.2f}' for p95 in _p95_by_minute(ledger.responses))}.",
        "",
    ]


def _happenings(ledger: Ledger, figures: dict[str, Any]) -> list[str]:
    return [
        "## What happened",
        "",
        *(f"- {what}: {count}" for what, count in sorted(ledger.did.items())),
        f"- at least one run trained {_share(ledger.training, 1)} of the time, two {_share(ledger.training, 2)}",
        "- runs that clients were told of: "
        + ", ".join(f"{count} {status}" for status, count in sorted(figures["statuses"].items())),
        f"- finished runs whose weights load and match their card, the shipped ones among them: {figures['finished']}",
        f"- KD_HOME held {figures['disk_mb']:.0f} MB; pruning with no mercy (`Store.prune(days=0)`) took"
        f" {figures['pruned']} checkpoints, {figures['pruned_mb']:.0f} MB, and no finished run's weights",
        "",
    ]


def _memory_lines(ledger: Ledger, memory: dict[str, judging.Memory]) -> list[str]:
    return [
        "## Memory",
        "",
        f"MB resident, sampled every {SECONDS_BETWEEN_SAMPLES:g} s, at the peak of each {judging.PEAK_SECONDS:g} s: a"
        " worker holds more while it trains than while it waits. Warm-up is the first half of the load. Flat is: the"
        f" Theil-Sen line through the rest rises by no more than {judging.MOST_MB_A_MINUTE:g} MB a minute, and its last"
        f" third is at most {judging.MOST_GROWTH_SHARE:.0%} above its first.",
        "",
        "| process | after warm-up | in the end | slope, MB a minute | flat |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {name} | {judged.warm_mb:.0f} | {judged.end_mb:.0f} | {judged.slope_mb_a_minute:+.2f} |"
            f" {'yes' if judged.flat else '**NO**'} |"
            for name, judged in memory.items()
        ),
        "",
        "Peak of each minute, MB: "
        + "; ".join(f"{name} {', '.join(_by_minute(ledger.memory[name]))}" for name in memory)
        + ".",
        "",
    ]


APART = ("a whole page, opened from nothing", "open")
"""Kinds of runs that are listed and not judged: the second is a part of the first."""


def _row(kind: str, seconds: list[float]) -> str:
    if not seconds:
        return f"| {kind} | 0 | | | | |"
    return (
        f"| {kind} | {len(seconds):,} | "
        + " | ".join(f"{quantile:.3f}" for quantile in judging.quantiles(seconds))
        + " |"
    )


def _memory(judged: judging.Memory) -> str:
    return f"{judged.warm_mb:.0f} to {judged.end_mb:.0f} MB ({judged.slope_mb_a_minute:+.1f} MB a minute)"


def _p95_by_minute(responses: list[tuple[float, float]]) -> list[float]:
    minutes: dict[int, list[float]] = defaultdict(list)
    for at, seconds in responses:
        minutes[int(max(0, at) // 60)].append(seconds)
    return [judging.quantiles(minutes[minute])[1] for minute in sorted(minutes)]


def _by_minute(samples: list[tuple[float, float]]) -> list[str]:
    minutes: dict[int, list[float]] = defaultdict(list)
    for seconds, mb in samples:
        minutes[int(seconds // 60)].append(mb)
    return [f"{max(mb):.0f}" for mb in minutes.values()]


def _share(training: list[int], at_least: int) -> str:
    return f"{np.mean([count >= at_least for count in training] or [0]):.0%}"


def cpu_seconds(server: Server) -> dict[str, float]:
    """Processor time so far: of the clients, the server and its workers."""
    workers = server.workers()
    return {
        "clients": sum(os.times()[:2]),
        "server": sum(psutil.Process(server.process.pid).cpu_times()[:2]),
        "workers": sum(sum(worker.cpu_times()[:2]) for worker in workers),
    }


async def hold(
    server: Server, store: Store, ledger: Ledger, minutes: float, seed: int
) -> tuple[set[str], dict[str, float]]:
    """The load itself, and the end of the lesson; what had to be stopped, and how many cores each side took."""
    presenter = PresentingClient(0, server.address, ledger, seed, minutes)
    guests = [Client(number, server.address, ledger, seed, minutes) for number in range(1, CLIENTS)]
    clients = [presenter, *guests]
    await presenter.come()
    await presenter.start_stories()
    deadline = time.monotonic() + START_SECONDS
    while at_work(store) < RUNS_AT_ONCE and time.monotonic() < deadline:
        await asyncio.sleep(1)
    print(f"{at_work(store)} runs train; the class comes in", flush=True)
    ledger.began = time.monotonic()
    until = ledger.began + 60 * minutes
    sampling = asyncio.create_task(sample(server, store, ledger, until))
    before = cpu_seconds(server)
    results = await asyncio.gather(*(client.attend(until) for client in clients), return_exceptions=True)
    seconds = ledger.seconds()
    after = cpu_seconds(server) if server.process.poll() is None else before
    for client, result in zip(clients, results, strict=True):
        if isinstance(result, BaseException):
            client.wrong(f"its script ended in {result!r}")
    await sampling
    for guest in guests:
        await guest.tab.close()
    print("the lesson is over; the queue runs empty", flush=True)
    try:
        stopped = await drain(store, presenter)
    except OSError as error:
        stopped = set()
        presenter.wrong(f"the server is gone ({error})")
    await presenter.tab.close()
    return stopped, {name: (after[name] - before[name]) / seconds for name in after}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=HERE.parents[1] / "docs" / "measurements" / "load-report.md")
    arguments = parser.parse_args()
    os.environ |= {
        "KD_PASSWORD": PASSWORD,
        "KD_PRESENTER_PASSWORD": PRESENTER_PASSWORD,
        "KD_RUNS_AT_ONCE": str(RUNS_AT_ONCE),
        "KD_MAX_PER_BROWSER": str(MOST_A_BROWSER),
    }
    home = Path(tempfile.mkdtemp(prefix="kd-lab-classroom-"))
    print(f"log and store: {home}", flush=True)
    store = Store(home)
    server = Server(home)
    ledger = Ledger()
    try:
        stopped, cpu = asyncio.run(hold(server, store, ledger, arguments.minutes, arguments.seed))
    finally:
        log = (home / "server.log").read_text(encoding="utf-8", errors="replace")
        server.process.terminate()
        server.process.wait(timeout=60)
    ledger.wrong += [f"in the server's log: {line[:300]}" for line in log.splitlines() if "Error" in line]
    lost, figures = checked_runs(store, ledger, stopped)
    store.close()
    text, passed = report(ledger, lost, figures, arguments.minutes, arguments.seed, cpu)
    arguments.report.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
