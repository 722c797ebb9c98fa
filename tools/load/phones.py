"""A class of phones follows its presenter and votes twice, while stories train. Bounded, on loopback alone.

    KD_DATA_DIR=... python tools/load/phones.py [--phones 60] [--minutes 3] [--seed 0] [--report FILE]

The real app is started as it is served to a class. A presenter signs in and starts two long stories on MNIST (on
digits, where MNIST is not at hand), then leads a class: every other second image or T changes under their hand, and
their browser sends it on as room/class.js does. The phones ask as room/phone.js does. Measured is the time from the
hand to each phone. Then a question gets its answers in two rounds, which leave as CSV. Exits with 1 where a required
figure is missed.
"""

import argparse
import asyncio
import csv
import datetime
import importlib.metadata
import io
import os
import platform
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx2
import psutil

sys.path.extend(str(Path(__file__).resolve().parents[2] / folder) for folder in (".", "tests/helpers", "tools"))

from load import judging
from load.classroom import (
    PASSWORD,
    PRESENTER_PASSWORD,
    RUNS_AT_ONCE,
    START_SECONDS,
    Ledger,
    PresentingClient,
    at_work,
    cpu_seconds,
)
from serving import Server

from kd_core.evaluation.speed import processor
from kd_core.runs.store import Store

HERE = Path(__file__).resolve().parent
LEAD_SECONDS, POLL_SECONDS = 0.2, 0.45
"""Of room/class.js and room/phone.js."""
SECONDS_BETWEEN_CHANGES = 2.0
P95_SECONDS = 1.0
SECONDS_TO_VOTE = 8.0
QUESTION = {"prompt": "What can T change?", "answers": ["the order", "the entropy", "both", "neither"], "truth": 1}
IMAGE = "data:image/png;base64," + "A" * 800
"""As long as a digit's."""


class Presenter:
    """The browser that leads: what is under the hand, and when it was changed."""

    def __init__(self, address: str, cookie: str) -> None:
        self.http = httpx2.AsyncClient(base_url=address, cookies={"kd_role": cookie}, timeout=30)
        self.changed: dict[float, float] = {}  # T -> when the hand set it
        self.temperature = 1.0

    async def do(self, act: str, **more: Any) -> dict[str, Any]:
        """Lead, and return how the class stands."""
        answer = await self.http.post("/class/lead", json={"do": act, **more})
        answer.raise_for_status()
        return answer.json()

    async def lead(self, ended: asyncio.Event) -> None:
        """Send on what has changed, in class.js's rhythm."""
        sent = None
        while not ended.is_set():
            if sent != self.temperature:
                sent = self.temperature
                await self.do("show", view=self.view(sent))
            await asyncio.sleep(LEAD_SECONDS)

    def view(self, temperature: float) -> dict[str, Any]:
        """What a page with three models' bars shows."""
        logits = [round(random.gauss(0, 5), 3) for _ in range(10)]
        models = [
            {"id": name, "name": name, "colour": "#000", "logits": logits}
            for name in ("teacher", "baseline", "distilled")
        ]
        bars = {"classes": [str(k) for k in range(10)], "label": 3, "models": models}
        address = f"temperature?T={temperature}"
        return {"address": address, "title": "Feel temperature", "T": temperature, "bars": bars, "image": IMAGE}

    async def turn(self, minutes: float) -> None:
        """Change T by hand, at moments that no rhythm knows."""
        until = time.monotonic() + 60 * minutes
        while time.monotonic() < until:
            await asyncio.sleep(random.uniform(0.5, 1.5) * SECONDS_BETWEEN_CHANGES)
            self.temperature = round(self.temperature + 0.01, 2)
            self.changed[self.temperature] = time.monotonic()


