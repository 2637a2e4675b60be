"""What answers RDS calls in place of an emulator that lacks them, each as the RDS API reference describes it."""

from __future__ import annotations

import re
import urllib.parse
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.independent.stand_ins import Request, Response, Send

RDS = "http://rds.amazonaws.com/doc/2014-10-31/"
ElementTree.register_namespace("", RDS)


def _rds(action: str, result: str) -> Response:
    body = f'<{action}Response xmlns="{RDS}"><{action}Result>{result}</{action}Result></{action}Response>'
    return Response(200, body.encode(), [("Content-Type", "text/xml")])


def _fault(status: int, code: str, message: str) -> Response:
    body = (
        f'<ErrorResponse xmlns="{RDS}"><Error><Type>Sender</Type><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
        "<RequestId>0</RequestId></ErrorResponse>"
    )
    return Response(status, body.encode(), [("Content-Type", "text/xml")])


def _ask(request: Request, send: Send, action: str, **params: str) -> Response:
    """Another call with the headers of `request`, so in its region."""
    form = {"Action": action, "Version": "2014-10-31", **params}
    return send(Request("POST", "/", request.headers, urllib.parse.urlencode(form).encode()))


def cluster_endpoints(request: Request, send: Send) -> Response | None:
    """DBClusterEndpoint: a writer's endpoint is inactive while the cluster is a secondary."""
    if request.operation != "DescribeDBClusterEndpoints":
        return None
    cluster = request.form.get("DBClusterIdentifier", "")
    answer = _ask(request, send, "DescribeDBClusters", DBClusterIdentifier=cluster)
    if answer.status != 200:
        return answer
    found, items = ElementTree.fromstring(answer.body), ""
    secondary = found.findtext(".//{*}DBClusterArn") in _secondaries(_ask(request, send, "DescribeGlobalClusters"))
    for element, kind in (("Endpoint", "WRITER"), ("ReaderEndpoint", "READER")):
        if name := found.findtext(f".//{{*}}DBCluster/{{*}}{element}"):
            status = "inactive" if secondary and kind == "WRITER" else "available"
            items += (
                f"<DBClusterEndpointList><DBClusterIdentifier>{cluster}</DBClusterIdentifier><Endpoint>{name}</Endpoint>"
                f"<Status>{status}</Status><EndpointType>{kind}</EndpointType></DBClusterEndpointList>"
            )
    return _rds(request.operation, f"<DBClusterEndpoints>{items}</DBClusterEndpoints>")


def _secondaries(answer: Response) -> set[str | None]:
    """The ARNs of the members that do not write."""
    members = ElementTree.fromstring(answer.body).iterfind(".//{*}GlobalClusterMembers/{*}GlobalClusterMember")
    return {each.findtext("{*}DBClusterArn") for each in members if each.findtext("{*}IsWriter") == "false"}


class RemovedMembers:
    """RemoveFromGlobalCluster where the emulator answers it and changes nothing.

    The global cluster loses the member, and once it has none it can be deleted.
    """

    def __init__(self) -> None:
        self._members: set[str] = set()
        self._deleted: set[str] = set()

    def __call__(self, request: Request, send: Send) -> Response | None:
        action, name = request.operation, request.form.get("GlobalClusterIdentifier", "")
        if action == "RemoveFromGlobalCluster":
            answer = send(request)
            # It shows the global cluster where it has really removed the member.
            if answer.status == 200 and b"<GlobalCluster>" not in answer.body:
                self._members.add(request.form["DbClusterIdentifier"])
            return answer
        if action == "DescribeGlobalClusters":
            if name in self._deleted:
                return _fault(404, "GlobalClusterNotFoundFault", f"Global cluster {name} not found")
            return self._without_removed(send(request))
        if action == "DeleteGlobalCluster" and self._members:
            left = self._without_removed(_ask(request, send, "DescribeGlobalClusters"))
            found = ElementTree.fromstring(left.body).iterfind(".//{*}GlobalClusters/{*}GlobalClusterMember")
            mine = next((each for each in found if each.findtext("{*}GlobalClusterIdentifier") == name), None)
            if mine is not None and mine.find(".//{*}DBClusterArn") is None:
                self._deleted.add(name)
                return _rds(action, "")
        return None

    def _without_removed(self, answer: Response) -> Response:
        if answer.status != 200:
            return answer
        root = ElementTree.fromstring(answer.body)
        for found in root.iterfind(".//{*}GlobalClusters"):
            for each in list(found):
                if each.findtext("{*}GlobalClusterIdentifier") in self._deleted:
                    found.remove(each)
        for members in root.iterfind(".//{*}GlobalClusterMembers"):
            for member in list(members):
                if member.findtext("{*}DBClusterArn") in self._members:
                    members.remove(member)
                for readers in member.iterfind("{*}Readers"):
                    for reader in [each for each in readers if each.text in self._members]:
                        readers.remove(reader)
        return Response(200, ElementTree.tostring(root), answer.headers)


