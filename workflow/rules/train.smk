rule train:
    output:
        metrics=f"{products.RUN}/metrics.json",
        samples=f"{products.RUN}/samples.csv",
    log:
        f"{products.RUN}/train.log",
    priority: each_run(run_demands.priority)
    conda:
        # Snakemake works a function out for every run, also where it does not use conda.
        each_run(run_demands.environment) if CALL.options.uses_conda else f"{REPOSITORY}/envs/train-tensorflow-cpu.yaml"
    threads: each_run(run_demands.cores)
    resources:
        **{name: asked_of_scheduler(name) for name in run_demands.names_asked_of_scheduler(CALL)},
        **{name: each_run(reserved) for name, reserved in run_demands.gpus_by_kind(CALL).items()},
        # No settings of the run, so a change runs nothing again: --set-resources train:gpu_wait_seconds=60
        gpu=each_run(lambda call, run: call.study.device(run.device).gpus),
        gpu_wait_seconds=3600,
        no_progress_seconds=3600,
    params:
        settings=each_run(Call.settings),
        data=each_run(Call.data, is_tracked=False),
        code=each_run(Call.code),
    script:
        "../scripts/train.py"


# All that `all` makes, after the runs that were out of memory have been measured again.
rule retry:
    input:
        lambda wildcards: made_again(so_far.out_of_memory(CALL)),
        ALL_METRICS,
        PRODUCTS,
        outdated_without_record(*PRODUCTS),
    localrule: True
