"""Every command that a document gives works as written: run, or as far as it goes without a network or minutes.

The block of docs/command-line.md is run whole elsewhere; here its words are held against the command line.
"""

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from distributed.cli import dask_worker
from streamlit.web import cli as streamlit_cli
from tiny import coloured_classes
from typer.main import get_command
from typer.testing import CliRunner

from kd_core.cli.app import app
from pages.shared import language

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")), ROOT / "checkpoints" / "README.md"]
ARCHITECTURE = ROOT / "docs" / "ARCHITECTURE.md"
SHELL = get_command(app)
STARTS = re.compile(r"(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?(python3?|pip|streamlit|dask|docker|apt-get|echo) ")
ELSEWHERE = {
    "scripts/test": "CI, which takes the line of the README",
    "scripts/check": "CI",
    "python -m pytest": "CI, which runs all files",
    "python -m venv": "CI",
    "apt-get install": "CI, where the package is missing",
    "ruff check .": "CI",
    "ruff format .": "CI",
    "mypy": "CI",
    "mkdocs build --strict": "CI",
    "docker": "tests/process/test_docker.py, as far as one gets without an engine",
    "echo KD_PRESENTER_PASSWORD=pears >> .env": "the shell",
}
SCRIPTS_AS_HELP = """
import runpy, sys
root, *scripts = sys.argv[1:]
ours = lambda path: path.startswith(root) and "site-packages" not in path  # an environment may lie in the checkout
path = [entry for entry in sys.path[1:] if not ours(entry)]
for script in scripts:
    for name, module in list(sys.modules.items()):
        if ours(str(getattr(module, "__file__", None))):
            del sys.modules[name]
    sys.path[:], sys.argv = [script.rpartition("/")[0], *path], [script, "--help"]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as ended:
        assert not ended.code, script
"""


def commands(document):
    """What it gives to type: lines of its blocks for a shell, and commands within its sentences."""
    text = document.read_text(encoding="utf-8")
    for block in re.findall(r"```sh\n(.*?)```", text, re.S):
        for line in block.splitlines():
            yield from filter(None, (part.strip() for part in line.partition("  #")[0].split("&&")))
    for code in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
        subcommand = code.split()[0] in SHELL.commands and "--" in code and "NAME" not in code
        if subcommand or (STARTS.match(code) and code != "docker build" and code != "docker compose up"):
            yield f"python -m kd_core {code}" if subcommand else code


GIVEN = [(document.name, command) for document in DOCUMENTS for command in commands(document)]
RUN_WHOLE = [(name, command) for name, command in GIVEN if re.search("FOLDER_OR_ZIP|--dataset leaves", command)]
"""On data of one's own, in a test of their own."""


def plain(command):
    """Without the settings before it, and without the folder of the program."""
    command = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", command)
    return re.sub(r"^(?:\.venv/bin/)?(python)3?(?= )|^\.venv/bin/", r"\1", command)


def parsed(command, words):
    """Parse words as the command would, group by group, and run nothing."""
    while hasattr(command, "commands"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words))


def scripts():
    """Those that the documents name to be run."""
    named = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for code, more in re.findall(r"`python (tools/\S+\.py)[^`]*`((?: \((?:`\w+\.py`(?:, )?)+\))?)", text):
            named |= {code, *(f"{Path(code).parent}/{other}" for other in re.findall(r"\w+\.py", more))}
    return sorted(named)


