"""JavaScript of the engine, run in the Node.js that Playwright brings."""

import json
import subprocess
from pathlib import Path
from typing import Any

import playwright

from kd_core.exchange.javascript.scripts import scripts

NODE = Path(playwright.__file__).parent / "driver" / "node"


def computed_by(names: tuple[str, ...], program: str, values: Any) -> Any:
    """Run a program after these scripts, with `v`, the values; return what it prints as JSON."""
    source = f'{scripts(*names)}\nconst v = JSON.parse(require("fs").readFileSync(0));\n{program}'
    done = subprocess.run([NODE, "-e", source], input=json.dumps(values), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
