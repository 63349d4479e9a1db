"""Finding, reading and checking the four IDX files of a data set."""

import gzip
import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from idx_writer import IMAGES_MAGIC, LABELS_MAGIC, idx_bytes, idx_header, write_file, write_idx_directory
from trainbench.datasets import idx
from trainbench.errors import InputError

MNIST = Path(__file__).parents[2] / "resources" / "mnist"
TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"

IMAGE_BYTES = 16 + 240 * 8 * 12  # of the training images that write_idx_directory writes by default


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return write_idx_directory(tmp_path / "plain")


@pytest.fixture
def compressed(tmp_path: Path) -> Path:
    return write_idx_directory(tmp_path / "compressed", compress=True)


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def shape_message(directory: Path) -> str:
    return message_of(lambda: idx.read_shape(idx.find_files(directory)))


def sums_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.glob("*-ubyte"))}


def write_sums(directory: Path, contents: dict[str, bytes]) -> None:
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
    (directory / "SHA256SUMS").write_text("".join(lines))


def test_mnist_has_the_shape_that_its_authors_state() -> None:
    shape = idx.read_shape(idx.find_files(MNIST))
    assert shape == idx.Shape(train_samples=60000, test_samples=10000, height=28, width=28)


def test_mnist_labels_begin_as_known() -> None:
    files = idx.find_files(MNIST)
    assert bytes(idx.read_payload(files.train_labels, idx.LABELS).values[:5]) == bytes([5, 0, 4, 1, 9])
    assert bytes(idx.read_payload(files.test_labels, idx.LABELS).values[:5]) == bytes([7, 2, 1, 0, 4])


def test_mnist_agrees_with_its_sums() -> None:
    files = idx.find_files(MNIST)
    content = idx.read_payload(files.test_images, idx.IMAGES).content
    idx.check_sums(MNIST, {TEST_IMAGES: content})


def test_mnist_files_are_compressed_without_name_and_time() -> None:
    flags_and_times = {path.read_bytes()[3:8] for path in MNIST.glob("*.gz")}
    assert flags_and_times == {bytes(5)}


def test_other_image_sizes_are_read(tmp_path: Path) -> None:
    directory = write_idx_directory(tmp_path, train_samples=9, test_samples=5, height=3, width=7)
    assert idx.read_shape(idx.find_files(directory)) == idx.Shape(9, 5, 3, 7)


def test_plain_and_compressed_files_mix(plain: Path) -> None:
    images = plain / TRAIN_IMAGES
    write_file(plain / f"{TRAIN_IMAGES}.gz", images.read_bytes())
    images.unlink()
    files = idx.find_files(plain)
    assert (files.train_images.name, files.train_labels.name) == (f"{TRAIN_IMAGES}.gz", TRAIN_LABELS)
    assert idx.read_shape(files) == idx.Shape(240, 80, 8, 12)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_dotted_names_are_found(tmp_path: Path, ending: str) -> None:
    directory = write_idx_directory(tmp_path, compress=bool(ending))
    for path in list(directory.iterdir()):
        path.rename(path.with_name(path.name.replace("-idx", ".idx")))
    assert idx.find_files(directory).test_labels.name == f"t10k-labels.idx1-ubyte{ending}"


def test_compressed_and_plain_payloads_are_the_same(plain: Path, compressed: Path) -> None:
    payloads = [
        idx.read_payload(idx.find_files(directory).train_images, idx.IMAGES) for directory in (plain, compressed)
    ]
    assert payloads[0] == payloads[1]


def test_a_payload_holds_the_values_that_were_written(tmp_path: Path) -> None:
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    write_file(tmp_path / "images.gz", idx_bytes(images))
    payload = idx.read_payload(tmp_path / "images.gz", idx.IMAGES)
    assert (payload.sizes, bytes(payload.values)) == ((2, 3, 4), images.tobytes())


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    message = message_of(lambda: idx.find_files(tmp_path / "absent"))
    assert f"{tmp_path / 'absent'} does not exist" in message
    assert "dataset.path" in message


def test_a_file_in_place_of_the_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_bytes(b"PK")
    message = message_of(lambda: idx.find_files(tmp_path / "data.zip"))
    assert f"{tmp_path / 'data.zip'} is not a directory" in message


def test_a_missing_file_is_named_with_all_names_looked_for(plain: Path) -> None:
    (plain / TEST_LABELS).unlink()
    message = message_of(lambda: idx.find_files(plain))
    assert f"{plain} has no t10k-labels file" in message
    for name in (TEST_LABELS, f"{TEST_LABELS}.gz", "t10k-labels.idx1-ubyte", "t10k-labels.idx1-ubyte.gz"):
        assert name in message


