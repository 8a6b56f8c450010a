"""The layers as `sam build` leaves them, and the one list of run-time packages that they are made from."""

import importlib.util
import marshal
import os
import platform
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from layers.dependencies import roots

ROOT = Path(__file__).parents[2]
BUILD = ROOT / ".aws-sam" / "build"
SOURCE = ROOT / "layers" / "dependencies"

MACHINES = {"DependenciesArm64Layer": 183, "DependenciesX86Layer": 62}  # ELF's numbers: EM_AARCH64, EM_X86_64
PACKAGES = {"SwitchboardLayer": "switchboard", "AgentLayer": "agent"}
NATIVE = "DependenciesArm64Layer" if platform.machine() in {"arm64", "aarch64"} else "DependenciesX86Layer"

UNCHECKED_HASH = 1  # the flags word of a pyc that is used without a look at its source
LARGEST = 21_000_000  # bytes unpacked; 20 MB now, and all layers and code of a function may have 250 MB


def built(layer: str) -> Path:
    path = BUILD / layer / "python"
    if not path.is_dir():
        pytest.fail(f"{layer} is not built: run `make build` first")
    return path


def pins(lock: Path) -> dict[str, str]:
    """Name -> exact version, of a file that `uv pip compile` wrote."""
    lines = [line.split("\\")[0].split(";")[0].strip() for line in lock.read_text().splitlines() if "==" in line]
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def listed() -> list[Requirement]:
    lines = (SOURCE / "requirements.in").read_text().splitlines()
    return [Requirement(line) for line in lines if not line.startswith("#")]


def elf_files(folder: Path) -> Iterator[tuple[Path, bytes]]:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                header = file.read(20)
            if header.startswith(b"\x7fELF"):
                yield path, header


def run_isolated(code: str, *folders: Path) -> str:
    """What `code` prints in an interpreter that finds the standard library and these folders, and nothing else."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "AWS_DEFAULT_REGION": "us-east-1"}
    command = [sys.executable, "-B", "-P", "-S", "-s", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("layer", "machine"), MACHINES.items())
def test_native_code_is_for_the_layers_architecture(layer: str, machine: int) -> None:
    found = {path.name: int.from_bytes(header[18:20], "little") for path, header in elf_files(built(layer))}

    assert any(name.startswith("_pydantic_core") for name in found)
    assert set(found.values()) == {machine}


@pytest.mark.parametrize("layer", [*MACHINES, *PACKAGES])
def test_every_module_has_bytecode_that_lambda_uses(layer: str) -> None:
    python = built(layer)
    sources = {Path(importlib.util.cache_from_source(str(path))): path for path in python.rglob("*.py")}

    assert set(python.rglob("*.pyc")) == set(sources)
    for compiled, source in sources.items():
        content = compiled.read_bytes()
        assert content[:4] == importlib.util.MAGIC_NUMBER, compiled
        assert int.from_bytes(content[4:8], "little") == UNCHECKED_HASH, compiled
        assert content[8:16] == importlib.util.source_hash(source.read_bytes()), compiled
        assert marshal.loads(content[16:]).co_filename == f"/opt/python/{source.relative_to(python)}"  # noqa: S302 - built here


@pytest.mark.parametrize("layer", MACHINES)
def test_dependency_layers_hold_exactly_what_is_locked(layer: str) -> None:
    found = {
        canonicalize_name(distribution.name): distribution.version
        for distribution in metadata.distributions(path=[str(built(layer))])
    }

    assert found == pins(SOURCE / "requirements.txt")


@pytest.mark.parametrize("layer", MACHINES)
def test_dependency_layers_leave_out_what_no_function_imports(layer: str) -> None:
    python = built(layer)
    models = {path.name for path in (python / "botocore" / "data").iterdir() if path.is_dir()}

    assert models == set((SOURCE / "services.txt").read_text().split())
    assert not (python / "twilio" / "rest").exists()
    assert not list(python.rglob("tests"))
    assert sum(path.stat().st_size for path in python.rglob("*") if path.is_file()) < LARGEST


@pytest.mark.parametrize("layer", MACHINES)
def test_dependency_layers_hold_every_root_as_openssl_looks_it_up(layer: str) -> None:
    folder, bundle = BUILD / layer / "roots", built(layer) / "certifi" / "cacert.pem"
    context = ssl.create_default_context(capath=str(folder))
    context.load_verify_locations(cafile=str(folder / "amazon.pem"))

    assert {path.name[:-2] for path in folder.glob("*.[0-9]")} == {
        roots.name_hash(roots.subject(certificate)) for certificate in roots.read(bundle)
    }
    assert len(context.get_ca_certs()) == len(roots.read(folder / "amazon.pem")) > 4


@pytest.mark.parametrize(("layer", "package"), PACKAGES.items())
def test_our_layers_hold_exactly_our_packages(layer: str, package: str) -> None:
    python, source = built(layer), ROOT / "layers" / package

    def content(folder: Path) -> dict[str, bytes]:
        files = (path for path in (folder / package).rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {str(path.relative_to(folder)): path.read_bytes() for path in files}

    assert content(python) == content(source), f"{layer} is not what `make build` would build now"
    assert [path.name for path in python.iterdir()] == [package]


def test_dependencies_work_from_their_layer_alone() -> None:
    services = (SOURCE / "services.txt").read_text().split()
    code = f"""
