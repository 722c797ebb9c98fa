"""Run the same distillation by KD Lab and its peers, and write docs/measurements/peers.md.

    KD_DATA_DIR=... python tools/benchmarks/peers/peers.py FOLDER [--mdistiller CLONE] [--seeds 5]

FOLDER takes an environment for each library (5 GB in all), the teacher, and what was measured: a round, all peers with
the same seed one after another, is kept when it is through, and a second call goes on. mdistiller is on no index: clone
its repository first, and say where; it is left out otherwise.
"""

import argparse
import ast
import io
import json
import os
import subprocess
import sys
import tokenize
import venv
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import measured  # noqa: E402
import nets  # noqa: E402
import torch  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.data import TensorDataset  # noqa: E402

from kd_core.base import paths  # noqa: E402
from kd_core.base.files import write_atomic  # noqa: E402
from kd_core.data import load  # noqa: E402
from kd_core.evaluation.statistics import mean_interval  # noqa: E402

TRAINING_IMAGES = 2000
TORCH = ("torch==2.13.0", "torchvision==0.28.0")
NOT_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
ENVIRONMENTS = {
    "kd-lab": [[*TORCH, "transformers==5.24.0", "accelerate==1.15.0", str(paths.ROOT)]],
    "torchdistill": [[*TORCH, "torchdistill==1.1.5"]],
    "kd-lib": [[*TORCH, "matplotlib==3.11.2", "tensorboard==2.21.0"], ["--no-deps", "KD-Lib==0.0.32"]],
    "mdistiller": [[*TORCH, "yacs==0.1.8", "tqdm", "tensorboardX", "scipy"]],
}
"""What pip installs into each, call by call."""


class Peer(NamedTuple):
    """A row. environment: of ENVIRONMENTS. students: that a call trains."""

    label: str
    environment: str
    students: int = 1


PEERS = {
    "plain": Peer("a plain loop in torch", "kd-lab"),
    "kd_lab": Peer("KD Lab: `kd.distill`", "kd-lab", students=2),
    "transformers": Peer("transformers 5.24.0: `Trainer` with `kd.DistillationLoss`", "kd-lab"),
    "torchdistill": Peer("torchdistill 1.1.5", "torchdistill"),
    "kd_lib": Peer("KD_Lib 0.0.32: `VanillaKD`, its own loss", "kd-lib"),
    "kd_lib_kl": Peer("KD_Lib 0.0.32: `VanillaKD` with Hinton's divergence, written by its user", "kd-lib"),
    "mdistiller": Peer("mdistiller a08d46f: `KD`", "mdistiller"),
}


def prepare(folder: Path, environments: set[str]) -> None:
    """Make what is missing: the environments, the tensors and the teacher."""
    for name in sorted(environments):
        if (folder / name / "ready").exists():
            continue
        print("installing", name, flush=True)
        venv.create(folder / name, with_pip=True, clear=True)
        for arguments in ENVIRONMENTS[name]:
            subprocess.run([folder / name / "bin" / "python", "-m", "pip", "install", "-q", *arguments], check=True)
        (folder / name / "ready").touch()
    if not (folder / "teacher.pt").exists():
        dataset = load.load("mnist")
        images, labels = dataset.normalise(dataset.train_images), dataset.train_labels
        test = dataset.normalise(dataset.test_images), dataset.test_labels
        torch.save([(images[:TRAINING_IMAGES].clone(), labels[:TRAINING_IMAGES].clone()), test], folder / "data.pt")
        torch.save(teacher_of(images, labels).state_dict(), folder / "teacher.pt")