def test_a_plain_file_is_found_before_its_archive_and_other_spellings(plain: Path) -> None:
    for other in (f"{TEST_IMAGES}.gz", "t10k-images.idx3-ubyte", "test-images-idx3-ubyte"):
        write_file(plain / other, (plain / TEST_IMAGES).read_bytes())
    assert idx.find_files(plain).test_images.name == TEST_IMAGES


def with_archives(directory: Path) -> list[Path]:
    """Leave an archive beside each file, as torchvision does."""
    for path in sorted(directory.iterdir()):
        write_file(path.with_name(f"{path.name}.gz"), path.read_bytes())
    return sorted(directory.glob("*.gz"))


def test_equal_copies_of_all_four_files_are_one_data_set(plain: Path) -> None:
    contents = idx.read_contents(plain)
    with_archives(plain)
    assert idx.read_contents(plain) == contents


def test_all_copies_that_differ_are_named_in_one_sentence(plain: Path) -> None:
    for archive in with_archives(plain):
        content = gzip.decompress(archive.read_bytes())
        write_file(archive, content[:-1] + bytes([content[-1] ^ 1]))
    message = message_of(lambda: idx.read_contents(plain))
    pairs = [f"{name} and {name}.gz" for name in (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)]
    assert f"{plain} has {', '.join(pairs)} with different contents" in message


def test_a_copy_that_is_broken_is_named(plain: Path) -> None:
    archive = with_archives(plain)[0]
    archive.write_bytes(archive.read_bytes()[:-1])
    assert f"{archive} is cut short" in message_of(lambda: idx.read_contents(plain))


def as_emnist(directory: Path, prefix: str) -> None:
    """Name the files as EMNIST does."""
    for path in list(directory.iterdir()):
        path.rename(path.with_name(prefix + path.name.replace("t10k", "test")))


@pytest.mark.parametrize("prefix", ["emnist-letters-", "my_set.v2_"])
def test_a_prefix_that_all_four_files_have_is_taken(compressed: Path, prefix: str) -> None:
    contents = list(idx.read_contents(compressed).values())
    as_emnist(compressed, prefix)
    found = idx.read_contents(compressed)
    assert next(iter(found)).name == f"{prefix}{TRAIN_IMAGES}.gz"
    assert list(found.values()) == contents


def test_sums_list_the_files_by_their_names_with_the_prefix(plain: Path) -> None:
    as_emnist(plain, "emnist-digits-")
    contents = sums_of(plain)
    write_sums(plain, contents | {"emnist-digits-test-labels-idx1-ubyte": b"other"})
    assert "emnist-digits-test-labels-idx1-ubyte (decompressed) has the SHA-256 sum" in message_of(
        lambda: idx.read_contents(plain)
    )


def test_several_data_sets_in_one_folder_are_refused_by_their_prefixes(plain: Path, compressed: Path) -> None:
    as_emnist(plain, "emnist-letters-")
    as_emnist(compressed, "emnist-digits-")
    for path in compressed.iterdir():
        path.rename(plain / path.name)
    message = message_of(lambda: idx.find_files(plain))
    assert "begin with emnist-digits- and emnist-letters-, where one was expected" in message


def test_files_without_a_prefix_come_before_those_with_one(plain: Path, compressed: Path) -> None:
    as_emnist(compressed, "emnist-letters-")
    for path in compressed.iterdir():
        path.rename(plain / path.name)
    assert {path.name for path in idx.find_files(plain)} == {
        TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS,
    }  # fmt: skip


def test_a_file_that_is_missing_among_prefixed_ones_is_named_with_the_prefix(plain: Path) -> None:
    as_emnist(plain, "emnist-letters-")
    (plain / f"emnist-letters-{TRAIN_LABELS}").unlink()
    message = message_of(lambda: idx.find_files(plain))
    assert f"has no emnist-letters-train-labels file: one of emnist-letters-{TRAIN_LABELS}, " in message


def test_hidden_files_beside_a_data_set_are_none_of_it(plain: Path) -> None:
    as_emnist(plain, "emnist-letters-")
    for path in list(plain.iterdir()):
        path.with_name(f"._{path.name}").write_bytes(b"resource fork")
    assert idx.find_files(plain).test_labels.name == "emnist-letters-test-labels-idx1-ubyte"


@pytest.mark.parametrize("change_bytes", [-1, 1])
def test_the_shape_of_a_plain_file_of_wrong_size_is_refused_with_both_sizes(plain: Path, change_bytes: int) -> None:
    images = plain / TRAIN_IMAGES
    images.write_bytes((images.read_bytes() + b"\0")[: IMAGE_BYTES + change_bytes])
    message = shape_message(plain)
    assert str(images) in message
    assert f"{IMAGE_BYTES + change_bytes} bytes" in message
    assert f"(240 x 8 x 12) promises {IMAGE_BYTES}" in message


