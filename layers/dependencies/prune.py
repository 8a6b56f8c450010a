"""Takes out of the installed packages what no function imports: python3.13 prune.py FOLDER SERVICES_FILE."""

import json
import shutil
import sys
from pathlib import Path

TWILIO_KEPT = frozenset({"__init__.py", "request_validator.py", "twiml"})
# What logger, metrics and batch need (the last takes parser, too, once pydantic is loaded), and parameters for tools. Most
# others need packages that are not here.
UTILITIES_KEPT = frozenset(
    {
        "__init__.py",
        "batch",
        "data_classes",
        "jmespath_utils",
        "metadata",
        "parameters",
        "parser",
        "serialization.py",
        "typing",
    }
)

# The models that batch loads, and what they are made of.
PARSER_MODELS_KEPT = frozenset({"__init__.py", "cloudwatch.py", "dynamodb.py", "kafka.py", "kinesis.py", "sqs.py"})

DROPPED = (
    "bin",
    "annotated_types/test_cases.py",
    "aws_lambda_powertools/event_handler",  # a resolver of routes, which the gateway has resolved
    "aws_lambda_powertools/logging/formatters/datadog.py",
    "aws_lambda_powertools/metrics/provider/datadog",
    # Events of services that send none here; batch loads the other half of them.
    "aws_lambda_powertools/utilities/data_classes/*_authorizer_event.py",
    "aws_lambda_powertools/utilities/data_classes/*_mq_event.py",
    "aws_lambda_powertools/utilities/data_classes/cognito_user_pool_event.py",
    "aws_lambda_powertools/utilities/data_classes/iot_registry_event.py",
    "aws_lambda_powertools/utilities/data_classes/s3_object_event.py",
    "aws_lambda_powertools/utilities/parser/envelopes",
    "boto3/data",  # the resource interface's models: the functions use clients
    "boto3/examples",
    "botocore/cacert.pem",  # botocore prefers certifi's, which is here
    "botocore/crt/auth.py",  # signatures by a library that is not here
    "botocore/stub.py",  # for tests
    "certifi/tests",
    "dateutil/easter.py",
    "dateutil/rrule.py",  # recurring dates of calendar files
    "dateutil/tz/win.py",
    "dateutil/zoneinfo/rebuild.py",
    "dateutil/zoneinfo/*.tar.gz",  # read only where the system has no time zones
    # What needs packages that are not here: HTTP/2, SOCKS, and other event loops.
    "httpcore/_backends/anyio.py",
    "httpcore/_backends/trio.py",
    "httpcore/_*/http2.py",
    "httpcore/_*/socks_proxy.py",
    "httpx/_main.py",  # a command, like the next one
    "idna/cli.py",
    "idna/uts46data.py",  # names as people type them; httpx asks for none of this
    "pydantic/experimental",
    "pydantic/mypy.py",  # for a type checker
    "pydantic/v1",  # the whole former version
    # S3 at full speed, by a library of its own or by several processes.
    "s3transfer/crt.py",
    "s3transfer/processpool.py",
    "urllib3/contrib/emscripten",  # for a browser
    "urllib3/contrib/pyopenssl.py",
    "urllib3/contrib/socks.py",
    "urllib3/http2/connection.py",
    "**/__pycache__",
    # What the installer noted about itself: it names removed files and differs from machine to machine.
    ".lock",
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
    "*.dist-info/uv_cache.json",
)


def main(folder: Path, services: Path) -> None:
    """Prune an installed tree in place.

    Args:
        folder: Where the packages are, as `pip install --target` leaves them.
        services: A file that names one AWS service a line, as botocore spells it.

    Raises:
        ValueError: botocore has no model of a named service; nothing was removed.
    """
    models = folder / "botocore" / "data"
    kept = frozenset(services.read_text().split())
    if unknown := sorted(name for name in kept if not (models / name).is_dir()):
        raise ValueError(f"{services.name} names services that botocore does not know: {', '.join(unknown)}")

    # botocore reads the files beside the models (endpoints, partitions, retries, defaults) for every service.
    keep_only(models, kept | {entry.name for entry in models.iterdir() if entry.is_file()})
    keep_endpoints(models / "endpoints.json", kept)
    keep_only(folder / "twilio", TWILIO_KEPT)
    keep_only(folder / "aws_lambda_powertools" / "utilities", UTILITIES_KEPT)
    keep_only(folder / "aws_lambda_powertools" / "utilities" / "parser" / "models", PARSER_MODELS_KEPT)
    for pattern in DROPPED:
        for found in list(folder.glob(pattern)):
            remove(found)


def keep_endpoints(file: Path, services: frozenset[str]) -> None:
    """Leave the named services in botocore's list of where every service of AWS is: 1.2 MB that each client reads."""
    content = json.loads(file.read_text())
    for partition in content["partitions"]:
        partition["services"] = {name: made for name, made in partition["services"].items() if name in services}
    # uv links the files of its cache into the folder: written in place, this would change them for everybody.
    file.unlink()
    file.write_text(json.dumps(content, separators=(",", ":")))


def keep_only(folder: Path, names: frozenset[str]) -> None:
    for entry in folder.iterdir():
        if entry.name not in names:
            remove(entry)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