class Phone:
    """A phone in the class: what it shows, and what it was late by."""

    def __init__(self, number: int, address: str, code: str, presenter: Presenter) -> None:
        self.me, self.code, self.presenter = f"phone{number:05}", code, presenter
        self.http = httpx2.AsyncClient(base_url=address, timeout=30)
        self.waits: list[float] = []
        self.polls: list[float] = []
        self.votes: list[float] = []
        self.wrong: list[str] = []
        self.question: dict[str, Any] | None = None
        self.seen, self.shown = "", 0.0

    async def follow(self, ended: asyncio.Event) -> None:
        """Ask in phone.js's rhythm, and note when each change arrived."""
        await asyncio.sleep(random.uniform(0, POLL_SECONDS))
        while not ended.is_set():
            began = time.monotonic()
            answer = await self.http.get("/class/now", params={"code": self.code, "me": self.me, "seen": self.seen})
            now = time.monotonic()
            self.polls.append(now - began)
            if answer.status_code == 200:
                self.take(answer.json(), now)
            elif answer.status_code != 204:
                self.wrong.append(f"{answer.status_code}: {answer.text[:200]}")
            await asyncio.sleep(POLL_SECONDS)

    def take(self, news: dict[str, Any], now: float) -> None:
        """Show what is new."""
        self.seen, self.question = str(news["version"]), news["question"]
        temperature = (news["view"] or {}).get("T") or 0.0
        for value, at in list(self.presenter.changed.items()):
            if self.shown < value <= temperature:
                self.waits.append(now - at)
        self.shown = max(self.shown, temperature)

    async def vote(self, answer: int) -> None:
        """Answer the question after some thought."""
        await asyncio.sleep(random.uniform(0, SECONDS_TO_VOTE))
        began = time.monotonic()
        answered = await self.http.post("/class/vote", json={"code": self.code, "me": self.me, "answer": answer})
        self.votes.append(time.monotonic() - began)
        if answered.status_code != 200:
            self.wrong.append(f"a vote: {answered.text[:200]}")


async def hold(server: Server, store: Store, phones: int, minutes: float, seed: int) -> dict[str, Any]:
    """The class, from its beginning to its CSV."""
    trainer = PresentingClient(0, server.address, Ledger(), seed, minutes)
    await trainer.come()
    await trainer.start_stories()
    deadline = time.monotonic() + START_SECONDS
    while at_work(store) < RUNS_AT_ONCE and time.monotonic() < deadline:
        await asyncio.sleep(1)
    async with httpx2.AsyncClient(base_url=server.address) as signing_in:
        await signing_in.post("/enter", data={"password": PRESENTER_PASSWORD})
        cookie = signing_in.cookies["kd_role"]
    presenter = Presenter(server.address, cookie)
    code = (await presenter.do("begin"))["code"]
    ended = asyncio.Event()
    joined = [Phone(number, server.address, code, presenter) for number in range(phones)]
    training, before, began = at_work(store), cpu_seconds(server), time.monotonic()
    following = [asyncio.create_task(phone.follow(ended)) for phone in joined]
    leading = asyncio.create_task(presenter.lead(ended))
    await presenter.turn(minutes)
    await asyncio.sleep(2)
    seconds, after = time.monotonic() - began, cpu_seconds(server)
    state = await ask_twice(presenter, joined)
    still = at_work(store)
    ended.set()
    await asyncio.gather(*following, leading)
    saved = (await presenter.http.get("/class/votes.csv")).text
    await presenter.do("end")
    await trainer.stop_all(store.runs(statuses=("queued", "running")))
    await trainer.tab.close()
    return {
        "waits": [wait for phone in joined for wait in phone.waits],
        "polls": [poll for phone in joined for poll in phone.polls],
        "votes": [vote for phone in joined for vote in phone.votes],
        "expected": phones * len(presenter.changed),
        "wrong": [f"{phone.me} {what}" for phone in joined for what in phone.wrong],
        "csv": list(csv.DictReader(io.StringIO(saved))),
        "counts": state["question"]["counts"],
        "shown": sum(
            bool(phone.question and phone.question.get("counts") == state["question"]["counts"]) for phone in joined
        ),
        "training": (training, still),
        "cores": {name: (after[name] - before[name]) / seconds for name in after},
    }


