"""A process that is measured, and the one that watches it, need no package that they do not compute with.

So a framework can have an interpreter of its own, with little beside it.
"""

import json
import os
import subprocess
import sys

import pytest

from trainbench.files import fingerprint

IMPORTED_AFTER = """
import json, sys
before = set(sys.modules)
import MODULE
found = {name for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)}
names = {name.partition(".")[0] for name in found}
print(json.dumps(sorted(names - sys.stdlib_module_names)))
"""


def packages(modules: str) -> set[str]:
    """The packages that an interpreter imports along with these modules, beside its own."""
    program = IMPORTED_AFTER.replace("MODULE", modules)
    environment = {**os.environ, "PYTHONPATH": str(fingerprint.SCRIPTS)}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    return {name for name in json.loads(printed) if not name.startswith(("_", "trainbench"))}


@pytest.mark.parametrize("engine", ["", ", trainbench.engines.shared.ceilings, trainbench.engines.shared.engine"])
def test_training_on_a_cpu_needs_three_packages_beside_its_framework(engine: str) -> None:
    assert packages(f"trainbench.run.training{engine}") == {"numpy", "psutil", "safetensors"}


def test_the_monitor_needs_two_packages() -> None:
    assert packages("trainbench.run.monitor") == {"psutil", "pynvml"}
