"""What a check says about a run."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """What a check found: `finding` is one sentence of fact, `advice` one of what to do."""

    name: str
    level: Level
    finding: str
    advice: str
