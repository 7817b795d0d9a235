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
    on_slurm = "slurm" in str(
        workflow.executor_plugin.name if workflow.executor_plugin else ""
    )
    return preflight.Work(
        rules=frozenset(job.rule.name for job in jobs),
        models=frozenset(filter(None, models)),
        sets=frozenset(of("set")),
        students=frozenset(of("student")),
        slurm=slurm_work(jobs) if on_slurm else None,
        elsewhere=BATCH,
    )


def slurm_work(jobs):
    """What SLURM will be asked for: a request for each job that it gets."""
    sent = {workflow.dag.get_job_group(job) or job for job in jobs if not job.is_local}
    settings = workflow.executor_settings
    return preflight.SlurmWork(
        site=SITE,
        site_file=SITE_FILE.relative_to(ROOT),
        requests=frozenset(slurm_request(job) for job in sent),
        status_command=str(settings.status_command),
    )


def slurm_request(job):
    of = job.resources.get
    return slurm.Request(
        name=job.groupid if job.is_group() else job.rule.name,
        partition=of("slurm_partition"),
        account=of("slurm_account"),
        cpus=of("cpus_per_task") or job.threads,
        mem_mb=of("mem_mb") or 0,
        minutes=of("runtime") or 0,
        gpus=of("gpu") or 0,
        gpu_type=of("gpu_model"),
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
    if BATCH and workflow.is_main_process:
        note_what_is_asked()
