"""Results of others join the tables, and `snakemake compare` says what became slower, for real.

The runs are built, not measured: what Snakemake does with them is the same, and planted differences are known.
"""

import json
import shutil

import pandas as pd
import pytest

from metrics_builder import make_record
from results_folder import write_results

BATCH_SIZES = (16, 32)
CONFIG = ("models=[logistic]", "batch_sizes=[16,32]", "repeats=3")
OTHER_HOST = "intel-xeon-8t-5e6f7a8b"


def records(sitting, factor=1.0, **settings):
    """Three runs a cell whose seconds an epoch scatter by two percent."""
    return [
        make_record(
            "logistic",
            batch_size,
            repeat=repeat,
            train_seconds=(9.0, factor * (1 + 0.02 * (repeat - 2))),
            run_id=f"{sitting:08x}{batch_size:08x}{repeat:016x}",
            **settings,
        )
        for batch_size in BATCH_SIZES
        for repeat in (1, 2, 3)
    ]


@pytest.fixture(scope="module")
def checkout(new_checkout):
    """A checkout whose study has results, and the results of an earlier sitting and of another server beside it."""
    checkout = new_checkout()
    own = write_results(checkout.folder / "results", records(sitting=1))
    for path in own:
        path.with_name("samples.csv").touch()
    checkout.adopt(own, *CONFIG)
    write_results(checkout.folder / "same", records(sitting=2))
    write_results(checkout.folder / "fast", records(sitting=3, factor=1 / 1.2))
    write_results(checkout.folder / "server-b/results", records(sitting=4, host=OTHER_HOST))
    return checkout


@pytest.fixture
def copied(checkout, tmp_path):
    """A copy that a test may change."""
    shutil.copytree(checkout.folder, tmp_path / "study", symlinks=True)
    return type(checkout)(tmp_path / "study")


def made(checkout, target, *config):
    """Ask for a target as a user would: before the options, because --configfile takes all that follows it."""
    return checkout.snakemake(target, "--cores", "2", "--configfile", "study.yaml", "--config", *CONFIG, *config)


def sentence_of(run):
    """The one sentence that a call ended with."""
    sentences = [line for line in run.stderr.splitlines() if line.startswith("trainbench:")]
    assert len(set(sentences)) == 1, run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    return sentences[0]


def test_the_same_speed_shows_no_difference_and_succeeds(checkout):
    run = made(checkout, "compare", "baseline=same")
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[0] == "0 of 2 cells slower, 0 faster, 2 no difference shown"


def test_a_planted_slowdown_is_called_in_every_cell_fails_and_leaves_the_tables(checkout):
    run = made(checkout, "compare", "baseline=fast")
    assert run.returncode == 1
    assert "2 of 2 cells slower, 0 faster, 0 no difference shown" in sentence_of(run)
    table = pd.read_csv(checkout.folder / "results/tables/baseline.csv")
    assert table["verdict"].tolist() == ["slower", "slower"]
    assert table["ratio"].tolist() == pytest.approx([1.2, 1.2])
    assert (checkout.folder / "results/tables/baseline.md").read_text() in run.stdout


def test_without_a_baseline_one_sentence_says_what_to_give(checkout):
    run = made(checkout, "compare")
    assert run.returncode != 0
    assert "--config baseline=../results-before" in sentence_of(run)


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        ("nowhere", "'nowhere', which matches nothing"),
        ("data", "data holds no results"),
        ("resources/published", "holds published cells and no runs"),
    ],
)
def test_a_baseline_that_is_none_is_told_before_anything_runs(checkout, baseline, told):
    run = made(checkout, "compare", f"baseline={baseline}")
    assert run.returncode != 0
    assert told in sentence_of(run)
    assert "rule " not in run.stdout + run.stderr


def test_neither_sources_nor_a_baseline_make_anything_train_again(checkout):
    assert "train" not in checkout.planned("--config", *CONFIG, "sources=[server-b/results]", "baseline=same")


def test_runs_of_another_server_join_the_tables_under_their_host(checkout):
    run = made(checkout, "results/tables/cells.csv", "sources=[server-*/results, resources/published]")
    assert run.returncode == 0, run.stderr
    runs = pd.read_csv(checkout.folder / "results/tables/runs.csv")
    assert runs["host"].value_counts().to_dict() == {
        "amd-epyc-2t-1a2b3c4d": 6,
        OTHER_HOST: 6,
        "published-2017": 14,
    }


def test_a_source_named_by_a_date_in_a_file_joins_the_page(copied):
    (copied.folder / "server-b").rename(copied.folder / "2026-05-01")
    (copied.folder / "study.yaml").open("a").write("sources: [2026-05-01]\n")
    run = made(copied, "results/report.html")
    assert run.returncode == 0, run.stderr
    page = (copied.folder / "results/report.html").read_text(encoding="utf-8")
    assert "sources:\n- '2026-05-01'" in page or "sources:\n- &#39;2026-05-01&#39;" in page


def spoil(checkout):
    """Break every run of the other server but one, each in its own way; what is told of each."""
    runs = sorted((checkout.folder / "server-b/results").rglob("metrics.json"))
    own = checkout.folder / "results/runs/logistic/16/cpu/1/metrics.json"
    record = json.loads(runs[3].read_text())
    record["host"]["cpu"]["model"] = "<script>alert(1)</script>"
    contents = [
        ('{"schema_version": 1, ', "is not valid JSON"),
        (json.dumps({"schema_version": 99}), "has schema_version 99"),
        (own.read_text(), "is the record of logistic/16/cpu/1, but lies in logistic/16/cpu/3"),
        (json.dumps(record), "at host/cpu/model"),
        ('{"schema_version": ' + "9" * 10_000, "of 10000 characters is too large"),
    ]
    for path, (content, _) in zip(runs, contents, strict=False):
        path.write_text(content)
    return [(path.relative_to(checkout.folder), told) for path, (_, told) in zip(runs, contents, strict=False)]


def test_files_that_cannot_be_used_are_named_and_left_out_only_where_asked(copied):
    spoilt = spoil(copied)
    sources = "sources=[server-b]"
    refused = made(copied, "results/tables/runs.csv", sources)
    assert refused.returncode != 0
    sentence = sentence_of(refused)
    assert [(path, told) for path, told in spoilt if str(path) not in sentence] == []
    going_on = made(copied, "results/tables/runs.csv", sources, "skip_bad_sources=true")
    assert going_on.returncode == 0, going_on.stderr
    assert (pd.read_csv(copied.folder / "results/tables/runs.csv")["host"] == OTHER_HOST).sum() == 1
    listed = (copied.folder / "results/tables/comparison.md").read_text()
    assert "## Left out of the sources: 5" in listed
