"""Entries of legends: how devices are drawn, and their full names."""

from matplotlib.lines import Line2D

from trainbench.figures.frame import Entry
from trainbench.figures.looks import Look
from trainbench.figures.text_fitting import legend_text
from trainbench.results.executors import Executor


def entry(look: Look, text: str) -> Entry:
    """What is drawn like this."""
    return Line2D([], [], markeredgecolor="white", **look.of_line), legend_text(text)


def device_entry(executor: Executor, look: Look) -> Entry:
    """A device, with what it computes with where that differs between devices."""
    return entry(look, f"{executor.label}: {executor.detail}" if executor.detail else executor.label)
