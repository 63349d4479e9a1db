"""Says what the runs were made of: every setting, version and fingerprint, and how many runs had which value."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import pandas as pd

from trainbench.results.columns import chosen, text, whole
from trainbench.results.comparability import other_variables, own_variables
from trainbench.results.tables import frame

# In this order in the table.
STUDY: Final = "study"
MODEL: Final = "model"
DEVICE: Final = "device"
DATA: Final = "data"
SOFTWARE: Final = "software"
PUBLISHED: Final = "published"
LEFT_OUT: Final = "left out"

SETTING_COLUMNS: Final = text("part", "of", "framework", "name", "value") | whole("runs")

_OF_STUDY: Final = ("isolation", "monitor_interval_seconds", "validation_samples", "study_seed")
_OF_DEVICE: Final = ("kind", "threads", "gpus", "framework", "precision")

Setting = tuple[str, str, str | None, str, str]


class Settings:
    """Counts the settings of metrics records one by one; `table` gives a row for each value of each.

    What differs from run to run by itself is left out: the seed of a run, which follows from the study's and stands in
    the table of runs, and the variables that name its card and its number of threads.
    """

    def __init__(self) -> None:
        self._counts: Counter[Setting] = Counter()
        self._told: list[Setting] = []

    def add(self, record: Mapping[str, Any]) -> None:
        """Count the settings of one metrics record."""
        self._counts.update(_settings_of(record))

    def tell(self, part: str, of: str, name: str, value: str) -> None:
        """Take note of what no metrics record says, such as where published results come from."""
        self._told.append((part, of, None, name, value))

    def table(self, models: Iterable[str] = (), devices: Iterable[str] = ()) -> pd.DataFrame:
        """A row for each value, with the columns `SETTING_COLUMNS`; models and devices in the order given.

        `part` says what kind of thing `of` is. Software is that of a `framework`, which brings its own and the
        fingerprint of its engine's code; elsewhere that is unknown. `runs` counts the runs with this value, unknown for
        what was told.
        """
        parts = (STUDY, MODEL, DEVICE, DATA, SOFTWARE)
        named = {MODEL: list(models), DEVICE: list(devices)}

        def rank(setting: Setting) -> tuple[int, int, str, str]:
            part, of, framework, *_ = setting
            order = named.get(part, [])
            return parts.index(part), order.index(of) if of in order else len(order), of, framework or ""

        counted = sorted(self._counts, key=rank)  # stable: names stay in order of appearance
        rows = [(*setting, self._counts[setting]) for setting in counted] + [(*told, None) for told in self._told]
        return frame((dict(zip(SETTING_COLUMNS, row, strict=True)) for row in rows), SETTING_COLUMNS)


def _settings_of(record: Mapping[str, Any]) -> Iterator[Setting]:
    settings, software, dataset = record["settings"], record["software"], record["dataset"] or {}
    device = settings["device"]
    versions = {
        **chosen(software, ("trainbench", "code_sha256", "python")),
        **software["versions"],
        **chosen(software["flags"], ("tf32", "deterministic")),
        **other_variables(record),
    }
    for part, of, framework, values in (
        (STUDY, "", None, chosen(settings, _OF_STUDY)),
        (MODEL, settings["model"], None, {"epochs": settings["epochs"], **settings["hyperparameters"]}),
        (DEVICE, device["name"], None, chosen(device, _OF_DEVICE) | dict(own_variables(record))),
        (DATA, "", None, chosen(settings, ["dataset_files_sha256"]) | dataset),
        (SOFTWARE, record["host"]["id"], software["framework"], versions),
    ):
        for name, value in values.items():
            if value is not None:
                yield part, of, framework, name, _text(value)


def _text(value: Any) -> str:  # noqa: ANN401 - any value of a record
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
