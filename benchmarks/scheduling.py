"""Shows what Snakemake takes for a study of 10,000 runs: to plan it, to find nothing to do, and beside each run.

    .venv/bin/python benchmarks/scheduling.py

Works on a copy of the workflow in a temporary folder. The runs that are there have built metrics files, recorded as
up to date by `snakemake --touch`; the runs that are carried out do nothing and say when their process began and ended.
What passes between these processes, with the planning shared out over all runs, is the overhead of a run. Prints a
row for each figure beside its goal; exit code 1 when one is missed. Takes five minutes and 200 MB.
"""

import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

REPOSITORY: Final = Path(__file__).resolve().parents[1]
SNAKEMAKE: Final = Path(sys.executable).with_name("snakemake")
PARTS: Final = ("Snakefile", "config", "workflow", "profiles", "envs", "resources")
sys.path[:0] = [str(REPOSITORY / "workflow" / "scripts"), str(REPOSITORY / "tests")]

MODELS: Final = ("logistic", "conv")
BATCH_SIZES: Final = tuple(range(100, 110))
DEVICES: Final = ("cpu-a", "cpu-b", "cpu-c", "cpu-d", "cpu-e")
REPEATS: Final = 100
RUNS: Final = len(MODELS) * len(BATCH_SIZES) * len(DEVICES) * REPEATS

PLAN_GOAL_SECONDS: Final = 15.0
NOTHING_TO_DO_GOAL_SECONDS: Final = 15.0
OVERHEAD_GOAL_SECONDS: Final = 0.025
TRIES: Final = 3
RUNS_CARRIED_OUT: Final = 500
"""Enough for a steady figure. As no run begins with so many still to come later on, it is above that of all 10,000."""

STUDY: Final = f"""
models: [{", ".join(MODELS)}]
batch_sizes: [{", ".join(map(str, BATCH_SIZES))}]
devices: [{", ".join(DEVICES)}]
repeats: {REPEATS}
device_settings:
{"".join(f"  {name}: {{kind: cpu, threads: 1}}{chr(10)}" for name in DEVICES)}
"""

# What the kernel keeps of a process' begin is in ticks since boot, rounded down: half a tick too early on average.
RUN_THAT_DOES_NOTHING: Final = """
import os, time
from pathlib import Path

ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
begin = (ticks + 0.5) / os.sysconf("SC_CLK_TCK")
for path in (*snakemake.output, *snakemake.log):
    Path(path).write_text("{}")
times = os.open("times.csv", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
os.write(times, f"{begin},{time.clock_gettime(time.CLOCK_BOOTTIME)}\\n".encode())
os._exit(0)
"""


# Snakemake waits 0.1 s before it touches the files of a job: 1000 s for 10,000.
TOUCH_AT_ONCE: Final = """
import snakemake.executors.touch
from snakemake.cli import main

snakemake.executors.touch.Executor.SLEEPING_TIME = 0
main()
"""


@dataclass(frozen=True)
class Figure:
    """A measured number of seconds and its goal; None: it is no goal, but helps to understand the others."""

    name: str
    seconds: float
    goal_seconds: float | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a goal and it is missed."""
        return self.goal_seconds is not None and self.seconds > self.goal_seconds

    def row(self) -> str:
        """The figure as a row of a Markdown table."""
        goal = "" if self.goal_seconds is None else f"{self.goal_seconds:g}"
        return f"| {self.name} | {self.seconds:.3f} | {goal} |"


def copy_workflow(folder: Path) -> None:
    """Copy what Snakemake needs to `folder`, with a study of 10,000 runs."""
    for part in PARTS:
        source = REPOSITORY / part
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, folder / part)
    (folder / "study.yaml").write_text(STUDY, encoding="utf-8")


def command(*arguments: str) -> list[str]:
    """Snakemake's command line for the study: one core, so that runs follow one another."""
    return [str(SNAKEMAKE), "--cores", "1", "--configfile", "study.yaml", "--quiet", "all", *arguments]


def seconds_of(folder: Path, *arguments: str) -> float:
    """Wall seconds of a call that must succeed: the median of some tries."""
    seconds = []
    for _ in range(TRIES):
        begin = time.monotonic()
        subprocess.run(command(*arguments), cwd=folder, check=True, capture_output=True)
        seconds.append(time.monotonic() - begin)
    return statistics.median(seconds)


