"""Preparing a data set as one file, loading it, and setting validation images aside."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from idx_writer import idx_bytes, write_file, write_idx_directory
from trainbench.datasets import dataset, idx
from trainbench.errors import InputError
from trainbench.files import fingerprint

MNIST = Path(__file__).parents[2] / "resources" / "mnist"
TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    output = tmp_path_factory.mktemp("mnist") / "mnist.safetensors"
    dataset.prepare(MNIST, output)
    return dataset.load(output)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return write_idx_directory(tmp_path / "idx")


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "prepared" / "small.safetensors"


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def test_mnist_has_ten_classes(mnist: dataset.Dataset) -> None:
    assert mnist.classes == 10


def test_mnist_arrays_have_their_shapes(mnist: dataset.Dataset) -> None:
    arrays = (mnist.train_images, mnist.train_labels, mnist.test_images, mnist.test_labels)
    assert [array.shape for array in arrays] == [(60000, 28, 28), (60000,), (10000, 28, 28), (10000,)]


def test_mnist_training_pixels_have_the_known_mean(mnist: dataset.Dataset) -> None:
    # 0.1307, the constant with which nearly every MNIST tutorial normalises.
    assert mnist.train_images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)


def test_mnist_training_starts_at_image_5000_in_file_order(mnist: dataset.Dataset) -> None:
    images, labels = dataset.training_split(mnist, 5000)
    assert len(images) == len(labels) == 55000
    assert np.array_equal(images[0], mnist.train_images[5000])
    assert labels[0] == mnist.train_labels[5000]


def test_what_is_loaded_is_what_was_prepared(directory: Path, output: Path) -> None:
    prepared = dataset.prepare(directory, output)
    loaded = dataset.load(output)
    assert (loaded.classes, loaded.sha256) == (prepared.classes, prepared.sha256)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(loaded, name), getattr(prepared, name))
        assert getattr(loaded, name).dtype == np.uint8


def test_arrays_hold_the_bytes_of_the_files(directory: Path, output: Path) -> None:
    prepared = dataset.prepare(directory, output)
    assert idx_bytes(prepared.train_images) == (directory / TRAIN_IMAGES).read_bytes()
    assert idx_bytes(prepared.test_labels) == (directory / TEST_LABELS).read_bytes()


def test_other_image_sizes_and_class_counts_are_kept(tmp_path: Path, output: Path) -> None:
    idx_directory = write_idx_directory(tmp_path / "idx", height=5, width=9, classes=3)
    prepared = dataset.prepare(idx_directory, output)
    assert (prepared.train_images.shape, prepared.classes) == ((240, 5, 9), 3)


def test_compression_changes_neither_the_sum_nor_the_file(tmp_path: Path) -> None:
    written = {}
    for compress in (False, True):
        idx_directory = write_idx_directory(tmp_path / f"idx-{compress}", compress=compress)
        output = tmp_path / f"{compress}.safetensors"
        written[compress] = (dataset.prepare(idx_directory, output).sha256, output.read_bytes())
    assert written[False] == written[True]


def test_one_changed_pixel_changes_the_sum(directory: Path, output: Path) -> None:
    before = dataset.prepare(directory, output).sha256
    content = bytearray((directory / TRAIN_IMAGES).read_bytes())
    content[-1] ^= 1
    (directory / TRAIN_IMAGES).write_bytes(content)
    assert dataset.prepare(directory, output).sha256 != before


def test_the_same_pixels_in_another_shape_have_another_sum(tmp_path: Path, output: Path) -> None:
    pixels = np.arange(4 * 6 * 2, dtype=np.uint8)
    sums = set()
    for height, width in ((6, 2), (2, 6)):
        idx_directory = write_idx_directory(tmp_path / f"{height}", height=height, width=width)
        for prefix in ("train", "t10k"):
            write_file(idx_directory / f"{prefix}-images-idx3-ubyte", idx_bytes(pixels.reshape(4, height, width)))
            write_file(idx_directory / f"{prefix}-labels-idx1-ubyte", idx_bytes(np.arange(4, dtype=np.uint8)))
        sums.add(dataset.prepare(idx_directory, output).sha256)
    assert len(sums) == 2


def test_a_label_that_only_the_test_images_have_counts_as_a_class(directory: Path, output: Path) -> None:
    write_file(directory / TEST_LABELS, idx_bytes(np.full(80, 6, np.uint8)))
    assert dataset.prepare(directory, output).classes == 7


def test_a_single_class_is_refused(tmp_path: Path, output: Path) -> None:
    idx_directory = write_idx_directory(tmp_path / "idx", classes=1)
    message = message_of(lambda: dataset.prepare(idx_directory, output))
    assert str(idx_directory / TRAIN_LABELS) in message
    assert "only the label 0 where at least 2 classes were expected" in message


def test_sums_are_checked(directory: Path, output: Path) -> None:
    names = sorted(path.name for path in directory.iterdir())
    (directory / "SHA256SUMS").write_text("".join(f"{'0' * 64}  {name}\n" for name in names))
    message = message_of(lambda: dataset.prepare(directory, output))
    found = hashlib.sha256((directory / TRAIN_IMAGES).read_bytes()).hexdigest()
    assert f"{directory / TRAIN_IMAGES} (decompressed) has the SHA-256 sum {found}" in message


def test_sums_are_those_of_decompressed_contents(tmp_path: Path, output: Path) -> None:
    plain = write_idx_directory(tmp_path / "plain")
    compressed = write_idx_directory(tmp_path / "compressed", compress=True)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(plain.iterdir())]
    (compressed / "SHA256SUMS").write_text("".join(lines))
    assert dataset.prepare(compressed, output).classes == 4


def test_truncated_files_are_refused_and_nothing_is_written(directory: Path, output: Path) -> None:
    content = (directory / TRAIN_IMAGES).read_bytes()
    (directory / TRAIN_IMAGES).unlink()
    write_file(directory / f"{TRAIN_IMAGES}.gz", content[:-10])
    message = message_of(lambda: dataset.prepare(directory, output))
    assert f"{directory / TRAIN_IMAGES}.gz is cut short: it holds {len(content) - 10} bytes" in message
    assert not output.exists()


def test_preparing_leaves_no_other_file_beside_its_output(directory: Path, output: Path) -> None:
    dataset.prepare(directory, output)
    assert [path.name for path in output.parent.iterdir()] == ["small.safetensors"]


def test_a_write_that_fails_leaves_the_old_file_whole(
    directory: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset.prepare(directory, output)
    before = output.read_bytes()
    write_idx_directory(directory, seed=1)

    def disk_full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(OSError, match="No space left"):
        dataset.prepare(directory, output)
    assert {path.name: path.read_bytes() for path in output.parent.iterdir()} == {output.name: before}


def test_loading_a_missing_file_names_it(output: Path) -> None:
    assert f"{output} does not exist" in message_of(lambda: dataset.load(output))


@pytest.mark.parametrize("kept_bytes", [0, 4, 200, -1])
def test_loading_a_truncated_file_names_it(directory: Path, output: Path, kept_bytes: int) -> None:
    dataset.prepare(directory, output)
    output.write_bytes(output.read_bytes()[:kept_bytes])
    message = message_of(lambda: dataset.load(output))
    assert f"{output} cannot be read as a prepared data set" in message
    assert "delete it" in message


def test_loading_a_file_of_another_version_states_both_versions(directory: Path, output: Path) -> None:
    dataset.prepare(directory, output)
    metadata = {"trainbench_dataset": json.dumps({"format_version": 99})}
    save_file({"anything": np.zeros(1)}, output, metadata=metadata)
    message = message_of(lambda: dataset.load(output))
    assert f"{output} has format version 99 where 1 was expected" in message


def test_loading_a_foreign_safetensors_file_names_it(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"weights": np.zeros(3)}, path)
    assert f"{path} has format version none where 1 was expected" in message_of(lambda: dataset.load(path))


@pytest.mark.parametrize("metadata", ["{", "[]", '{"format_version": 1}'], ids=["no JSON", "no mapping", "no classes"])
def test_loading_a_file_with_broken_metadata_gives_the_advice(directory: Path, output: Path, metadata: str) -> None:
    prepared = dataset.prepare(directory, output)
    arrays = {name: array for name, array in vars(prepared).items() if isinstance(array, np.ndarray)}
    save_file(arrays, output, metadata={"trainbench_dataset": metadata})
    message = message_of(lambda: dataset.load(output))
    assert message.endswith("delete it and run snakemake again, which prepares the data set anew.")


def test_no_validation_samples_leave_all_images_to_train_on(directory: Path, output: Path) -> None:
    prepared = dataset.prepare(directory, output)
    images, labels = dataset.training_split(prepared, 0)
    assert (len(images), len(labels)) == (240, 240)


def test_all_but_one_image_may_be_set_aside(directory: Path, output: Path) -> None:
    prepared = dataset.prepare(directory, output)
    images, _ = dataset.training_split(prepared, 239)
    assert np.array_equal(images, prepared.train_images[-1:])


@pytest.mark.parametrize("validation_samples", [-1, 240, 5000])
def test_a_split_that_leaves_nothing_states_the_range(directory: Path, output: Path, validation_samples: int) -> None:
    prepared = dataset.prepare(directory, output)
    message = message_of(lambda: dataset.training_split(prepared, validation_samples))
    assert f"dataset.validation_samples is {validation_samples} where 0 to 239 was expected" in message


def test_the_written_images_can_be_learnt(tmp_path: Path) -> None:
    # Of the shared test data: the nearest class mean must tell the classes apart.
    idx_directory = write_idx_directory(tmp_path / "idx")
    data = dataset.prepare(idx_directory, tmp_path / "small.safetensors")
    means = np.stack([data.train_images[data.train_labels == label].mean(0) for label in range(data.classes)])
    distances = ((data.test_images[:, None].astype(float) - means) ** 2).sum((2, 3))
    assert (distances.argmin(1) == data.test_labels).mean() > 0.95


# --- prepared by whichever run finds it missing ---


def files_sha256(directory: Path) -> str:
    return fingerprint.of_files(idx.find_files(directory))


def test_a_data_set_that_is_there_is_not_prepared_again(directory: Path, output: Path) -> None:
    output.parent.mkdir()
    output.write_bytes(b"already prepared")
    dataset.prepare_if_absent(directory, output, "of other files")
    assert output.read_bytes() == b"already prepared"


def test_a_data_set_that_is_missing_is_prepared_and_takes_the_place_of_another(directory: Path, output: Path) -> None:
    output.parent.mkdir()
    (another := output.with_name("another.safetensors")).touch()
    (of_the_user := output.with_name("notes.txt")).touch()
    dataset.prepare_if_absent(directory, output, files_sha256(directory))
    assert dataset.load(output).sha256
    assert not another.exists()
    assert of_the_user.exists()


def test_files_that_changed_since_the_study_was_planned_are_refused(directory: Path, output: Path) -> None:
    planned = files_sha256(directory)
    (directory / TEST_LABELS).write_bytes((directory / TEST_LABELS).read_bytes()[:-1] + b"\0")
    message = message_of(lambda: dataset.prepare_if_absent(directory, output, planned))
    assert "they were changed since; run snakemake again" in message
    assert planned in message
    assert not output.exists()
