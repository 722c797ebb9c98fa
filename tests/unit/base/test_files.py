"""Whole files or none, and nothing read back can run code."""

import errno
import os
import pickle
from pathlib import Path

import pytest
import torch
from tiny import seal

from kd_core.base import files, tensors
from kd_core.base import paths as base_paths
from kd_core.base.files import SaveError
from kd_core.data import paths as data_paths
from kd_core.data.sets.like_mnist import FILES as MNIST_FILES


def test_a_failed_write_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    files.write_atomic(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SaveError, match="is full: free some space; what was saved before is whole"):
        files.write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["weights"]


def test_a_really_full_disk_is_said_in_words():
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left") as error, full.open("wb", buffering=0) as device:
        device.write(b"x")
    assert "is full" in files.disk_problem(error.value, Path("/data"))


def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SaveError, match="cannot be used"):
        files.write_atomic(tmp_path / "file" / "weights", b"x")


@pytest.mark.parametrize("folder", [".", "/", "..", "here"])
def test_a_folder_in_a_files_place_is_said_in_words(tmp_path, monkeypatch, folder):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SaveError, match="is a folder: name a file in it"):
        files.write_atomic(Path(folder), b"x")
    assert [path.name for path in tmp_path.rglob("*")] == ["here"]


def test_tensors_come_back_as_they_were_saved(tmp_path):
    saved = {"a": torch.randn(3, 4), "b": torch.arange(5), "c": torch.randn(4, 6).T}
    tensors.save_tensors(tmp_path / "t", saved)
    loaded = tensors.load_tensors(tmp_path / "t")
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[name], saved[name]) for name in saved)


@pytest.mark.parametrize("load", [tensors.load_tensors, tensors.load_state])
@pytest.mark.parametrize("damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"x" * 99])
def test_damaged_files_are_said_in_words(tmp_path, load, damage):
    path = tmp_path / "file"
    save = tensors.save_tensors if load is tensors.load_tensors else tensors.save_state
    save(path, {"a": torch.randn(100)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SaveError, match="is damaged and cannot be read"):
        load(path)


def test_a_missing_file_is_said_in_words(tmp_path):
    with pytest.raises(SaveError, match="is missing"):
        tensors.load_tensors(tmp_path / "nothing")


class Bomb:
    """Unpickling this would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_a_pickle_that_would_run_code_is_refused_without_running_it(tmp_path):
    target = tmp_path / "ran"
    torch.save({"model": Bomb(target)}, tmp_path / "checkpoint.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Bomb(target)))
    for name in ("checkpoint.pt", "plain.pt"):
        seal(tmp_path / name)
    for name in ("checkpoint.pt", "plain.pt"):
        with pytest.raises(SaveError, match="is damaged and cannot be read"):
            tensors.load_state(tmp_path / name)
    assert not target.exists()


def test_home_is_named_by_kd_home_and_else_beside_the_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("KD_HOME", str(tmp_path))
    assert base_paths.home() == tmp_path
    monkeypatch.delenv("KD_HOME")
    assert base_paths.home() == Path(data_paths.__file__).resolve().parents[2] / "checkpoints"


def test_mnist_is_found_only_where_all_four_files_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path / "named"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    raw = tmp_path / "named" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES[:3]:
        (raw / name).touch()
    assert data_paths.folder_of("mnist") is None
    assert not data_paths.available("mnist")
    assert data_paths.available("digits")
    (raw / MNIST_FILES[3]).touch()
    assert data_paths.folder_of("mnist") == tmp_path / "named"
