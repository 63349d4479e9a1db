rule prepare_dataset:
    input:
        # Contents count, not times: the name of the output holds a fingerprint of them and of the code.
        files=ancient([str(path) for path in vars(DATASET_FILES).values()]),
    output:
        dataset=DATASET,
    log:
        "results/logs/prepare_dataset.log",
    localrule: True
    conda:
        "../../envs/train-cpu.yaml"
    script:
        "../scripts/prepare_dataset.py"
