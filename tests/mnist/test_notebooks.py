"""The notebooks of docs/ run from top to bottom, on few examples, and what stands in them has been run."""

import json
import os
from pathlib import Path

import pytest
from notebooks.run import NOTEBOOKS, executed

SIGNS = Path(os.environ.get("KD_DATA_DIR", "")) / "signs" / "signs.zip"
SMALL = {
    "mnist-in-ten-lines": {"images": 200, "teacher_epochs": 0, "epochs": 1, "seeds": 1},
    "own-images": {"source": SIGNS, "side": 32, "images": 40, "teacher_epochs": 1, "epochs": 1, "seeds": 1},
    "which-loss": {"objectives": ("hinton", "dkd"), "images": 60, "epochs": 1, "seeds": 3},
}


def read(name):
    return json.loads((NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))


def test_every_notebook_is_run_here():
    assert {path.stem for path in NOTEBOOKS.glob("*.ipynb")} == {*SMALL}


@pytest.mark.parametrize("name", SMALL)
def test_a_notebook_runs_and_shows_what_it_promises(mnist, home, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    notebook = executed(read(name), **SMALL[name])
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", ())]
    assert any("<table" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs)


@pytest.mark.parametrize("name", SMALL)
def test_outputs_that_are_kept_come_from_the_cells_as_they_are(name):
    """Each code cell was run in its turn, so no output is older than a change of the cells before it."""
    code = [cell for cell in read(name)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    assert code[-1]["outputs"]
