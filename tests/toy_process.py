"""Has training processes compute with the toy engine in TensorFlow's place, which begins in no time."""

from collections.abc import Mapping
from pathlib import Path

IN_THE_PLACE_OF_TENSORFLOW = """
import sys
if "trainbench.run.training" in " ".join(sys.orig_argv):
    from trainbench import engines
    engines.ENGINES = {"tensorflow": engines.Registered("toy_for_seconds", "numpy", ())}
"""

FOR_SECONDS = """
import time
import toy_engine
from trainbench.engines.shared import interface

def start(execution):
    engine = toy_engine.start(execution)
    of_toy = engine.train_epoch

    def train_epoch():
        began = time.monotonic()
        loss = of_toy()
        while time.monotonic() - began < EPOCH_SECONDS:
            pass
        return loss

    def ceilings():
        raise interface.OutOfMemory("they would take a second")

    engine.train_epoch, engine.ceilings = train_epoch, ceilings
    return engine
"""


def variables(folder: Path, epoch_seconds: float = 0.0) -> Mapping[str, str]:
    """What a device has to set so that its runs train with the toy, computing for so many seconds an epoch."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(IN_THE_PLACE_OF_TENSORFLOW, encoding="utf-8")
    (folder / "toy_for_seconds.py").write_text(FOR_SECONDS.replace("EPOCH_SECONDS", repr(epoch_seconds)), "utf-8")
    return {"PYTHONPATH": f"{folder}:{Path(__file__).parent}"}
