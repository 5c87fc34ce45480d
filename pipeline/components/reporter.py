"""Reporter: the page on which a person decides about a model.

    anomalies, model, evaluation, blessing, infra_blessing -> report   report.html

It only reads what other stages have written, so that a new look costs no evaluation,
and comes behind the InfraValidator, which knows the latency and the size.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2

from pipeline.artifacts import blessing, layout
from pipeline.config import Config
from pipeline.report import evaluation, lineage
from tfmtl import model_card


def reporter(
    config: Config, inputs: Mapping[str, Path], outputs: Mapping[str, Path]
) -> dict:
    """Writes the report.

    Args:
        config: The pipeline's config.
        inputs: "anomalies", "model", "evaluation", "blessing", "infra_blessing".
        outputs: "report".

    Returns:
        {"blessed", "notes": where the page is}.
    """
    model, target = inputs["model"], outputs["report"] / layout.REPORT
    refused = blessing.read(inputs["blessing"])
    infra_refused = blessing.read(inputs["infra_blessing"])
    statistics_page = inputs["anomalies"] / layout.STATISTICS_PAGE
    page = evaluation.render(
        _json(inputs["evaluation"] / layout.METRICS),
        epochs=(_json(model / layout.HISTORY) or {}).get("epochs", ()),
        importance=_json(inputs["evaluation"] / layout.IMPORTANCE),
        gates=_json(model / layout.GATES),
        parameters=_json(model / layout.PARAMETERS),
        infra=_json(inputs["infra_blessing"] / layout.INFRA),
        infra_reasons=infra_refused,
        card=model_card.read(model / layout.SERVING_MODEL),
        anomalies=_anomalies(inputs["anomalies"] / layout.ANOMALIES),
        # Relative, so that the workspace can be moved.
        statistics_page=Path(os.path.relpath(statistics_page, target.parent)).as_posix()
        if statistics_page.is_file()
        else None,
        lineage=lineage.of(Path(config.workspace), inputs.values()),
    )
    target.write_text(page)
    return {
        "blessed": not (refused or infra_refused),
        "notes": [f"report: {target}"],
    }


def _json(file: Path) -> Any:
    return json.loads(file.read_text()) if file.is_file() else None


def _anomalies(file: Path) -> list[tuple[str, str]]:
    """(severity, text) of each, the worst first."""
    proto = anomalies_pb2.Anomalies.FromString(file.read_bytes())
    worst = sorted(proto.anomaly_info.values(), key=lambda info: -info.severity)
    return [
        (anomalies_pb2.AnomalyInfo.Severity.Name(info.severity), reason.description)
        for info in worst
        for reason in info.reason
    ]
