#!/bin/sh
# status.sh JOB: running, success or failed.
job=.snakemake/background_jobs/$1
ended() { [ -s "$job/exit_code" ] && { [ "$(cat "$job/exit_code")" = 0 ] && echo success || echo failed; }; }
ended && exit
[ ! -s "$job/pid" ] || kill -0 "$(cat "$job/pid")" 2> /dev/null && { echo running; exit; }
ended || echo failed   # it may have ended just now; else somebody killed it
