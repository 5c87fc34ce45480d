"""From a classification or a regression to the JSON of the answer."""

from serving.models.inference import classify, regress
from serving.models.servable import Servable
from serving.rest.json_writer import decimals, object_text, quote
from serving.rest.predict_response import open_array


def regress_text(servable: Servable, signature_name: str, examples: list[bytes]) -> str:
    """Runs a regression and writes `{"results": [1.5, ...]}`."""
    values = regress(servable, signature_name, examples)
    return object_text([("results", "[" + ", ".join(decimals(values)) + "]")])


def classify_text(
    servable: Servable, signature_name: str, examples: list[bytes]
) -> str:
    """Runs a classification and writes `{"results": [[["label", 0.5], ...]]}`."""
    labels, scores = classify(servable, signature_name, examples)
    rows = [
        "["
        + ", ".join(
            f"[{quote(label.decode('utf-8', 'surrogateescape'))}, {score}]"
            for label, score in zip(row, decimals(scores[index]), strict=True)
        )
        + "]"
        for index, row in enumerate(labels)
    ]
    return object_text([("results", open_array(rows))])
