"""Whenever Snakemake reads the rules it imports little beside what it imports anyway."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path
from snakemake.cli import main

def dry_run(*arguments):
    try:
        main(["--dry-run", "--quiet", "all", "--cores", "1", *arguments])
    except SystemExit as exit:
        assert exit.code == 0, exit.code
    return {name.partition(".")[0] for name in sys.modules}

Path("script.py").touch()
Path("Snakefile").write_text("rule all:\\n    output: 'made'\\n    script: 'script.py'\\n")
anyway = dry_run("--snakefile", "Snakefile")
of_rules = dry_run("--snakefile", sys.argv[1], "--config", "devices=[cpu]")
Path("imported").write_text(" ".join(of_rules - anyway - sys.stdlib_module_names))
"""


def test_a_dry_run_imports_no_numpy_pandas_matplotlib_or_framework_but_what_snakemake_does(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(REPOSITORY / "Snakefile")]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert set((tmp_path / "imported").read_text().split()) <= {"trainbench", "jsonschema_rs", "pynvml", "packaging"}
