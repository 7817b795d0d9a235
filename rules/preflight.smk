# Before the first job: what would fail later is said now, in a line each.
# Jobs that ask a model, in which the wildcard `model` is that model.
ASKING = ("sample_traces", "label_difficulty")


def planned_work():
    """What the jobs of this run need, as the preflight wants to know it."""
    jobs = list(workflow.dag.needrun_jobs())
    of = lambda name: {
        job.wildcards_dict[name] for job in jobs if name in job.wildcards_dict
    }
    rewriting = [job for job in jobs if job.rule.name == "rewrite_traces"]
    models = {job.wildcards_dict["model"] for job in jobs if job.rule.name in ASKING}
    models |= {rewriter_model(job.wildcards) for job in rewriting}
    judging = [job for job in jobs if job.rule.name == "judge_traces"]
    models |= {judging_model(job.wildcards) for job in judging}
    return preflight.Work(
        rules=frozenset(job.rule.name for job in jobs),
        models=frozenset(filter(None, models)),
        sets=frozenset(of("set")),
        students=frozenset(of("student")),
        slurm="slurm"
        in str(workflow.executor_plugin.name if workflow.executor_plugin else ""),
    )


def check_before_start():
    """Stop the run before its first job if that is known to be in vain."""
    findings = preflight.check(RECIPE, planned_work(), Path.cwd())
    for finding in findings:
        print(
            ("preflight: " if finding.fatal else "note: ") + finding.line,
            file=sys.stderr,
        )
    if any(finding.fatal for finding in findings):
        sys.exit("Nothing was started. `--config preflight=false` starts all the same.")


onstart:
    if PREFLIGHT and workflow.is_main_process:
        check_before_start()
