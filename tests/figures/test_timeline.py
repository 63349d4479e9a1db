"""A timeline shows what was sampled, with phases and epochs where they were."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest

from metrics_builder import make_record
from samples_file import write_samples
from trainbench.figures.saving import save
from trainbench.figures.timeline import MOST_POINTS, PHASE_COLORS, read, timeline

# A built record's first epoch begins at 100 s, after 5.12 s of start-up, data and compiling.
BEGIN = 100.0 - 5.12
GPU = {
    "gpu0_utilization_percent": 95.0,
    "gpu0_memory_used_mib": 2048.0,
    "gpu0_power_watts": 350.0,
    "gpu0_sm_clock_mhz": 1980.0,
}


def drawn(folder, record, *, seconds=35.0, interval=0.5, gpus=0, **columns):
    times = np.arange(BEGIN - 0.2, BEGIN + seconds, interval)
    filled = {name: [value] * len(times) for name, value in columns.items()}
    write_samples(folder / "samples.csv", times.tolist(), gpus, **filled)
    return timeline(record, pd.read_csv(folder / "samples.csv"))


def cpu_run(folder, record=None, **settings):
    columns = {"cpu_percent": 180.0, "other_cpu_percent": 3.0, "resident_memory_mib": 1024.0}
    return drawn(folder, record or make_record(), **{**columns, **settings})


def labels(figure):
    return [axes.get_ylabel().split("\n")[0] for axes in figure.axes]


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def shown(figure):
    figure.draw_without_rendering()
    return [text.get_text().replace("\n", " ") for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def bars(axes, phase):
    """From where to where the bars of a phase reach, in seconds since the start."""
    color = tuple(int(PHASE_COLORS[phase][at : at + 2], 16) / 255 for at in (1, 3, 5))
    return [
        (path.vertices[:, 0].min(), path.vertices[:, 0].max())
        for bar in axes.collections
        if tuple(bar.get_facecolor()[0][:3]) == pytest.approx(color)
        for path in bar.get_paths()
    ]


def test_a_cpu_run_shows_cpu_and_memory(tmp_path):
    assert labels(cpu_run(tmp_path)) == ["CPU", "Memory"]


def test_a_gpu_run_shows_its_card_too(tmp_path):
    figure = cpu_run(tmp_path, make_record(device="gpu"), gpus=1, **GPU)
    assert labels(figure) == ["CPU", "Memory", "GPU in use", "GPU memory", "GPU power", "GPU clock"]


def test_what_a_card_does_not_tell_has_no_panel(tmp_path):
    known = {name: value for name, value in GPU.items() if "power" not in name}
    assert "GPU power" not in labels(cpu_run(tmp_path, make_record(device="gpu"), gpus=1, **known))


def test_the_training_s_cpu_and_that_of_the_rest_are_told_apart(tmp_path):
    figure = cpu_run(tmp_path)
    assert {"this run", "everything else on the host"} <= set(legend(figure))
    assert len({line.get_color() for line in figure.axes[0].lines if len(line.get_xdata()) > 2}) == 2


def test_memory_is_shown_in_gib(tmp_path):
    (line,) = cpu_run(tmp_path).axes[1].lines
    assert line.get_ydata()[0] == 1.0


def test_phases_lie_where_the_clock_has_them(tmp_path):
    axes = cpu_run(tmp_path).axes[0]
    ends = [bars(axes, phase)[0] for phase in ("start-up", "data", "compiling", "training")]
    assert ends == [pytest.approx(end, abs=1e-6) for end in ((0.0, 4.1), (4.1, 4.22), (4.22, 5.12), (5.12, 17.32))]


def test_each_epoch_is_marked(tmp_path):
    axes = cpu_run(tmp_path).axes[1]
    assert (len(bars(axes, "training")), len(bars(axes, "evaluation"))) == (2, 2)


def test_epochs_are_numbered(tmp_path):
    assert {"1", "2"} <= set(shown(cpu_run(tmp_path)))


def test_many_epochs_are_numbered_now_and_then(tmp_path):
    figure = cpu_run(tmp_path, make_record(train_seconds=[0.1] * 200, eval_seconds=0.01))
    numbers = [text.get_text() for text in figure.axes[0].texts if text.get_text().isdecimal()]
    assert numbers == ["1", *(str(number) for number in range(10, 201, 10))]


def numbers_of(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_epochs_too_short_for_a_number_each_are_numbered_together(tmp_path):
    figure = cpu_run(tmp_path, make_record(train_seconds=[0.1] * 3, eval_seconds=0.01))
    assert numbers_of(figure) == ["1\N{EN DASH}3"]


def test_a_single_epoch_has_its_number(tmp_path):
    assert numbers_of(cpu_run(tmp_path, make_record(train_seconds=[0.1]))) == ["1"]


def test_the_limit_of_all_cores_is_named_in_the_legend_where_it_covers_nothing(tmp_path):
    figure = cpu_run(tmp_path)
    assert "all 2 cores of the run" in legend(figure)
    assert numbers_of(figure) == ["1", "2"]


def test_a_resumed_run_shows_its_last_process_and_says_so(tmp_path):
    figure = cpu_run(tmp_path, make_record(train_seconds=[3.0] * 4, resumed_after_epochs=[2]))
    assert len(bars(figure.axes[0], "training")) == 2
    assert any("Resumed after epoch 2" in text for text in shown(figure))


def test_a_run_out_of_memory_shows_what_was_sampled_and_how_it_ended(tmp_path):
    figure = cpu_run(tmp_path, make_record(status="out_of_memory"))
    assert labels(figure) == ["CPU", "Memory"]
    assert any("out of memory" in text for text in shown(figure))


def test_a_run_without_samples_says_so_and_shows_its_epochs(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(make_record()))
    figure = timeline(*read(tmp_path / "metrics.json"))
    assert "nothing was sampled: samples.csv is missing or empty" in shown(figure)
    assert len(bars(figure.axes[0], "training")) == 2


def test_a_last_line_that_was_cut_short_is_left_out(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(make_record()))
    write_samples(tmp_path / "samples.csv", [100.0, 101.0], cpu_percent=[1.0, 2.0])
    with (tmp_path / "samples.csv").open("a") as file:
        file.write("102.0,3")
    assert read(tmp_path / "metrics.json")[1]["monotonic_seconds"].tolist() == [100.0, 101.0]


def test_readings_that_are_no_numbers_are_not_drawn(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps(make_record()))
    times = [100.0, "N/A", 102.0, 103.0]
    write_samples(tmp_path / "samples.csv", times, cpu_percent=[1.0, 2.0, "odd", 4.0])
    with (tmp_path / "samples.csv").open("a") as file:
        file.write("1,2,3" + ",4" * 50 + "\n")
    metrics, samples = read(tmp_path / "metrics.json")
    assert samples["monotonic_seconds"].tolist() == [100.0, 102.0, 103.0]
    assert samples["cpu_percent"].isna().tolist() == [False, True, False]
    assert timeline(metrics, samples).axes


def test_a_long_run_is_drawn_from_a_bounded_number_of_points(tmp_path):
    figure = cpu_run(tmp_path, make_record(train_seconds=[500.0, 500.0]), seconds=1000.0, interval=0.1)
    assert {len(line.get_xdata()) for line in figure.axes[0].lines if len(line.get_xdata()) > 2} == {MOST_POINTS}


def test_a_peak_of_a_long_run_is_in_its_band(tmp_path):
    times = np.arange(BEGIN, BEGIN + 1000.0, 0.1)
    percents = np.full(len(times), 50.0)
    percents[4321] = 190.0
    write_samples(tmp_path / "samples.csv", times.tolist(), cpu_percent=percents.tolist())
    figure = timeline(make_record(train_seconds=[500.0, 490.0]), pd.read_csv(tmp_path / "samples.csv"))
    band = next(bar for bar in figure.axes[0].collections if len(bar.get_paths()[0].vertices) > MOST_POINTS)
    assert band.get_paths()[0].vertices[:, 1].max() == 190.0


SITUATIONS = {
    "a run out of memory": {"status": "out_of_memory"},
    "one epoch": {"train_seconds": [0.01], "eval_seconds": 0.001},
    "200 epochs": {"train_seconds": [0.05] * 200, "eval_seconds": 0.01},
    "long names": {"model": "m" * 64, "device": "gpu-" + "x" * 60, "host": "h" * 60},
    "names like formulas and elements": {"device": "$\\frac{$<b>"},
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_a_timeline_is_saved_in_every_situation_without_a_warning_and_nothing_is_cut_off(tmp_path, situation):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = cpu_run(tmp_path, make_record(**SITUATIONS[situation]), gpus=1, **GPU)
        save(figure, tmp_path / "a.svg", tmp_path / "a.png")
    figure.draw_without_rendering()
    shown_inches, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert min(shown_inches.x0, shown_inches.y0, width - shown_inches.x1, height - shown_inches.y1) >= 0


def test_the_same_run_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        save(cpu_run(tmp_path), tmp_path / f"{name}.svg", tmp_path / f"{name}.png")
    for kind in ("svg", "png"):
        assert (tmp_path / f"first.{kind}").read_bytes() == (tmp_path / f"second.{kind}").read_bytes()
