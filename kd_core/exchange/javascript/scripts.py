"""The scripts that lie beside this module: plain functions, put before the code that calls them.

maths: what follows a temperature. interpreter: exported networks. sheet: a canvas to draw on. worker: all
models of an opening, off the page's thread. perceptron: networks that learn, on what points draws; pair: a teacher and
two students of it. And as_mnist, which lies with the export's programs.
"""

from pathlib import Path

_HERE = Path(__file__).parent
_ELSEWHERE = {"as_mnist": _HERE.parent / "export" / "as_mnist.js"}


def scripts(*names: str) -> str:
    """These scripts, one after another."""
    return "\n".join(_ELSEWHERE.get(name, _HERE / f"{name}.js").read_text(encoding="utf-8") for name in names)


def functions(module: str | Path) -> str:
    """The functions of a component's script, without what mounts it: for another program that is made of them."""
    return Path(module).with_suffix(".js").read_text(encoding="utf-8").partition("export default")[0]
