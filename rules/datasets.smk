# Datasets: verified rewrites, without duplicates and leaks, mixed as the recipe says.


def dataset_inputs(pattern):
    """Every shard of the teacher's files that a training set is made of."""

    def paths(wildcards):
        mixture = config["datasets"][wildcards.dataset]["mixture"]
        return files(
            pattern, [(teacher_of(wildcards.dataset, name), name) for name in mixture]
        )

    return paths


def labels(wildcards):
    mixture = config["datasets"][wildcards.dataset]["mixture"]
    return files(LABELS, labelled(*mixture))


def benchmark_problems(wildcards):
    names = [name for b in config["benchmarks"].values() for name in b["sets"]]
    return files(PROBLEMS, [("", name) for name in names])


def templates(wildcards):
    """The user turns of the sets in the mixture."""
    mixture = config["datasets"][wildcards.dataset]["mixture"]
    return canonical({name: config["sets"][name]["template"] for name in mixture})


def dataset_system(wildcards):
    return config["datasets"][wildcards.dataset]["system"]


def system_arguments(wildcards, input):
    """The system text of the rows, or the file that it was fetched into."""
    if input.system:
        return ["--system-file", *input.system]
    return ["--system", dataset_system(wildcards)]


def tokenizer(wildcards):
    """The base of a student of this dataset: its tokens are what lengths count."""
    bases = [
        student["base"]
        for student in config["students"].values()
        if student["dataset"] == wildcards.dataset
    ]
    return weights(bases[0]) if bases else ([], [])


def tokenizer_arguments(wildcards):
    location = tokenizer(wildcards)[1][1:2]
    return ["--tokenizer", *location] if location else []


rule build_dataset:
    input:
        problems=dataset_inputs(PROBLEMS),
        traces=dataset_inputs(TRACES),
        verdicts=dataset_inputs(VERDICTS),
        rewrites=dataset_inputs(REWRITES),
        labels=labels,
        benchmarks=benchmark_problems,
        tokenizer=lambda wildcards: tokenizer(wildcards)[0],
        system=lambda wildcards: text_files(dataset_system(wildcards)),
    output:
        train=DATASET.format(dataset="{dataset}", file="train.jsonl"),
        rejected=DATASET.format(dataset="{dataset}", file="rejected.jsonl"),
        report=DATASET.format(dataset="{dataset}", file="report.json"),
        card=DATASET.format(dataset="{dataset}", file="card.md"),
    log:
        "logs/build_dataset/{dataset}.log",
    benchmark:
        "logs/build_dataset/{dataset}.tsv"
    threads: 8
    resources:
        mem_mb=8000,
    params:
        templates=templates,
        mixture=setting("datasets/{dataset}/mixture"),
        system=system_arguments,
        curation=setting("datasets/{dataset}/curation"),
        confidential=sorted(
            name for name, one in RECIPE.sets.items() if one.confidential
        ),
        tokenizer=tokenizer_arguments,
        code=code("build_dataset"),
        software=software("rapidfuzz", "datasketch", "transformers", "tokenizers"),
    shell:
        "python scripts/build_dataset.py --dataset {wildcards.dataset}"
        " --problems {input.problems} --traces {input.traces}"
        " --verdicts {input.verdicts} --rewrites {input.rewrites}"
        " --labels {input.labels} --benchmarks {input.benchmarks} --templates {params.templates:q}"
        " --mixture {params.mixture:q} {params.system:q}"
        " --curation {params.curation:q} {params.tokenizer:q}"
        " --confidential {params.confidential}"
        " --threads {threads} --software {params.software}"
        " --train {output.train} --rejected {output.rejected}"
        " --report {output.report} --card {output.card} 2> {log}"
