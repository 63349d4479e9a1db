rule train:
    input:
        dataset=DATASET,
    output:
        metrics=f"{RUN}/metrics.json",
        samples=f"{RUN}/samples.csv",
    log:
        f"{RUN}/train.log",
    params:
        settings=run_settings,
        code=fingerprint.of_code(TRAINING_CODE),
    conda:
        "../../envs/train-cpu.yaml"
    threads: run_cores
    resources:
        gpu=run_gpus,
    script:
        "../scripts/train.py"
