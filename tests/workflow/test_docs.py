"""The documentation is right: its commands run, its settings are valid, its links lead somewhere.

Every command of every page is held against Snakemake's own parser and the checks of the config. Those of README and
how-tos are dry runs besides, on a checkout that takes itself for a server with 32 cores and four cards. What can be
measured in seconds really runs, in the tests at the end. Not carried out: `make setup`, which installs packages, and
which whoever runs these tests has called; jobs of Slurm, which tests/cluster submits; rsync and other programs.
"""

import hashlib
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake.cli import parse_args, parse_config
from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

from checkout import Checkout, make_checkout
from documentation import PAGES, REPOSITORY, Page
from documented_changes import add_network
from idx_writer import write_idx_directory
from metrics_builder import make_record
from nvml_library import compiled_nvml_library  # noqa: F401 - a fixture
from results_folder import write_results
from trainbench.plan import typed_config
from trainbench.plan.config_files import Layer
from trainbench.plan.configuration import study_of

PAGE = {page.name: page for page in map(Page.read, PAGES)}
GUIDES = ("README.md", "docs/tutorial.md", *(name for name in PAGE if name.startswith("docs/how-to/")))
NEW_MODEL = "docs/how-to/new-model.md"
NEW_ENGINE = "docs/how-to/new-engine.md"
TARGETS = {"compare", "so_far", "retry"}
OTHER_HOST = "intel-xeon-8t-5e6f7a8b"


@dataclass(frozen=True)
class Command:
    """A command line of a page, its comment left out."""

    page: str
    line: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables before the program."""
        found = (re.fullmatch(r"([A-Z_]+)=(.*)", word) for word in self.words)
        return {match[1]: match[2] for match in itertools.takewhile(bool, found) if match}

    @property
    def program(self) -> str:
        """The name of what is called."""
        return Path(self.words[len(self.variables)]).name

    @property
    def arguments(self) -> list[str]:
        """What follows the program."""
        return self.words[len(self.variables) + 1 :]


def commands_of(page: Page) -> Iterator[Command]:
    """The commands in blocks of code, and those in the text that say how many cores they take or call make."""
    for block in page.blocks:
        if block.language in {"", "bash"}:
            for line in block.text.replace("\\\n", " ").splitlines():
                command = re.sub(r"( #| >| \|).*", "", line).strip()
                if re.match(r"[\w./=,-]+ ", command):
                    yield Command(page.name, command)
    for code in page.codes:
        if re.match(r"(\.venv/bin/)?snakemake .*--cores (\d|all)|make [a-z]", code):
            yield Command(page.name, code)


COMMANDS = [command for page in PAGE.values() for command in commands_of(page)]


def called(program: str, pages=tuple(PAGE)) -> list[Command]:
    """The commands that call a program, each once."""
    return list({c.line: c for c in COMMANDS if c.page in pages and c.program == program}.values())


def files_of(page: Page) -> dict[str, str]:
    """The files that a page has its reader write: blocks of code whose first line is a comment with their name."""
    first_lines = ((re.match(r"# ([\w./-]+\.(?:yaml|py))\b", block.text), block) for block in page.blocks)
    return {match[1]: block.text for match, block in first_lines if match}


def shown(command: Command) -> str:
    return f"{command.page}: {command.line}"


# --- links ---


@pytest.mark.parametrize("page", PAGE.values(), ids=lambda page: page.name)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    broken = []
    for link in page.links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        if not target.exists() or (anchor and anchor not in Page.read(target).anchors):
            broken.append(link)
    assert broken == []


def test_every_page_of_the_documentation_can_be_reached_from_the_readme():
    reached, to_come = set(), [REPOSITORY / "README.md"]
    while to_come:
        path = to_come.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        links = (link.partition("#")[0] for link in Page.read(path).links if not re.match(r"[a-z]+:|#", link))
        to_come += [(path.parent / link).resolve() for link in links]
    assert {path for path in PAGES if "docs" in path.parts} - reached == set()


# --- every command ---


# Those of the how-tos for a new model and a new engine run in tests of their own, the latter's in test_new_engine.py:
# here there is no such model and no such engine.
@pytest.mark.parametrize(
    "command", [c for c in called("snakemake") if c.page not in {NEW_MODEL, NEW_ENGINE}], ids=shown
)
def test_a_call_of_snakemake_is_one_that_it_and_the_checks_of_the_config_accept(command, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    _, parsed = parse_args(command.arguments)
    assert {target for target in parsed.targets if not target.startswith("results/")} <= TARGETS
    config = load_configfile("config/config.yaml")
    written = {Path(name).name: text for name, text in files_of(PAGE[command.page]).items()}
    for path in parsed.configfile or ():
        update_config(config, yaml.safe_load(written[path.name]) if path.name in written else load_configfile(path))
    update_config(config, parse_config(parsed.config))
    submitted = parsed.profile is not None or parsed.executor not in {None, "local"}
    typed = typed_config.typed([Layer(config, None)])
    assert study_of(typed, gpu_found=None if submitted else True).runs()


@pytest.mark.parametrize("command", called("make"), ids=shown)
def test_a_call_of_make_names_a_target_that_there_is(command):
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {word for word in command.arguments if "=" not in word} <= set(phony.split())


@pytest.mark.parametrize("command", called("python"), ids=shown)
def test_a_script_that_is_called_is_there(command):
    script = command.arguments[0]
    assert script in files_of(PAGE[command.page]) or (REPOSITORY / script).exists()


# --- dry runs, as on a server with four cards ---

CARDS = ["aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"]
TRACE = "\n".join(
    [
        "driver 580.65.06",
        "cuda 13000",
        *(
            f"gpu {index} GPU-{name}-0000-0000-0000-000000000000 150000000000 00000000:{index + 10}:00.0 NVIDIA H200"
            for index, name in enumerate(CARDS)
        ),
        *(f"sample 0 {index} 50 1000000000 300000 1000000 40 1980 0" for index in range(len(CARDS))),
        "",
    ]
)


def make_place(folder: Path) -> Checkout:
    """A checkout called trainbench, as fresh from the repository but with small images in MNIST's place."""
    (folder / "trainbench").mkdir()
    place = make_checkout(folder / "trainbench", "{}\n")
    shutil.rmtree(place.folder / "resources/mnist")
    images = {"train_samples": 6400, "test_samples": 60, "height": 9, "width": 14, "classes": 4}
    write_idx_directory(place.folder / "resources/mnist", **images)
    (place.folder / ".venv").symlink_to(REPOSITORY / ".venv")
    return place


