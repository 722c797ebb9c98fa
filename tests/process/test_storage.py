"""Runs whose files lie in a bucket: the same as in a folder, and a sentence where the bucket does not answer."""

import socket
import time

import pytest
from s3 import BUCKET, forget_sessions, s3_server
from tiny import assert_same_weights, tiny_config, train_here, undisturbed_weights

from kd_core.base import files, tensors
from kd_core.base import paths as base_paths
from kd_core.base.config import ConfigError
from kd_core.base.files import SaveError, path_at
from kd_core.exchange import bundle
from kd_core.exchange.bundle import BundleError
from kd_core.exchange.export import checks as export_checks
from kd_core.exchange.export import write
from kd_core.jobs import execute
from kd_core.runs import artifacts, recovery
from kd_core.runs.reading import DATABASE
from kd_core.runs.run import folder_of, new_id
from kd_core.runs.store import Store


@pytest.fixture(scope="module")
def s3():
    with s3_server() as variables:
        yield variables


@pytest.fixture
def bucket(s3):
    """A place in the bucket that no other test uses."""
    return path_at(f"{BUCKET}/{new_id()}")


@pytest.fixture
def far(home, bucket):
    """A store whose runs' files lie in the bucket."""
    opened = Store(home, bucket)
    yield opened
    opened.close()


def test_an_object_holds_all_of_what_was_written_or_what_it_held_before(bucket):
    path = bucket / "runs" / "a" / "card.json"
    files.write_atomic(path, b"old")
    assert files.read_bytes(path) == b"old"
    files.write_atomic(path, b"new")
    assert files.read_bytes(path) == b"new"
    files.remove(path)
    files.remove(path)
    assert not files.is_file(path)
    with pytest.raises(FileNotFoundError):
        files.read_bytes(path)


def test_what_another_host_wrote_is_seen_at_once(bucket):
    path = bucket / "runs" / "a" / "checkpoint.pt"
    assert not files.is_file(path)
    assert files.files_below(bucket / "runs", "*/checkpoint.pt") == []
    other_host = path_at(str(bucket))
    files.write_atomic(other_host / "runs" / "a" / "checkpoint.pt", b"1234")
    assert files.is_file(path)
    (file,) = files.files_below(bucket / "runs", "*/checkpoint.pt")
    assert (file.path, file.size_bytes) == (path, 4)
    assert abs(file.written_at - time.time()) < 60


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_a_folder_is_claimed_by_one_alone(where, tmp_path, request):
    root = tmp_path if where == "folder" else request.getfixturevalue("bucket")
    assert files.claim(root / "runs" / "a", "config.json")
    assert not files.claim(root / "runs" / "a", "config.json")
    assert files.claim(root / "runs" / "b", "config.json")


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_the_state_of_a_file_changes_with_its_content(where, tmp_path, request):
    path = (tmp_path if where == "folder" else request.getfixturevalue("bucket")) / "weights"
    files.write_atomic(path, b"one")
    before = files.state_of(path)
    assert files.state_of(path) == before
    files.write_atomic(path, b"two")
    assert files.state_of(path) != before


def test_a_run_leaves_the_same_weights_in_a_bucket_as_in_a_folder(far, store, digits):
    config = tiny_config(seed=3)
    there, here = train_here(far, config), train_here(store, config)
    assert far.get(there).status == "finished"
    assert_same_weights(
        *(tensors.load_tensors(path) for path in (far.folder(there).weights, store.folder(here).weights))
    )
    assert (artifacts.test_logits(far.folder(there)) == artifacts.test_logits(store.folder(here))).all()
    assert not (far.home / "runs" / there).exists()


def test_a_run_paused_on_one_host_goes_on_from_its_checkpoint_in_the_bucket(far, store):
    config = tiny_config(epochs=3, seed=4)
    paused = train_here(far, config, requested=lambda: "pause")
    assert files.is_file(far.folder(paused).checkpoint)
    started = []
    far.take_up(paused)
    execute.run_here(
        far, paused, lambda event: started.append(event) if event["kind"] == "started" else None, lambda: None
    )
    assert started[0]["step"] > 0
    assert not files.is_file(far.folder(paused).checkpoint)
    assert_same_weights(tensors.load_tensors(far.folder(paused).weights), undisturbed_weights(store.home, config))


