"""Where things lie, and what a disk may do to them. test_files.py holds the first facts; here are the rarer ones."""

import errno
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from tiny import seal

from kd_core.base import files, tensors
from kd_core.base import paths as base_paths
from kd_core.base.files import SaveError
from kd_core.data import paths as data_paths
from kd_core.data.sets.like_mnist import FILES as MNIST_FILES

ROOT = Path(__file__).resolve().parents[3]


def lay_mnist(folder):
    """Empty files under MNIST's names: places looks at names alone."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        (raw / name).touch()


# --------------------------------------------------------------------------------------------------------- places


def test_an_empty_kd_home_is_as_good_as_none(monkeypatch):
    monkeypatch.setenv("KD_HOME", "")
    assert base_paths.home() == ROOT / "checkpoints"


def test_kd_home_may_be_relative_or_start_with_a_tilde_and_comes_out_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("KD_HOME", "here/../there")
    assert base_paths.home() == tmp_path.resolve() / "there"
    monkeypatch.setenv("KD_HOME", "~/lab")
    assert base_paths.home() == tmp_path.resolve() / "user" / "lab"


def test_data_is_looked_for_where_kd_data_dir_says_and_then_in_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path / "named"))
    named, cache = data_paths.data_folders()
    assert named == tmp_path / "named"
    monkeypatch.delenv("KD_DATA_DIR")
    assert data_paths.data_folders() == [cache]

    assert data_paths.folder_of("mnist") is None
    lay_mnist(cache)
    assert data_paths.folder_of("mnist") == cache
    monkeypatch.setenv("KD_DATA_DIR", str(named))
    assert data_paths.folder_of("mnist") == cache
    lay_mnist(named)
    assert data_paths.folder_of("mnist") == named


def test_a_folder_under_a_files_name_is_no_mnist(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path / "named"))
    lay_mnist(tmp_path / "named")
    file = tmp_path / "named" / "MNIST" / "raw" / MNIST_FILES[0]
    file.unlink()
    file.mkdir()
    assert data_paths.folder_of("mnist") is None


def test_an_unknown_data_set_is_not_available():
    assert not data_paths.available("imagenet")


# ------------------------------------------------------------------------------------------------------------ disks


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "The disk of /lab is full: free some space; what was saved before is whole."),
        (errno.EDQUOT, "The disk of /lab is full: free some space; what was saved before is whole."),
        (errno.EACCES, "/lab cannot be written: give it write permission or set KD_HOME to another folder."),
        (errno.EPERM, "/lab cannot be written: give it write permission or set KD_HOME to another folder."),
        (errno.EROFS, "/lab cannot be written: give it write permission or set KD_HOME to another folder."),
        (errno.EIO, "/lab cannot be used: Input/output error."),
    ],
)
def test_each_trouble_of_a_disk_has_its_sentence(number, sentence):
    assert files.disk_problem(OSError(number, os.strerror(number)), Path("/lab")) == sentence


@pytest.mark.parametrize("failing", ["fsync", "replace", "open"])
@pytest.mark.parametrize("existed", [True, False])
def test_whichever_call_fails_the_old_content_stays_and_no_partial_file(tmp_path, monkeypatch, failing, existed):
    path = tmp_path / "folder" / "weights"
    if existed:
        files.write_atomic(path, b"old")

    def fail(*arguments, **named):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace"), "open": (Path, "open")}[failing], fail)
    with pytest.raises(SaveError, match=r"folder cannot be used: Input/output error\.$"):
        files.write_atomic(path, b"new")
    monkeypatch.undo()
    assert [entry.name for entry in path.parent.iterdir()] == (["weights"] if existed else [])
    assert not existed or path.read_bytes() == b"old"


def test_a_write_replaces_the_whole_of_a_longer_file_and_makes_its_folders(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    files.write_atomic(path, b"long" * 1000)
    files.write_atomic(path, b"")
    assert path.read_bytes() == b""
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_who_reads_while_another_writes_sees_old_or_new_and_nothing_between(tmp_path, monkeypatch):
    path, seen = tmp_path / "file", []
    files.write_atomic(path, b"old")
    real = os.fsync

    def look(descriptor):
        seen.append(path.read_bytes())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    files.write_atomic(path, b"new" * 100_000)
    assert seen == [b"old"]
    assert path.read_bytes() == b"new" * 100_000


# ---------------------------------------------------------------------------------------------------------- tensors


def test_every_truncation_of_safetensors_is_said_in_words(tmp_path):
    path = tmp_path / "weights.safetensors"
    tensors.save_tensors(path, {"a": torch.randn(5), "b": torch.arange(3)})
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(SaveError, match=r"weights\.safetensors is damaged and cannot be read\.$"):
            tensors.load_tensors(path)


def test_truncations_of_a_checkpoint_are_said_in_words(tmp_path):
    path = tmp_path / "checkpoint.pt"
    tensors.save_state(path, {"model": {"weight": torch.randn(4, 4)}, "step": 3, "random": [torch.get_rng_state()]})
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(SaveError, match=r"checkpoint\.pt is damaged and cannot be read\.$"):
            tensors.load_state(path)


def test_a_checkpoint_with_any_byte_changed_is_refused(tmp_path):
    """Of its numbers too, which torch would take as they come."""
    path = tmp_path / "checkpoint.pt"
    tensors.save_state(path, {"model": {"weight": torch.zeros(4, 4)}, "step": 3})
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SaveError, match="is damaged and cannot be read"):
            tensors.load_state(path)


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path):
    state = {"model": {"a": torch.randn(3)}, "step": 7, "text": "x", "none": None, "list": [torch.get_rng_state(), 0.5]}
    tensors.save_state(tmp_path / "c", state)
    again = tensors.load_state(tmp_path / "c")
    assert torch.equal(again["model"]["a"], state["model"]["a"])
    assert torch.equal(again["list"][0], state["list"][0])
    assert (again["step"], again["text"], again["none"], again["list"][1]) == (7, "x", None, 0.5)


def test_what_is_no_dictionary_is_no_checkpoint(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    seal(tmp_path / "list.pt")
    with pytest.raises(SaveError, match="does not hold a checkpoint"):
        tensors.load_state(tmp_path / "list.pt")


def test_a_full_disk_while_saving_tensors_is_said_in_words(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    for save in (tensors.save_tensors, tensors.save_state):
        with pytest.raises(SaveError, match="is full"):
            save(tmp_path / "file", {"a": torch.zeros(2)})
    assert list(tmp_path.iterdir()) == []


class Command:
    """Unpickling this would run a command of the shell."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return (os.system, (self.command,))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_command_in_a_pickle_of_any_protocol_is_not_run(tmp_path, protocol):
    ran = tmp_path / "ran"
    bomb = {"step": 1, "model": Command(f"touch {ran}")}
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(bomb, protocol=protocol))
    torch.save(bomb, tmp_path / "zip.pt", pickle_protocol=max(2, protocol))
    torch.save(bomb, tmp_path / "legacy.pt", pickle_protocol=max(2, protocol), _use_new_zipfile_serialization=False)
    for name in ("plain.pt", "zip.pt", "legacy.pt"):
        seal(tmp_path / name)
        for load in (tensors.load_state, tensors.load_tensors):
            with pytest.raises(SaveError, match="is damaged and cannot be read"):
                load(tmp_path / name)
    assert not ran.exists()


def test_a_bomb_put_into_a_good_checkpoint_is_not_run(tmp_path):
    """The zip around the pickle is intact: only what the pickle would do is wrong."""
    ran, path = tmp_path / "ran", tmp_path / "checkpoint.pt"
    tensors.save_state(path, {"step": 1, "model": {"a": torch.zeros(2)}})
    with zipfile.ZipFile(path) as good:
        members = {name: good.read(name) for name in good.namelist()}
    with zipfile.ZipFile(path, "w") as bad:
        for name, content in members.items():
            bomb = pickle.dumps(Command(f"touch {ran}"), protocol=2)
            bad.writestr(name, bomb if name.endswith("data.pkl") else content)
    seal(path)
    with pytest.raises(SaveError, match="is damaged and cannot be read"):
        tensors.load_state(path)
    assert not ran.exists()
