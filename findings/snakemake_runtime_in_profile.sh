#!/usr/bin/env bash
# Snakemake 9.27.1: a runtime written as Slurm writes it, 8:00:00, is 28,800 minutes in a profile and an error on the
# command line.
#
# Behaviour: profiles are read as YAML 1.1, where 8:00:00 is a number of base 60 (28,800, meant as seconds), and a number is
# taken for minutes: a job that needs 8 hours asks its scheduler for 20 days. The same text after --default-resources is
# refused.
# Output seen:
#   in a profile: runtime=28800
#   on the command line: Resource 'runtime' with value '8:00:00' could not be parsed as minutes
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check snakemake==9.27.1
cd "$folder"
mkdir profile
printf 'default-resources:\n  runtime: 8:00:00\n' > profile/config.yaml
printf 'rule train:\n    output: "trained"\n    shell: "touch {output}"\n' > Snakefile
in_profile=$(venv/bin/snakemake --dry-run --cores 1 --profile profile 2>&1 | grep -o 'runtime=[0-9]*')
on_command_line=$(venv/bin/snakemake --dry-run --cores 1 --default-resources runtime=8:00:00 2>&1 | grep -o "Resource 'runtime'.*" || true)
seen="in a profile: $in_profile
on the command line: $on_command_line"
expected="in a profile: runtime=28800
on the command line: Resource 'runtime' with value '8:00:00' could not be parsed as minutes"
echo "$seen"
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
