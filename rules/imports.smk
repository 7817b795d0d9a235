# What comes from elsewhere as it stands: texts that were published with a data set, and
# traces that a source brings with its problems.


rule fetch_text:
    output:
        TEXT,
    log:
        "logs/fetch_text/{text}.log",
    benchmark:
        "logs/fetch_text/{text}.tsv"
    wildcard_constraints:
        text=one_of(RECIPE.texts),
    group:
        packed("problems")
    conda:
        CONDA
    resources:
        **on_cpus(mem_mb=1000, minutes=30),
    params:
        text=setting("texts/{text}"),
        code=code("fetch_text"),
        software=software("huggingface-hub", "pyarrow"),
    shell:
        "python scripts/fetch_text.py --text {params.text:q}"
        " --software {params.software} --out {output} 2> {log}"


rule import_traces:
    input:
        problems=PROBLEMS,
        files=ancient(source_files),
    output:
        traces=TRACES,
        engine="data/traces/{model}/{set}/{shard}.engine.json",
    log:
        "logs/import_traces/{model}/{set}/{shard}.log",
    benchmark:
        "logs/import_traces/{model}/{set}/{shard}.tsv"
    wildcard_constraints:
        model=one_of(IMPORTED),
    conda:
        CONDA
    resources:
        **on_cpus(mem_mb=2000, minutes=60),
    params:
        source=setting("sets/{set}/source"),
        engine=setting("models/{model}/engine"),
        code=code("import_traces", SOURCE),
        software=software(SOURCE),
    shell:
        "python scripts/import_traces.py --problems {input.problems}"
        " --source {params.source:q} --engine {params.engine:q}"
        " --model {wildcards.model} --software {params.software}"
        " --out {output.traces} --engine-out {output.engine} 2> {log}"
