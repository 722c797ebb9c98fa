"""The app as its user starts it, for tests and scripts that visit it."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

from kd_core.exchange import shipped
from kd_core.runs.store import Store

ROOT = Path(__file__).resolve().parents[2]
SHORT_DEMO = Path(__file__).with_name("short_demo.py")
TRAINED_MS = 240_000
"""How long a page may take to show what is trained first, or what a new server reads, while other tests train too."""
SERVERS: list["Server"] = []
"""Those that run now."""


class Server:
    """The app as its user starts it, on a free port, with a home that outlives it."""

    def __init__(self, home: Path, *, base_path: str = "", short_demo: bool = False, **environment: str) -> None:
        self.home, self.base_path, self.environment = home, base_path, environment
        self.program = [str(SHORT_DEMO)] if short_demo else ["-m", "streamlit"]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://localhost:{self.port}" + (f"/{base_path}" if base_path else "")
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers; nobody has opened a page yet."""
        with (self.home / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "run", "app.py", *self._options()],
                cwd=ROOT,
                env={**os.environ, "KD_HOME": str(self.home), **self.environment},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/_stcore/health", timeout=1):
                break
            assert self.process.poll() is None, (self.home / "server.log").read_text()
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)

    def _options(self) -> list[str]:
        return ["--server.port", str(self.port), "--server.baseUrlPath", self.base_path]

    def kill(self) -> None:
        """End it without warning."""
        self.process.kill()
        self.process.wait(timeout=30)

    def workers(self) -> list[psutil.Process]:
        """The worker processes under it."""
        return workers_under(psutil.Process(self.process.pid))


def workers_under(process: psutil.Process) -> list[psutil.Process]:
    """The worker processes that a queue in this process has: forks of the server that it starts for that."""
    servers = [child for child in process.children() if "multiprocessing.forkserver" in " ".join(child.cmdline())]
    return [child for server in servers for child in server.children()]


@contextlib.contextmanager
def serve(home: Path, *, ships=False, **options):
    """A running Server for as long as the block lasts. ships: whether it offers the models that come with KD Lab."""
    if not ships:
        given = [json.loads(file.read_text())["run"]["id"] for file in shipped.FOLDER.glob("*/run.json")]
        store = Store(home)
        store.save_finding("shipped", (), {"ids": given})
        store.close()
    server = Server(home, **options)
    SERVERS.append(server)
    try:
        yield server
    finally:
        SERVERS.remove(server)
        server.process.terminate()
        server.process.wait(timeout=30)
