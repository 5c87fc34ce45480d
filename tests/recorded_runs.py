"""A workspace as runs leave it, without running anything."""

from pipeline.workspace.metadata import Metadata

CHAIN = {  # component: (what it reads, what it writes)
    "ExampleGen": ((), ("examples",)),
    "Trainer": (("examples",), ("model",)),
    "Evaluator": (("examples", "model"), ("evaluation", "blessing")),
    "Pusher": (("model", "blessing"), ("pushed_model",)),
}


def record(workspace, name, config=None, summaries=None, cached=(), fail=None):
    """Records a run of `CHAIN`; its artifacts are folders with a file of 1000 bytes.

    Args:
        workspace: Path. The folder.
        name: str. The run's.
        config: dict. What it ran with.
        summaries: dict. {component: the summary of its execution}.
        cached: dict. {component: execution that is used instead of a new one}.
        fail: str. The component that fails.

    Returns:
        {artifact name: path}, and {component: execution}.
    """
    store = Metadata(workspace / "metadata.sqlite")
    name = store.begin_run(name, config or {}, [])
    artifacts, executions = {}, {}
    for component, (reads, writes) in CHAIN.items():
        if component in cached:
            execution = cached[component]
        else:
            execution = store.begin(name, component, f"{component}-{name}")
            if component == fail:
                store.fail(execution, "no luck")
                store.end_run(name, f"{component}: no luck")
                break
            paths = {w: workspace / component / w / str(execution) for w in writes}
            for path in paths.values():
                path.mkdir(parents=True)
                (path / "file").write_bytes(bytes(1000))
            summary = (summaries or {}).get(component, {})
            inputs = [artifacts[r] for r in reads]
            store.complete(execution, summary, inputs, paths)
        store.use(name, execution)
        executions[component] = execution
        artifacts |= {a.name: a for a in store.outputs(execution)}
    else:
        store.end_run(name)
    return {n: a.path for n, a in artifacts.items()}, executions
