"""The HTTP API: routes, authorizers, throttling and the access log."""

import json
import re

from tests.template.support import (
    BY_IDENTITY,
    TransformedTemplate,
    load,
    routes,
    target,
)

BY_GOOGLE = ("POST", "/chat/google")


def test_the_api_has_exactly_these_routes(template: TransformedTemplate) -> None:
    assert routes(template) == {
        ("POST", "/webhooks/{source}"),
        ("POST", "/webhooks/{source}/{key}"),
        *((method, "/webhooks/{proxy+}") for method in ("POST", "HEAD", "GET")),
        ("POST", "/chat/slack"),
        ("POST", "/chat/slack/actions"),
        ("POST", "/chat/teams"),
        BY_GOOGLE,
        ("GET", "/commands/{intent_id}"),
        ("GET", "/health"),
        *BY_IDENTITY,
    }


def test_routes_for_people_require_an_aws_identity_and_signed_routes_do_not(template: TransformedTemplate) -> None:
    """The route, and not the function, decides: a route that forgets it would let anybody approve."""
    body = template.properties("HttpApi")["Body"]
    asked = {
        (method.upper(), path): operation.get("security", [])
        for path, methods in body["paths"].items()
        for method, operation in methods.items()
    }
    authorizers = dict.fromkeys(BY_IDENTITY, "AWS_IAM") | {BY_GOOGLE: "GoogleChat"}
    assert asked == {route: [{authorizers[route]: []}] if route in authorizers else [] for route in routes(template)}
    assert body["components"]["securitySchemes"]["AWS_IAM"]["x-amazon-apigateway-authtype"] == "awsSigv4"
    uris = [json.dumps(body["paths"][path][method.lower()]) for method, path in BY_IDENTITY]
    functions = {name for uri in uris for name in re.findall(r"\$\{(\w+Function)\.Arn\}", uri)}
    assert functions == {"OperatorFunction"}


def test_google_chats_route_takes_only_tokens_of_google_for_the_url_of_the_app() -> None:
    body = load(GoogleChatUrl="https://api.example.com/chat/google").properties("HttpApi")["Body"]
    authorizer = body["components"]["securitySchemes"]["GoogleChat"]["x-amazon-apigateway-authorizer"]
    assert authorizer == {
        "type": "jwt",
        "identitySource": "$request.header.Authorization",
        "jwtConfiguration": {"issuer": "https://accounts.google.com", "audience": [{"Ref": "GoogleChatUrl"}]},
    }


def test_the_url_of_no_google_chat_app_is_one_that_nobody_can_have(template: TransformedTemplate) -> None:
    assert template.source["Parameters"]["GoogleChatUrl"]["Default"] == "https://google-chat.invalid/"


def test_each_route_may_invoke_its_function(template: TransformedTemplate) -> None:
    permitted = set()
    for made in template.of_type("AWS::Lambda::Permission").values():
        properties = made["Properties"]
        assert properties["Principal"] == "apigateway.amazonaws.com"
        text, values = properties["SourceArn"]["Fn::Sub"]
        assert target(values["__ApiId__"]) == "HttpApi"
        method, path = re.fullmatch(r".*/([A-Z]+)(/.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        permitted.add((method, path, target(properties["FunctionName"])))
    paths = template.properties("HttpApi")["Body"]["paths"]
    wanted = set()
    for method, path in routes(template):
        uri = json.dumps(paths[path][method.lower()]["x-amazon-apigateway-integration"]["uri"])
        (function,) = re.findall(r"\$\{(\w+Function)\.Arn\}", uri)
        wanted.add((method, re.sub(r"\{\w+\+?\}", "*", path), function))
    assert permitted == wanted


def test_a_warning_of_the_openapi_import_does_not_fail_a_deploy(template: TransformedTemplate) -> None:
    assert "FailOnWarnings" not in template.properties("HttpApi")


def test_the_access_log_holds_routes_and_callers_but_no_paths(template: TransformedTemplate) -> None:
    (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
    log = stage["Properties"]["AccessLogSettings"]
    values = set(json.loads(log["Format"]).values())
    assert {"$context.routeKey", "$context.status", "$context.requestId", "$context.responseLatency"} <= values
    assert {"$context.identity.sourceIp", "$context.identity.userArn"} <= values
    told = json.dumps(log["Format"]).lower()
    assert not [word for word in ("path", "useragent", "authorizer") if word in told]
    assert "RetentionInDays" in template.properties(target(log["DestinationArn"]))


def test_the_chat_function_has_the_memory_and_timeout_that_slack_needs(template: TransformedTemplate) -> None:
    assert template.properties("ChatFunction")["Timeout"] <= 5
    assert template.properties("ChatFunction")["MemorySize"] >= 1024


def test_callers_are_throttled(template: TransformedTemplate) -> None:
    (stage,) = template.of_type("AWS::ApiGatewayV2::Stage").values()
    settings = stage["Properties"]["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] > 0
    assert settings["ThrottlingBurstLimit"] > 0
