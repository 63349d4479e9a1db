from snakemake.utils import min_version

min_version("9.27")


# Of this file, also where another workflow takes it in as a module.
REPOSITORY = str(workflow.current_basedir)


CONFIG_FILES = [f"{REPOSITORY}/config/config.yaml"]
# The same file in another working folder (--directory) is layered over this one.
if os.getcwd() != REPOSITORY and os.path.exists("config/config.yaml"):
    CONFIG_FILES.append("config/config.yaml")


include: "workflow/rules/common.smk"


for file in CONFIG_FILES:

    configfile: file


include: "workflow/rules/train.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/compare.smk"
include: "workflow/rules/terminal.smk"


rule all:
    default_target: True
    input:
        # The tables are made of them all the same; but of what lies behind a finished table Snakemake misses nothing.
        ALL_METRICS,
        PRODUCTS,
        outdated_without_record(*PRODUCTS),
    localrule: True