@pytest.mark.parametrize(("document", "command"), [given for given in GIVEN if given not in RUN_WHOLE])
def test_a_command_of_a_document_is_understood(document, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = plain(command)
    words = shlex.split(command.partition(" > ")[0])
    if command.startswith("python -m kd_core "):
        for name in ("mine.pt", "mine.pt2", "mine.onnx", "run.zip"):
            Path(name).touch()
        parsed(SHELL, words[3:])
    elif command.startswith("kd-lab "):
        parsed(SHELL, words[1:])
    elif command.startswith("streamlit run "):
        parsed(streamlit_cli.main, [str(ROOT / word) if word == "app.py" else word for word in words[1:]])
    elif command.startswith("dask worker "):
        parsed(dask_worker.main, words[2:])
    elif command.startswith("python tools/"):
        assert words[1] in scripts()
    elif command.startswith("pip install "):
        assert all((ROOT / name).is_file() for name in words if name.endswith(".txt"))
    else:
        assert any(command.startswith(known) for known in ELSEWHERE), f"nothing runs '{command}' of {document}"


def test_the_scripts_that_documents_name_start_from_anywhere(tmp_path):
    """As programs: each finds the engine by itself, whatever the folder and without a PYTHONPATH."""
    assert {f"tools/benchmarks/{name}.py" for name in ("distillation", "sweep", "watchers")} <= {*scripts()}
    paths = [str(ROOT / script) for script in scripts()]
    done = subprocess.run(
        [sys.executable, "-I", "-c", SCRIPTS_AS_HELP, str(ROOT), *paths],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("--help") == len(paths)


def test_every_benchmark_is_named_in_a_document():
    programs = {file for file in (ROOT / "tools" / "benchmarks").glob("*.py") if "__main__" in file.read_text()}
    assert programs <= {ROOT / script for script in scripts()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_document_links_and_names_only_what_is_there(document):
    """Links between documents and to pictures, headings too; and files of the repository that its sentences name."""
    text = document.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, heading = link.partition("#")
        target = (document.parent / path) if path else document
        assert target.exists(), link
        if heading:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.M)
            assert heading in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, link
    unquoted = [path.rstrip(".") for path in re.findall(r"(?<![\w./-])(?:kd_core|pages)/[\w./-]+", text)]
    quoted = re.findall(r"`((?:kd_core|pages|tests|tools|docs|checkpoints|\.ci)/[\w./-]+)`", text)
    for named in {*quoted, *unquoted}:
        assert (ROOT / named).exists() or named == "tools/train.py", named  # that one is in another's repository


def test_the_architecture_names_functions_that_are_there():
    """What it gives as `name` (`path`) is defined in that file."""
    text = " ".join(ARCHITECTURE.read_text(encoding="utf-8").split())
    named = re.findall(r"`([A-Za-z_.]+)(?:\[[^`]*\])?`(?: function)? \(`([\w/]+\.py)`\)", text)
    named = [(name, path) for name, path in named if "/" in path]
    assert len(named) > 10
    for name, path in named:
        last = name.rpartition(".")[2]
        source = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^\s*(?:def|class) {last}\b|^{last}\b.* = ", source, re.M), (name, path)


def test_the_architecture_draws_the_arrows_that_packages_have():
    """Every arrow drawn is one of an import, and every other import follows from those drawn."""
    from tests.unit.test_architecture import ENGINE_ARROWS

    drawn = {}
    for start, end in re.findall(r"^    (\w+) --> (\w+)$", ARCHITECTURE.read_text(encoding="utf-8"), re.M):
        drawn.setdefault(start, set()).add(end)
    arrows = {}
    for package, others in ENGINE_ARROWS.items():
        room = {"__main__": "cli", "__init__": "public"}.get(package, package)  # the package itself hands on the face
        arrows.setdefault(room, set()).update(others)

    def below(package):
        return {each for other in drawn.get(package, ()) for each in {other, *below(other)}}

    for package in arrows:
        assert drawn.get(package, set()) <= arrows[package], package
        assert arrows[package] - {package} <= below(package), package


def test_the_architecture_has_a_row_for_every_package():
    text = ARCHITECTURE.read_text(encoding="utf-8")
    rows = {row.split("`")[1] for row in text.splitlines() if row.startswith("| `kd_core/")}
    assert rows == {f"kd_core/{path.parent.name}" for path in ROOT.glob("kd_core/*/__init__.py")}
    (named,) = re.findall(r"^\| `pages/shared` .*$", text, re.M)
    assert set(re.findall(r"`(\w+)/`", named)) == {path.parent.name for path in ROOT.glob("pages/shared/*/__init__.py")}


def test_the_site_lists_every_module_with_what_it_is_for():
    hook = runpy.run_path(str(ROOT / ".ci" / "tree.py"))
    page = hook["on_page_markdown"]((ROOT / "docs" / "modules.md").read_text(encoding="utf-8"))
    listed = dict(re.findall(r"^- `(\w+\.py)`: (.+)$", page, re.M))
    modules = [path for top in ("kd_core", "pages") for path in (ROOT / top).rglob("*.py") if path.stem != "__init__"]
    assert {path.name for path in modules} == set(listed)
    assert page.count("\n- `") == len(modules)


def named_in_bold(document):
    return re.findall(r"\*\*([^*]+)\*\*", document.read_text(encoding="utf-8").partition("\n## ")[2])


def test_the_readme_in_korean_gives_what_the_english_one_gives():
    """Each names the other at its top; the rest, from commands to the names of buttons, is the same in both."""
    english, korean = ROOT / "README.md", ROOT / "README.ko.md"
    texts = {document: document.read_text(encoding="utf-8") for document in (english, korean)}
    for document, other in ((english, korean), (korean, english)):
        assert f"]({other.name})" in texts[document].partition("\n\n")[2].partition("\n\n")[0]
    assert [*commands(english)] == [*commands(korean)] != []
    links = [re.findall(r"(?:\]\(|<)((?!README)[^)>\s]+)[)>]", text) for text in texts.values()]
    assert links[0] == links[1]
    shapes = [re.findall(r"^(?:#+(?= )|```\w*$|\|)", text, re.M) for text in texts.values()]
    assert shapes[0] == shapes[1]
    with language.spoken("ko"):
        assert [language._(name) for name in named_in_bold(english)] == named_in_bold(korean)


def test_the_readme_is_read_in_a_minute():
    assert len((ROOT / "README.md").read_bytes()) <= 6 * 1024


def test_the_documents_way_to_own_data_works_as_written(home, tmp_path):
    folder = coloured_classes(tmp_path / "leaves", ("oak", "elm", "ash"), count=8)
    assert len(RUN_WHOLE) == 3
    for _, command in RUN_WHOLE:
        words = shlex.split(plain(command).replace("FOLDER_OR_ZIP", str(folder)))[3:]
        cut = ["--epochs", "1"] if words[0] == "train" else []
        done = CliRunner().invoke(app, [*words, *cut])
        assert done.exit_code == 0, done.output
