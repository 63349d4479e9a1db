#!/bin/sh
# submit.sh THREADS GPUS WHOLE_NODE JOBSCRIPT: starts a job in the background of this machine and prints its name.
# A job with WHOLE_NODE other than 0 (that of several runs has their sum) waits until no other runs, and no other starts
# beside it.
set -eu
whole_node=$3
jobscript=$4
mkdir -p .snakemake/background_jobs
job=$(mktemp -d .snakemake/background_jobs/XXXXXXXX)
[ "$whole_node" = 0 ] && lock=--shared || lock=--exclusive
# A session of its own, so that cancel.sh reaches all processes of the job and Ctrl-C none.
setsid sh -c '
  echo $$ > "$1/pid"
  flock "$2" .snakemake/background_jobs/machine.lock sh "$3" > "$1/log" 2>&1
  echo $? > "$1/exit_code"
' job "$job" "$lock" "$jobscript" < /dev/null > /dev/null 2>&1 &
basename "$job"
