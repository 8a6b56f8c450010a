"""What `sam build` made: each function's properties, with its parameters filled in as a deployment would."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from devkit import development, sam
from devkit.errors import UserError

BUILD = Path(".aws-sam/build")
ACCOUNT = "000000000000"
# What `!Ref` gives for a resource whose name the template chooses; of others it gives the logical id here.
NAMED_BY = {"AWS::DynamoDB::Table": "TableName", "AWS::Logs::LogGroup": "LogGroupName", "AWS::SSM::Parameter": "Name"}


class BuiltFunction(NamedTuple):
    """One built function. `layers` in the order in which Lambda unpacks them over each other."""

    name: str
    handler: str
    runtime: str
    timeout: int  # seconds
    memory: int  # MB
    json_logs: bool
    variables: dict[str, str]
    code: Path
    layers: tuple[Path, ...]


class Built:
    """A directory that `sam build` wrote; `parameters` override the template's defaults."""

    def __init__(self, directory: Path, parameters: Mapping[str, str] | None = None) -> None:
        template = directory / "template.yaml"
        if not template.exists():
            raise UserError(f"nothing is built in {directory}: run `sam build` first")
        self._directory = directory.resolve()
        self._template: dict[str, Any] = yaml.safe_load(template.read_text())
        declared = self._template.get("Parameters", {})
        self._parameters = {name: str(made.get("Default", "")) for name, made in declared.items()}
        # A function that is run here was built for here.
        self._parameters |= {"Architecture": sam.architecture()} | dict(parameters or {})

    @property
    def functions(self) -> list[str]:
        """Logical ids of the functions."""
        resources = self._template["Resources"].items()
        return sorted(name for name, made in resources if made["Type"] == "AWS::Serverless::Function")

    def function(self, name: str) -> BuiltFunction:
        """One function by its logical id; `UserError` names those that exist."""
        if name not in self.functions:
            raise UserError(f"no function is called {name}; there are {', '.join(self.functions)}")
        shared = self._template.get("Globals", {}).get("Function", {})
        own = self._template["Resources"][name]["Properties"]
        properties = self._resolve(_merge(shared, own))
        return BuiltFunction(
            name=name,
            handler=properties["Handler"],
            runtime=properties["Runtime"],
            timeout=int(properties.get("Timeout", 3)),
            memory=int(properties.get("MemorySize", 128)),
            json_logs=properties.get("LoggingConfig", {}).get("LogFormat") == "JSON",
            variables={key: str(value) for key, value in properties["Environment"]["Variables"].items()},
            code=self._directory / properties["CodeUri"],
            layers=tuple(
                self._directory / self._template["Resources"][layer]["Properties"]["ContentUri"]
                for layer in properties.get("Layers", [])
            ),
        )

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, list):
            return [made for made in map(self._resolve, value) if made is not None]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            (function, argument), *_ = value.items()
            match function:
                case "Ref":
                    return self._reference(argument)
                case "Fn::Sub":
                    return self._substitute(argument)
                case "Fn::If":
                    name, then, otherwise = argument
                    return self._resolve(then if self._holds({"Condition": name}) else otherwise)
                case "Fn::GetAtt":
                    return ".".join(argument)
        resolved = {key: self._resolve(entry) for key, entry in value.items()}
        return {key: entry for key, entry in resolved.items() if entry is not None}

    def _reference(self, name: str) -> str | None:
        known = {
            "AWS::StackName": development.STACK_NAME,
            "AWS::Region": development.REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::NoValue": None,
        } | self._parameters
        if name in known:
            return known[name]
        resource = self._template["Resources"].get(name, {})
        kind, properties = resource.get("Type"), resource.get("Properties", {})
        if kind == "AWS::SQS::Queue":
            queue = self._resolve(properties["QueueName"])
            return f"https://sqs.{development.REGION}.amazonaws.com/{ACCOUNT}/{queue}"
        return str(self._resolve(properties[NAMED_BY[kind]])) if kind in NAMED_BY else name

    def _substitute(self, argument: str | list[Any]) -> str:
        text, given = (argument, {}) if isinstance(argument, str) else argument
        values = {key: self._resolve(value) for key, value in given.items()}
        return re.sub(r"\$\{([^}!]+)\}", lambda found: str(values.get(found[1], self._reference(found[1]))), text)

    def _holds(self, condition: dict[str, Any]) -> bool:
        (function, argument), *_ = condition.items()
        match function:
            case "Condition":
                return self._holds(self._template["Conditions"][argument])
            case "Fn::Equals":
                return bool(self._resolve(argument[0]) == self._resolve(argument[1]))
            case "Fn::Not":
                return not self._holds(argument[0])
            case "Fn::And":
                return all(map(self._holds, argument))
            case "Fn::Or":
                return any(map(self._holds, argument))
            case _:
                raise UserError(f"the template has a condition with {function}, which is not known here")


def _merge(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """SAM's rule for Globals: objects are merged, lists joined, anything else is the function's own."""
    merged = dict(shared)
    for key, value in own.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = _merge(merged[key], value)
        elif isinstance(value, list) and isinstance(merged.get(key), list):
            merged[key] = merged[key] + value
        else:
            merged[key] = value
    return merged