def seconds_of_imports() -> float:
    """Wall seconds of Snakemake that does nothing at all."""
    begin = time.monotonic()
    subprocess.run([SNAKEMAKE, "--version"], check=True, capture_output=True)
    return time.monotonic() - begin


def finish(folder: Path) -> None:
    """Have all results there, and recorded as up to date."""
    from metrics_builder import make_record
    from results_folder import write_results

    records = (
        make_record(model, batch_size, device, repeat)
        for model in MODELS
        for batch_size in BATCH_SIZES
        for device in DEVICES
        for repeat in range(1, REPEATS + 1)
    )
    for path in write_results(folder / "results", records):
        path.with_name("samples.csv").touch()
    planned = subprocess.run(
        [SNAKEMAKE, *command("--summary")[1:]], cwd=folder, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    for line in planned.splitlines()[1:]:
        path = folder / line.split("\t")[0]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    touch = command("--touch", "--forceall", "--cores", str(RUNS))
    subprocess.run([sys.executable, "-c", TOUCH_AT_ONCE, *touch[1:]], cwd=folder, check=True, capture_output=True)
    ended = subprocess.run(
        [SNAKEMAKE, "--cores", "1", "--configfile", "study.yaml"],
        cwd=folder,
        check=True,
        capture_output=True,
        encoding="utf-8",
    )
    if "Nothing to be done" not in ended.stderr:
        sys.exit(f"the built study counts as unfinished:\n{ended.stderr[-2000:]}")


def carry_out(folder: Path) -> tuple[list[tuple[float, float]], float]:
    """Begin and end of the first runs' processes, in seconds since boot, and the CPU seconds of Snakemake meanwhile."""
    (folder / "workflow/scripts/train.py").write_text(RUN_THAT_DOES_NOTHING, encoding="utf-8")
    times = folder / "times.csv"
    cpu_seconds = {}
    with subprocess.Popen(
        command("--until", "train"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        main = psutil.Process(process.pid)
        for count in (1, RUNS_CARRIED_OUT):
            while not times.exists() or times.read_bytes().count(b"\n") < count:
                if process.poll() is not None:
                    sys.exit("Snakemake ended before it had carried out the runs")
                time.sleep(0.05)
            used = main.cpu_times()
            cpu_seconds[count] = used.user + used.system
        process.send_signal(signal.SIGINT)
    lines = times.read_text(encoding="utf-8").splitlines()[:RUNS_CARRIED_OUT]
    begins_and_ends = [(float(begin), float(end)) for begin, end in (line.split(",") for line in lines)]
    return begins_and_ends, cpu_seconds[RUNS_CARRIED_OUT] - cpu_seconds[1]


def measure(folder: Path) -> Sequence[Figure]:
    """All figures, printed as they come."""
    figures: list[Figure] = []

    def add(name: str, seconds: float, goal_seconds: float | None = None) -> None:
        figures.append(Figure(name, seconds, goal_seconds))
        print(figures[-1].row(), flush=True)

    copy_workflow(folder)
    add("Snakemake's own start", seconds_of_imports())
    plan_seconds = seconds_of(folder, "--dry-run")
    add(f"dry run of {RUNS} runs", plan_seconds, PLAN_GOAL_SECONDS)
    times, cpu_seconds = carry_out(folder)
    gaps = [later[0] - earlier[1] for earlier, later in itertools.pairwise(times)]
    between = (times[-1][1] - times[0][0] - sum(end - begin for begin, end in times)) / len(gaps)
    add("a run that does nothing, its process alone", statistics.mean(end - begin for begin, end in times))
    add(f"between two runs, nearly {RUNS} to come: mean", between)
    add(f"between two runs, nearly {RUNS} to come: median", statistics.median(gaps))
    add("CPU time of Snakemake for each", cpu_seconds / len(gaps))
    add("overhead of a run, planning included", between + plan_seconds / RUNS, OVERHEAD_GOAL_SECONDS)
    for leftover in ("results", ".snakemake"):
        shutil.rmtree(folder / leftover)
    finish(folder)
    add(f"call with all {RUNS} runs there", seconds_of(folder), NOTHING_TO_DO_GOAL_SECONDS)
    return figures


def main() -> int:
    """Measure, print, compare with the goals."""
    print(f"{os.cpu_count()} cores\n\n| what | wall seconds | goal |\n|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="trainbench-scheduling-") as folder:
        figures = measure(Path(folder))
    return int(any(figure.missed for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
