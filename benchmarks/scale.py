"""Shows how long all tables, figures and the page take, and how much memory, for 10 to 10,000 runs.

    .venv/bin/python benchmarks/scale.py

Writes synthetic metrics files that their schema accepts (models x batch sizes x devices x repeats), then does in a
fresh process what rule tables does. Prints a row for each number of runs; exit code 1 when 10,000 runs take more than
20 s or 500 MB, or when each of the last 9,000 costs more than 1.5 times as much as those before. Of the last number it
draws all figures and makes the page too, and opens and scrolls it where there is a Chromium; exit code 1 when making it
takes more than 30 s or it has more than 10 MB. Takes three minutes.
"""

import argparse
import itertools
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

RUNS: Final = (10, 100, 1_000, 10_000)
SECONDS_GOAL: Final = 20.0
BYTES_GOAL: Final = 500e6
GROWTH_GOAL: Final = 1.5
PAGE_SECONDS_GOAL: Final = 30.0
PAGE_BYTES_GOAL: Final = 10e6
TRIES: Final = 3

EPOCHS: Final = 10
BATCH_SIZES: Final = (64, 128, 256, 512)
REPEATS: Final = range(1, 6)
THREADS: Final = {"cpu-1t": 1, "cpu-2t": 2, "cpu-4t": 4, "cpu": 8, "gpu": 2}
SECONDS: Final = {"cpu-1t": 40.0, "cpu-2t": 21.0, "cpu-4t": 12.0, "cpu": 8.0, "gpu": 1.5}


@dataclass(frozen=True)
class Cost:
    """What the tables of so many runs took: wall seconds and peak resident bytes of a fresh process, with imports."""

    runs: int
    seconds: float
    peak_bytes: float


def write_runs(folder: Path, count: int) -> None:
    """Write so many metrics files to `folder`, each in a folder of its own as the pipeline has them."""
    from metrics_builder import make_record
    from trainbench.records import record

    noise = random.Random(count)
    cells = itertools.product(range(1, count + 1), BATCH_SIZES, SECONDS, REPEATS)
    for model, batch_size, device, repeat in itertools.islice(cells, count):
        seconds = SECONDS[device] * noise.lognormvariate(0.0, 0.05)
        built = make_record(
            f"model{model}",
            batch_size,
            device,
            repeat,
            train_seconds=[seconds * noise.lognormvariate(0.0, 0.01) for _ in range(EPOCHS)],
            usable_threads=8,
            device_used={"threads": {"intra_op": THREADS[device]}},
        )
        path = folder / f"model{model}" / str(batch_size) / device / str(repeat) / "metrics.json"
        path.parent.mkdir(parents=True)
        record.write(built, path)


def make_tables(runs: Path, tables_folder: Path) -> None:
    """Do what rule tables does with the metrics files in `runs`."""
    from trainbench.conclusions import analysis
    from trainbench.conclusions.all_tables import Question
    from trainbench.results import sources
    from trainbench.results.tables import TableOrder

    analysis.write_all(
        own=sorted(runs.rglob("metrics.json")),
        found=sources.Found(),
        question=Question(order=TableOrder(batch_sizes=BATCH_SIZES, devices=tuple(SECONDS))),
        folder=tables_folder,
    )


def cost(count: int, folder: Path) -> Cost:
    """Write runs, make their tables in fresh processes and see what that took: the median time, the highest peak."""
    write_runs(folder / "runs", count)
    seconds, peaks = [], []
    for _ in range(TRIES):
        begin = time.monotonic()
        # The fresh process says itself what its peak was: that of children would be the greatest of all so far.
        ended = subprocess.run(
            [sys.executable, __file__, "--tables-of", str(folder)], check=True, stdout=subprocess.PIPE, encoding="utf-8"
        )
        seconds.append(time.monotonic() - begin)
        peaks.append(float(ended.stdout.split()[-1]))
    return Cost(count, statistics.median(seconds), max(peaks))


def draw_figures(folder: Path) -> None:
    """Do what rule figure does, for every figure of a folder with tables; print what each took."""
    from trainbench.conclusions.all_tables import WrittenTables
    from trainbench.figures import of_study
    from trainbench.figures.drawn_study import DrawnStudy
    from trainbench.figures.saving import save
    from trainbench.results.tables import TableOrder

    order = TableOrder(batch_sizes=BATCH_SIZES, devices=tuple(SECONDS))
    study = DrawnStudy(WrittenTables(folder / "tables"), order)
    for name in of_study.NAMES:
        begin = time.monotonic()
        svg = folder / "figures" / f"{name}.svg"
        save(of_study.figure(name).draw(study), svg, svg.with_suffix(".png"))
        print(f"| {name} | {time.monotonic() - begin:.1f} | {svg.stat().st_size / 1e6:.1f} |", flush=True)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"\nPeak while figures were drawn: {peak_bytes / 2**20:.0f} MiB", flush=True)


