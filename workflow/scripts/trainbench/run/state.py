"""Keeps what an interrupted run goes on from: a file written whole between two epochs."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from trainbench.files import whole_file

# safetensors wants texts: all that is no array is JSON in one entry.
_METADATA_KEY: Final = "trainbench_state"


@dataclass(frozen=True, eq=False)
class State:
    """A run between two epochs.

    `arrays` are the engine's: parameters, the optimiser's slots, steps done. `epochs` are those finished so far, as the
    metrics file has them; `resumed_after_epochs` says after which of them the run went on in another process.
    """

    arrays: Mapping[str, NDArray[Any]]
    epochs: Sequence[Mapping[str, Any]]
    resumed_after_epochs: Sequence[int]
    peak_memory_mib: float | None


def save(state: State, identity: Mapping[str, Any], path: Path) -> None:
    """Write `state` to `path`, whole or not at all; `identity` is all that the rest of the run depends on.

    An OSError is passed on.
    """
    facts = {"identity": identity, **vars(state)}
    del facts["arrays"]
    arrays = {name: np.require(array, requirements="C") for name, array in state.arrays.items()}
    whole_file.write(to_bytes(arrays, metadata={_METADATA_KEY: json.dumps(facts)}), path)


def load(identity: Mapping[str, Any], path: Path) -> State | None:
    """The state at `path`, or None where there is none, it is of another run than `identity`, or it is broken."""
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {}).get(_METADATA_KEY, "{}"))
            # Compared as JSON: what was a tuple is a list by now.
            if facts.get("identity") != json.loads(json.dumps(identity)):
                return None
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        return State(arrays, facts["epochs"], facts["resumed_after_epochs"], facts["peak_memory_mib"])
    except (OSError, SafetensorError, ValueError, LookupError, TypeError, AttributeError):
        return None
