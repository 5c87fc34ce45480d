"""The stages of a pipeline as the tasks of Kubeflow Pipelines, one after the other.

    pip install kfp kfp-kubernetes
    python examples/kubeflow_pipeline.py     # writes tfmtl.yaml

Each stage is a container of an image with tfmtl[pipeline]. The stages hand over folders
of the workspace, on a volume that all of them mount.
"""

from kfp import compiler, dsl, kubernetes

IMAGE = "registry/tfmtl:0.1"
CLAIM = "tfmtl"  # a PersistentVolumeClaim; ReadWriteMany, if nodes differ
MOUNT = "/srv/tfmtl"
STAGES = (  # with a `data.source`, LogSource comes first
    "ExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ExampleValidator",
    "Transform",
    "Trainer",
    "Evaluator",
    "InfraValidator",
    "Reporter",
    "Pusher",
)


@dsl.container_component
def run_stage(config: str, stage: str):
    """Runs one stage, on what those before it have written."""
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python", "-m", "pipeline", "run"],
        args=[config, "--only", stage],
    )


@dsl.pipeline(name="tfmtl")
def tfmtl(config: str = f"{MOUNT}/shop.yaml"):
    """All stages."""
    previous = None
    for stage in STAGES:
        task = run_stage(config=config, stage=stage).set_display_name(stage)
        task.set_caching_options(False)  # the workspace knows what has changed
        task.set_retry(2)  # goes on where it stopped
        kubernetes.mount_pvc(task, pvc_name=CLAIM, mount_path=MOUNT)
        if previous:
            task.after(previous)
        previous = task


if __name__ == "__main__":
    compiler.Compiler().compile(tfmtl, "tfmtl.yaml")
