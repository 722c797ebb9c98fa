"""What people who watch cost the training, and how quick the page stays, on one machine in one run. Reports ratios.

    KD_DATA_DIR=... python tests/benchmarks/watchers.py [--watchers 20] [--rounds 3] [--dataset mnist]

A real server trains one long baseline. In turns, nobody watches it, then every watcher does: each holds a websocket
session of Streamlit's own protocol, opened on the train page, and asks /live and /probes as the page's components do.
Bounded to loopback and to a few minutes. Printed: the epoch time with and without watchers, how long a watcher went
without an update, and how long the page took to run after a click while training.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlencode

import numpy as np
import requests
import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

sys.path.append(str(Path(__file__).parents[1] / "browser"))

from conftest import Server

from kd_core.recipes import StoryConfig
from kd_core.runs import Store, new_id
from pages.widgets.forms import to_address

SECONDS_A_PHASE = 25.0
SETTLE_SECONDS = 3.0
CLICKS = 40


class Session:
    """One browser tab as the server sees it: a websocket, and a cookie."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.buttons: dict[str, str] = {}
        self.cookies = requests.get(address, timeout=10).cookies.get_dict()

    async def __aenter__(self) -> "Session":
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.socket = await websockets.connect(
            f"{self.address.replace('http', 'ws')}/_stcore/stream",
            subprotocols=[websockets.Subprotocol("streamlit")],
            additional_headers={"Cookie": cookie},
            max_size=None,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()

    async def run_page(self, page: str, query: str, press: str = "") -> float:
        """Have the server run a page, as after a press on a button where one is named; the seconds until it is done."""
        message = BackMsg()
        message.rerun_script.query_string = query
        message.rerun_script.page_name = page
        if press:
            state = message.rerun_script.widget_states.widgets.add()
            state.id, state.trigger_value = self.buttons[press], True
        start = time.perf_counter()
        await self.socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(await self.socket.recv())
            button = answer.delta.new_element.button
            if button.label:
                self.buttons[button.label] = button.id
            if answer.WhichOneof("type") == "script_finished":
                return time.perf_counter() - start

    async def ask(self, path: str) -> dict:
        """GET, as the components do, over a connection of this tab."""
        host, port = self.address.removeprefix("http://").split(":")
        if not hasattr(self, "reader"):
            self.reader, self.writer = await asyncio.open_connection(host, int(port))
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        return json.loads(await self.reader.readexactly(length))


async def watch(session: Session, run_id: str, batch: str, until: float, gaps: list[float]) -> None:
    """Open the train page on the run, and follow it; the seconds between new records go into gaps."""
    await session.run_page("train", f"view=Watch&batch={batch}")
    seen, last, watcher = "", time.monotonic(), new_id()
    probes_at, probes_seen = 0.0, ""
    while time.monotonic() < until:
        told = await session.ask(f"/live?runs={run_id}&seen={seen}&watcher={watcher}")
        (run,) = told["runs"]
        if run["steps"]["loss"][0] or run["epochs"]["epoch"]:
            gaps.append(time.monotonic() - last)
            last = time.monotonic()
        seen = f"{run_id}:{run['attempt']}:{run['step']}"
        if time.monotonic() - probes_at > 1.5:
            probes_at = time.monotonic()
            (probe,) = (await session.ask(f"/probes?runs={run_id}&image=9&seen={probes_seen}"))["runs"]
            if probe["epochs"]:
                probes_seen = f"{run_id}:{probe['attempt']}:{probe['epochs'][-1]}"
        await asyncio.sleep(told["poll_ms"] / 1000)


async def clicks(session: Session, batch: str, seconds: list[float]) -> None:
    for _ in range(CLICKS):
        seconds.append(await session.run_page("train", f"view=Watch&batch={batch}"))
        await asyncio.sleep(0.2)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--watchers", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dataset", default="mnist")
    arguments = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="kd-lab-watchers-"))
    server = Server(home)
    store = Store(home)
    try:
        async with Session(server.address) as first:
            await first.run_page("", "")  # brings the queue and its worker up
            await asyncio.sleep(15)  # for the worker's warm-up
            story = StoryConfig.default(arguments.dataset)
            story = story.replace(
                teacher_training=story.teacher_training.replace(epochs=1),
                training=story.training.replace(epochs=5000, schedule="constant"),
            )
            set_up = urlencode({"view": "Set up", "setup": to_address(story)})
            await first.run_page("train", set_up)
            await first.run_page("train", set_up, press="Train")
            while not (runs := [run for run in store.runs() if run.config.role == "baseline" and run.step]):
                await asyncio.sleep(0.2)
            run_id, batch = runs[0].id, runs[0].batch
            alone, watched, gaps, answers = [], [], [], []
            for _ in range(arguments.rounds):
                count = len(store.epoch_seconds(run_id))
                await asyncio.sleep(SECONDS_A_PHASE)
                alone += store.epoch_seconds(run_id)[count + 1 :]
                until = time.monotonic() + SETTLE_SECONDS + SECONDS_A_PHASE
                sessions = [await Session(server.address).__aenter__() for _ in range(arguments.watchers)]
                phase = asyncio.gather(*(watch(one, run_id, batch, until, gaps) for one in sessions))
                await asyncio.sleep(SETTLE_SECONDS)
                count = len(store.epoch_seconds(run_id))
                await phase
                watched += store.epoch_seconds(run_id)[count + 1 :]
                for one in sessions:
                    await one.__aexit__()
                await asyncio.sleep(SETTLE_SECONDS)
            await clicks(first, batch, answers)
            print(f"epochs timed: {len(alone)} alone, {len(watched)} with {arguments.watchers} watchers")
            print(f"epoch, median: {median(alone):.3f} s alone, {median(watched):.3f} s watched,"
                  f" ratio {median(watched) / median(alone):.3f}")  # fmt: skip
            print(f"seconds between updates of a watcher: median {median(gaps):.2f}, p95 {np.quantile(gaps, 0.95):.2f},"
                  f" longest {max(gaps):.2f}")  # fmt: skip
            print(f"train page, run whole while training: median {1e3 * median(answers):.0f} ms,"
                  f" p95 {1e3 * np.quantile(answers, 0.95):.0f} ms")  # fmt: skip
    finally:
        server.process.terminate()
        server.process.wait(timeout=30)
        store.close()


if __name__ == "__main__":
    asyncio.run(main())