async def ask_twice(presenter: Presenter, phones: list[Phone]) -> dict[str, Any]:
    """A question, its votes, a discussion, votes again, and both rounds on the screen."""
    for turn in range(2):
        await presenter.do("again") if turn else await presenter.do("ask", question=QUESTION)
        await asyncio.sleep(1.5)
        await asyncio.gather(
            *(phone.vote(random.choice((0, 1, 2, 3) if not turn else (1, 1, 1, 2))) for phone in phones)
        )
    state = await presenter.do("reveal")
    await asyncio.sleep(2)
    return state


def report(held: dict[str, Any], phones: int, minutes: float, seed: int) -> tuple[str, bool]:
    """The report, and whether every required figure was reached."""
    p50, p95, p99, longest = judging.quantiles(held["waits"])
    arrived, votes = len(held["waits"]), len(held["csv"])
    verdicts = {
        "every change on every phone": (arrived == held["expected"], f"{arrived:,} of {held['expected']:,}"),
        f"from the hand to a phone in {P95_SECONDS:g} s (p95)": (
            p95 <= P95_SECONDS,
            f"p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f}, longest {longest:.2f} s",
        ),
        "both rounds of votes in the CSV": (votes == 2 * phones, f"{votes} of {2 * phones} votes"),
        "both rounds on every phone": (held["shown"] == phones, f"{held['shown']} of {phones}, {held['counts']}"),
        "stories trained all the while": (
            min(held["training"]) > 0,
            f"{held['training']} runs at its beginning and end",
        ),
        "no error": (not held["wrong"], f"{len(held['wrong'])} errors"),
    }
    cores = held["cores"]
    vote, poll = judging.quantiles(held["votes"]), judging.quantiles(held["polls"])
    lines = [
        "# A class of phones follows and votes",
        "",
        "Written by `tools/load/phones.py`; do not edit.",
        "",
        f"- machine: {processor()}, {psutil.virtual_memory().total / 1e9:.0f} GB; Python {platform.python_version()},"
        f" streamlit {importlib.metadata.version('streamlit')}",
        f"- {datetime.datetime.now(tz=datetime.UTC):%Y-%m-%d %H:%M} UTC, seed {seed}, {minutes:g} minutes,"
        f" {phones} phones",
        "- the phones run on the same cores as the app: they took"
        f" {cores['clients']:.2f} cores, the server {cores['server']:.2f}, its workers {cores['workers']:.2f}",
        "",
        "| required | reached | measured |",
        "| --- | --- | --- |",
        *(f"| {name} | {'yes' if good else '**NO**'} | {measured} |" for name, (good, measured) in verdicts.items()),
        "",
        f"A poll took {poll[0] * 1000:.0f} ms (p95 {poll[1] * 1000:.0f}), of {len(held['polls']):,}; a vote"
        f" {vote[0] * 1000:.0f} ms (p95 {vote[1] * 1000:.0f}). Phones hold no session of Streamlit's, so that neither a"
        " poll nor a vote reruns a page.",
        "",
        *held["wrong"][:20],
    ]
    return "\n".join(lines).rstrip() + "\n", all(good for good, _ in verdicts.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phones", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=HERE.parents[1] / "docs" / "measurements" / "phones.md")
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    os.environ |= {
        "KD_PASSWORD": PASSWORD,
        "KD_PRESENTER_PASSWORD": PRESENTER_PASSWORD,
        "KD_RUNS_AT_ONCE": str(RUNS_AT_ONCE),
    }
    home = Path(tempfile.mkdtemp(prefix="kd-lab-phones-"))
    print(f"log and store: {home}", flush=True)
    store, server = Store(home), Server(home)
    try:
        held = asyncio.run(hold(server, store, arguments.phones, arguments.minutes, arguments.seed))
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)
        store.close()
    text, passed = report(held, arguments.phones, arguments.minutes, arguments.seed)
    arguments.report.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
