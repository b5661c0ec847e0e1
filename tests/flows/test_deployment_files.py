"""Templates of work pools as a real Prefect server takes them; the compose file as far as it can be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.testing.utilities import prefect_test_harness

FOLDER = Path(__file__).resolve().parents[2] / "docs/deployment"


@pytest.fixture(scope="module")
def client() -> Iterator[SyncPrefectClient]:
    with prefect_test_harness(server_startup_timeout=180), get_client(sync_client=True) as talker:
        yield talker


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("docker", {"mem_limit": "8g", "networks": ["posttrain"]}, {"auto_remove": "perhaps"}),
        ("kubernetes", {"gpus": 4, "volume_claim": "fast"}, {"gpus": -1}),
    ],
)
def test_a_server_takes_the_template_and_checks_a_deployment_by_it(
    client: SyncPrefectClient, kind: str, good: dict[str, Any], bad: dict[str, Any]
) -> None:
    template = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    pool = client.create_work_pool(WorkPoolCreate(name=kind, type=kind, base_job_template=template))
    assert pool.base_job_template == template
    flow = client.create_flow_from_name("retrain")
    assert client.create_deployment(flow, "good", work_pool_name=kind, job_variables=good)
    with pytest.raises(PrefectHTTPStatusError, match=r"422|409"):
        client.create_deployment(flow, "bad", work_pool_name=kind, job_variables=bad)


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_every_placeholder_is_a_variable_of_the_form(kind: str) -> None:
    template = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8")))


def test_services_and_volumes_that_are_named_exist(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) == {"database", "store", "bucket", "prefect", "mlflow", "worker"}
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, name
            if how["condition"] == "service_healthy":
                assert "healthcheck" in services[needed], needed
        for volume in service.get("volumes", []):
            assert volume.split(":")[0] in compose["volumes"], name
    dockerfile = services["worker"]["build"]["dockerfile"]
    assert (FOLDER / services["worker"]["build"]["context"] / dockerfile).resolve() == FOLDER / "Dockerfile"


def test_ports_are_this_machine_s_only_and_no_password_is_written_down(compose: dict[str, Any]) -> None:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    assert all(port.startswith("127.0.0.1:") for each in compose["services"].values() for port in each.get("ports", []))
    assert set(re.findall(r"PASSWORD: (.*)", text)) == {
        "${DATABASE_PASSWORD:?set DATABASE_PASSWORD}",
        "${STORE_PASSWORD:?set STORE_PASSWORD}",
    }


def test_runs_find_the_servers_by_the_names_of_the_compose_file(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]["environment"]
    for kind in ("docker", "kubernetes"):
        template = json.loads((FOLDER / f"{kind}.json").read_text(encoding="utf-8"))
        told = template["variables"]["properties"]["env"]["default"]
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
            assert told[name] == worker[name]
    docker = json.loads((FOLDER / "docker.json").read_text(encoding="utf-8"))["variables"]["properties"]
    assert docker["networks"]["default"] == [compose["networks"]["default"]["name"]]
    assert docker["volumes"]["default"] == [f"{compose['volumes']['workspace']['name']}:/work"]
