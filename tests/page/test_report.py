"""The page holds what the tables and figures say, whole or with a word on what is left out, and nothing that runs."""

import base64
import hashlib
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest

from metrics_builder import absent_run, make_record
from page_builder import REPETITION, draw, make_page, write_tables
from page_studies import three_frameworks
from trainbench.conclusions.all_tables import Question
from trainbench.figures import timeline
from trainbench.figures.looks import COLORS
from trainbench.figures.saving import save
from trainbench.page import cell_tables, drawn, report
from trainbench.page import table as tables_of_pages
from trainbench.page.repetition import Commit
from trainbench.results.tables import TableOrder

HOSTS = ("amd-epyc-2t-1a2b3c4d", "intel-xeon-8t-5e6f7a8b")
ORDER = TableOrder(models=("conv", "lstm"), batch_sizes=(128, 512), devices=("cpu", "gpu"))


def study(repeats=2, models=("conv",), hosts=HOSTS[:1], **settings):
    return [
        make_record(
            model,
            size,
            device,
            repeat,
            host=host,
            train_seconds=[(1.0 if device == "gpu" else 12.0) * (1 + repeat / 50)] * 3,
            **settings,
        )
        for model in models
        for size in (128, 512)
        for device in ("cpu", "gpu")
        for host in hosts
        for repeat in range(1, repeats + 1)
    ]


