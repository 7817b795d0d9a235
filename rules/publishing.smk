# Publishing: never part of `all`; each target is asked for by its name.
#   snakemake published/datasets/NAME.txt     what would go: files, sizes, hashes
#   snakemake published/datasets/NAME.json    sends exactly that; the receipt
# and likewise published/students/NAME. Where to is in the recipe's `publish`.
PUBLISHED_DATASET = "published/datasets/{dataset}"
PUBLISHED_STUDENT = "published/students/{student}"


rule plan_push_dataset:
    input:
        train=DATASET.format(dataset="{dataset}", file="train.jsonl"),
        rejected=DATASET.format(dataset="{dataset}", file="rejected.jsonl"),
        report=DATASET.format(dataset="{dataset}", file="report.json"),
        card=DATASET.format(dataset="{dataset}", file="card.md"),
    output:
        f"{PUBLISHED_DATASET}.txt",
    log:
        "logs/plan_push_dataset/{dataset}.log",
    benchmark:
        "logs/plan_push_dataset/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    params:
        target=lambda wildcards: publishing_target("datasets", wildcards.dataset),
    shell:
        "python scripts/push_dataset.py --dry-run --train {input.train}"
        " --rejected {input.rejected} --report {input.report} --card {input.card}"
        " {params.target:q} --out {output} 2> {log}"


rule push_dataset:
    input:
        **rules.plan_push_dataset.input,
        plan=rules.plan_push_dataset.output,
    output:
        f"{PUBLISHED_DATASET}.json",
    log:
        "logs/push_dataset/{dataset}.log",
    benchmark:
        "logs/push_dataset/{dataset}.tsv"
    localrule: True
    conda:
        CONDA
    params:
        target=lambda wildcards: publishing_target("datasets", wildcards.dataset),
    message:
        "{input} go to the hub: {params.target}"
    shell:
        "python scripts/push_dataset.py --train {input.train}"
        " --rejected {input.rejected} --report {input.report} --card {input.card}"
        " {params.target:q} --out {output} 2> {log}"


rule write_model_card:
    input:
        manifest="models/{student}/manifest.json",
        report=lambda wildcards: DATASET.format(
            dataset=config["students"][wildcards.student]["dataset"],
            file="report.json",
        ),
        scores=lambda wildcards: score_files(wildcards.student),
    output:
        f"{PUBLISHED_STUDENT}.md",
    log:
        "logs/write_model_card/{student}.log",
    benchmark:
        "logs/write_model_card/{student}.tsv"
    localrule: True
    conda:
        CONDA
    params:
        base=card_base,
        code=code("write_model_card"),
    shell:
        "python scripts/write_model_card.py --manifest {input.manifest}"
        " {params.base:q} --report {input.report} --scores {input.scores}"
        " --out {output} 2> {log}"


rule plan_push_model:
    input:
        lambda wildcards: model_files(wildcards.student),
        card=rules.write_model_card.output,
    output:
        f"{PUBLISHED_STUDENT}.txt",
    log:
        "logs/plan_push_model/{student}.log",
    benchmark:
        "logs/plan_push_model/{student}.tsv"
    localrule: True
    conda:
        CONDA
    params:
        target=lambda wildcards: publishing_target("students", wildcards.student),
    shell:
        "python scripts/push_model.py --dry-run --directory models/{wildcards.student}"
        " --card {input.card} {params.target:q} --out {output} 2> {log}"


rule push_model:
    input:
        lambda wildcards: model_files(wildcards.student),
        card=rules.write_model_card.output,
        plan=rules.plan_push_model.output,
    output:
        f"{PUBLISHED_STUDENT}.json",
    log:
        "logs/push_model/{student}.log",
    benchmark:
        "logs/push_model/{student}.tsv"
    localrule: True
    conda:
        CONDA
    params:
        target=lambda wildcards: publishing_target("students", wildcards.student),
    message:
        "{input} go to the hub: {params.target}"
    shell:
        "python scripts/push_model.py --directory models/{wildcards.student}"
        " --card {input.card} {params.target:q} --out {output} 2> {log}"
