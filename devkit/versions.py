"""What SnapStart needs of a deployment: versions of the functions, and an alias that everything else points to.

SAM's `AutoPublishAlias` is this, but takes no condition, and publishes nothing when only a layer or a parameter has changed.
So the template that `sam build` made is given it, with a digest of all that a version consists of, and only where it is
asked for: without, a stack has neither versions nor aliases.

https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/sam-resource-function.html
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

PARAMETER = "SnapStart"
ALIAS = "live"
TEMPLATE = "template.yaml"


def wanted(parameters: Mapping[str, str]) -> bool:
    """Whether a stack with these parameters starts from snapshots."""
    return parameters.get(PARAMETER) == "true"


def publish(build: Path, parameters: Mapping[str, str]) -> list[str]:
    """Have the next `sam deploy` publish the functions that start from snapshots; returns their logical ids."""
    path = build / TEMPLATE
    template: dict[str, Any] = yaml.safe_load(path.read_text())
    functions = {
        name: resource
        for name, resource in template["Resources"].items()
        if PARAMETER in resource.get("Properties", {})
    }
    defaults = {name: str(declared.get("Default", "")) for name, declared in template["Parameters"].items()}
    made = digest(build, {**defaults, **parameters})
    for resource in functions.values():
        resource["Properties"] |= {"AutoPublishAlias": ALIAS, "AutoPublishCodeSha256": made}
        # Of its version too: each one that stays costs as much as the one in use. SAM would keep them all.
        resource["DeletionPolicy"] = "Delete"
    for resource in template["Resources"].values():
        properties = resource.get("Properties", {})
        # Who invokes such a function by itself, and may: that would start the unpublished one.
        for part in ("Environment", "Policies"):
            if part in properties:
                properties[part] = _pointed(properties[part], functions.keys())
    path.write_text(yaml.safe_dump(template, sort_keys=False, width=1000))
    return sorted(functions)


def _pointed(value: Any, names: Collection[str]) -> Any:
    """The same with the alias in place of each of these functions."""
    match value:
        case {"Ref": name} if name in names:
            return {"Fn::Sub": f"${{{name}}}:{ALIAS}"}
        case {"Fn::GetAtt": [name, "Arn"]} if name in names:
            return {"Fn::Sub": f"${{{name}.Arn}}:{ALIAS}"}
        case dict():
            return {key: _pointed(inner, names) for key, inner in value.items()}
        case list():
            return [_pointed(inner, names) for inner in value]
    return value


def digest(build: Path, parameters: Mapping[str, str]) -> str:
    """Of everything that a version is made of, and of more: one version too many is harmless, one too few is yesterday's."""
    found = hashlib.sha256(json.dumps(dict(parameters), sort_keys=True).encode())
    for path in sorted(build.rglob("*")):
        if path.is_file():
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            found.update(f"{path.relative_to(build).as_posix()} {content}\n".encode())
    return found.hexdigest()
