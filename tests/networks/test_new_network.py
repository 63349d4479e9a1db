"""A new network is one function and one line: what docs/how-to/new-model.md says, done to a copy of the package."""

import ast
import json
from pathlib import Path

from documented_changes import add_network, blocks, carry_out, copied

SPECIFY = """
import json
from trainbench.networks.models import MODELS, ImageShape

model = MODELS["mlp"]
defaults = {name: hyperparameter.default for name, hyperparameter in model.hyperparameters.items()}
spec = model.specify(ImageShape(height=9, width=14, classes=4), defaults)
print(json.dumps({parameter.name: parameter.shape for parameter in spec.parameters}))
"""

FUNCTION, LINE = blocks("new-model.md", "python")


def test_what_the_page_adds_is_one_function_and_one_line() -> None:
    assert [type(part) for part in ast.parse(FUNCTION).body] == [ast.FunctionDef]
    assert len(LINE.splitlines()) == 1


def test_a_new_network_can_be_asked_for_by_its_name(tmp_path: Path) -> None:
    package = copied(tmp_path)
    add_network(package)
    assert json.loads(carry_out(SPECIFY, package)) == {
        "hidden_weights": [126, 128],
        "hidden_bias": [128],
        "output_weights": [128, 4],
    }
