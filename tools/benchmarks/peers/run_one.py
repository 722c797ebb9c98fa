"""Train one student by one peer, in that peer's environment, and print what it took and what came out as JSON.

    .../bin/python run_one.py PEER SEED FOLDER

FOLDER holds data.pt and teacher.pt. Only the call of the peer's distill is timed, on one thread.
"""

import contextlib
import importlib
import inspect
import json
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE), str(HERE.parents[2])]

import nets  # noqa: E402
import torch  # noqa: E402
from torch.utils.data import TensorDataset  # noqa: E402

from kd_core.base.torchvision import torchvision  # noqa: E402


def main(peer: str, seed: int, folder: Path) -> None:
    torch.set_num_threads(1)
    torchvision()  # the repair of PyPI's torchvision, made for CUDA, beside a CPU build of torch
    train, test = (TensorDataset(*part) for part in torch.load(folder / "data.pt"))
    teacher = nets.teacher()
    teacher.load_state_dict(torch.load(folder / "teacher.pt"))
    run = importlib.import_module(f"{peer}_peer").run
    seeded = {"seed": seed} if "seed" in inspect.signature(run).parameters else {}
    _warm_up(train)
    with tempfile.TemporaryDirectory() as scratch, contextlib.chdir(scratch), contextlib.redirect_stdout(sys.stderr):
        torch.manual_seed(seed)
        seconds, cpu_seconds = time.perf_counter(), time.process_time()
        trained = run(teacher, nets.student, train, test, **seeded)
        seconds, cpu_seconds = time.perf_counter() - seconds, time.process_time() - cpu_seconds
        files = sorted(path.name for path in Path().rglob("*") if path.is_file())
    result = {"errors": nets.errors_of(getattr(trained, "student", trained), test), "files": files}
    if hasattr(trained, "errors"):
        result["baseline"] = int(trained.errors["baseline"].iloc[0])
    print(json.dumps({**result, "seconds": seconds, "cpu_seconds": cpu_seconds}))


def _warm_up(train: TensorDataset) -> None:
    """Take a step, so that what torch imports and prepares at the first one is in nobody's time."""
    student = nets.student()
    optimizer = torch.optim.SGD(student.parameters(), lr=0.01, momentum=0.9)
    torch.nn.functional.cross_entropy(student(train.tensors[0][:64]), train.tensors[1][:64]).backward()
    optimizer.step()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