import aws_lambda_powertools, boto3, httpx, pydantic, twilio
import aws_lambda_powertools.metrics, aws_lambda_powertools.utilities.batch, aws_lambda_powertools.utilities.parameters
import twilio.request_validator, twilio.twiml.voice_response

for service in {services!r}:
    boto3.client(service, aws_access_key_id="test", aws_secret_access_key="test")
httpx.Client().close()
pydantic.create_model("Model", field=int)(field=1)
response = twilio.twiml.voice_response.VoiceResponse()
response.say("Hello")
print(response)
for module in (aws_lambda_powertools, boto3, httpx, pydantic, twilio):
    print(module.__file__)
"""
    document, *files = run_isolated(code, built(NATIVE)).splitlines()

    assert document == '<?xml version="1.0" encoding="UTF-8"?><Response><Say>Hello</Say></Response>'
    assert len(files) == 5
    assert all(Path(file).is_relative_to(built(NATIVE)) for file in files)


def test_our_packages_import_from_the_layers_alone() -> None:
    code = """
import importlib, pkgutil
for name in ("switchboard", "agent"):
    package = importlib.import_module(name)
    print(name)
    for module in pkgutil.walk_packages(package.__path__, f"{name}."):
        importlib.import_module(module.name)
        print(module.name)
"""
    imported = set(run_isolated(code, built("AgentLayer"), built("SwitchboardLayer"), built(NATIVE)).split())

    assert {"switchboard.signatures", "agent.tools"} <= imported


def test_every_listed_package_is_locked_in_a_version_that_the_list_allows() -> None:
    locked = pins(SOURCE / "requirements.txt")

    assert listed()
    for requirement in listed():
        assert requirement.specifier.contains(locked[canonicalize_name(requirement.name)]), requirement


def test_tests_run_the_versions_that_are_deployed() -> None:
    locked, development = pins(SOURCE / "requirements.txt"), pins(ROOT / "devkit" / "requirements" / "dev.txt")

    assert {name: development.get(name) for name in locked} == locked


def test_run_time_packages_are_listed_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {canonicalize_name(requirement.name) for requirement in listed()}
    others = "\n".join(path.read_text() for path in (ROOT / "devkit" / "requirements").glob("*.in")).splitlines()

    assert not {"dependencies", "optional-dependencies"} & project.keys()
    assert not names & {canonicalize_name(Requirement(line).name) for line in others if line[:1].isalpha()}


@pytest.mark.parametrize(
    "lock",
    [
        SOURCE / "requirements.txt",
        *sorted((ROOT / "devkit" / "requirements").glob("*.txt")),
        *sorted((ROOT / "tests" / "benchmarks" / "peers").glob("*/requirements.txt")),
    ],
    ids=lambda p: f"{p.parent.name}-{p.stem}",
)
def test_locks_are_hashed_and_name_no_registry(lock: Path) -> None:
    text = lock.read_text()
    blocks = [block for block in text.split("\n") if "==" in block and not block.startswith("#")]

    assert blocks
    assert all(line.endswith("\\") for line in blocks)
    assert "--hash=sha256:" in text
    assert "://" not in text
    assert "-index-url" not in text
