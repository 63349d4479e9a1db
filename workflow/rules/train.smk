rule train:
    input:
        dataset=DATASET,
    output:
        metrics=f"{RUN}/metrics.json",
        samples=f"{RUN}/samples.csv",
    log:
        f"{RUN}/train.log",
    conda:
        run_environment
    threads: run_cores
    resources:
        gpu=run_gpus,
    params:
        settings=run_settings,
        code=fingerprint.of_code(TRAINING_CODE),
    script:
        "../scripts/train.py"
