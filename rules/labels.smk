# Labels: a model grades how hard the problems of a set are, where no source says it.


rule label_difficulty:
    input:
        problems=PROBLEMS,
        weights=labelling_inputs,
    output:
        LABELS,
    log:
        "logs/label_difficulty/{model}/{set}/{shard}.log",
    benchmark:
        "logs/label_difficulty/{model}/{set}/{shard}.tsv"
    # A server that is up is kept busy.
    priority: 1
    group:
        packed("label", "model", gpus=asked_gpus)
    conda:
        CONDA
    threads: 8
    resources:
        **on_gpus(asked_gpus, mem_mb=32000, minutes=240),
    params:
        reach=lambda wildcards: reach(
            wildcards.model, f"labels/{wildcards.set}/{wildcards.shard}"
        ),
        code=code("label_difficulty", ENGINE),
        software=software(ENGINE),
    shell:
        "python scripts/label_difficulty.py --problems {input.problems}"
        " --model-name {wildcards.model} {params.reach:q}"
        " --software {params.software} --out {output} 2> {log}"
