"""What the emulator's CloudFormation leaves out of a deployed stack, made up for through the public AWS API.

ministack stores an HTTP API but not the routes and CORS rules of its `Body`, a table without its TTL and
point-in-time recovery, and numbers that come from a parameter as text. Run after every deployment; running it again changes nothing.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from devkit.facts import require_loopback

ANY_METHOD = "x-amazon-apigateway-any-method"
INTEGRATION = "x-amazon-apigateway-integration"
CORS = "x-amazon-apigateway-cors"
CERTIFICATE = "arn:aws:acm:us-east-1:000000000000:certificate/local"  # the API wants one; nothing here speaks TLS

type Clients = Callable[[str], Any]


class Wired(NamedTuple):
    """What was found and made: route keys, and the function URLs by logical id of their function, on loopback."""

    routes: list[str]
    function_urls: dict[str, str]


class _Deployed(NamedTuple):
    name: str
    resources: dict[str, dict[str, Any]]  # logical id -> resource of the expanded template
    physical: dict[str, str]  # logical id -> physical id


def wire(stack: str, host: str, clients: Clients) -> Wired:
    """Complete the deployed `stack`, its HTTP API served under `host` as well; `UserError` on any real endpoint.

    `clients` gives the boto3 client of a service.
    """

    def local(service: str) -> Any:
        client = clients(service)
        require_loopback(client.meta.endpoint_url)
        return client

    deployed = _read(stack, local("cloudformation"))
    routes: list[str] = []
    function_urls: dict[str, str] = {}
    for logical, resource in deployed.resources.items():
        kind, properties = resource["Type"], resource.get("Properties", {})
        physical = deployed.physical.get(logical)
        if physical is None:  # its condition is false
            continue
        if kind == "AWS::ApiGatewayV2::Api" and "Body" in properties:
            routes += _wire_api(physical, properties["Body"], deployed, local)
            _map_host(physical, host, local("apigatewayv2"))
        elif kind == "AWS::DynamoDB::Table":
            _wire_table(physical, properties, local("dynamodb"))
        elif kind == "AWS::Lambda::Url":
            function = properties["TargetFunctionArn"]["Ref"]
            function_urls[function] = _function_url(deployed.physical[function], local("lambda"))
        elif kind == "AWS::Lambda::EventSourceMapping":
            _wire_event_source(physical, local("lambda"))
    return Wired(sorted(routes), function_urls)


def _read(stack: str, cloudformation: Any) -> _Deployed:
    template = cloudformation.get_template(StackName=stack, TemplateStage="Processed")["TemplateBody"]
    found = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
    physical = {resource["LogicalResourceId"]: resource["PhysicalResourceId"] for resource in found}
    return _Deployed(stack, template["Resources"], physical)


def _wire_api(api: str, body: dict[str, Any], deployed: _Deployed, local: Clients) -> list[str]:
    gateway = local("apigatewayv2")
    wanted = {
        _route_key(path, method): _function_arn(operation[INTEGRATION]["uri"], deployed, local("lambda"))
        for path, operations in body["paths"].items()
        for method, operation in operations.items()
        if INTEGRATION in operation
    }
    present = {route["RouteKey"]: route for route in _items(gateway.get_routes, ApiId=api)}
    for key in present.keys() - wanted.keys():
        gateway.delete_route(ApiId=api, RouteId=present[key]["RouteId"])
    integrations = {
        made["IntegrationUri"]: made["IntegrationId"] for made in _items(gateway.get_integrations, ApiId=api)
    }
    for key, arn in wanted.items():
        if arn not in integrations:
            integrations[arn] = gateway.create_integration(
                ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0"
            )["IntegrationId"]
        target = f"integrations/{integrations[arn]}"
        if key not in present:
            gateway.create_route(ApiId=api, RouteKey=key, Target=target)
        elif present[key].get("Target") != target:
            gateway.update_route(ApiId=api, RouteId=present[key]["RouteId"], Target=target)
    if CORS in body:
        # OpenAPI writes allowOrigins where the API says AllowOrigins.
        cors = {name[0].upper() + name[1:]: value for name, value in body[CORS].items()}
        gateway.update_api(ApiId=api, CorsConfiguration=cors)
    return sorted(wanted)


def _route_key(path: str, method: str) -> str:
    if path == "/$default":
        return "$default"
    return f"{'ANY' if method == ANY_METHOD else method.upper()} {path}"


def _function_arn(uri: str | dict[str, str], deployed: _Deployed, functions: Any) -> str:
    """The function behind an integration, which SAM writes as `...:path/.../functions/${Function.Arn}/invocations`."""
    text = uri if isinstance(uri, str) else uri["Fn::Sub"]
    if reference := re.search(r"functions/\$\{(\w+)(?:\.Arn)?\}/invocations", text):
        physical = deployed.physical[reference[1]]
        return str(functions.get_function(FunctionName=physical)["Configuration"]["FunctionArn"])
    return text


def _map_host(api: str, host: str, gateway: Any) -> None:
    """Serve the API under a name that is known before it is deployed, as the public URL has to be."""
    if host not in {domain["DomainName"] for domain in _items(gateway.get_domain_names)}:
        gateway.create_domain_name(
            DomainName=host,
            DomainNameConfigurations=[{"CertificateArn": CERTIFICATE, "EndpointType": "REGIONAL"}],
        )
    for mapping in _items(gateway.get_api_mappings, DomainName=host):
        if mapping["ApiId"] == api:
            return
        gateway.delete_api_mapping(DomainName=host, ApiMappingId=mapping["ApiMappingId"])
    gateway.create_api_mapping(ApiId=api, DomainName=host, Stage="$default")


def _wire_table(table: str, properties: dict[str, Any], dynamodb: Any) -> None:
    ttl = properties.get("TimeToLiveSpecification", {})
    if ttl.get("Enabled"):
        status = dynamodb.describe_time_to_live(TableName=table)["TimeToLiveDescription"]["TimeToLiveStatus"]
        if status == "DISABLED":  # the real API refuses to enable it twice
            wanted = {"Enabled": True, "AttributeName": ttl["AttributeName"]}
            dynamodb.update_time_to_live(TableName=table, TimeToLiveSpecification=wanted)
    if properties.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled"):
        wanted = {"PointInTimeRecoveryEnabled": True}
        dynamodb.update_continuous_backups(TableName=table, PointInTimeRecoverySpecification=wanted)


def _wire_event_source(mapping: str, functions: Any) -> None:
    """CloudFormation turns the text of a parameter into the number that is meant; the emulator's poller fails on it."""
    scaling = functions.get_event_source_mapping(UUID=mapping).get("ScalingConfig", {})
    if limit := scaling.get("MaximumConcurrency"):  # reads as a number even where text is stored
        functions.update_event_source_mapping(UUID=mapping, ScalingConfig={"MaximumConcurrency": int(limit)})


def _function_url(function: str, functions: Any) -> str:
    """Where the emulator serves a function URL; the URL that it reports is the one that AWS would give."""
    reported = functions.get_function_url_config(FunctionName=function)["FunctionUrl"]
    identifier = urlsplit(reported).hostname.partition(".")[0]
    return f"{functions.meta.endpoint_url}/_aws/lambda-url/{identifier}/"


def _items(operation: Callable[..., dict[str, Any]], **arguments: str) -> Iterator[dict[str, Any]]:
    page = operation(**arguments)
    yield from page["Items"]
    while token := page.get("NextToken"):
        page = operation(**arguments, NextToken=token)
        yield from page["Items"]
