"""Hosts made of network namespaces: each has its own address, host name and folders, and can be cut off the network.

They hang on a bridge that this machine, the host of the app, has an address on. Needs root and Linux's iproute2.
"""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]


def problem() -> str | None:
    """Why no hosts can be made here, or None where they can."""
    if os.name != "posix" or os.geteuid() != 0:
        return "hosts are made of network namespaces, and that needs root"
    if not shutil.which("ip") or not shutil.which("unshare"):
        return "hosts are made with 'ip' and 'unshare': apt-get install iproute2 util-linux"
    made = subprocess.run(["ip", "netns", "add", f"kd{os.getpid()}try"], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"no network namespace can be made here: {made.stderr.strip()}"
    _ip("netns", "del", f"kd{os.getpid()}try")
    return None


class Hosts:
    """A network of its own, 10.77.N.0/24, with this machine at .1. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._id = f"kd{os.getpid() % 10_000}"
        self._net = f"10.77.{os.getpid() % 250 + 1}"
        self.addresses: dict[str, str] = {}
        self._processes: dict[str, list[subprocess.Popen]] = {}
        self.address = f"{self._net}.1"

    def __enter__(self) -> "Hosts":
        _ip("link", "add", self._id, "type", "bridge")
        _ip("addr", "add", f"{self.address}/24", "dev", self._id)
        _ip("link", "set", self._id, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in self.addresses:
            self.end(name)
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", f"{self._id}{name}")
        _ip("link", "del", self._id)

    def add(self, name: str) -> str:
        """A new host; its address."""
        space, cable, address = f"{self._id}{name}", self._cable(name), f"{self._net}.{len(self.addresses) + 2}"
        self.addresses[name] = address
        (self.folder / name).mkdir()
        _ip("netns", "add", space)
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", cable, "master", self._id, "up")
        for words in (
            ["addr", "add", f"{address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
            ["link", "set", "lo", "up"],
        ):
            _ip("-n", space, *words)
        return address

    def _cable(self, name: str) -> str:
        """The bridge's end of a host's cable; Linux takes 15 characters."""
        return f"{self._id}-{name[:8]}"

    def run(self, name: str, *words: str, **environment: str) -> subprocess.Popen:
        """Start a program on a host. It knows nothing of this machine's KD_ variables; its log is NAME/log."""
        home = self.folder / name
        own = {key: value for key, value in os.environ.items() if not key.startswith("KD_")}
        own |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "KD_HOME": str(home / "home"), **environment}
        with (home / "log").open("ab") as log:
            process = subprocess.Popen(
                ["ip", "netns", "exec", f"{self._id}{name}", "unshare", "--uts", "--fork", "--pid", "--mount-proc",
                 "--kill-child", "sh", "-c", f'hostname {name}; exec "$@"', "sh", *words],
                cwd=ROOT, env=own, stdout=log, stderr=log,
            )  # fmt: skip
        self._processes.setdefault(name, []).append(process)
        return process

    def tell_to_end(self, name: str) -> None:
        """Ask a host's programs to end, as a container's engine does, and wait until they have."""
        for process in self._processes.pop(name, []):
            (program,) = [
                child for child in psutil.Process(process.pid).children(recursive=True) if "kd_core" in child.cmdline()
            ]
            program.terminate()
            process.wait(timeout=60)

    def log(self, name: str) -> str:
        """What a host's programs have said."""
        return (self.folder / name / "log").read_text(errors="replace")

    def cut_off(self, name: str) -> None:
        """Pull a host's cable: it goes on by itself, and nobody hears from it any more, not even a goodbye."""
        _ip("link", "set", self._cable(name), "down")

    def end(self, name: str) -> None:
        """End a host's programs without a warning."""
        for process in self._processes.pop(name, []):
            process.kill()
            process.wait(timeout=30)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
