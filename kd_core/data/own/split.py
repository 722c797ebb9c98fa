"""Which images of a user's data set test or validate: the source's own, or drawn by seed, whole groups where asked."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kd_core.base.templates import said
from kd_core.data.download import DatasetError
from kd_core.data.own.copies import Flags, Ids


def draw_test_set(
    labels: Ids, kept: Flags, groups: Ids | None, fraction: float, generator: np.random.Generator
) -> Flags:
    """Draw a test set in proportion over the classes: (N,), among the kept images.

    groups: (N,), images of one number stay together. Raises DatasetError where a class then lies on one side only.
    """
    in_test = np.zeros(len(labels), bool)
    if groups is not None:
        return _draw_groups(labels, kept, groups, fraction, generator)
    for label in range(labels.max() + 1):
        members = np.flatnonzero((labels == label) & kept)
        chosen = generator.permutation(len(members))[: max(1, round(len(members) * fraction))]
        in_test[members[chosen]] = True
    return in_test


def draw_validation(labels: Ids, groups: Ids, fraction: float, generator: np.random.Generator) -> Flags:
    """Draw whole groups as the validation images of a training set, (N,), about that share of each class.

    What cannot be parted is not: a class may be without validation images, and none without others.
    """
    chosen, of_groups, _ = _nearest_groups(labels, np.ones(len(labels), bool), groups, fraction, generator)
    for label in np.setdiff1d(labels, labels[~chosen]):
        chosen[min((group for group in of_groups if label in labels[group]), key=len)] = False
    return chosen


def _draw_groups(labels: Ids, kept: Flags, groups: Ids, fraction: float, generator: np.random.Generator) -> Flags:
    """Take the groups that are nearest to the share; then the least that a class lacks."""
    in_test, of_groups, classes = _nearest_groups(labels, kept, groups, fraction, generator)
    for label in np.setdiff1d(labels[kept], labels[in_test]):
        in_test[min((group for group in of_groups if label in labels[group]), key=len)] = True
    for side in (in_test & kept, ~in_test & kept):
        if len(np.unique(labels[side])) < classes:
            raise DatasetError(
                said(
                    "The groups are too few or too large to have each class in both training and test set: name smaller"
                    " groups, or bring a test set of its own."
                )
            )
    return in_test


def _nearest_groups(
    labels: Ids, kept: Flags, groups: Ids, fraction: float, generator: np.random.Generator
) -> tuple[Flags, list[Ids], int]:
    """Take groups, the largest first, that bring each class nearer to its share.

    Returns which images are taken, (N,), the groups in random order, as indices, and the number of classes.
    """
    members = np.flatnonzero(kept)
    members = members[np.argsort(groups[members], kind="stable")]
    of_groups = np.split(members, np.flatnonzero(np.diff(groups[members])) + 1)
    shuffled = [of_groups[at] for at in generator.permutation(len(of_groups))]
    in_test = np.zeros(len(labels), bool)
    missing = np.bincount(labels[kept]) * fraction
    for group in sorted(shuffled, key=len, reverse=True):
        present, counts = np.unique(labels[group], return_counts=True)
        if (counts * (counts - 2 * missing[present])).sum() < 0:
            in_test[group] = True
            missing[present] -= counts
    return in_test, shuffled, len(missing)


def groups_by_prefix(names: Sequence[str], separator: str) -> NDArray[np.str_]:
    """Return the group of each file: its name up to the first separator. Raises DatasetError where none has one."""
    groups = np.array([name.rpartition("/")[2].partition(separator)[0] for name in names])
    if not any(separator in name.rpartition("/")[2] for name in names):
        raise DatasetError(
            said("No file name holds '{separator}', which should end the name of its group.", separator=separator[:20])
        )
    return groups


def groups_of_csv(names: Sequence[str], table: Path) -> NDArray[np.str_]:
    """Return the group of each file by a table of two columns, file and group; a first line of titles may be there.

    A file is named by its path or any end of it. Raises DatasetError for a file without a group.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")
        rows = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text.count))
        of_file = {row[0].strip().replace("\\", "/"): row[1].strip() for row in rows if row}
    except (OSError, UnicodeDecodeError, csv.Error, IndexError):
        raise DatasetError(
            said(
                "{file} is no table of groups: save it as CSV in UTF-8, a file name and its group in each line.",
                file=table.name,
            )
        ) from None
    return np.array([_group_of(name, of_file, table.name) for name in names])


def _group_of(name: str, of_file: Mapping[str, str], table: str) -> str:
    parts = name.split("/")
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    group = next((of_file[end] for end in ends if end in of_file), None)
    if not group:
        raise DatasetError(said("{file} names no group for {name}.", file=table, name=name[:120]))
    return group