class Subscriptions:
    """RDS event subscriptions, as the RDS API reference describes them: create, describe, modify, delete, tags."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[str, Any]] = {}

    def __call__(self, request: Request, send: Send) -> Response | None:
        action, form = request.operation, request.form
        region = region_of(request)
        if action in ("ListTagsForResource", "AddTagsToResource") and ":es:" in form.get("ResourceName", ""):
            item = self._known[region, form["ResourceName"].rsplit(":", maxsplit=1)[-1]]
            if action == "AddTagsToResource":
                item["tags"] |= _tags(form)
            return _rds(action, _tag_list(item["tags"]) if action == "ListTagsForResource" else "")
        if not action.endswith(("EventSubscription", "EventSubscriptions", "IdentifierToSubscription")):
            return None
        key = (region, form.get("SubscriptionName", ""))
        if action == "CreateEventSubscription":
            self._known[key] = {
                "topic": form["SnsTopicArn"],
                "type": form.get("SourceType", ""),
                "sources": _members(form, "SourceIds"),
                "categories": _members(form, "EventCategories"),
                "enabled": form.get("Enabled", "true"),
                "tags": _tags(form),
            }
        if key not in self._known:
            return _fault(404, "SubscriptionNotFound", f"Event Subscription {key[1]} not found.")
        item = self._known[key]
        if action == "ModifyEventSubscription":
            item["topic"], item["enabled"] = (
                form.get("SnsTopicArn", item["topic"]),
                form.get("Enabled", item["enabled"]),
            )
            item["categories"] = _members(form, "EventCategories") or item["categories"]
        if action == "DeleteEventSubscription":
            del self._known[key]
        one = _subscription(region, key[1], item)
        if action == "DescribeEventSubscriptions":
            return _rds(action, f"<EventSubscriptionsList>{one}</EventSubscriptionsList>")
        return _rds(action, one)


def _subscription(region: str, name: str, item: dict[str, Any]) -> str:
    sources = "".join(f"<SourceId>{escape(each)}</SourceId>" for each in item["sources"])
    categories = "".join(f"<EventCategory>{escape(each)}</EventCategory>" for each in item["categories"])
    return (
        f"<EventSubscription><CustSubscriptionId>{name}</CustSubscriptionId><SnsTopicArn>{item['topic']}</SnsTopicArn>"
        f"<Status>active</Status><SourceType>{item['type']}</SourceType><SourceIdsList>{sources}</SourceIdsList>"
        f"<EventCategoriesList>{categories}</EventCategoriesList><Enabled>{item['enabled']}</Enabled>"
        f"<EventSubscriptionArn>arn:aws:rds:{region}:123456789012:es:{name}</EventSubscriptionArn></EventSubscription>"
    )


def _members(form: dict[str, str], name: str) -> list[str]:
    """A list of the query protocol: `Name.Member.1`, or with the member's own name."""
    return [value for key, value in sorted(form.items()) if re.fullmatch(rf"{name}\.\w+\.\d+", key)]


def _tags(form: dict[str, str]) -> dict[str, str]:
    keys = {m[1]: v for k, v in form.items() if (m := re.fullmatch(r"Tags\.\w+\.(\d+)\.Key", k))}
    return {
        key: next(v for k, v in form.items() if re.fullmatch(rf"Tags\.\w+\.{n}\.Value", k)) for n, key in keys.items()
    }


def _tag_list(tags: dict[str, str]) -> str:
    items = "".join(f"<Tag><Key>{escape(k)}</Key><Value>{escape(v)}</Value></Tag>" for k, v in tags.items())
    return f"<TagList>{items}</TagList>"


class Tags:
    """Tags of one kind of resource: those given on creation and added since.

    creates, name: its creating operation and the parameter with its identifier; kind: as in its ARN.
    """

    def __init__(self, creates: str, name: str, kind: str) -> None:
        self._creates, self._name, self._kind = creates, name, f":{kind}:"
        self._known: dict[tuple[str, str], dict[str, str]] = {}

    def __call__(self, request: Request, send: Send) -> Response | None:
        action, form = request.operation, request.form
        if action == self._creates:
            answer = send(request)
            if answer.status == 200:
                self._known[region_of(request), form[self._name]] = _tags(form)
            return answer
        arn = form.get("ResourceName", "")
        if action not in ("ListTagsForResource", "AddTagsToResource") or self._kind not in arn:
            return None
        # A global cluster is the same from every region.
        region = arn.split(":")[3]
        name = arn.rsplit(":", maxsplit=1)[-1]
        tags = next((t for (r, n), t in self._known.items() if n == name and region in ("", r)), {})
        tags |= _tags(form)
        return _rds(action, _tag_list(tags) if action == "ListTagsForResource" else "")


def absent_parameter_group(request: Request, send: Send) -> Response | None:
    if request.operation != "DescribeDBParameterGroups":
        return None
    answer = send(request)
    if answer.status == 200 and request.form.get("DBParameterGroupName") and b"<DBParameterGroup>" not in answer.body:
        return _fault(404, "DBParameterGroupNotFound", "DBParameterGroup not found")
    return answer


def region_of(request: Request) -> str:
    """The region in the request's signature."""
    found = re.search(r"Credential=[^/]+/\d+/([^/]+)/", dict(request.headers).get("Authorization", ""))
    return found[1] if found else ""