def as_server(place: Checkout) -> None:
    """Have a checkout take this machine for one of 32 cores whose TensorFlow can use cards."""
    module = place.folder / "workflow/scripts/trainbench/rules/call.py"
    text = module.read_text(encoding="utf-8")
    for found, pretended in (
        ("else _installed_frameworks()", "else dict.fromkeys(engines.ENGINES, True)"),
        ("return min(options.cores, usable)", "return 32"),
    ):
        assert text.count(found) == 1
        text = text.replace(found, pretended)
    module.write_text(text, encoding="utf-8")


def write_files_of(page: Page, folder: Path) -> None:
    """Write what a page has its reader write."""
    for name, text in files_of(page).items():
        (folder / name).write_text(text, encoding="utf-8")


def build_runs(folder: Path, *, models, batch_sizes, devices=("cpu",), repeats, host="amd-epyc-2t-1a2b3c4d", speed=1.0):
    """Results with a run of each, as if measured: `speed` seconds an epoch, one percent more with each repeat."""
    records = [
        make_record(
            model,
            batch_size,
            device,
            repeat,
            train_seconds=(9.0, speed * (1 + 0.01 * repeat)),
            host=host,
            run_id=hashlib.sha256(f"{folder}{speed}{model}{batch_size}{device}{repeat}".encode()).hexdigest()[:32],
        )
        for model, batch_size, device, repeat in itertools.product(models, batch_sizes, devices, range(1, repeats + 1))
    ]
    paths = write_results(folder, records)
    for path in paths:
        path.with_name("samples.csv").touch()
    return paths


