"""What people who watch cost the training, and how quick the page stays, on one machine in one run. Reports ratios.

    KD_DATA_DIR=... python tools/benchmarks/watchers.py [--watchers 20] [--rounds 3] [--dataset mnist]

A real server trains one long baseline. In turns, nobody watches it, then every watcher does: each is a browser tab
(tools/load/session.py) opened on the train page, which asks /live and /probes as the page's components do.
Bounded to loopback and to a few minutes. Printed: the epoch time with and without watchers, how long a watcher went
without an update, and how long the page took to run after a click while training.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import measured
import numpy as np
from load.session import Listener, Session
from serving import Server

from kd_core.experiments.story import StoryConfig
from kd_core.runs.store import Store
from pages.shared.session.story import to_address

SECONDS_A_PHASE = 25.0
SETTLE_SECONDS = 3.0
CLICKS = 40


class Watcher(Listener):
    """A tab that follows a run; the seconds between its new records go into gaps."""

    def __init__(self, run_id: str, gaps: list[float]) -> None:
        self.run_id = run_id
        self.gaps = gaps
        self.last = time.monotonic()

    def heard(self, answer: dict) -> None:
        for run in answer["runs"]:
            if run["id"] == self.run_id and (run["steps"]["loss"][0] or run["epochs"]["epoch"]):
                self.gaps.append(time.monotonic() - self.last)
                self.last = time.monotonic()


async def watch(address: str, run_id: str, batch: str, until: float, gaps: list[float]) -> None:
    """Open the train page on the run, and leave it open."""
    async with Session(address, Watcher(run_id, gaps)) as tab:
        await tab.open("train", f"view=Watch&batch={batch}")
        await asyncio.sleep(until - time.monotonic())


async def clicks(tab: Session, seconds: list[float]) -> None:
    for _ in range(CLICKS):
        seconds.append((await tab.go("train")).seconds)
        await asyncio.sleep(0.2)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--watchers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dataset", default="mnist")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="kd-lab-watchers-"))
    server = Server(home)
    store = Store(home)
    try:
        async with Session(server.address) as first:
            await first.open()  # brings the queue and its worker up
            await asyncio.sleep(15)  # for the worker's warm-up
            story = StoryConfig.default(arguments.dataset)
            story = story.replace(
                teacher_training=story.teacher_training.replace(epochs=1),
                training=story.training.replace(epochs=5000, schedule="constant"),
            )
            set_up = urlencode({"view": "Set up", "setup": to_address(story)})
            await first.open("train", set_up)
            await first.press("train")
            while not (runs := [run for run in store.runs() if run.config.role == "baseline" and run.step]):
                await asyncio.sleep(0.2)
            run_id, batch = runs[0].id, runs[0].batch
            rounds, gaps, answers = [], [], []
            for _ in range(arguments.rounds):
                count = len(store.epoch_seconds(run_id))
                await asyncio.sleep(SECONDS_A_PHASE)
                alone = store.epoch_seconds(run_id)[count + 1 :]
                until = time.monotonic() + SETTLE_SECONDS + SECONDS_A_PHASE
                watchers = (watch(server.address, run_id, batch, until, gaps) for _ in range(arguments.watchers))
                phase = asyncio.gather(*watchers)
                await asyncio.sleep(SETTLE_SECONDS)
                count = len(store.epoch_seconds(run_id))
                await phase
                watched = store.epoch_seconds(run_id)[count + 1 :]
                if not (alone and watched):
                    raise SystemExit("Nothing was measured: no epoch lay within a phase. Try a quiet machine.")
                rounds.append((median(alone), median(watched)))
                await asyncio.sleep(SETTLE_SECONDS)
            await clicks(first, answers)
            alone, watched = zip(*rounds, strict=True)
            print(f"{arguments.watchers} watchers of a run on {arguments.dataset}; {measured.machine()}.\n")
            print(f"| | median of {arguments.rounds} rounds (range) |\n| --- | --- |")
            print(f"| seconds an epoch, unwatched | {measured.spread(alone)} |")
            print(f"| seconds an epoch, watched | {measured.spread(watched)} |")
            print(f"| watched over unwatched | {measured.spread(measured.ratios(watched, alone))} |\n")
            print(f"Seconds between updates of a watcher: median {median(gaps):.2f}, 95th percentile"
                  f" {np.quantile(gaps, 0.95):.2f}, longest {max(gaps):.2f}.")  # fmt: skip
            print(f"The train page while training: median {1e3 * median(answers):.0f} ms, 95th percentile"
                  f" {1e3 * np.quantile(answers, 0.95):.0f} ms.")  # fmt: skip
    finally:
        server.process.terminate()
        server.process.wait(timeout=30)
        store.close()


if __name__ == "__main__":
    asyncio.run(main())
