"""The audit tells a vulnerability from a database that does not answer, and neither from a broken tool."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"


@pytest.fixture
def audit():
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SOUND = {"name": "torch", "version": "2.13.0", "vulns": []}
FLAWED = {
    "name": "pillow",
    "version": "9.0.0",
    "vulns": [
        {"id": "PYSEC-2022-9", "fix_versions": ["9.0.1"], "aliases": [], "description": ""},
        {"id": "PYSEC-2099-1", "fix_versions": [], "aliases": [], "description": ""},
    ],
}
SKIPPED = {"name": "numpy", "skip_reason": "Dependency not found on PyPI and could not be audited: numpy (2.3.0)"}
OFFLINE = (
    "Traceback (most recent call last):\n  File ...\n"
    "requests.exceptions.ConnectionError: HTTPSConnectionPool(host='api.osv.dev', port=443): Max retries exceeded"
)


def audited(*dependencies):
    return json.dumps({"dependencies": dependencies, "fixes": []})


def test_what_is_known_is_told_with_the_version_that_mends_it(audit):
    answer = audit.read(audited(SOUND, FLAWED, SKIPPED), "Found 2 known vulnerabilities in 1 package")
    assert answer.audited == 2
    assert answer.vulnerabilities == [
        "pillow 9.0.0: PYSEC-2022-9, mended in 9.0.1",
        "pillow 9.0.0: PYSEC-2099-1, mended in no version yet",
    ]


def test_nothing_known_of_packages_that_were_looked_up_is_an_answer(audit):
    assert audit.read(audited(SOUND, SKIPPED), "No known vulnerabilities found") == (1, [], "")


def test_nothing_known_of_packages_that_were_all_skipped_is_none(audit):
    """As where a mirror of PyPI has the packages and not what is known against them: pip-audit calls this clean."""
    answer = audit.read(audited(SKIPPED, SKIPPED), "No known vulnerabilities found")
    assert (answer.audited, answer.silence) == (0, "it knows none of the packages")


def test_a_database_out_of_reach_is_no_failure_and_a_broken_tool_is_one(audit):
    assert audit.read("", OFFLINE).silence == "ConnectionError"
    for complaint in ("error: unrecognized arguments: --format", "packaging.version.InvalidVersion: '1.67.*'", ""):
        with pytest.raises(audit.AuditError):
            audit.read("", complaint)


@pytest.mark.parametrize(
    ("answers", "code", "line"),
    [
        ([(2, [], "")], 0, "audit: nothing is known against 2 of 2 packages (pypi)"),
        ([(3, ["pillow 9.0.0: X"], "")], 1, "pillow 9.0.0: X"),
        ([(0, [], "a"), (3, [], "")], 0, "(osv)"),
        ([(0, [], "a"), (3, ["pillow 9.0.0: X"], "")], 1, "pillow 9.0.0: X"),
        (
            [(0, [], "a"), (0, [], "b")],
            0,
            "audit: left out, as no database of vulnerabilities can be reached (pypi: a;",
        ),
    ],
)
def test_databases_are_asked_until_one_answers(audit, monkeypatch, capsys, answers, code, line):
    remaining = iter(answers)
    monkeypatch.setattr(audit, "pinned", lambda lines: {"a": "1", "b": "2"})
    monkeypatch.setattr(audit, "ask", lambda service, packages: audit.Answer(*next(remaining)))
    assert audit.main() == code
    assert line in "".join(capsys.readouterr())
    assert next(remaining, None) is None


def test_a_broken_tool_fails_ci(audit, monkeypatch, capsys):
    monkeypatch.setattr(audit, "ask", lambda service, packages: audit.read("", "error: no such option"))
    assert audit.main() == 2
    assert "pip-audit failed with pypi: error: no such option" in capsys.readouterr().err


def test_what_requirements_bring_along_is_audited_in_the_version_that_is_here(audit):
    packages = audit.pinned(["streamlit==1.67.*  # the pages", "", "# a comment", "torch"])
    assert {"streamlit", "torch", "tornado", "protobuf", "sympy"} & packages.keys() >= {
        "streamlit",
        "torch",
        "protobuf",
    }
    assert "+" not in packages["torch"]
    assert "pytest" not in packages
