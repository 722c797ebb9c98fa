"""KD Lab where nothing gets out: what it looks up, and which files it writes where they do not belong.

    python tests/helpers/sealed.py app|shell FOLDER

The app with each of its pages, or each command of the shell, in namespaces of their own: no network but loopback, a
name server there that knows no name and notes who was asked for, and fanotify, which notes every file that is written,
by whatever library. Home, temporary folder, KD_HOME and KD_DATA_DIR are folders of FOLDER, empty at first. Prints what
was seen as JSON. Needs root and Linux; problem() says what is missing.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ENOUGH_SECONDS = 120.0
NOT_DISKS = ("proc", "sysfs", "cgroup", "cgroup2", "devpts", "devtmpfs", "mqueue")
_CLOSED_AFTER_WRITING, _ADD_A_MOUNT, _UNLIMITED = 0x8, 0x1 | 0x10, 0x10  # of linux/fanotify.h


def problem() -> str | None:
    """Why nothing can be sealed here, or None where it can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "namespaces and fanotify need root and Linux"
    if not shutil.which("ip") or not shutil.which("unshare"):
        return "namespaces are made with 'ip' and 'unshare': apt-get install iproute2 util-linux"
    made = subprocess.run(["unshare", "--net", "--mount", "true"], capture_output=True, text=True, check=False)
    return f"no namespace can be made here: {made.stderr.strip()}" if made.returncode else None


def run(part: str, folder: Path) -> dict[str, Any]:
    """{asked: names that were looked up, stray: files written outside of KD_HOME, KD_DATA_DIR and the temporary folder,
    home: files in the user's home, ...: what the part itself tells}."""
    own = {key: value for key, value in os.environ.items() if not key.startswith(("KD_", "XDG_", "ORT_", "STREAMLIT_"))}
    places = {"HOME": "home", "TMPDIR": "tmp", "KD_HOME": "lab", "KD_DATA_DIR": "data"}
    for name in places.values():
        (folder / name).mkdir(parents=True)
    own |= {variable: str(folder / name) for variable, name in places.items()}
    own |= {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{ROOT}/tools"}
    words = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    made = subprocess.run(
        [*words, sys.executable, __file__, part, str(folder)],
        cwd=ROOT, env=own, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stdout[-5000:] + made.stderr[-5000:]
    seen: dict[str, Any] = json.loads(made.stdout.splitlines()[-1])
    seen["home"] = sorted(str(path.relative_to(folder)) for path in (folder / "home").rglob("*") if path.is_file())
    return seen


# ------------------------------------------------------------------------------------------------- what is recorded


class NameServer:
    """Answers every question on this machine's only network with 'there is no such name', and notes the names."""

    def __init__(self, folder: Path) -> None:
        self.names: list[str] = []
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        real = os.path.realpath("/etc/resolv.conf")
        subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), real], check=True)
        self._socket = socket.socket(type=socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self) -> None:
        while True:
            question, sender = self._socket.recvfrom(4096)
            self.names.append(_name(question[12:]))
            self._socket.sendto(question[:2] + b"\x81\x83" + question[4:6] + bytes(6) + question[12:], sender)

    def strangers(self) -> list[str]:
        """The names asked for, but this machine's own."""
        mine = {socket.gethostname(), "localhost"}
        return sorted({name for name in self.names if name not in mine and not name.endswith("127.in-addr.arpa")})


def _name(labels: bytes) -> str:
    parts = []
    while length := labels[0]:
        parts.append(labels[1 : 1 + length].decode("latin-1"))
        labels = labels[1 + length :]
    return ".".join(parts)