def default_runs(folder: Path, devices=("cpu",), repeats=5, **settings) -> list[Path]:
    return build_runs(
        folder,
        models=("logistic", "conv", "lstm"),
        batch_sizes=(128, 256, 512),
        devices=devices,
        repeats=repeats,
        **settings,
    )


def adopt(place: Checkout, metrics: list[Path], *options: str, **variables: str) -> None:
    """Have Snakemake record metrics files as its own, of the study that these options ask for."""
    files = [f"results/{str(path).rpartition('/results/')[2]}" for path in metrics]
    touched = place.snakemake(*files, "--touch", "--forceall", "--cores", "2", *options, **variables)
    assert touched.returncode == 0, touched.stderr


@pytest.fixture(scope="module")
def four_cards(nvml_library, tmp_path_factory) -> dict[str, str]:
    """Environment variables that make NVML replay four cards."""
    trace = tmp_path_factory.mktemp("trace") / "trace.txt"
    trace.write_text(TRACE, encoding="utf-8")
    return {"LD_LIBRARY_PATH": str(nvml_library), "NVML_REPLAY": str(trace)}


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Checkout:
    """A checkout on a pretended server, beside it what the guides have their readers bring."""
    folder = tmp_path_factory.mktemp("server")
    place = make_place(folder)
    as_server(place)
    for name in GUIDES:
        write_files_of(PAGE[name], place.folder)
    for name in ("results-before", "server-a/results", "server-b/results"):
        build_runs(folder / name, models=["logistic"], batch_sizes=[128], repeats=1)
    return place


# What the tests below this one really run is not repeated here.
WALKED = ("docs/tutorial.md", "docs/how-to/new-data-set.md", NEW_MODEL, NEW_ENGINE, "docs/how-to/driver-upgrade.md")
# A study that is looked at before it is measured is one dry run.
DRY = {
    command.line.replace(" --dry-run --quiet", ""): command
    for command in called("snakemake", GUIDES)
    if command.page not in WALKED
}


@pytest.mark.parametrize("command", DRY.values(), ids=shown)
def test_a_command_of_readme_and_how_tos_is_a_dry_run_without_complaint(command, server, four_cards):
    run = server.snakemake(*command.arguments, "--dry-run", "--quiet", **four_cards, **command.variables)
    assert run.returncode == 0, run.stderr
    assert "trainbench:" not in run.stderr


# --- the guides, walked ---


def walked(page: str, place: Checkout, containing: str, *more: str, **variables: str):
    """Give the one command of a page with these words in it, and more options behind it."""
    (command,) = (c for c in called("snakemake", (page,)) if re.search(containing, c.line))
    run = place.snakemake(*command.arguments, *more, **variables)
    assert run.returncode == 0, run.stderr
    return run


def jobs_of(run) -> dict[str, int]:
    """How many jobs of each rule a dry run plans."""
    lines = (run.stdout + run.stderr).splitlines()
    return {rule: int(count) for rule, count in (m.groups() for m in map(JOBS_LINE.fullmatch, lines) if m)}


JOBS_LINE = re.compile(r"(\w+) +(\d+)")


def test_the_tutorial(tmp_path):
    page, place = "docs/tutorial.md", make_place(tmp_path)
    write_files_of(PAGE[page], place.folder)
    smoke = ("--configfile", "config/smoke.yaml", "--directory", "../first-look")
    results = tmp_path / "first-look/results"
    first = walked(page, place, r"first-look --dry-run")
    assert "\n8 runs to carry out" in first.stdout

    measured = {"models": ("logistic", "lstm"), "repeats": 2}
    adopt(place, build_runs(results, batch_sizes=(256, 512), **measured), *smoke)
    study = walked(page, place, r"first-look$", "--until", "tables")
    assert "| Seconds an epoch" in study.stdout

    larger = walked(page, place, r"1024\]'$", "--dry-run", "--quiet", "rules")
    assert jobs_of(larger)["train"] == 4

    added = build_runs(results, batch_sizes=(1024,), **measured)
    adopt(place, added, *smoke, "--config", "batch_sizes=[256,512,1024]")
    priced = walked(page, place, "prices=", "--dry-run", "--quiet", "rules")
    assert {"train", "tables"} & jobs_of(priced).keys() == {"tables"}

    own = walked(page, place, "study.yaml")
    assert f"\n{2 * 2 * 2 * 5} runs to carry out" in own.stdout