def page_cost(folder: Path) -> tuple[float, Path]:
    """Make the page of a folder with tables and figures in a fresh process: the seconds, and the page."""
    begin = time.monotonic()
    subprocess.run([sys.executable, __file__, "--page-of", str(folder)], check=True)
    return time.monotonic() - begin, folder / "report.html"


def make_page(folder: Path) -> None:
    """Do what rule page does with the tables and figures of a folder."""
    from trainbench.page import report
    from trainbench.page.repetition import Repetition
    from trainbench.results.tables import TableOrder

    report.write_page(
        folder / "tables",
        sorted((folder / "figures").glob("*.svg")),
        TableOrder(batch_sizes=BATCH_SIZES, devices=tuple(SECONDS)),
        Repetition("", ["0" * 64], None),
        folder / "report.html",
    )


def opened(page: Path) -> str:
    """How long Chromium takes to open a page, and to scroll to its end; or why that is not known."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        program = None
    if program is None:
        return "not opened: there is no chromium, or no playwright"
    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        window = chromium.new_page()
        begin = time.monotonic()
        window.goto(page.as_uri())
        loaded = time.monotonic()
        height = window.evaluate(
            """() => new Promise((done) => {
              window.scrollTo(0, document.documentElement.scrollHeight);
              requestAnimationFrame(() => requestAnimationFrame(() => done(window.scrollY)));
            })"""
        )
        scrolled = time.monotonic()
        chromium.close()
    return f"opens in {loaded - begin:.2f} s, scrolls over its {height:.0f} pixels in {scrolled - loaded:.2f} s"


def growth(costs: list[Cost]) -> float:
    """How many times as much each of the last runs costs as each of those before them, without what starting costs."""
    start, middle, last = costs[0], costs[-2], costs[-1]
    before = (middle.seconds - start.seconds) / (middle.runs - start.runs)
    return (last.seconds - middle.seconds) / (last.runs - middle.runs) / before


def main() -> int:
    """Measure each number of runs, print, compare with the goals."""
    parser = argparse.ArgumentParser(description="How long all tables take for 10 to 10,000 runs.")
    parser.add_argument("--tables-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--figures-of", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--page-of", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    of_folder = arguments.tables_of
    if of_folder is not None:
        make_tables(of_folder / "runs", of_folder / "tables")
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return 0
    if arguments.figures_of is not None:
        draw_figures(arguments.figures_of)
        return 0
    if arguments.page_of is not None:
        make_page(arguments.page_of)
        return 0
    print("| runs | wall seconds | peak resident MiB | milliseconds a run |\n|---|---|---|---|", flush=True)
    costs: list[Cost] = []
    with tempfile.TemporaryDirectory(prefix="trainbench-scale-") as root:
        for count in RUNS:
            folder = Path(root, str(count))
            costs.append(cost(count, folder))
            seconds, peak_mib = costs[-1].seconds, costs[-1].peak_bytes / 2**20
            print(f"| {count} | {seconds:.2f} | {peak_mib:.0f} | {1000 * seconds / count:.2f} |", flush=True)
        print(f"\n| figure of {count} runs | seconds | MB as SVG |\n|---|---|---|", flush=True)
        subprocess.run([sys.executable, __file__, "--figures-of", str(folder)], check=True)
        page_seconds, page = page_cost(folder)
        page_bytes, how = page.stat().st_size, opened(page)
    factor = growth(costs)
    linear = factor <= GROWTH_GOAL
    verdict = "linear" if linear else "not linear"
    print(f"\nEach of the last {RUNS[-1] - RUNS[-2]} runs costs {factor:.2f} times as much as those before: {verdict}")
    print(f"The page of {RUNS[-1]} runs: made in {page_seconds:.1f} s, {page_bytes / 1e6:.1f} MB; {how}")
    page_is_good = page_seconds <= PAGE_SECONDS_GOAL and page_bytes <= PAGE_BYTES_GOAL
    return int(
        not (linear and page_is_good and costs[-1].seconds <= SECONDS_GOAL and costs[-1].peak_bytes <= BYTES_GOAL)
    )


if __name__ == "__main__":
    sys.exit(main())
