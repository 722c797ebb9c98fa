"""What the fault test breaks and looks at: a small disk, a mirror of MNIST, the app as its user starts it, a tab.

Nothing in here knows which faults there are.
"""

import contextlib
import gzip
import hashlib
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import psutil
import requests
import websockets
from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 90.0
SECONDS_A_PAGE = 60.0


# ------------------------------------------------------------------------------------------------------ the disk


class Disk:
    """A file system of our own, a tmpfs, that can be filled to the last byte and made read-only. Needs root."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"
        folder.mkdir(parents=True)
        _command("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "kd-faults", str(folder))

    def fill(self) -> None:
        """Take every byte that is left, what others give back meanwhile too."""
        with self._ballast.open("ab") as file:
            for _ in range(200):
                stand = os.fstatvfs(file.fileno())
                free = stand.f_bavail * stand.f_frsize
                if not free:
                    return
                with contextlib.suppress(OSError):  # others were quicker
                    os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, free)

    def free(self) -> None:
        """Give back what fill took."""
        self._ballast.unlink(missing_ok=True)

    def freeze(self) -> None:
        """Make the whole file system read-only. Only where no process has a file on it open for writing."""
        wait_until(lambda: _tried("mount", "-o", "remount,ro", str(self.folder)), 30, "the disk stays busy")

    def thaw(self) -> None:
        """Undo freeze."""
        _command("mount", "-o", "remount,rw", str(self.folder))

    @contextlib.contextmanager
    def read_only(self, folder: Path) -> Iterator[None]:
        """Lay a read-only view of a folder over itself: files that are open go on, no other can be written."""
        _command("mount", "--bind", str(folder), str(folder))
        try:
            _command("mount", "-o", "remount,ro,bind", str(folder))
            yield
        finally:
            _command("umount", "--lazy", str(folder))

    def close(self) -> None:
        """Let it go, with all that is on it."""
        _tried("umount", "--lazy", str(self.folder))


def _command(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


def _tried(*words: str) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def may_mount(folder: Path) -> bool:
    """Whether this machine lets us mount."""
    folder.mkdir(parents=True, exist_ok=True)
    allowed = _tried("mount", "-t", "tmpfs", "-o", "size=1m", "kd-faults", str(folder))
    return allowed and _tried("umount", str(folder))


def wait_until(condition: Callable[[], Any], seconds: float, complaint: str) -> Any:
    """The first true value of condition. Raises TimeoutError with the complaint."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.05)
    return value


# ---------------------------------------------------------------------------------------------------- the mirror

Behaviour = Callable[[str, bytes], tuple[bytes, float]]
"""(file name, what it holds) -> what is sent of it, and for how many seconds the connection then hangs."""


def whole(name: str, content: bytes) -> tuple[bytes, float]:
    """As a mirror should."""
    return content, 0.0


