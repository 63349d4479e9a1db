rule figure:
    input:
        **figure_tables(),
    output:
        svg=report(
            "results/figures/{figure}.svg",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
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


use rule figure as figure_so_far with:
    input:
        **figure_tables("results/so_far"),
    output:
        svg="results/so_far/figures/{figure}.svg",
        png="results/so_far/figures/{figure}.png",
    log:
        "results/logs/figure_{figure}_so_far.log",