def test_a_run_in_a_bucket_is_exported_packed_and_taken_in_again(far, digits):
    run_id = train_here(far, tiny_config())
    checks = write.export_run(far.storage, far.get(run_id))
    assert all(file.passed for file in checks.files if file.name != export_checks.ONNX_INT8)
    assert export_checks.read_checks(far.folder(run_id)) == checks
    packed = bundle.pack(far, run_id)
    with pytest.raises(BundleError, match="is here already"):
        bundle.unpack(far, packed)
    far.delete(run_id)
    far.purge(days=0)
    assert files.files_below(far.folder(run_id).path, "*") == []
    assert bundle.unpack(far, packed) == run_id
    assert artifacts.test_logits(far.folder(run_id)).shape == (445, 10)


def test_old_checkpoints_in_a_bucket_are_pruned_and_finished_weights_are_not(far):
    finished = train_here(far, tiny_config())
    paused = train_here(far, tiny_config(seed=1), requested=lambda: "pause")
    assert far.prune() == []
    assert far.prune(days=0) == [paused]
    assert not files.is_file(far.folder(paused).checkpoint)
    assert files.is_file(far.folder(finished).weights)


def test_a_lost_list_is_put_together_from_the_bucket(far, bucket):
    run_id = train_here(far, tiny_config())
    results = far.get(run_id).results
    far.close()
    (far.home / DATABASE).write_bytes(b"rubbish" * 1000)
    store, notice = recovery.open_store(far.home, bucket)
    assert "1 of 1 runs came from their folders alone" in notice
    assert store.get(run_id).results == results
    store.close()


# ------------------------------------------------------------------------------------------------ what goes wrong


@pytest.fixture
def gone(monkeypatch):
    """A bucket whose server is not there."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    forget_sessions()
    root = path_at(f"{BUCKET}/gone")
    root.fs.retries = 1
    yield root
    del root
    forget_sessions()


def test_a_bucket_that_does_not_answer_is_said_in_words(gone):
    with pytest.raises(SaveError, match=r"s3://lab/gone cannot be used: its storage does not answer"):
        files.write_atomic(gone / "card.json", b"x")


def test_a_run_whose_bucket_does_not_answer_fails_in_words(store, gone):
    run_id = new_id()
    store.create({run_id: tiny_config()})
    events = []
    execute.execute_run(folder_of(gone, run_id), execute.Supervisor(events.append, lambda: None))
    assert events[-1]["kind"] == "failed"
    assert "its storage does not answer" in events[-1]["text"]


def test_a_list_is_opened_though_its_bucket_does_not_answer(store, gone):
    run_id = train_here(store, tiny_config())
    opened, notice = recovery.open_store(store.home, gone)
    assert notice is None
    assert opened.get(run_id).status == "finished"
    opened.close()


def test_a_new_list_beside_a_bucket_that_does_not_answer_is_refused_in_words(home, gone):
    with pytest.raises(SaveError, match="its storage does not answer"):
        recovery.open_store(home, gone)


def test_a_worker_that_does_not_see_the_files_says_what_to_set(tmp_path):
    events = []
    execute.execute_run(folder_of(tmp_path, "abc"), execute.Supervisor(events.append, lambda: None))
    assert events[-1]["kind"] == "failed"
    assert "set KD_STORAGE to storage that the app and all workers share" in events[-1]["text"]


@pytest.mark.parametrize("address", ["nonsense://lab", "abfs://lab/x"])
def test_storage_that_no_package_here_knows_is_refused_in_words(address):
    with pytest.raises(ConfigError, match=f"{address} cannot be used as storage"):
        path_at(address)


def test_the_home_of_the_database_is_a_folder_of_this_machine(monkeypatch):
    monkeypatch.setenv("KD_HOME", "s3://lab")
    with pytest.raises(ConfigError, match="KD_HOME is s3://lab: name a folder of this machine"):
        base_paths.home()


def test_storage_is_home_unless_it_is_named(home, monkeypatch, tmp_path, s3):
    assert base_paths.storage() == home.resolve()
    monkeypatch.setenv("KD_STORAGE", str(tmp_path / "shared"))
    assert base_paths.storage() == tmp_path / "shared"
    monkeypatch.setenv("KD_STORAGE", f"file://{tmp_path}/shared")
    assert base_paths.storage() == tmp_path / "shared"
    monkeypatch.setenv("KD_STORAGE", f"{BUCKET}/all")
    assert str(base_paths.storage()) == f"{BUCKET}/all"
