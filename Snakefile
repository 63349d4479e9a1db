from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config/config.yaml"


# The same file in another working folder (--directory) is layered over this one.
if os.getcwd() != workflow.basedir and os.path.exists("config/config.yaml"):

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/compare.smk"


rule all:
    default_target: True
    input:
        # The tables are made of them all the same; but of what lies behind a finished table Snakemake misses nothing.
        all_metrics(),
        all_tables().values(),
        all_figures(),
        PAGE,
    localrule: True
