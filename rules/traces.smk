# Traces: a model answers a shard of problems. Teachers, students and models under test
# all come through here.


rule sample_traces:
    input:
        problems=PROBLEMS,
        weights=lambda wildcards: model_weights(wildcards.model)[0],
        system=system_files,
    output:
        traces=TRACES,
        engine=CONTRACTS,
    log:
        "logs/sample_traces/{model}/{set}/{shard}.log",
    benchmark:
        "logs/sample_traces/{model}/{set}/{shard}.tsv"
    wildcard_constraints:
        model=one_of(set(RECIPE.models) - set(IMPORTED)),
    # A server that is up is kept busy.
    priority: 1
    group:
        packed("sample", "model", gpus=asked_gpus, unless=is_taught)
    conda:
        CONDA
    threads: 8
    resources:
        **on_gpus(asked_gpus, mem_mb=32000, minutes=sampling_minutes),
    params:
        engine=lambda wildcards: canonical(engine(wildcards.model)),
        weights=lambda wildcards: model_weights(wildcards.model)[1],
        prompt=prompt,
        system=lambda wildcards, input: [f"--system={file}" for file in input.system],
        few_shot=few_shot,
        sampling=sampling,
        code=code("sample_traces", ENGINE),
        software=software(ENGINE),
    shell:
        "python scripts/sample_traces.py --problems {input.problems}"
        " --model-name {wildcards.model} --engine {params.engine:q}"
        " {params.weights:q}"
        " --prompt {params.prompt:q} {params.system} {params.few_shot}"
        " --sampling {params.sampling:q}"
        " --journals journals/{wildcards.model}"
        " --journal journals/{wildcards.model}/{wildcards.set}/{wildcards.shard}.jsonl"
        " --software {params.software}"
        " --out {output.traces} --engine-out {output.engine} 2> {log}"
