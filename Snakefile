# Retrace: from raw problems to a benchmark table, every row traceable.
# A recipe is a config file: config.yaml is Sky-T1-32B-Preview, config.demo.yaml the
# one for a laptop. `snakemake -n` shows what would run.
from snakemake.utils import min_version

min_version("9.27")


# A profile or the command line may name another recipe; none is mixed with this one.
if "recipe" not in config:

    configfile: "config.yaml"


include: "rules/common.smk"
include: "rules/cluster.smk"
include: "rules/stages.smk"
include: "rules/problems.smk"
include: "rules/imports.smk"
include: "rules/weights.smk"
include: "rules/traces.smk"
include: "rules/labels.smk"
include: "rules/verdicts.smk"
include: "rules/rewrites.smk"
include: "rules/datasets.smk"
include: "rules/training.smk"
include: "rules/scores.smk"
include: "rules/reports.smk"
include: "rules/publishing.smk"
include: "rules/preflight.smk"
include: "rules/provenance.smk"


localrules:
    all,


# Every artefact is named here, not only the last one: Snakemake does not notice a
# missing intermediate whose results are still there.
rule all:
    default_target: True
    input:
        wanted_artefacts(),


# Snakemake knows one handler of each kind, so they stand together here.
onsuccess:
    tell_efficiency()
    record_run()


onerror:
    tell_efficiency()
