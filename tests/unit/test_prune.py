import json
from pathlib import Path

import pytest

from layers.dependencies import prune

INSTALLED = (
    "aws_lambda_powertools/event_handler/__init__.py",
    "aws_lambda_powertools/logging/__init__.py",
    "aws_lambda_powertools/utilities/batch/__init__.py",
    "aws_lambda_powertools/utilities/data_classes/active_mq_event.py",
    "aws_lambda_powertools/utilities/data_classes/sqs_event.py",
    "aws_lambda_powertools/utilities/parameters/__init__.py",
    "aws_lambda_powertools/utilities/parser/models/s3.py",
    "aws_lambda_powertools/utilities/parser/models/sqs.py",
    "bin/httpx",
    "boto3/data/s3/resources-1.json",
    "boto3/session.py",
    "botocore/cacert.pem",
    "botocore/data/endpoints.json",
    "botocore/data/ec2/service-2.json.gz",
    "botocore/data/sqs/service-2.json.gz",
    "httpcore/_async/http11.py",
    "httpcore/_async/http2.py",
    "httpcore/_sync/http2.py",
    "httpx/__pycache__/_client.pyc",
    "httpx/_client.py",
    "httpx-1.dist-info/METADATA",
    "httpx-1.dist-info/RECORD",
    "httpx-1.dist-info/licenses/LICENSE",
    "twilio/__init__.py",
    "twilio/request_validator.py",
    "twilio/rest/__init__.py",
    "twilio/twiml/voice_response.py",
)

ENDPOINTS = {
    "partitions": [
        {"partition": name, "regions": {}, "services": {"sqs": {"endpoints": {name: {}}}, "ec2": {"endpoints": {}}}}
        for name in ("aws", "aws-cn")
    ],
    "version": 3,
}


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    folder = tmp_path / "python"
    for name in INSTALLED:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (folder / "botocore/data/endpoints.json").write_text(json.dumps(ENDPOINTS))
    return folder


@pytest.fixture
def services(tmp_path: Path) -> Path:
    return tmp_path / "services.txt"


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_what_functions_import_stays_and_nothing_else(installed: Path, services: Path) -> None:
    services.write_text("sqs\n")

    prune.main(installed, services)

    assert files(installed) == [
        "aws_lambda_powertools/logging/__init__.py",
        "aws_lambda_powertools/utilities/batch/__init__.py",
        "aws_lambda_powertools/utilities/data_classes/sqs_event.py",
        "aws_lambda_powertools/utilities/parameters/__init__.py",
        "aws_lambda_powertools/utilities/parser/models/sqs.py",
        "boto3/session.py",
        "botocore/data/endpoints.json",
        "botocore/data/sqs/service-2.json.gz",
        "httpcore/_async/http11.py",
        "httpx-1.dist-info/METADATA",
        "httpx-1.dist-info/licenses/LICENSE",
        "httpx/_client.py",
        "twilio/__init__.py",
        "twilio/request_validator.py",
        "twilio/twiml/voice_response.py",
    ]


def test_only_where_the_kept_services_are_is_left_of_botocores_list(installed: Path, services: Path) -> None:
    services.write_text("sqs\n")

    prune.main(installed, services)

    left = json.loads((installed / "botocore/data/endpoints.json").read_text())
    assert left == {
        "partitions": [
            {"partition": name, "regions": {}, "services": {"sqs": {"endpoints": {name: {}}}}}
            for name in ("aws", "aws-cn")
        ],
        "version": 3,
    }


def test_a_file_that_is_linked_from_elsewhere_changes_only_here(
    installed: Path, services: Path, tmp_path: Path
) -> None:
    services.write_text("sqs\n")
    cached = tmp_path / "cached.json"
    cached.hardlink_to(installed / "botocore/data/endpoints.json")

    prune.main(installed, services)

    assert json.loads(cached.read_text()) == ENDPOINTS


def test_a_service_that_botocore_does_not_know_stops_the_build(installed: Path, services: Path) -> None:
    services.write_text("sqs\ndynamo\n")

    with pytest.raises(ValueError, match=r"services\.txt names .* dynamo$"):
        prune.main(installed, services)

    assert files(installed) == sorted(INSTALLED)
