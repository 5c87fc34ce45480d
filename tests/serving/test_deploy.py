"""The deployment's files, held to the formats of those that read them."""

import json
import re
import subprocess

import kubernetes_validate
import promql_parser
import pytest
import requests
import yaml
from google.protobuf import text_format
from paths import ROOT
from tensorflow_serving.config.model_server_config_pb2 import ModelServerConfig

from serving.cli.check import METRIC
from serving.client import Client
from serving.config.protos import BatchingParameters, MonitoringConfig
from serving.config.server import ModelConfig
from serving.release import labels

DEPLOY = ROOT / "serving" / "deploy"
IMAGE = "tensorflow/serving:2.20.0"
# What TensorFlow Serving 2.20 reports; a histogram also has _bucket, _sum and _count.
COUNTERS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:cc:saved_model:load_attempt_count": {"model_path", "status"},
    ":tensorflow:core:graph_runs": set(),
    "up": {"job", "instance"},
    METRIC: {"model_name", "server"},
}
HISTOGRAMS = {
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint"},
    ":tensorflow:serving:runtime_latency": {"model_name", "API", "runtime"},
    ":tensorflow:serving:batching_session:queuing_latency": {"thread_pool_name"},
}
# Flags of tensorflow_model_server that the files use.
FLAGS = {
    "port", "rest_api_port", "model_config_file", "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models", "monitoring_config_file",
    "tensorflow_intra_op_parallelism", "tensorflow_inter_op_parallelism",
}  # fmt: skip


def _yaml(path):
    return yaml.safe_load((DEPLOY / path).read_text())


def _flags(arguments):
    return dict(argument.removeprefix("--").split("=", 1) for argument in arguments)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("models.config", ModelServerConfig),
        ("batching.config", BatchingParameters),
        ("monitoring.config", MonitoringConfig),
    ],
)
def test_configs_are_messages_of_tf_serving(file, message):
    parsed = text_format.Parse((DEPLOY / "config" / file).read_text(), message())
    assert parsed.ByteSize() > 0
    if file == "batching.config":
        sizes = list(parsed.allowed_batch_sizes)
        assert sizes == sorted(sizes) and sizes[-1] == parsed.max_batch_size.value
        assert not parsed.pad_variable_length_inputs
    if file == "monitoring.config":
        assert parsed.prometheus_config.enable
        scrape = _yaml("prometheus.yml")["scrape_configs"][0]
        assert scrape["metrics_path"] == parsed.prometheus_config.path


def test_the_first_release_changes_the_models_config(tmp_path):
    file = tmp_path / "models.config"
    file.write_text((DEPLOY / "config" / "models.config").read_text())
    before = labels.known(file, "model")
    assert before.versions == 2  # the newest two
    labels.write(file, before, ModelConfig("model", before.base_path, (1,)))
    assert labels.known(file, "model").versions == (1,)


def test_compose():
    compose = _yaml("compose.yaml")
    services = compose["services"]
    assert set(compose) == {"name", "services", "volumes"}
    assert set(services) == {"serving", "prometheus", "grafana"}
    known = {
        "image", "init", "entrypoint", "command", "ports", "volumes", "restart",
        "stop_grace_period", "environment", "depends_on", "extra_hosts",
    }  # fmt: skip
    for name, service in services.items():
        assert set(service) <= known, name
        image, _, tag = service["image"].partition(":")
        assert image and re.fullmatch(r"v?\d+\.\d+\.\d+", tag)  # pinned
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (DEPLOY / source).exists(), source
            elif not source.startswith("${"):
                assert source in compose["volumes"]
    serving = services["serving"]
    assert serving["image"] == IMAGE and serving["init"] is True
    flags = _flags(serving["command"])
    assert set(flags) <= FLAGS
    for flag in ("model_config_file", "monitoring_config_file"):
        assert (DEPLOY / flags[flag].lstrip("/")).is_file()
    scrapes = _yaml("prometheus.yml")["scrape_configs"]
    targets = [scrape["static_configs"][0]["targets"] for scrape in scrapes]
    assert targets == [
        [f"serving:{flags['rest_api_port']}"], ["host.docker.internal:9469"]
    ]  # fmt: skip
    assert "--port 9469" in (DEPLOY / "README.md").read_text()


def _selectors(expression):
    """The metrics that a query reads, with the labels that it asks for."""
    pairs = re.findall(
        r"([a-zA-Z_:][\w:]*)(?:\{([^}]*)\})?(?=\[| ==|\{|\))", expression
    )
    for name, matchers in pairs:
        if ":" in name or name == "up":
            yield name, set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\"", matchers))


