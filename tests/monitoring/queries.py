"""Every PromQL query of the dashboards and rules, as Prometheus receives it."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import promql_parser
import yaml

from monitoring import dashboards, parts
from tests.support.paths import ROOT

RULES = ROOT / "monitoring" / "prometheus" / "rules"
# Grafana's values of the variables before a user selects any.
DEFAULTS = {"job": "app", "__rate_interval": "1m", "environment": ".*", "instance": ".*", "view": ".*", "method": ".*"}


def as_sent(expr: str) -> str:
    """Return a dashboard's query as Grafana sends it."""
    return re.sub(r"\$(\w+)", lambda name: DEFAULTS[name[1]], expr)


@cache
def of_panels() -> dict[tuple[str, str, str], tuple[parts.Panel, list[str]]]:
    """Return the queries of all panels, by dashboard, row and title."""
    return {
        (dashboard.uid, row.title, panel.title): (panel, [as_sent(expr) for expr in panel.queries.values()])
        for dashboard in dashboards.all_dashboards()
        for row in dashboard.rows
        for panel in row.panels
    }


def of_annotations() -> list[str]:
    return [as_sent(dashboards.deployment_annotations()["expr"])]


def of_variables() -> set[tuple[str, str]]:
    """Return the name and the series of each template variable."""
    return {
        (variable.name, as_sent(variable.series))
        for dashboard in dashboards.all_dashboards()
        for variable in dashboard.variables
    }


@cache
def rules() -> list[dict[str, Any]]:
    return [
        rule
        for path in sorted(RULES.glob("*.yml"))
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def metrics(expr: str) -> set[str]:
    """Return the names of the metrics in a query."""
    return set(_names(promql_parser.parse(expr)))


def _names(node: Any) -> Iterator[str]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node.name
    for part in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (child := getattr(node, part, None)) is not None:
            yield from _names(child)
    for child in getattr(node, "args", ()):
        yield from _names(child)