def test_the_shape_of_a_plain_labels_file_of_wrong_size_is_refused(plain: Path) -> None:
    labels = plain / TEST_LABELS
    labels.write_bytes(labels.read_bytes()[:-3])
    assert f"{labels} is cut short: it holds 85 bytes" in shape_message(plain)


def test_the_shape_is_read_without_decompressing_whole_files(compressed: Path) -> None:
    # Only the beginning of the stream is left, and that is enough.
    images = compressed / f"{TRAIN_IMAGES}.gz"
    images.write_bytes(images.read_bytes()[:2000])
    assert idx.read_shape(idx.find_files(compressed)).train_samples == 240


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_a_file_of_another_kind_is_refused_with_both_magic_numbers(tmp_path: Path, ending: str) -> None:
    directory = write_idx_directory(tmp_path, compress=bool(ending))
    shutil.copy(directory / f"{TRAIN_LABELS}{ending}", directory / f"{TRAIN_IMAGES}{ending}")
    message = shape_message(directory)
    assert f"{directory / TRAIN_IMAGES}{ending} begins with the number {LABELS_MAGIC}" in message
    assert f"has {IMAGES_MAGIC}" in message


def test_a_file_shorter_than_its_header_is_refused_with_both_lengths(plain: Path) -> None:
    labels = plain / TRAIN_LABELS
    labels.write_bytes(labels.read_bytes()[:6])
    message = shape_message(plain)
    assert f"{labels} is cut short: it holds 6 bytes where the header alone" in message
    assert "of labels has 8" in message


def test_an_empty_compressed_file_is_refused(compressed: Path) -> None:
    images = compressed / f"{TEST_IMAGES}.gz"
    images.write_bytes(b"")
    assert f"{images} is cut short: it holds 0 bytes" in shape_message(compressed)


def test_a_gzip_file_that_ends_within_the_header_is_refused(compressed: Path) -> None:
    images = compressed / f"{TEST_IMAGES}.gz"
    images.write_bytes(images.read_bytes()[:8])
    assert f"{images} is cut short: its gzip stream breaks off within the header" in shape_message(compressed)


def test_a_file_without_samples_is_refused(plain: Path) -> None:
    images = plain / TEST_IMAGES
    images.write_bytes(idx_header(IMAGES_MAGIC, 0, 8, 12))
    message = shape_message(plain)
    assert f"{images} declares the size 0 x 8 x 12: every dimension of images must be at least 1" in message


def test_different_numbers_of_images_and_labels_are_both_stated(plain: Path) -> None:
    write_file(plain / TEST_LABELS, idx_bytes(np.zeros(79, np.uint8)))
    message = shape_message(plain)
    assert f"{plain / TEST_LABELS} holds 79 labels but {plain / TEST_IMAGES} holds 80 images" in message


def test_different_sizes_of_training_and_test_images_are_both_stated(plain: Path) -> None:
    write_file(plain / TEST_IMAGES, idx_bytes(np.zeros((80, 12, 8), np.uint8)))
    message = shape_message(plain)
    assert f"{plain / TEST_IMAGES} holds images of 12 x 8" in message
    assert f"{plain / TRAIN_IMAGES} holds images of 8 x 12" in message


def test_a_file_named_gz_that_is_not_compressed_is_refused(compressed: Path) -> None:
    images = compressed / f"{TRAIN_IMAGES}.gz"
    images.write_bytes(gzip.decompress(images.read_bytes()))
    message = shape_message(compressed)
    assert f"{images} is not a sound gzip file" in message
    assert "drop .gz" in message


