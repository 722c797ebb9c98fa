"""The data sets: known facts of both, and a download from a server of our own that misbehaves in every way we fear."""

import errno
import gzip
import hashlib
import http.server
import io
import os
import pickle
import shutil
import socket
import struct
import tarfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from kd_core.base.config import ConfigError
from kd_core.base.torchvision import torchvision
from kd_core.data import download, load, paths
from kd_core.data.catalogue import TransferSetConfig
from kd_core.data.download import DatasetError
from kd_core.data.sets import cifar10, like_mnist
from kd_core.data.sets import digits as digits_set


def test_digits_are_scikit_learns_images_in_mnists_shape(digits):
    images = torch.cat([digits.train_images, digits.test_images])
    labels = torch.cat([digits.train_labels, digits.test_labels])
    assert images.shape == (1797, 1, 28, 28)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert torch.bincount(labels).tolist() == np.bincount(load_digits().target).tolist()
    assert torch.bincount(digits.test_labels).min() >= 43


def test_digits_are_split_the_same_way_every_time(digits):
    digits_set.load.cache_clear()
    again = load.load("digits")
    assert torch.equal(again.test_images, digits.test_images)
    assert torch.equal(again.train_labels, digits.train_labels)


def test_each_digit_lies_as_mnists_do_in_a_box_of_20_about_its_centre_of_mass(digits):
    images = torch.cat([digits.train_images, digits.test_images])[:, 0].double()
    rows, columns = images.amax(2) > 0, images.amax(1) > 0
    heights = [int(row.nonzero().max() - row.nonzero().min()) + 1 for row in rows]
    widths = [int(column.nonzero().max() - column.nonzero().min()) + 1 for column in columns]
    assert all(max(height, width) == 20 for height, width in zip(heights, widths, strict=True))
    mass = images.sum((1, 2))
    grid = torch.arange(28, dtype=torch.float64)
    middle_row = (images.sum(2) * grid).sum(1) / mass
    middle_column = (images.sum(1) * grid).sum(1) / mass
    # To half a pixel about the middle of pixel 14, where MNIST's own lie: the margin is only for rounding grey levels.
    assert (middle_row - 14).abs().max() <= 0.51
    assert (middle_column - 14).abs().max() <= 0.51


def ink(image):
    """The ink's box, stretched to 20x20, centred and of length one, so that a product of two is a correlation."""
    rows, columns = np.flatnonzero((image > 0).any(axis=1)), np.flatnonzero((image > 0).any(axis=0))
    box = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    values = np.asarray(Image.fromarray(box).resize((20, 20), Image.Resampling.BILINEAR), dtype=np.float64).ravel()
    values -= values.mean()
    return values / np.linalg.norm(values)


def test_digits_show_what_scikit_learns_originals_show_each_in_one_part_only(digits):
    """Each original, in its order, is the next image of one of the two parts, found by its looks alone."""
    source = load_digits()
    parts = [
        ([ink(image) for image in images[:, 0].numpy()], labels.tolist())
        for images, labels in (
            (digits.train_images, digits.train_labels),
            (digits.test_images, digits.test_labels),
        )
    ]
    at, correlations = [0, 0], []
    for original, label in zip((source.images * (255 / 16)).round().astype(np.uint8), source.target, strict=True):
        seen = ink(np.asarray(Image.fromarray(original).resize((48, 48), Image.Resampling.BICUBIC)))
        likeness = [
            looks[index] @ seen if index < len(looks) else -1 for (looks, _), index in zip(parts, at, strict=True)
        ]
        part = int(np.argmax(likeness))
        assert parts[part][1][at[part]] == label
        at[part] += 1
        correlations.append(likeness[part])
    assert at == [len(digits.train_labels), len(digits.test_labels)]
    assert np.median(correlations) > 0.95
    assert min(correlations) > 0.75


