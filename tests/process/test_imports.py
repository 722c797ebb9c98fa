"""Light modules stay light: what a fresh process imports with them."""

import os
import subprocess
import sys

import pytest
from serving import ROOT

from kd_core.exchange import bundle as exchange_bundle
from tests.unit.exchange.test_shipped import REPOSITORY


@pytest.mark.parametrize(
    "module",
    [
        "base.config", "base.files", "base.paths", "data.catalogue", "models.config", "losses.config",
        "losses.catalogue", "training.config", "evaluation.accuracy", "evaluation.statistics", "runs.run", "runs.store",
        "experiments.story", "experiments.broken", "exchange.shipped", "exchange.export.checks",
        "exchange.export.snippets", "exchange.export.offline_page", "exchange.teacher.trial", "jobs.cluster",
        "jobs.execute", "jobs.queue",
    ],
)  # fmt: skip
def test_what_a_page_needs_first_does_not_import_torch(module):
    code = f"import sys, kd_core.{module}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_page_that_offers_tables_does_not_import_torch():
    code = "import sys, kd_core.exchange.bundle; sys.exit('torch' in sys.modules or 'streamlit' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=exchange_bundle.__file__.rpartition("/kd_core/")[0])


def test_taking_in_imports_no_torch(tmp_path):
    """The first page of a fresh server waits for it."""
    code = (
        "import sys; from pathlib import Path; from kd_core.runs import store; from kd_core.exchange import shipped;"
        f" store = store.Store(Path({str(tmp_path)!r})); assert shipped.take_in(store);"
        " sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPOSITORY.parents[1])


def test_config_imports_without_torch():
    code = "import sys, kd_core.training.config; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_threads_of_the_app_wait_asleep_from_its_first_use_of_torch_on():
    code = "import os, sys, pages.shared.server.server; print('torch' in sys.modules, os.environ['OMP_WAIT_POLICY'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout == "False PASSIVE\n"