def page_of(folder, records, names=("speedup",), **question):
    return make_page(folder, records, Question(order=ORDER, **question), names=names).read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Collects elements, their attributes and all text."""

    def __init__(self):
        super().__init__()
        self.elements, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def read(html):
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    return page_of(
        tmp_path_factory.mktemp("page"),
        study(models=("conv", "lstm"), flags=["other_load"]),
        target_accuracy={"conv": 0.8},
        prices={"gpu": 2.5, "cpu": 0.4},
    )


@pytest.fixture(scope="module")
def page(html):
    return read(html)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """The tables of two runs a cell of one model, which tests only read."""
    return write_tables(tmp_path_factory.mktemp("tables"), study())


@pytest.fixture(scope="module")
def speedup_figure(tables):
    return draw(tables, ORDER, ["speedup"])


@pytest.fixture(scope="module")
def one_device_page(tmp_path_factory):
    records = [record for record in study() if record["device"] == "cpu"]
    return read(page_of(tmp_path_factory.mktemp("one-device"), records, names=()))


def page_from(folder, tables, figures=(), timelines=(), **repetition):
    """The page of tables that are there."""
    page = folder / "report.html"
    report.write_page(tables, figures, ORDER, replace(REPETITION, **repetition), page, timelines=timelines)
    return page.read_text(encoding="utf-8")


# --- one file that loads nothing and runs nothing but its own script ---


def test_nothing_refers_to_anywhere_else(page):
    addresses = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "action", "data", "poster"}
    ]
    assert addresses
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)


def test_the_policy_allows_the_page_s_own_style_and_script_alone(html, page):
    (policy,) = [attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_no_element_has_a_style_or_a_handler_of_its_own(page):
    assert not [
        name for _, attributes in page.elements for name in attributes if name == "style" or name.startswith("on")
    ]


def test_no_two_elements_have_the_same_id(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_link_within_the_page_leads_somewhere(page):
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    links = {attributes["href"][1:] for tag, attributes in page.elements if tag == "a"}
    assert links <= ids


def test_every_table_has_a_caption_and_scopes(html):
    tables = re.findall(r"<table.*?</table>", html, re.DOTALL)
    assert tables
    for table in tables:
        assert "<caption" in table
        assert not re.search(r"<th(?![^>]*scope=)(?!ead)", table)


# --- what it says ---


def test_the_answer_comes_before_everything_else(page):
    assert page.text.index("gpu trains 12.0\u00d7") < page.text.index("Which device for which model")


@pytest.mark.parametrize(
    "section",
    ["devices", "speedups", "comparison", "accuracy", "cost", "use", "machines", "flagged", "method", "again"],
)
def test_a_whole_study_has_every_section(page, section):
    assert ("section", {"id": section, "aria-labelledby": f"{section}-heading"}) in page.elements


def test_every_flagged_run_stands_with_its_advice(page):
    assert page.text.count("there was other_load") == 16
    assert page.text.count("see to other_load") >= 16


def test_commit_fingerprint_and_command_are_named(page):
    assert f"git checkout {'1' * 40}" in page.text
    assert "--configfile study.yaml" in page.text
    assert "models: [conv]" in page.text


def test_runs_of_other_code_than_the_commit_s_are_told(page):
    assert "Runs were measured by other training code than this one" in page.text


def test_runs_of_the_commit_s_code_are_told(tmp_path, tables):
    html = page_from(tmp_path, tables, code_sha256=[hashlib.sha256(b"code").hexdigest()])
    assert "All runs were measured by exactly this training code" in html


def test_commands_that_do_not_bring_back_uncommitted_changes_say_so(tmp_path, tables):
    html = page_from(tmp_path, tables, commit=Commit("1" * 40, changed=True))
    assert "These commands do not bring back the uncommitted changes: commit them and make the page again." in html
    assert f"commit <code>{'1' * 12}</code> with changes" in html


def test_a_clean_commit_has_no_changes_to_bring_back(page):
    assert "bring back" not in page.text
    assert "with changes" not in page.text


def test_where_to_clone_from_is_told_where_that_is_known(tmp_path, tables):
    commit = Commit("1" * 40, changed=False, origin="https://example.org/trainbench.git")
    html = page_from(tmp_path, tables, commit=commit)
    assert f"git clone https://example.org/trainbench.git trainbench\ncd trainbench\ngit checkout {'1' * 40}\n" in html


def test_a_reader_can_check_a_number(page):
    assert "In epochs.csv the 3 epochs of run 1 took 12.24, 12.24, 12.24 s" in page.text
    assert "The 2 runs of the cell have 12.24, 12.48 s, whose geometric mean is 12.36 s" in page.text


def test_a_study_of_one_device_has_no_speedups(one_device_page):
    assert "How many times faster than" not in one_device_page.text
    assert "on cpu (AMD EPYC 9B14, 2 threads)" in one_device_page.text


def test_a_study_of_one_device_compares_none(one_device_page):
    told = ("Which device", "A device may only win", "A column is a device", "Speedup", "GPU utilisation (%)")
    assert [words for words in told if words in one_device_page.text] == []


def test_other_programs_are_named_beside_what_else_can_explain_an_idle_device(tmp_path, tables):
    blank = [tmp_path / f"{name}.svg" for name in ("roofline", "cpu_percent")]
    for path in blank:
        path.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>')
    captions = " ".join(read(page_from(tmp_path, tables, blank)).text.split())
    assert "or to other programs (hollow, \N{DAGGER} in the table)" in captions
    assert "most of them wait, or other programs have them (hollow)" in captions


def test_runs_without_results_are_listed_with_what_to_do(tmp_path):
    absent = [absent_run("lstm", 128, "gpu", 1, "gpu", "failed")]
    question = Question(order=ORDER)
    text = read(make_page(tmp_path, study(), question, names=(), absent=absent).read_text()).text
    assert "8 of 9 runs have results; 1 failed." in text
    assert "see train.log in the run's folder" in text


def test_nothing_but_failures_makes_a_page_too(tmp_path):
    text = read(page_of(tmp_path, study(status="out_of_memory"), names=())).text
    assert "No run has completed" in text


def test_published_results_are_told_from_measured_ones(tmp_path, tables):
    with_published = shutil.copytree(tables, tmp_path / "tables")
    with (with_published / "settings.csv").open("a") as file:
        file.write("published,published-2017,,provenance,read by hand from top,\n")
    assert "Published, not measured here. read by hand from top" in read(page_from(tmp_path, with_published)).text


# --- how large it gets ---


def test_rows_that_are_not_shown_are_counted_and_their_file_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(tables_of_pages, "MOST_ROWS", 3)
    monkeypatch.setattr(cell_tables, "MOST_GROUPS", 1)
    text = read(page_of(tmp_path, study(flags=["other_load"]), names=())).text
    assert "5 more rows are not shown: all of them are in tables/checks.csv." in text
    assert "1 more row is not shown: all of them are in tables/cells.csv." in text
    assert "1 more models and batch sizes are not shown" in text


def test_a_figure_too_large_to_be_inline_is_a_picture(tmp_path, tables, speedup_figure, monkeypatch):
    monkeypatch.setattr(drawn, "MOST_INLINE_CHARACTERS", 10)
    page = read(page_from(tmp_path, tables, speedup_figure))
    (picture,) = [attributes for tag, attributes in page.elements if tag == "img"]
    assert picture["alt"].startswith("Speedup over batch sizes")


def test_a_figure_too_large_for_any_page_is_named(tmp_path, tables, speedup_figure, monkeypatch):
    monkeypatch.setattr(drawn, "MOST_FIGURE_BYTES", 10)
    monkeypatch.setattr(drawn, "MOST_PNG_BYTES", 10)
    text = read(page_from(tmp_path, tables, speedup_figure)).text
    assert "is too large for this page: figures/speedup.svg" in text


# --- looks ---


def test_title_and_note_of_a_figure_stand_above_it_as_text(html):
    figure = html.partition('<figure id="figure-speedup">')[2].partition("</figure>")[0]
    before, _, after = figure.partition("<svg")
    assert '<p class="heading">How many times faster than cpu each device trains</p>' in before
    assert '<p class="note">Ratio of the seconds an epoch' in before
    assert "Ratio of the seconds" not in after


@pytest.fixture(scope="module")
def timeline_figure(tmp_path_factory):
    svg = tmp_path_factory.mktemp("timeline") / "conv_512_cpu_1.svg"
    figure = timeline.timeline(make_record(), pd.DataFrame({"monotonic_seconds": []}))
    save(figure, svg, svg.with_suffix(".png"))
    return svg


def test_a_timeline_is_on_the_page_folded_up_under_its_own_title(tmp_path, tables, timeline_figure):
    folded = r'<details><summary>(What the machine did[^<]*)</summary>\s*<figure id="figure-conv_512_cpu_1">'
    (title,) = re.findall(folded, page_from(tmp_path, tables, timelines=[timeline_figure]))
    assert "conv, batch size 512 on cpu, repeat 1" in title


def test_timelines_stand_model_by_model_as_everything_else_does(tmp_path, timeline_figure):
    tables = write_tables(tmp_path, study(models=("conv", "lstm")), Question(order=ORDER))
    names = [f"{model}_{size}_cpu_1" for size in (128, 512) for model in ("lstm", "conv")]
    paths = [shutil.copy(timeline_figure, tmp_path / f"{name}.svg") for name in names]
    shown = re.findall(r'<figure id="figure-(\w+)">', page_from(tmp_path, tables, timelines=paths))
    assert shown == ["conv_128_cpu_1", "conv_512_cpu_1", "lstm_128_cpu_1", "lstm_512_cpu_1"]


def test_the_phases_of_timelines_have_colours_for_dark_pages_too(html):
    assert [color for color in timeline.PHASE_COLORS.values() if f'[fill="{color}"]' not in html] == []


def test_devices_have_the_colours_of_the_figures(html):
    for index, color in enumerate(COLORS):
        assert f"--device-{index}:{color};" in html


def test_every_colour_has_its_counterpart_on_a_dark_ground():
    assert len(report.DARK_COLORS) == len(COLORS)


def test_the_same_study_gives_the_same_bytes(tmp_path, tables, speedup_figure):
    assert page_from(tmp_path, tables, speedup_figure) == page_from(tmp_path, tables, speedup_figure)


# --- frameworks and several GPUs ---


def sections(page):
    return {attributes["id"] for tag, attributes in page.elements if tag == "section"}


def test_a_study_of_one_framework_and_one_gpu_a_run_has_no_sections_of_several(page):
    assert not {"frameworks", "gpus"} & sections(page)


def test_a_study_of_several_frameworks_and_numbers_of_gpus_shows_them_side_by_side(tmp_path):
    records, order = three_frameworks()
    page = read(make_page(tmp_path, records, Question(order=order), names=()).read_text(encoding="utf-8"))
    assert {"frameworks", "gpus"} <= sections(page)
    assert "Speedup over TensorFlow float32" in page.text
    assert "anything about large networks or other frameworks than JAX, PyTorch and TensorFlow." in page.text
    assert "cpu-torch-bf16 AMD EPYC 9B14, 16 threads, PyTorch, bfloat16" in page.text


def test_code_of_frameworks_that_have_no_results_yet_is_no_other_code(tmp_path, tables):
    now = [hashlib.sha256(code).hexdigest() for code in (b"code", b"code/torch")]
    assert "All runs were measured by exactly this training code" in page_from(tmp_path, tables, code_sha256=now)
