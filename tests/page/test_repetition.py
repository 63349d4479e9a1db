"""The commit of the code is known where git knows it, and unknown elsewhere."""

import subprocess

import pytest

from trainbench.page.repetition import commit_of


def git(folder, *arguments):
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", folder, *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file.txt").write_text("one")
    git(tmp_path, "add", "file.txt")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_a_clean_repository_gives_its_commit(repository):
    commit = commit_of(repository)
    assert (commit.sha, commit.changed) == (git(repository, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize(
    ("remote", "shown"),
    [
        ("https://example.org/group/trainbench.git", True),
        ("https://name:secret@example.org/group/trainbench.git", False),
        ("https://name@example.org/group/trainbench.git", False),
        ("https://example.org/trainbench?token=secret", False),
        ("git@example.org:group/trainbench.git", False),
        ("/srv/git/trainbench.git", False),
        ("https://[", False),
    ],
)
def test_only_an_address_that_anybody_may_see_is_where_the_commit_comes_from(repository, remote, shown):
    git(repository, "config", "remote.origin.url", remote)
    assert commit_of(repository).origin == (remote if shown else None)


def test_a_repository_without_a_remote_comes_from_nowhere(repository):
    assert commit_of(repository).origin is None


def test_an_edited_file_is_told(repository):
    (repository / "file.txt").write_text("two")
    assert commit_of(repository).changed


def test_files_that_the_repository_does_not_hold_count_for_nothing(repository):
    (repository / "results").mkdir()
    (repository / "results/new.txt").write_text("x")
    assert not commit_of(repository).changed


def test_a_folder_inside_another_repository_has_no_commit(repository):
    (repository / "copy").mkdir()
    assert commit_of(repository / "copy") is None


def test_a_folder_outside_of_any_repository_has_no_commit(tmp_path):
    assert commit_of(tmp_path) is None


def test_without_git_there_is_no_commit(repository, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert commit_of(repository) is None
