rule figure:
    input:
        runs=TABLES["runs_csv"],
        epochs=TABLES["epochs_csv"],
        cells=TABLES["cells_csv"],
        roofline=TABLES["roofline_csv"],
    output:
        svg="results/figures/{figure}.svg",
        png="results/figures/{figure}.png",
    log:
        "results/logs/figure_{figure}.log",
    localrule: True
    conda:
        "../../envs/analysis.yaml"
    params:
        order=table_order(),
        code=fingerprint.of_code(FIGURES_CODE),
    script:
        "../scripts/draw_figure.py"