class Writing:
    """Notes the path of every file that a process of this mount namespace closes after it was open for writing."""

    def __init__(self) -> None:
        self.written: set[str] = set()
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._events = self._libc.fanotify_init(_UNLIMITED, os.O_RDONLY | os.O_CLOEXEC)
        assert self._events >= 0, f"fanotify: {os.strerror(ctypes.get_errno())}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            before, _, after = line.partition(" - ")
            if after.split()[0] not in NOT_DISKS:
                place = before.split()[4].encode()
                mask = ctypes.c_uint64(_CLOSED_AFTER_WRITING)
                self._libc.fanotify_mark(self._events, _ADD_A_MOUNT, mask, -100, place)
        threading.Thread(target=self._note, daemon=True).start()

    def _note(self) -> None:
        while events := os.read(self._events, 65536):
            while events:
                length, file = struct.unpack("=IBBHQii", events[:24])[0::5]
                path = Path(f"/proc/self/fd/{file}").readlink()
                self.written.add(str(path).removesuffix(" (deleted)"))
                os.close(file)
                events = events[length:]

    def stray(self, allowed: Path) -> list[str]:
        """The files outside a folder. What was written before is in by then."""
        mark = allowed / "mark"
        mark.write_text("")
        while str(mark) not in self.written:
            time.sleep(0.01)
        return sorted(
            path for path in self.written if not path.startswith((f"{allowed}/", "/dev/", "/memfd:", "/proc/"))
        )


# ----------------------------------------------------------------------------------------------------- the two parts


def app(folder: Path) -> dict[str, Any]:
    """Serve as to a class, open every page of the navigation, and wait for what pages have measured and exported."""
    from load.session import Listener, Session
    from serving import Server

    from kd_core.exchange import shipped
    from kd_core.runs.store import Store

    ids = [json.loads((shipped.FOLDER / f"digits-{role}" / shipped.FACTS).read_text())["run"]["id"]
           for role in ("teacher", "distilled", "baseline")]  # fmt: skip
    wrong: list[str] = []

    class Noting(Listener):
        def wrong(self, what: str) -> None:
            wrong.append(what)

    async def visit(address: str) -> list[str]:
        async with Session(address, Noting()) as tab:
            await tab.open()
            pages = list(tab.pages)
            for page in pages:
                await tab.go(page)
            await tab.open("compare", f"batch={shipped.TAG}digits&closer=Inside")
            await tab.open("export", f"run={ids[1]}")
            store, until = Store(folder / "lab"), time.monotonic() + ENOUGH_SECONDS
            while not all([store.finding("export", [ids[1]]), store.finding("inside", [ids[1]])]):
                assert time.monotonic() < until, (
                    "nothing was exported: " + (folder / "lab" / "server.log").read_text()[-3000:]
                )
                await asyncio.sleep(0.2)
            store.close()
            await tab.open("export", f"run={ids[1]}")
            assert tab.find("python_of"), tab.text()
            return pages

    os.environ["STREAMLIT_SERVER_ADDRESS"] = "0.0.0.0"
    server = Server(folder / "lab")
    try:
        pages = asyncio.run(visit(server.address.replace("localhost", "127.0.0.1")))
    finally:
        server.process.terminate()
        server.process.wait(timeout=60)
    return {"pages": pages, "wrong": wrong}


def shell(folder: Path) -> dict[str, Any]:
    """Do every command of the shell once."""
    import pytest
    from tiny import BUDGET, PAPER, tiny_story
    from typer.main import get_command

    from kd_core.cli.app import app
    from kd_core.exchange import shipped
    from kd_core.experiments import equal_budget, paper, presets
    from kd_core.losses.catalogue import OBJECTIVES

    patch = pytest.MonkeyPatch()
    patch.setattr(paper, "PROTOCOLS", {"digits": PAPER})
    patch.setattr(paper.experiments, "__defaults__", (PAPER,))
    patch.setattr(presets, "digits_story", tiny_story)
    patch.setattr(shipped, "FOLDER", folder / "lab" / "shipped")
    patch.setattr(equal_budget, "OBJECTIVES", {name: OBJECTIVES[name] for name in ("hinton", "rkd")})
    patch.setattr(equal_budget, "budget", lambda dataset: BUDGET)
    words = _words(folder)
    serving = {"scheduler": ["--port", "8786"], "worker": ["tcp://127.0.0.1:8786", "--runs", "1"]}
    known = sorted(_commands(get_command(app)))
    codes = {}
    for name, more in words.items():
        elsewhere = {"KD_HOME": str(folder / "lab" / "elsewhere")} if name == "unpack" else {}
        codes[name] = _exit_code(app, [*name.split(), *more], elsewhere)
    with contextlib.ExitStack() as until_the_end:
        for name, more in serving.items():
            codes[name] = until_the_end.enter_context(_serving(name, *more))
    return {"commands": known, "tried": sorted(codes), "codes": codes}