def test_normalised_training_images_have_mean_zero_and_deviation_one(digits):
    normal = digits.normalise(digits.train_images).double()
    assert float(normal.mean()) == pytest.approx(0, abs=1e-4)
    assert float(normal.std(correction=0)) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("fraction", [0, 0.1, 0.5])
def test_split_is_disjoint_complete_seeded_and_in_proportion(digits, fraction):
    train, validation = digits.split(fraction, 3)
    assert sorted(torch.cat([train, validation]).tolist()) == list(range(len(digits.train_labels)))
    again, other = digits.split(fraction, 3), digits.split(fraction, 4)
    assert torch.equal(again[1], validation)
    assert fraction == 0 or not torch.equal(other[1], validation)
    for label in range(10):
        members = int((digits.train_labels == label).sum())
        assert abs(int((digits.train_labels[validation] == label).sum()) - fraction * members) <= 0.5


EVERY_IMAGE = torch.arange(1352)


def test_a_whole_transfer_set_is_all_images_in_their_order(digits):
    kept, validation = digits.split(0.1, 3)
    for indices in (EVERY_IMAGE, kept, validation, EVERY_IMAGE.flip(0)):
        for part in (TransferSetConfig(), TransferSetConfig(labelled=False), TransferSetConfig(only_classes=range(10))):
            assert torch.equal(digits.transfer_set(indices, part, seed=1), indices)


@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.031, 0.001])
def test_a_fraction_is_taken_of_each_class_and_at_least_one_image(digits, fraction):
    chosen = digits.transfer_set(EVERY_IMAGE, TransferSetConfig(fraction=fraction), seed=1)
    there = np.bincount(digits.train_labels.numpy(), minlength=10)
    counts = np.bincount(digits.train_labels[chosen].numpy(), minlength=10)
    assert all(abs(counts - there * fraction) <= np.where(counts > 1, 0.5, 1))
    assert counts.min() >= 1
    assert chosen.tolist() == sorted(set(chosen.tolist()))


def test_only_the_named_classes_are_in_a_transfer_set_and_of_them_all(digits):
    chosen = digits.transfer_set(EVERY_IMAGE, TransferSetConfig(only_classes=(8, 7, 7)), seed=1)
    assert chosen.tolist() == [index for index, label in enumerate(digits.train_labels.tolist()) if label in (7, 8)]


def test_a_transfer_set_is_drawn_by_its_seed_from_the_images_that_are_offered(digits):
    part = TransferSetConfig(fraction=0.2)
    kept, validation = digits.split(0.1, 3)
    chosen = digits.transfer_set(kept, part, seed=1)
    assert torch.equal(digits.transfer_set(kept, part, seed=1), chosen)
    assert not torch.equal(digits.transfer_set(kept, part, seed=2), chosen)
    assert set(chosen.tolist()) < set(kept.tolist())
    assert set(digits.transfer_set(validation, part, seed=1).tolist()) < set(validation.tolist())
    assert len(digits.transfer_set(validation[:0], part, seed=1)) == 0


def test_a_transfer_set_without_an_image_is_refused_in_words(digits):
    threes = (digits.train_labels == 3).nonzero().squeeze(1)
    with pytest.raises(ConfigError, match="this transfer set holds no image: choose more classes"):
        digits.transfer_set(threes, TransferSetConfig(only_classes=(4,)), seed=0)


def test_probes_are_each_classs_first_and_nearest_its_border_by_numpy(digits):
    """In float64, image by image: how far from the mean of its own class, how far from the nearest other."""
    train, test = (images.numpy().astype(float)[:, 0] for images in (digits.train_images, digits.test_images))
    means = [train[digits.train_labels.numpy() == label].mean(axis=0) for label in range(10)]
    assert digits.probes.shape == (20,)
    for label, (first, border) in enumerate(digits.probes.reshape(10, 2).tolist()):
        members = [index for index, true in enumerate(digits.test_labels.tolist()) if true == label]
        assert first == members[0]

        def margin(index, label=label):
            distances = [np.linalg.norm(test[index] - mean) for mean in means]
            return abs(min(distances[:label] + distances[label + 1 :]) - distances[label])

        assert border == min(members[1:], key=margin)


