rule train:
    output:
        metrics=f"{RUN}/metrics.json",
        samples=f"{RUN}/samples.csv",
    log:
        f"{RUN}/train.log",
    priority: run_priority
    conda:
        # Snakemake works a function out for every run, also where it does not use conda.
        run_environment if USES_CONDA else train_environment("tensorflow", "cpu")
    threads: run_cores
    resources:
        **asked_resources(),
        **card_resources(),
        # No settings of the run, so a change runs nothing again: --set-resources train:gpu_wait_seconds=60
        gpu=run_gpus,
        gpu_wait_seconds=3600,
        no_progress_seconds=3600,
    params:
        settings=run_settings,
        data=run_data,
        code=run_code,
    script:
        "../scripts/train.py"


# All that `all` makes, after the runs that were out of memory have been measured again.
rule retry:
    input:
        out_of_memory_again,
        all_metrics(),
        products(),
        outdated_without_record(*products()),
    localrule: True
