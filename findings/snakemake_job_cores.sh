#!/usr/bin/env bash
# Snakemake 9.27.1 with the executor plugin cluster-generic 1.0.9: the --cores of the call that submits jobs cuts the
# threads of each job on its node.
#
# Behaviour: `threads: 2` of a submitted job becomes 1 where the submitting call has --cores 1, in what the job asks the
# scheduler for and in the job itself, although --cores is about the machine that submits and the job runs elsewhere.
# Output seen:
#   submitted with --cores 1: asked for 1, trained with 1
#   submitted with --cores 2: asked for 2, trained with 2
set -euo pipefail
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check snakemake==9.27.1 snakemake-executor-plugin-cluster-generic==1.0.9
cat > "$folder/Snakefile" <<'SMK'
rule train:
    output: "threads.txt"
    threads: 2
    shell: "echo {threads} > {output}"
SMK
cat > "$folder/submit.sh" <<'SH'
#!/bin/sh
echo "$1" > asked.txt
sh "$2" > /dev/null 2>&1
echo 1
SH
chmod +x "$folder/submit.sh"
cd "$folder"
seen=$(for cores in 1 2; do
  rm -f threads.txt asked.txt
  PATH="$folder/venv/bin:$PATH" venv/bin/snakemake --quiet all --jobs 1 --cores "$cores" --executor cluster-generic \
    --cluster-generic-submit-cmd "./submit.sh {threads}" --latency-wait 5 >/dev/null 2>&1
  echo "submitted with --cores $cores: asked for $(cat asked.txt), trained with $(cat threads.txt)"
done)
expected='submitted with --cores 1: asked for 1, trained with 1
submitted with --cores 2: asked for 2, trained with 2'
echo "$seen"
[ "$seen" = "$expected" ] || { echo "this has changed" >&2; exit 1; }