def teacher_of(images: torch.Tensor, labels: torch.Tensor) -> torch.nn.Module:
    """Train the teacher of all peers on the whole training set."""
    torch.manual_seed(0)
    teacher = nets.teacher()
    optimizer = torch.optim.AdamW(teacher.parameters(), lr=1e-3)
    for _ in range(5):
        for part in torch.randperm(len(images)).split(128):
            loss = F.cross_entropy(teacher(images[part]), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return teacher


def measure(folder: Path, names: list[str], seeds: int, clone: Path | None) -> dict:
    """Return what each peer took and gave, by round and name."""
    kept = folder / "rounds.json"
    rounds = json.loads(kept.read_text()) if kept.exists() else {}
    for seed in range(seeds):
        if str(seed) in rounds:
            continue
        turns = {}
        for name in names:
            python = folder / PEERS[name].environment / "bin" / "python"
            command = [python, HERE / "run_one.py", name, str(seed), folder.resolve()]
            path = {"PYTHONPATH": str(clone.resolve()) if clone and name == "mdistiller" else ""}
            out = subprocess.run(command, env=os.environ | path, check=True, capture_output=True)
            turns[name] = json.loads(out.stdout.splitlines()[-1])
            print(seed, name, turns[name], flush=True)
        rounds[str(seed)] = turns
        write_atomic(kept, json.dumps(rounds).encode())
    return rounds


def lines_of(name: str) -> int:
    """Count the lines that a user writes: no comment, no docstring, nothing blank, and none marked as not counted."""
    source = (HERE / f"{name}_peer.py").read_text()
    counted: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NOT_CODE:
            counted |= {*range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            counted -= {*range(node.lineno, node.end_lineno + 1)}
    counted -= {number for number, line in enumerate(source.splitlines(), 1) if "# not counted" in line}
    settings = HERE / f"{name}_peer.yaml"
    written = settings.read_text().splitlines() if settings.exists() else []
    return len(counted) + sum(bool(line.strip()) and not line.strip().startswith("#") for line in written)


def row(name: str, rounds: dict) -> str:
    """Return a peer's line of the table; its times as multiples of the plain loop's of the same round."""
    turns, plain = ([turns[each] for turns in rounds.values()] for each in (name, "plain"))
    cells = [PEERS[name].label, str(lines_of(name))]
    for clock in ("seconds", "cpu_seconds"):
        ratios = measured.ratios(
            [turn[clock] / PEERS[name].students for turn in turns], [turn[clock] for turn in plain]
        )
        cells.append(measured.spread(ratios))
    errors = [turn["errors"] for turn in turns]
    mean, low, high = mean_interval(errors)
    cells += [f"{mean:.0f} ({low:.0f} to {high:.0f})", ", ".join(map(str, errors))]
    return "| " + " | ".join(cells) + " |"


def document(folder: Path, rounds: dict) -> str:
    """Return the document of what was measured."""
    teacher = nets.teacher()
    teacher.load_state_dict(torch.load(folder / "teacher.pt"))
    baseline = mean_interval([turns["kd_lab"]["baseline"] for turns in rounds.values()])
    table = "\n".join(row(name, rounds) for name in PEERS if all(name in turns for turns in rounds.values()))
    plain = measured.spread([turns["plain"]["seconds"] / 20 for turns in rounds.values()])
    return (HERE / "peers.md").read_text().format(
        table=table, seeds=len(rounds), machine=measured.machine(), plain=plain, images=f"{TRAINING_IMAGES:,}",
        teacher_errors=nets.errors_of(teacher, TensorDataset(*torch.load(folder / "data.pt")[1])),
        baseline="{:.0f} ({:.0f} to {:.0f})".format(*baseline), python=sys.version.split()[0],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mdistiller", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    names = [name for name in PEERS if name != "mdistiller" or given.mdistiller]
    torch.set_num_threads(1)
    given.folder.mkdir(parents=True, exist_ok=True)
    prepare(given.folder, {PEERS[name].environment for name in names})
    rounds = measure(given.folder, names, given.seeds, given.mdistiller)
    write_atomic(paths.ROOT / "docs" / "measurements" / "peers.md", document(given.folder, rounds).encode())


if __name__ == "__main__":
    main()
