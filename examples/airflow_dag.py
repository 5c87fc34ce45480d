"""The stages of a pipeline as the tasks of an Airflow DAG, one after the other.

For Airflow 3. Put the file into its folder of DAGs, and say what to run:

    TFMTL_CONFIG=/srv/shop/shop.yaml            # the pipeline's YAML
    TFMTL_PYTHON=/srv/shop/.venv/bin/python     # where tfmtl[pipeline] is installed

The stages hand over folders of the workspace, which all of Airflow's workers must see.
"""

import datetime
import os

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG
from airflow.sdk.bases.operator import chain

CONFIG = os.environ.get("TFMTL_CONFIG", "shop.yaml")
PYTHON = os.environ.get("TFMTL_PYTHON", "python")
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

with DAG(
    "tfmtl",
    schedule="@daily",
    start_date=datetime.datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,  # a workspace has one run at a time
    default_args={"retries": 2},  # goes on where it stopped
):
    tasks = [
        BashOperator(
            task_id=stage,
            bash_command=f"{PYTHON} -m pipeline run {CONFIG} --only {stage}",
            # Pusher's status where the model is refused: nothing failed.
            skip_on_exit_code=3,
            do_xcom_push=False,
        )
        for stage in STAGES
    ]
    chain(*tasks)