@pytest.mark.parametrize("page", GUIDES)
def test_a_guide_asks_for_a_plan_in_one_form(page):
    plans = [command.line for command in called("snakemake", (page,)) if re.search(r" (-n|--dry-run)\b", command.line)]
    assert [line for line in plans if not line.endswith(" --dry-run --quiet")] == []


def test_two_servers_side_by_side(tmp_path):
    page, place = "docs/how-to/two-servers.md", make_place(tmp_path)
    own = default_runs(place.folder / "results")
    adopt(place, own, "--config", "repeats=5")
    default_runs(tmp_path / "server-b/results", host=OTHER_HOST, speed=2.0)
    run = walked(page, place, r"repeats=5 sources=\S+$", "--until", "tables")
    assert "train" not in jobs_of(run)
    assert f"cpu @ {OTHER_HOST}" in run.stdout
    assert set(pd.read_csv(place.folder / "results/tables/hosts.csv")["host"]) == {OTHER_HOST, "amd-epyc-2t-1a2b3c4d"}


def test_two_servers_on_a_third_machine_that_has_measured_nothing(tmp_path):
    page, place = "docs/how-to/two-servers.md", make_place(tmp_path)
    default_runs(tmp_path / "server-a/results", repeats=1)
    default_runs(tmp_path / "server-b/results", repeats=1, host=OTHER_HOST)
    walked(page, place, "so_far", "--until", "tables_so_far")
    cells = pd.read_csv(place.folder / "results/so_far/tables/cells.csv")
    assert cells.query("n > 0").groupby("host").size().to_dict() == {OTHER_HOST: 9, "amd-epyc-2t-1a2b3c4d": 9}


def test_a_driver_upgrade_is_accepted(tmp_path, four_cards):
    page, place = "docs/how-to/driver-upgrade.md", make_place(tmp_path)
    as_server(place)
    devices = ("cpu", "gpu")
    default_runs(place.folder / "results", devices)
    moves = [command.words for command in called("mv", (page,))]
    assert len(moves) == 1
    subprocess.run(moves[0], cwd=place.folder, check=True)
    again = default_runs(place.folder / "results", devices, speed=1.001)
    adopt(place, again, "--config", "devices=[cpu,gpu]", "repeats=5", **four_cards)
    run = walked(page, place, r"repeats=5 baseline=\S+$", **four_cards)
    assert run.stdout.splitlines()[0] in PAGE[page].codes


def test_a_data_set_of_ones_own(tmp_path):
    page, place = "docs/how-to/new-data-set.md", make_place(tmp_path)
    write_files_of(PAGE[page], place.folder)
    labels = np.arange(600) % 3
    images = np.random.default_rng(0).integers(0, 256, (600, 6, 10)) // 2 + 42 * labels[:, None, None]
    arrays = {"train_images": images, "train_labels": labels, "test_images": images[:60], "test_labels": labels[:60]}
    np.savez(place.folder / "data/images.npz", **arrays)
    (converting,) = called("python", (page,))
    subprocess.run(converting.words, cwd=place.folder, check=True)
    walked(page, place, "models=logistic", "--until", "tables")
    (metrics,) = (tmp_path / "mine/results/runs").rglob("metrics.json")
    found = json.loads(metrics.read_text(encoding="utf-8"))["dataset"]
    assert (found["train_samples"], found["height"], found["width"], found["classes"]) == (600, 6, 10, 3)
    walked(page, place, "mine.yaml")


def test_a_new_model(tmp_path):
    place, page = make_place(tmp_path), PAGE[NEW_MODEL]
    write_files_of(page, place.folder)
    add_network(place.folder / "workflow/scripts/trainbench")
    walked(NEW_MODEL, place, "models=mlp", "--until", "tables")
    epochs = pd.read_csv(tmp_path / "mlp/results/tables/epochs.csv")
    assert epochs["model"].tolist() == ["mlp"] * 5
    assert epochs["loss"].iloc[-1] < epochs["loss"].iloc[0]
