"""The code of docs/python.md runs as it stands, with a small net in place of the reader's."""

import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import kd_core as kd

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def of_the_reader():
    """What the document takes for granted."""
    inputs, labels = torch.randn(48, 4, generator=torch.Generator().manual_seed(0)), torch.arange(48) % 3
    train, test = (inputs[:32], labels[:32]), (inputs[32:], labels[32:])
    batches = [(inputs[:16], labels[:16]), (inputs[16:32], labels[16:32])]
    nets = {"my_net": nn.Linear(4, 3), "my_teacher": nn.Linear(4, 3)}
    return {"kd": kd, "train": train, "test": test, "batches": batches, "validation": batches[:1], **nets}


def test_there_is_code():
    assert len(BLOCKS) == 4


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_documents_code_runs(block, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    needs = re.match(r"# needs (\w+)", block)
    if needs and importlib.util.find_spec(needs[1]) is None:
        compile(block, "python.md", "exec")  # run by hand, as the document says
        return
    exec(block, {**of_the_reader(), "torch": torch})


def test_every_public_name_is_in_the_document():
    assert [name for name in kd.PUBLIC if f"kd.{name}" not in TEXT and name not in ("Result", "LossesCompared")] == []
    assert [name for name in kd.losses.PUBLIC if name not in TEXT and name != "ensemble_logits"] == []
