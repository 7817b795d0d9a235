# Datasets: verified rewrites, without duplicates and leaks, mixed as the recipe says.


rule build_dataset:
    input:
        problems=dataset_inputs(PROBLEMS),
        traces=dataset_inputs(TRACES),
        verdicts=dataset_inputs(VERDICTS),
        rewrites=dataset_inputs(REWRITES),
        labels=labels,
        benchmarks=benchmark_problems,
        tokenizer=lambda wildcards: tokenizer(wildcards)[0],
        encoder=lambda wildcards: encoder(wildcards)[0],
        system=lambda wildcards: text_files(dataset_system(wildcards)),
    output:
        train=DATASET.format(dataset="{dataset}", file="train.jsonl"),
        rejected=DATASET.format(dataset="{dataset}", file="rejected.jsonl"),
        report=DATASET.format(dataset="{dataset}", file="report.json"),
    log:
        "logs/build_dataset/{dataset}.log",
    benchmark:
        "logs/build_dataset/{dataset}.tsv"
    conda:
        CONDA
    threads: 8
    resources:
        **on_cpus(mem_mb=8000, minutes=240),
    params:
        templates=templates,
        mixture=setting("datasets/{dataset}/mixture"),
        system=system_arguments,
        curation=setting("datasets/{dataset}/curation"),
        confidential=sorted(
            name for name, one in RECIPE.sets.items() if one.confidential
        ),
        tokenizer=tokenizer_arguments,
        encoder=encoder_arguments,
        code=code("build_dataset", encoder_module),
        software=software(
            "rapidfuzz", "datasketch", "transformers", "tokenizers", encoder_module
        ),
    shell:
        "python scripts/build_dataset.py --dataset {wildcards.dataset}"
        " --problems {input.problems} --traces {input.traces}"
        " --verdicts {input.verdicts} --rewrites {input.rewrites}"
        " --labels {input.labels} --benchmarks {input.benchmarks} --templates {params.templates:q}"
        " --mixture {params.mixture:q} {params.system:q}"
        " --curation {params.curation:q} {params.tokenizer:q}"
        " {params.encoder:q}"
        " --confidential {params.confidential}"
        " --threads {threads} --software {params.software}"
        " --train {output.train} --rejected {output.rejected}"
        " --report {output.report} 2> {log}"


# A rule of its own: a licence that is corrected must not train a student again.
rule write_card:
    input:
        DATASET.format(dataset="{dataset}", file="report.json"),
    output:
        DATASET.format(dataset="{dataset}", file="card.md"),
    log:
        "logs/write_card/{dataset}.log",
    benchmark:
        "logs/write_card/{dataset}.tsv"
    conda:
        CONDA
    resources:
        **on_cpus(mem_mb=1000, minutes=15),
    params:
        licenses=licenses,
        teachers=teachers,
        code=code("write_card"),
    shell:
        "python scripts/write_card.py --dataset {wildcards.dataset} --report {input}"
        " --licenses {params.licenses:q} --teachers {params.teachers:q}"
        " --out {output} 2> {log}"