class Mirror:
    """MNIST's four packed files, served on loopback, as well or as badly as behaviour has it."""

    def __init__(self, raw: Path) -> None:
        self.files = {f"{file.name}.gz": gzip.compress(file.read_bytes(), 1, mtime=0) for file in raw.glob("*-ubyte")}
        self.behaviour: Behaviour = whole
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                name = self.path.rpartition("/")[2]
                content = mirror.files[name]
                sent, hangs = mirror.behaviour(name, content)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(sent)
                    self.wfile.flush()
                    time.sleep(hangs)

            def log_message(self, *arguments: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def resources(self) -> list[tuple[str, str]]:
        """Names and MD5s, as torchvision lists them."""
        return [(name, hashlib.md5(content).hexdigest()) for name, content in self.files.items()]

    def close(self) -> None:
        self._server.shutdown()


# ----------------------------------------------------------------------------------------------------- the server

STARTED_WITH = '''"""Read by every Python process of the app under test before anything else."""
import importlib.machinery
import sys
import time

CHANGES = {
    "torchvision.datasets.mnist": lambda module: vars_of(module.MNIST, mirrors=MIRRORS, resources=RESOURCES),
    "kd_core.jobs.execute": lambda module: vars_of(module, CHECKPOINT_SECONDS=CHECKPOINT_SECONDS),
}


def vars_of(target, **values):
    for name, value in values.items():
        setattr(target, name, value)


class Changed:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        executed = spec.loader.exec_module
        spec.loader.exec_module = lambda module: (executed(module), CHANGES[name](module))
        return spec


sys.meta_path.insert(0, Changed)
wall, steady, step, looked_at = time.time, time.monotonic, 0.0, 0.0


def time_of_day():
    """The clock on the wall, set forward or back by as many seconds as the file says."""
    global step, looked_at
    if steady() - looked_at > 0.2:
        looked_at = steady()
        try:
            with open(CLOCK) as file:
                step = float(file.read() or 0)
        except OSError:
            pass
    return wall() + step


time.time = time_of_day
'''


class Server:
    """The app as its user starts it, on a free port, its log outside of the disk that is to be broken."""

    def __init__(self, work: Path, home: Path, mirror: Mirror, *, checkpoint_seconds: float, at_once: int) -> None:
        self._work, self._log = work, work / "server.log"
        self.cache = work / "cache"
        (work / "start").mkdir()
        constants = {
            "MIRRORS": [mirror.address] * 2,
            "RESOURCES": mirror.resources,
            "CHECKPOINT_SECONDS": checkpoint_seconds,
            "CLOCK": str(work / "clock"),
        }
        lines = [f"{name} = {value!r}\n" for name, value in constants.items()]
        (work / "start" / "sitecustomize.py").write_text(STARTED_WITH + "".join(lines))
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("KD_")} | {
            "KD_HOME": str(home),
            "KD_RUNS_AT_ONCE": str(at_once),
            "PYTHONPATH": str(work / "start"),
            "XDG_CACHE_HOME": str(self.cache),
        }
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://localhost:{self.port}"
        self.ever: set[psutil.Process] = set()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self.port)],
                cwd=ROOT,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        wait_until(self.answers, SECONDS_TO_START, f"the server does not start: see {self._log}")

    def answers(self) -> bool:
        """Whether it is there."""
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.address}/_stcore/health", timeout=5).ok
        return False

    def workers(self) -> list[psutil.Process]:
        """The worker processes under it."""
        with contextlib.suppress(psutil.NoSuchProcess):
            servers = [
                child
                for child in psutil.Process(self.process.pid).children()
                if "multiprocessing.forkserver" in " ".join(_words_of(child))
            ]
            workers = [child for server in servers for child in server.children()]
            self.ever.update(workers)
            return workers
        return []

    def set_clock(self, seconds: float) -> None:
        """Have its processes read another time of day, by so many seconds."""
        (self._work / "clock").write_text(str(seconds))

    def kill(self) -> list[psutil.Process]:
        """End it with SIGKILL; the workers that it had."""
        workers = self.workers()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=30)
        return workers

    def stop(self) -> None:
        """End it as Ctrl-C does."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)

    def complaints(self) -> list[str]:
        """What its log says of errors that no code expected."""
        expected_by_nobody = re.compile(r"could not handle|Uncaught app exec|^runs? \S+( \S+)* failed$")
        return [line for line in self._log.read_text(errors="replace").splitlines() if expected_by_nobody.search(line)]


def _words_of(process: psutil.Process) -> Sequence[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return ()


def gone(processes: Sequence[psutil.Process], seconds: float) -> bool:
    """Whether these processes end within so many seconds."""
    return not psutil.wait_procs(processes, timeout=seconds)[1]


# --------------------------------------------------------------------------------------------------- a browser tab


class Seen(NamedTuple):
    """What one run of a page put on the screen. buttons, widgets: label -> id; options: label -> the choices."""

    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    crashes: tuple[str, ...]
    buttons: Mapping[str, str]
    widgets: Mapping[str, str]
    options: Mapping[str, tuple[str, ...]]
    components: tuple[str, ...]


class Tab:
    """One browser tab as the server sees it: a websocket of Streamlit's own protocol, and a cookie."""

    def __init__(self, address: str, cookies: dict[str, str]) -> None:
        """cookies: of the browser that it belongs to, which the server fills at the first visit."""
        self.address, self.cookies = address, cookies
        cookies.update(requests.get(address, cookies=cookies, timeout=30).cookies.get_dict())
        self._socket = connect(
            f"{address.replace('http', 'ws')}/_stcore/stream",
            subprotocols=[websockets.Subprotocol("streamlit")],
            additional_headers={"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())},
            max_size=None,
            ping_interval=None,  # a server that is stopped, or busy, is slow and not gone
        )
        self._seen: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._socket.close()

    def open(self, page: str, values: Mapping[str, tuple[str, Any]] | None = None, **query: str) -> Seen:
        """Have the server run a page. values: widget id -> (field of its state, value), as its user left it."""
        message = BackMsg()
        message.rerun_script.query_string = urlencode(query)
        message.rerun_script.page_name = page
        for widget, (field, value) in (values or {}).items():
            state = message.rerun_script.widget_states.widgets.add(id=widget)
            setattr(state, field, value)
        self._socket.send(message.SerializeToString())
        errors, warnings, crashes, components = [], [], [], []
        buttons, widgets, options = {}, {}, {}
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(self._socket.recv(timeout=SECONDS_A_PAGE))
            if answer.WhichOneof("type") == "script_finished":
                if answer.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                    continue  # the page runs once more, as after st.rerun or where it had not ended yet
                return Seen(
                    tuple(errors), tuple(warnings), tuple(crashes), buttons, widgets, options, tuple(components)
                )
            element = answer.delta.new_element
            kind = element.WhichOneof("type")
            if kind == "alert":
                alerts = {Alert.ERROR: errors, Alert.WARNING: warnings}.get(element.alert.format)
                if alerts is not None:
                    alerts.append(element.alert.body)
            elif kind == "exception":
                crashes.append(f"{element.exception.type}: {element.exception.message}")
            elif kind == "bidi_component" and "kd_lab_live" in element.bidi_component.component_name:
                components.append(element.bidi_component.id)
            elif kind == "button":
                buttons[element.button.label] = element.button.id
            elif kind in ("checkbox", "number_input", "selectbox"):
                widget = getattr(element, kind)
                widgets[widget.label] = widget.id
                options[widget.label] = tuple(getattr(widget, "options", ()))

    def press(self, page: str, label: str, values: Mapping[str, tuple[str, Any]] | None = None, **query: str) -> Seen:
        """Open a page, set what values says by label, and press the button whose label starts so."""
        before = self.open(page, **query)
        kept = {before.widgets[name]: value for name, value in (values or {}).items() if name in before.widgets}
        if kept:  # a press hands on what the page last knew
            before = self.open(page, kept, **query)
        button = next((widget for name, widget in before.buttons.items() if name.startswith(label)), None)
        return before if button is None else self.open(page, {**kept, button: ("trigger_value", True)}, **query)

    def ask(self, run_ids: Sequence[str], what: str, batch: str) -> Seen:
        """Press a button of the live view, such as resume, of several runs of one batch."""
        before = self.open("train", view="Watch", batch=batch)
        if not before.components:
            return before
        trigger = _make_trigger_id(before.components[0], "events")
        events = [{"event": "asked", "value": [{"run": run_id, "what": what, "mine": True} for run_id in run_ids]}]
        return self.open("train", {trigger: ("json_trigger_value", json.dumps(events))}, view="Watch", batch=batch)

    def live(self, run_ids: Sequence[str]) -> list[dict[str, Any]] | str:
        """How runs stand, as the live view is told, or the sentence that stands there instead."""
        known = ",".join(
            f"{run_id}:{attempt}:{step}" for run_id, (attempt, step) in self._seen.items() if run_id in run_ids
        )
        query = urlencode({"runs": ",".join(run_ids), "seen": known, "watcher": "faults"})
        answer = requests.get(f"{self.address}/live?{query}", cookies=self.cookies, timeout=30)
        if answer.status_code == 503:
            return str(answer.json())
        answer.raise_for_status()
        runs: list[dict[str, Any]] = answer.json()["runs"]
        self._seen |= {run["id"]: (run["attempt"], run["step"]) for run in runs}
        return runs
