"""Entries of legends: how devices are drawn, and their full names."""

from matplotlib.lines import Line2D

from trainbench.figures.frame import Entry
from trainbench.figures.looks import Look
from trainbench.figures.text_fitting import legend_text
from trainbench.results.executors import Executor


def entry(look: Look, text: str) -> Entry:
    """What is drawn like this."""
    handle = Line2D([], [], color=look.color, marker=look.marker, linestyle=look.line_style, markeredgecolor="white")
    return handle, legend_text(text)


def full_name(executor: Executor) -> str:
    """A device's name, with what it computes with where that differs between devices."""
    return f"{executor.label}: {executor.detail}" if executor.detail else executor.label
