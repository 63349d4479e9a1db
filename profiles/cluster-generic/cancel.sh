#!/bin/sh
# cancel.sh JOB...: ends the jobs with all their processes.
for name; do
  kill -TERM "-$(cat ".snakemake/background_jobs/$name/pid")"
done