def test_a_corrupt_gzip_stream_is_refused_when_it_is_read(compressed: Path) -> None:
    images = compressed / f"{TRAIN_IMAGES}.gz"
    content = bytearray(images.read_bytes())
    content[len(content) // 2] ^= 0xFF
    images.write_bytes(content)
    message = message_of(lambda: idx.read_payload(images, idx.IMAGES))
    assert f"{images} is not a sound gzip file" in message


def test_a_gzip_file_whose_own_checksum_differs_is_refused(compressed: Path) -> None:
    labels = compressed / f"{TRAIN_LABELS}.gz"
    content = bytearray(labels.read_bytes())
    content[-8] ^= 0xFF  # the first byte of the CRC-32 that ends a gzip member
    labels.write_bytes(content)
    message = message_of(lambda: idx.read_payload(labels, idx.LABELS))
    assert f"{labels} is not a sound gzip file (CRC check failed" in message


def test_a_truncated_gzip_file_is_refused_with_both_lengths(tmp_path: Path) -> None:
    path = tmp_path / "images.gz"
    # Stored, not deflated, so that it is known how much comes out of the half that is left.
    whole = gzip.compress(idx_bytes(np.zeros((100, 8, 12), np.uint8)), compresslevel=0)
    path.write_bytes(whole[: 10 + 5 + 4000])  # gzip header, block header, contents
    message = message_of(lambda: idx.read_payload(path, idx.IMAGES))
    assert f"{path} is cut short: its gzip stream breaks off after 4000 decompressed bytes" in message
    assert "(100 x 8 x 12) promises 9616" in message


def test_a_gzip_file_without_its_last_byte_is_refused(compressed: Path) -> None:
    labels = compressed / f"{TRAIN_LABELS}.gz"
    labels.write_bytes(labels.read_bytes()[:-1])
    message = message_of(lambda: idx.read_payload(labels, idx.LABELS))
    assert f"{labels} is cut short: its gzip stream breaks off after 248 decompressed bytes" in message


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(("change_bytes", "fault"), [(-1, "is cut short"), (2, "goes on after its last value")])
def test_contents_of_wrong_length_are_refused_with_both_lengths(
    plain: Path, ending: str, change_bytes: int, fault: str
) -> None:
    path = plain / f"changed{ending}"
    write_file(path, ((plain / TRAIN_IMAGES).read_bytes() + b"\0\0")[: IMAGE_BYTES + change_bytes])
    message = message_of(lambda: idx.read_payload(path, idx.IMAGES))
    assert f"{path} {fault}: it holds {IMAGE_BYTES + change_bytes} bytes" in message
    assert f"promises {IMAGE_BYTES}" in message


def test_a_file_that_vanishes_after_it_was_found_is_named(plain: Path) -> None:
    files = idx.find_files(plain)
    files.test_images.unlink()
    message = message_of(lambda: idx.read_shape(files))
    assert f"{files.test_images} cannot be read (No such file or directory)" in message


def test_without_sums_nothing_is_compared(plain: Path) -> None:
    idx.check_sums(plain, {TRAIN_IMAGES: b"anything"})


@pytest.mark.parametrize(
    "rewrite",
    [
        lambda text: text,
        lambda text: text.replace("  ", " *"),
        lambda text: text.replace("  ", "  ./"),
        lambda text: re.sub("^[0-9a-f]{64}", lambda match: match[0].upper(), text, flags=re.MULTILINE),
        lambda text: text + f"{'0' * 64}  some-other-file\n\n",
    ],
    ids=["text mode", "binary mode", "names with ./", "upper case", "other files and blank lines"],
)
def test_sums_that_agree_are_accepted_in_every_form_of_sha256sum(plain: Path, rewrite: Callable[[str], str]) -> None:
    contents = sums_of(plain)
    write_sums(plain, contents)
    sums = plain / "SHA256SUMS"
    sums.write_text(rewrite(sums.read_text()))
    idx.check_sums(plain, contents)


def test_a_sum_that_differs_is_refused_with_both_sums(plain: Path) -> None:
    contents = sums_of(plain)
    write_sums(plain, contents)
    contents[TEST_LABELS] += b"\0"
    message = message_of(lambda: idx.check_sums(plain, contents))
    assert str(plain / TEST_LABELS) in message
    assert hashlib.sha256(contents[TEST_LABELS]).hexdigest() in message
    assert hashlib.sha256(contents[TEST_LABELS][:-1]).hexdigest() in message
    assert str(plain / "SHA256SUMS") in message


def test_a_file_without_a_sum_is_refused_by_name(plain: Path) -> None:
    contents = sums_of(plain)
    write_sums(plain, {name: content for name, content in contents.items() if name != TRAIN_LABELS})
    message = message_of(lambda: idx.check_sums(plain, contents))
    assert f"{plain / 'SHA256SUMS'} lists no sum for {TRAIN_LABELS}" in message


def test_a_malformed_line_of_sums_is_refused_by_number_and_text(plain: Path) -> None:
    contents = sums_of(plain)
    write_sums(plain, contents)
    with (plain / "SHA256SUMS").open("a") as file:
        file.write("d41d8cd98f00b204e9800998ecf8427e  md5-not-sha256\n")
    message = message_of(lambda: idx.check_sums(plain, contents))
    assert f"{plain / 'SHA256SUMS'} line 5 is 'd41d8cd98f00b204e9800998ecf8427e  md5-not-sha256'" in message


def test_two_different_sums_for_one_file_are_refused(plain: Path) -> None:
    contents = sums_of(plain)
    write_sums(plain, contents)
    with (plain / "SHA256SUMS").open("a") as file:
        file.write(f"{'0' * 64}  {TRAIN_LABELS}\n")
    message = message_of(lambda: idx.check_sums(plain, contents))
    assert f"line 5 gives {TRAIN_LABELS} the sum {'0' * 64}" in message


def test_sums_that_are_not_text_are_refused(plain: Path) -> None:
    (plain / "SHA256SUMS").write_bytes(b"\xff\xfe")
    assert f"{plain / 'SHA256SUMS'} cannot be read" in message_of(lambda: idx.check_sums(plain, sums_of(plain)))