def _queries():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/serving.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for group in _yaml("alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("where", "query"), list(_queries()))
def test_queries_are_promql_of_metrics_that_exist(where, query):
    query = query.replace("$__rate_interval", "1m").replace("$model", "x")
    promql_parser.parse(query)
    found = list(_selectors(query))
    assert found, where
    for name, matched in found:
        histogram = HISTOGRAMS.get(re.sub("_(bucket|sum|count)$", "", name))
        known = histogram if histogram is not None else COUNTERS[name]
        assert matched <= known | {"le"}
        by = {
            label
            for labels in re.findall(r"by \(([^)]*)\)", query)
            for label in labels.split(", ")
        }
        assert by <= known | {"le"}


def test_the_metrics_are_those_of_the_embedded_server(server):
    with Client(server.url, "toy", signature_name="add") as client:
        client.predict({"x": [1]})
    text = requests.get(server.url + "/monitoring/prometheus/metrics", timeout=240).text
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert ":tensorflow:serving:request_count" in names
    assert ":tensorflow:serving:request_latency" in names


def test_grafana_finds_its_dashboard_and_its_data():
    (source,) = _yaml("grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    dashboard = json.loads((DEPLOY / "grafana/dashboards/serving.json").read_text())
    used = {
        target["datasource"]["uid"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    assert used == {source["uid"]} and source["url"] == "http://prometheus:9090"
    (provider,) = _yaml("grafana/provisioning/dashboards/serving.yaml")["providers"]
    volumes = _yaml("compose.yaml")["services"]["grafana"]["volumes"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in volumes
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(places)


KUBERNETES = ["deployment", "service", "autoscaling", "disruption"]


@pytest.mark.parametrize("name", KUBERNETES)
def test_kubernetes_objects_fit_their_schemas(name):
    document = _yaml(f"kubernetes/{name}.yaml")
    for version in ("1.30", kubernetes_validate.latest_version()):
        kubernetes_validate.validate(document, version, strict=True)


def test_a_misspelt_key_of_kubernetes_is_found():
    document = _yaml("kubernetes/deployment.yaml")
    document["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, "1.30", strict=True)


def test_kubernetes_objects_fit_each_other():
    deployment, service, scaler, budget = (
        _yaml(f"kubernetes/{name}.yaml") for name in KUBERNETES
    )
    pod = deployment["spec"]["template"]
    selectors = [
        deployment["spec"]["selector"]["matchLabels"],
        service["spec"]["selector"],
        budget["spec"]["selector"]["matchLabels"],
    ]
    assert all(selector == pod["metadata"]["labels"] for selector in selectors)
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "model")
    (container,) = pod["spec"]["containers"]
    assert container["image"] == IMAGE and set(_flags(container["args"])) <= FLAGS
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == ports
    assert budget["spec"]["minAvailable"] < scaler["spec"]["minReplicas"]
    # While a pod ends it waits, and then has time left to answer what it has.
    wait = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    assert wait < pod["spec"]["terminationGracePeriodSeconds"]
    kustomization = _yaml("kubernetes/kustomization.yaml")
    assert kustomization["resources"] == [f"{name}.yaml" for name in KUBERNETES]
    (generated,) = kustomization["configMapGenerator"]
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == generated["name"]
    for file in generated["files"]:
        assert (DEPLOY / "kubernetes" / file).is_file()


@pytest.mark.parametrize("probe", ["startupProbe", "readinessProbe"])
def test_the_probe_reads_the_state(probe, server):
    (container,) = _yaml("kubernetes/deployment.yaml")["spec"]["template"]["spec"][
        "containers"
    ]
    command = container[probe]["exec"]["command"]
    port = server.url.rsplit(":", 1)[1]

    def run(model):
        *shell, script = command
        script = script.replace("8501", port).replace("models/model", f"models/{model}")
        return subprocess.run([*shell, script], check=False).returncode

    assert run("toy") == 0
    assert run("other") != 0  # 404: there is no such model


def test_kserve_names_what_it_must():
    service = _yaml("kserve/inference_service.yaml")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["kind"] == "InferenceService"
    predictor = service["spec"]["predictor"]
    known = {"minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "model"}
    assert set(predictor) == known
    model = predictor["model"]
    assert model["modelFormat"] == {"name": "tensorflow"}
    assert model["runtimeVersion"] == IMAGE.split(":")[1]
    assert re.match(r"(pvc|s3|gs|https?)://", model["storageUri"])
    # Its resources are those of a container, whose schema Kubernetes has.
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"},
        "spec": {"containers": [{"name": "x", "resources": model["resources"]}]},
    }  # fmt: skip
    kubernetes_validate.validate(pod, "1.30", strict=True)


@pytest.mark.parametrize("page", ["README.md", "runbook.md"])
def test_pages_name_files_and_commands_that_exist(page):
    text = (DEPLOY / page).read_text()
    for path in re.findall(r"\]\(((?!http)[^)#]+)\)", text):
        assert (DEPLOY / path).exists(), path
    for command in set(re.findall(r"python -m serving (\w+)", text)):
        assert command in (
            "serve",
            "publish",
            "rollback",
            "label",
            "check",
            "loadtest",
            "compare",
        )
