# Problems: every source becomes shards of one row format.


rule make_problems:
    input:
        # Judged by the rows they give (see `contents`), not as files.
        files=ancient(source_files),
    output:
        PROBLEMS,
    log:
        "logs/make_problems/{set}/{shard}.log",
    benchmark:
        "logs/make_problems/{set}/{shard}.tsv"
    group:
        packed("problems")
    conda:
        CONDA
    resources:
        # The longest rows of a hub data set have hundreds of megabytes.
        **on_cpus(
            mem_mb=lambda wildcards: 4000 if from_hub(wildcards.set) else 2000,
            minutes=30,
        ),
    params:
        shards=value("sets/{set}/shards"),
        contents=contents,
        code=code("make_problems", SOURCE),
        software=software(SOURCE),
    shell:
        "python scripts/make_problems.py --set {wildcards.set}"
        " --shard {wildcards.shard} --shards {params.shards}"
        " --software {params.software}"
        " --out {output} 2> {log}"