def test_an_unknown_data_set_is_said_in_words():
    with pytest.raises(DatasetError, match="unknown data set 'imagenet': choose one of digits, mnist"):
        load.load("imagenet")


# ------------------------------------------------------------------------------------------------------- download

SIZES = {"train": 30, "t10k": 20}


def packed_files():
    """Four small files in MNIST's own format: name -> gzip bytes."""
    generator = np.random.default_rng(0)
    files = {}
    for part, count in SIZES.items():
        images = struct.pack(">iiii", 2051, count, 28, 28) + generator.integers(0, 256, count * 784, np.uint8).tobytes()
        labels = struct.pack(">ii", 2049, count) + (np.arange(count) % 10).astype(np.uint8).tobytes()
        files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(images, mtime=0)
        files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(labels, mtime=0)
    return files


class Mirror:
    """A web server on loopback. behaviour(name, content) -> (status, what is sent, the length that is promised)."""

    def __init__(self, files, behaviour=lambda name, content: (200, content, len(content))):
        self.served = []
        mirror = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rpartition("/")[2]
                mirror.served.append(name)
                status, content, promised = mirror.behaviour(name, files.get(name, b""))
                self.send_response(status)
                self.send_header("Content-Length", str(promised))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *arguments):
                """Say nothing."""

        self.behaviour = behaviour
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """A machine that has never seen MNIST, whose MNIST is our four small files. Gives the cache's raw folder."""
    files = packed_files()
    monkeypatch.delenv("KD_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    resources = [(name, hashlib.md5(content).hexdigest()) for name, content in files.items()]
    monkeypatch.setattr(torchvision().datasets.MNIST, "resources", resources)
    monkeypatch.setattr(like_mnist, "IMAGES", SIZES)
    like_mnist.read.cache_clear()
    yield paths.data_folders()[-1] / "MNIST" / "raw"
    like_mnist.read.cache_clear()


@pytest.fixture
def mirror():
    """mirror(behaviour) -> a running Mirror, closed after the test."""
    running = []

    def start(*behaviour):
        running.append(Mirror(packed_files(), *behaviour))
        return running[-1]

    yield start
    for server in running:
        server.close()


def test_a_download_arrives_whole_with_progress_and_is_loaded(nowhere, mirror, monkeypatch):
    monkeypatch.setattr(torchvision().datasets.MNIST, "mirrors", [mirror().address])
    reports = []
    loaded = load.load("mnist", progress=lambda text, share: reports.append((text, share)))
    assert loaded.train_images.shape == (30, 1, 28, 28)
    assert loaded.test_labels.tolist() == [i % 10 for i in range(20)]
    assert {text for text, _ in reports} == {f"Downloading MNIST, file {n} of 4" for n in (1, 2, 3, 4)}
    assert all(0 < share <= 1 for _, share in reports)
    assert sorted(path.name for path in nowhere.iterdir()) == sorted(like_mnist.FILES)
    assert paths.available("mnist")


@pytest.fixture
def closed_port():
    """The address of a mirror that refuses every connection: its port is taken, and nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


def test_progress_of_each_file_never_falls_and_ends_at_one(nowhere, mirror):
    shares_of = {}
    download.download(
        "mnist",
        lambda text, share: shares_of.setdefault(text, []).append(share),
        mirrors=[mirror().address],
    )
    assert list(shares_of) == [f"Downloading MNIST, file {n} of 4" for n in (1, 2, 3, 4)]
    for shares in shares_of.values():
        assert shares == sorted(shares)
        assert shares[-1] == 1


def test_a_second_mirror_serves_where_the_first_is_gone(nowhere, mirror, closed_port):
    good = mirror()
    download.download("mnist", mirrors=[closed_port, good.address])
    assert sorted(good.served) == sorted(packed_files())


def test_where_all_mirrors_fail_each_is_named_with_its_reason(nowhere, mirror, closed_port):
    missing = mirror(lambda name, content: (404, b"", 0))
    with pytest.raises(DatasetError) as refused:
        download.download("mnist", mirrors=[closed_port, missing.address])
    assert str(refused.value) == (
        f"MNIST could not be downloaded: {closed_port} does not answer; {missing.address} refused"
        " train-images-idx3-ubyte.gz (status 404). Try again; files that arrived whole are kept."
    )


def test_a_download_goes_to_the_cache_and_not_into_a_named_folder(nowhere, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("KD_DATA_DIR", str(tmp_path / "named"))
    download.download("mnist", mirrors=[mirror().address])
    assert not (tmp_path / "named").exists()
    assert paths.folder_of("mnist") == nowhere.parent.parent


def test_a_second_mirror_serves_where_the_first_does_not(nowhere, mirror):
    missing = mirror(lambda name, content: (404, b"", 0))
    good = mirror()
    assert download.download("mnist", mirrors=[missing.address, good.address]) == nowhere.parent.parent
    assert len(good.served) == 4


def test_a_damaged_file_is_refused_in_words_and_never_takes_its_place(nowhere, mirror):
    bad = mirror(lambda name, content: (200, b"?" + content[1:], len(content)))
    with pytest.raises(DatasetError, match=r"could not be downloaded: .* sent a damaged train-images"):
        download.download("mnist", mirrors=[bad.address])
    assert not paths.available("mnist")
    assert list(nowhere.iterdir()) == []
    assert len(bad.served) == 2, "each mirror is tried twice"


def test_a_download_that_breaks_off_goes_on_with_what_is_missing(nowhere, mirror):
    def breaks_off_at_labels(name, content):
        return (200, content if "images" in name else content[: len(content) // 2], len(content))

    broken = mirror(breaks_off_at_labels)
    with pytest.raises(DatasetError, match="files that arrived whole are kept"):
        download.download("mnist", mirrors=[broken.address])
    good = mirror()
    download.download("mnist", mirrors=[good.address])
    assert good.served == [
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    ]
    assert paths.available("mnist")
    assert sorted(path.name for path in nowhere.iterdir()) == sorted(like_mnist.FILES)


def test_half_a_file_left_by_a_killed_download_is_fetched_anew(nowhere, mirror):
    nowhere.mkdir(parents=True)
    (nowhere / "train-images-idx3-ubyte.gz").write_bytes(b"half")
    (nowhere / "train-images-idx3-ubyte.partial").write_bytes(b"half")
    good = mirror()
    download.download("mnist", mirrors=[good.address])
    assert len(good.served) == 4
    assert len(load.load("mnist").train_labels) == 30


def test_a_disk_full_while_unpacking_is_a_sentence_and_no_second_transfer(nowhere, mirror, monkeypatch):
    def full(source, target):
        target.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    good = mirror()
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full)
        with pytest.raises(DatasetError, match=r"^MNIST cannot be saved in .*raw: No space left on device\.$"):
            download.download("mnist", mirrors=[good.address])
    assert [path.name for path in nowhere.iterdir()] == ["train-images-idx3-ubyte.gz"]
    download.download("mnist", mirrors=[good.address])
    assert sorted(good.served) == sorted(packed_files())


def test_offline_is_said_in_words_that_name_the_ways_out(nowhere, closed_port):
    with pytest.raises(DatasetError, match=r"no mirror answers: .* KD_DATA_DIR .* digits, which needs no network"):
        download.download("mnist", mirrors=[closed_port])
    assert not list(nowhere.glob("*ubyte*"))


def test_a_download_can_be_cancelled_from_its_progress(nowhere, mirror):
    class EnoughError(Exception):
        """The user has had enough."""

    def cancel(text, share):
        raise EnoughError

    with pytest.raises(EnoughError):
        download.download("mnist", cancel, mirrors=[mirror().address])
    assert not paths.available("mnist")
    assert list(nowhere.iterdir()) == []

    def cancel_at_the_third(text, share):
        if "file 3" in text:
            raise EnoughError

    with pytest.raises(EnoughError):
        download.download("mnist", cancel_at_the_third, mirrors=[mirror().address])
    assert sorted(path.name for path in nowhere.iterdir()) == [
        "train-images-idx3-ubyte",
        "train-labels-idx1-ubyte",
    ]
    download.download("mnist", mirrors=[mirror().address])
    assert paths.available("mnist")


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda whole: b"", lambda whole: b"junk" * 400])
@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_damaged_folder_is_said_in_words(nowhere, mirror, damage, name):
    download.download("mnist", mirrors=[mirror().address])
    (nowhere / name).write_bytes(damage((nowhere / name).read_bytes()))
    with pytest.raises(DatasetError, match="are damaged or cut short: delete that folder"):
        load.load("mnist")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("train-labels-idx1-ubyte", lambda files: files["train-labels-idx1-ubyte"][:-1] + bytes([200])),
        ("train-labels-idx1-ubyte", lambda files: files["t10k-labels-idx1-ubyte"]),
        ("t10k-images-idx3-ubyte", lambda files: files["train-images-idx3-ubyte"]),
        ("train-images-idx3-ubyte", lambda files: files["train-labels-idx1-ubyte"]),
        ("t10k-images-idx3-ubyte", lambda files: gzip.compress(files["t10k-images-idx3-ubyte"])),
        ("t10k-images-idx3-ubyte", lambda files: struct.pack(">iiii", 2051, 20, 7, 112) + bytes(20 * 784)),
    ],
    ids=["label 200", "labels of the other part", "images of the other part", "labels", "still packed", "7x112"],
)
def test_a_file_that_holds_something_else_is_said_in_words(nowhere, mirror, name, damage):
    download.download("mnist", mirrors=[mirror().address])
    (nowhere / name).write_bytes(damage({path.name: path.read_bytes() for path in nowhere.iterdir()}))
    with pytest.raises(DatasetError, match=f"^The MNIST files in {nowhere} are damaged or cut short: delete that"):
        load.load("mnist")


def test_two_processes_that_download_at_once_end_with_whole_files(nowhere, mirror):
    """The slower finds each file unpacked, and its packed one gone, at whatever moment."""
    slow = mirror(lambda name, content: (time.sleep(0.02), (200, content, len(content)))[1])
    with ThreadPoolExecutor() as pool:
        for folder in pool.map(lambda _: download.download("mnist", mirrors=[slow.address]), range(6)):
            assert folder == nowhere.parent.parent
    assert sorted(path.name for path in nowhere.iterdir()) == sorted(like_mnist.FILES)
    assert len(load.load("mnist").train_labels) == 30


def test_a_packed_file_that_another_process_unpacked_first_is_no_trouble(nowhere, tmp_path):
    final = tmp_path / "train-labels-idx1-ubyte"
    with pytest.raises(DatasetError, match="MNIST cannot be saved"):
        download._unpack(tmp_path / "gone.gz", final, "MNIST")
    final.write_bytes(b"whole")
    download._unpack(tmp_path / "gone.gz", final, "MNIST")
    assert [path.name for path in tmp_path.iterdir()] == [final.name]


def test_a_mirror_that_breaks_off_is_told_from_one_that_is_not_there(nowhere, mirror):
    half = mirror(lambda name, content: (200, content[: len(content) // 2], len(content)))
    with pytest.raises(DatasetError) as refused:
        download.download("mnist", mirrors=[half.address])
    assert str(refused.value) == (
        f"MNIST could not be downloaded: {half.address} broke off in train-images-idx3-ubyte.gz."
        " Try again; files that arrived whole are kept."
    )


def test_what_killed_downloads_left_a_day_ago_goes_and_what_is_at_work_stays(nowhere, mirror):
    nowhere.mkdir(parents=True)
    for name, age in (("tmpold", 90_000), ("t10k.ab.partial", 90_000), ("tmpnew", 60)):
        (nowhere / name).write_bytes(b"half")
        os.utime(nowhere / name, (time.time() - age,) * 2)
    download.download("mnist", mirrors=[mirror().address])
    assert sorted(path.name for path in nowhere.iterdir()) == sorted([*like_mnist.FILES, "tmpnew"])


# ------------------------------------------------------------------------------------- the others by their names


def cifar_archive():
    """CIFAR-10's own archive, of 6 images a file: (bytes, MD5 of each file in it, pixels of the last)."""
    generator = np.random.default_rng(0)
    contents = {}
    for name in cifar10.FILES[:-1]:
        pixels = generator.integers(0, 256, (6, 3072), dtype=np.uint8)
        contents[name] = pickle.dumps({"data": pixels, "labels": [0, 1, 2, 3, 8, 9]})
    contents["batches.meta"] = pickle.dumps({"label_names": [f"class {label}" for label in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in contents.items()}
    return buffer.getvalue(), sums, pixels


def test_cifar_10_comes_as_one_archive_of_which_every_file_is_verified(nowhere, monkeypatch):
    archive, sums, pixels = cifar_archive()
    source = torchvision().datasets.CIFAR10
    monkeypatch.setattr(source, "tgz_md5", hashlib.md5(archive).hexdigest())
    monkeypatch.setattr(source, "train_list", [[name, sums[name]] for name in cifar10.FILES[:5]])
    monkeypatch.setattr(source, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(source, "meta", {**source.meta, "md5": sums["batches.meta"]})
    server = Mirror({"cifar-10-python.tar.gz": archive})
    monkeypatch.setattr(source, "url", f"{server.address}cifar-10-python.tar.gz")
    cifar10.read.cache_clear()
    texts = []
    try:
        loaded = load.load("cifar10", progress=lambda text, share: texts.append(text))
    finally:
        server.close()
        cifar10.read.cache_clear()
    assert set(texts) == {"Downloading CIFAR-10, file 1 of 1"}
    assert loaded.train_images.shape == (30, 3, 32, 32)
    assert loaded.test_labels.tolist() == [0, 1, 2, 3, 8, 9]
    assert loaded.class_names[9] == "class 9"
    assert torch.equal(loaded.test_images, torch.from_numpy(pixels).reshape(6, 3, 32, 32))
    folder = paths.data_folders()[-1] / "cifar-10-batches-py"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["cifar-10-batches-py"]
    (folder / "test_batch").write_bytes(pickle.dumps(print))  # a pickle that is not the known one is not opened
    with pytest.raises(DatasetError, match=r"The CIFAR-10 files in .* are damaged"):
        load.load("cifar10")


@pytest.mark.parametrize(("name", "source_name"), [("fashion_mnist", "FashionMNIST"), ("kmnist", "KMNIST")])
def test_the_likes_of_mnist_are_downloaded_and_named_as_their_makers_do(
    nowhere, mirror, monkeypatch, name, source_name
):
    server = mirror()
    source = getattr(torchvision().datasets, source_name)
    monkeypatch.setattr(source, "resources", torchvision().datasets.MNIST.resources)
    monkeypatch.setattr(source, "mirrors", [server.address])
    loaded = load.load(name)
    assert (loaded.name, loaded.train_images.shape) == (name, (30, 1, 28, 28))
    assert len(set(loaded.class_names)) == 10
    assert ("Ankle boot" in loaded.class_names) is (name == "fashion_mnist")
    assert paths.folder_of(name) == paths.data_folders()[-1]
