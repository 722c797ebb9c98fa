"""Says which packages that KD Lab installs have known vulnerabilities, where a database of them can be reached.

    python .ci/audit.py

Asks pip-audit for requirements.txt and all that it brings along, in the versions that are installed here. Exits with 0
where none is known, or where no database answers, which it says; with 1 where one is known; with 2 where pip-audit
itself fails.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

SERVICES = {"pypi": 11.0, "osv": 7.0}
"""Databases that pip-audit knows, in the order in which they are asked, and how many seconds each may take."""
_NO_ANSWER = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|Timeout|ProxyError|SSLError|HTTPError|ServiceError"
)


class Answer(NamedTuple):
    """Packages that a database knows, what it knows against them, and else why it said nothing of any."""

    audited: int
    vulnerabilities: list[str]
    silence: str


class AuditError(Exception):
    """pip-audit failed for another reason than a database that does not answer."""


def pinned(requirements: Iterable[str]) -> dict[str, str]:
    """Name -> version of what these lines and their own requirements have installed here."""
    lines = [line.partition("#")[0].strip() for line in requirements]
    wanted = [Requirement(line) for line in lines if line]
    found: dict[str, str] = {}
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        if name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        installed = metadata.distribution(name)
        found[name] = Version(installed.version).public  # a database knows no builds such as +cpu
        for line in installed.requires or ():
            needed = Requirement(line)
            extras = ["", *requirement.extras]
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                needed.marker = None
                wanted.append(needed)
    return found


def read(output: str, complaints: str) -> Answer:
    """What pip-audit's output means. Raises AuditError where it means neither an answer nor a silence."""
    try:
        dependencies = json.loads(output)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (complaints.strip().splitlines() or ["it said nothing"])[-1]
        if met := _NO_ANSWER.search(complaints):
            return Answer(0, [], met[0])
        raise AuditError(last) from None
    audited = [one for one in dependencies if "vulns" in one]  # the others were skipped, with a reason
    known = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in audited
        for flaw in one["vulns"]
    ]
    return Answer(len(audited), known, "" if audited else "it knows none of the packages")


def ask(service: str, packages: dict[str, str]) -> Answer:
    """What a database says of these packages. Raises AuditError as read does."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.writelines(f"{name}=={version}\n" for name, version in packages.items())
        file.flush()
        command = [sys.executable, "-m", "pip_audit", "--requirement", file.name, "--no-deps", "--disable-pip",
                   "--vulnerability-service", service, "--format", "json", "--progress-spinner", "off",
                   "--timeout", "3"]  # fmt: skip
        try:  # no word of the command is anybody else's
            done = subprocess.run(command, capture_output=True, text=True, timeout=SERVICES[service], check=False)  # noqa: S603
        except subprocess.TimeoutExpired:
            return Answer(0, [], f"no answer in {SERVICES[service]:.0f} s")
    return read(done.stdout, done.stderr)


def main() -> int:
    """Ask one database after the other until one answers; the exit code."""
    packages = pinned((Path(__file__).parents[1] / "requirements.txt").read_text(encoding="utf-8").splitlines())
    silent = []
    for service in SERVICES:
        try:
            answer = ask(service, packages)
        except AuditError as error:
            print(f"pip-audit failed with {service}: {error}", file=sys.stderr)
            return 2
        if answer.vulnerabilities:
            print("\n".join(answer.vulnerabilities), file=sys.stderr)
            return 1
        if answer.audited:
            print(f"audit: nothing is known against {answer.audited} of {len(packages)} packages ({service})")
            return 0
        silent.append(f"{service}: {answer.silence}")
    print(f"audit: left out, as no database of vulnerabilities can be reached ({'; '.join(silent)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