def _words(folder: Path) -> dict[str, list[str]]:
    """Make the runs and files that the commands need; return each command's words, by its name."""
    from PIL import Image
    from tiny import tiny_config, train_here

    from kd_core.runs.store import Store

    store = Store(folder / "lab")
    teacher = train_here(store, tiny_config())
    student = train_here(store, tiny_config("distilled", teachers=(teacher,)))
    paused = train_here(store, tiny_config(epochs=3), requested=lambda: "pause")
    weights, bundle, source = store.folder(teacher).weights, folder / "tmp" / "bundle.zip", folder / "tmp" / "mine"
    config = folder / "tmp" / "config.json"
    config.write_text(tiny_config("baseline", epochs=1).model_dump_json())
    store.close()
    for label in ("left", "right"):
        (source / label).mkdir(parents=True)
        for number in range(12):
            Image.new("L", (8, 8), 20 * number).save(source / label / f"{number}.png")

    tiny = ["--hidden", "16", "--epochs", "1"]
    return {
        "train": ["--dataset", "digits", *tiny],
        "distill": ["--teacher", teacher, *tiny],
        "teacher": [str(weights), "--dataset", "digits", "--anyway"],
        "resume": [paused],
        "continue": [teacher, "--epochs", "1"],
        "pack": [teacher, str(bundle)],
        "unpack": [str(bundle)],
        "export": [student],
        "predictions": [student, "--out", str(folder / "tmp" / "predictions.csv")],
        "run": [str(config)],
        "sweep": ["--teacher", teacher, "--student", "mlp 8", "--temperatures", "4", "--alphas", "0.9", *tiny[2:]],
        "recipe": ["main", "--dataset", "digits"],
        "objectives": ["--dataset", "digits", "--seeds", "1"],
        "limits": ["small", "--shipped"],
        "mistakes": ["class_mean", "--teacher", teacher, "--student", "mlp 8", "--seeds", "1", *tiny[2:]],
        "ship": [],
        "ship-lesson": [],
        "verify": [],
        "runs": [],
        "show": [teacher],
        "compare": [teacher, student],
        "advise": [student],
        "site": [str(folder / "tmp" / "site")],
        "data list": [],
        "data look": [str(source)],
        "data add": [str(source)],
        "data fetch": ["digits"],
        "data remove": ["mine"],
    }


def _commands(group: Any, before: str = "") -> Iterator[str]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, f"{before}{name} ")
        else:
            yield before + name


def _exit_code(app: Callable[..., Any], words: list[str], environment: dict[str, str]) -> int:
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, words, env=environment)
    if done.exit_code:
        print(words, done.output[-2000:])
    return done.exit_code


@contextlib.contextmanager
def _serving(*words: str) -> Iterator[int]:
    """A command that ends when it is asked to; gives 0 once it has said that it is there."""
    process = subprocess.Popen([sys.executable, "-u", "-m", "kd_core", *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield 0 if process.stdout.readline() else 1
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=60)


if __name__ == "__main__":
    _, part, place = sys.argv
    names, files = NameServer(Path(place)), Writing()
    report = {"app": app, "shell": shell}[part](Path(place))
    strangers, stray = names.strangers(), files.stray(Path(place))
    if part == "shell":  # that what is recorded is recorded
        from kd_core.cli.app import app as commands

        _exit_code(commands, ["data", "fetch", "kmnist"], {})
        report["download"] = sorted(set(names.strangers()) - set(strangers))
        # Under the name that it has when the note is taken: it is written aside, then renamed.
        report["recorded"] = any("bundle.zip" in path for path in files.written)
    print(json.dumps({**report, "asked": strangers, "stray": stray}))
