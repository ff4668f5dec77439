"""Grafana dashboards as code: `make dashboards` writes monitoring/grafana/dashboards/*.json from this file.

    python -m monitoring.dashboards            write the files
    python -m monitoring.dashboards --check    fail if a file differs from what this module generates

A panel here is a title, its queries and a unit; its position, its ids and the rest of Grafana's JSON are generated. Each
query runs against a real Prometheus in tests/monitoring/.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).resolve().parent / "grafana" / "dashboards"
SCHEMA_VERSION = 39
# Grafana's grid.
COLUMNS = 24

Json = dict[str, Any]
PanelType = Literal["timeseries", "stat", "heatmap", "table"]


# --- The model of a dashboard ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """One graph.

    queries: PromQL by legend.
    steps: thresholds as (from, colour) pairs; a time series draws them as lines.
    may_be_empty: True for a panel that has data only when something is wrong. All others have data after some traffic.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: PanelType = "timeseries"
    description: str = ""
    width: int = 12
    height: int = 8
    stacked: bool = False
    steps: tuple[tuple[float | None, str], ...] = ()
    may_be_empty: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under a heading, from left to right; a panel that does not fit starts a new line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A template variable: a choice among the values of a label, at the top of a dashboard."""

    name: str
    series: str
    single: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A dashboard. Its uid is part of its URL, so it must not change."""

    uid: str
    title: str
    description: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


# --- Selectors and queries -------------------------------------------------------------------------------------------

# Recorded series have the labels of an environment, scraped series those of an instance.
ENVIRONMENT = 'job="$job", environment=~"$environment"'
INSTANCE = f'{ENVIRONMENT}, instance=~"$instance"'
VIEW = f'{INSTANCE}, view=~"$view", method=~"$method"'
# The requests that the objectives count (monitoring/prometheus/rules/objectives.yml).
API = f'{INSTANCE}, view!~"<unnamed view>|.*not_found|ping|livez|readyz|schema|swagger-ui|admin:.*"'

RESPONSES = "django_http_responses_total_by_status_view_method_total"
LATENCY = "django_http_requests_latency_seconds_by_view_method"

INSTANCE_VARIABLES = (
    Variable("job", "app_build_info", single=True),
    Variable("environment", 'app_build_info{job="$job"}'),
    Variable("instance", f"app_build_info{{{ENVIRONMENT}}}"),
)
VIEW_VARIABLES = (
    Variable("view", f"{RESPONSES}{{{INSTANCE}}}"),
    Variable("method", f"{RESPONSES}{{{INSTANCE}}}"),
)


def rate(metric: str, where: str, by: str = "") -> str:
    """Return the query for a counter's summed rate per second."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(of: float, histogram: str, where: str, by: str = "") -> str:
    """Return the query for a quantile of a histogram."""
    return f"histogram_quantile({of}, {rate(f'{histogram}_bucket', where, f'le, {by}' if by else 'le')})"


def quantiles(histogram: str, where: str) -> dict[str, str]:
    return {f"p{round(of * 100)}": quantile(of, histogram, where) for of in (0.5, 0.95, 0.99)}


def share(part: str, whole: str) -> str:
    """Return the query for a ratio that is 0, not absent, while `part` has no series."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def slow(where: str, by: str) -> str:
    """Return the query for the share of requests over 300 ms, which is a bucket bound of the histogram."""
    fast = f'{where}, le="0.3"'
    return f"1 - {rate(f'{LATENCY}_bucket', fast, by)} / ({rate(f'{LATENCY}_count', where, by)} > 0)"


def burn(ratio: str, budget: float) -> dict[str, str]:
    return {f"over {window}": f"{ratio}{window}{{{ENVIRONMENT}}} / {budget}" for window in ("5m", "1h", "6h", "3d")}


# --- The dashboards --------------------------------------------------------------------------------------------------

BUDGET = ((None, "red"), (0.0, "orange"), (0.25, "green"))
BURN = ((None, "transparent"), (1.0, "yellow"), (6.0, "orange"), (14.4, "red"))

API_AND_SLO = Dashboard(
    uid="app-api",
    title="App: API and SLO",
    description="The API's objectives over 30 days: 99.9 % of requests without a 5xx, 99 % within 300 ms.",
    variables=INSTANCE_VARIABLES,
    rows=[
        Row(
            "Objectives over 30 days",
            [
                Panel(
                    "Availability",
                    {"{{environment}}": f"1 - job:http_errors:ratio_rate30d{{{ENVIRONMENT}}}"},
                    "percentunit",
                    "stat",
                    "Share of requests without a 5xx. The objective is 99.9 %.",
                    width=4,
                    height=5,
                    steps=((None, "red"), (0.999, "green")),
                ),
                Panel(
                    "Error budget left",
                    {"{{environment}}": f"1 - job:http_errors:ratio_rate30d{{{ENVIRONMENT}}} / 0.001"},
                    "percentunit",
                    "stat",
                    "Remaining share of the budget: one request in a thousand may fail. Below 0 the objective is missed.",
                    width=4,
                    height=5,
                    steps=BUDGET,
                ),
                Panel(
                    "Within 300 ms",
                    {"{{environment}}": f"1 - job:http_slow:ratio_rate30d{{{ENVIRONMENT}}}"},
                    "percentunit",
                    "stat",
                    "Share of requests answered within 300 ms. The objective is 99 %.",
                    width=4,
                    height=5,
                    steps=((None, "red"), (0.99, "green")),
                ),
                Panel(
                    "Latency budget left",
                    {"{{environment}}": f"1 - job:http_slow:ratio_rate30d{{{ENVIRONMENT}}} / 0.01"},
                    "percentunit",
                    "stat",
                    "Remaining share of the budget: one request in a hundred may be slow.",
                    width=4,
                    height=5,
                    steps=BUDGET,
                ),
                Panel("Requests", {"all": rate(RESPONSES, INSTANCE)}, "reqps", "stat", width=4, height=5),
                Panel(
                    "Alerts",
                    {"firing": 'count(ALERTS{job="$job", alertstate="firing"}) or vector(0)'},
                    kind="stat",
                    width=4,
                    height=5,
                    steps=((None, "green"), (1, "red")),
                ),
            ],
        ),
        Row(
            "Requests",
            [
                Panel(
                    "By status",
                    {f"{digit}xx": rate(RESPONSES, f'{INSTANCE}, status=~"{digit}.."') for digit in (2, 3, 4, 5)},
                    "reqps",
                    description="All requests except probes.",
                    stacked=True,
                ),
                Panel(
                    "Error ratio",
                    {"5xx": share(rate(RESPONSES, f'{API}, status=~"5.."'), rate(RESPONSES, API))},
                    "percentunit",
                    description="Only requests that the objectives count.",
                    steps=((None, "transparent"), (0.001, "red")),
                ),
                Panel(
                    "Latency",
                    quantiles(LATENCY, API),
                    "s",
                    description="Only requests that the objectives count.",
                    steps=((None, "transparent"), (0.3, "red")),
                ),
                Panel(
                    "In progress",
                    {
                        "requests": f"sum (app_requests_in_progress{{{INSTANCE}}})",
                        "threads": f"sum (app_threads{{{INSTANCE}}})",
                        "waiting": f"sum (app_requests_waiting{{{INSTANCE}}})",
                    },
                    description="When the requests reach the number of threads, further requests wait.",
                ),
            ],
        ),
        Row(
            "Burn rate",
            [
                Panel(
                    "Availability",
                    burn("job:http_errors:ratio_rate", 0.001),
                    description="At 1 the budget lasts 30 days. 14.4 over 1 h or 6 over 6 h page; 1 over 3 d is a ticket.",
                    steps=BURN,
                ),
                Panel(
                    "Latency",
                    burn("job:http_slow:ratio_rate", 0.01),
                    description="As for availability.",
                    steps=BURN,
                ),
                Panel(
                    "Firing alerts",
                    {"": 'ALERTS{job="$job", alertstate="firing"}'},
                    kind="table",
                    description="docs/runbook.md has a section for each alert.",
                    width=24,
                    may_be_empty=True,
                ),
            ],
        ),
    ],
)

BY_VIEW = Dashboard(
    uid="app-views",
    title="App: by view",
    description="Traffic, latency and errors of each view.",
    variables=(*INSTANCE_VARIABLES, *VIEW_VARIABLES),
    rows=[
        Row(
            "All views",
            [
                Panel("Requests", {"{{view}}": rate(RESPONSES, VIEW, "view")}, "reqps", stacked=True),
                Panel("95th percentile", {"{{view}}": quantile(0.95, LATENCY, VIEW, "view")}, "s"),
                Panel(
                    "Share over 300 ms",
                    {"{{view}}": slow(VIEW, "view")},
                    "percentunit",
                    steps=((None, "transparent"), (0.01, "red")),
                ),
                Panel(
                    "Client errors (4xx)",
                    {"{{view}} {{status}}": rate(RESPONSES, f'{VIEW}, status=~"4.."', "view, status")},
                    "reqps",
                ),
            ],
        ),
        Row(
            "Selected views together",
            [
                Panel("By status", {"{{status}}": rate(RESPONSES, VIEW, "status")}, "reqps", stacked=True),
                Panel("Latency", quantiles(LATENCY, VIEW), "s"),
                Panel(
                    "Latency distribution",
                    {"{{le}}": rate(f"{LATENCY}_bucket", VIEW, "le")},
                    "s",
                    "heatmap",
                    width=24,
                ),
            ],
        ),
        Row(
            "Errors",
            [
                Panel(
                    "Server errors (5xx)",
                    {"{{view}} {{status}}": rate(RESPONSES, f'{VIEW}, status=~"5.."', "view, status")},
                    "reqps",
                    may_be_empty=True,
                ),
                Panel(
                    "Unhandled exceptions",
                    {"{{type}}": rate("django_http_exceptions_total_by_type_total", INSTANCE, "type")},
                    "ops",
                    may_be_empty=True,
                ),
                Panel(
                    "Unknown URLs and requests refused before routing",
                    {
                        "{{view}} {{status}}": rate(
                            RESPONSES, f'{INSTANCE}, view=~"<unnamed view>|.*not_found"', "view, status"
                        )
                    },
                    "reqps",
                    description="Mostly scanners. Not counted in the objectives.",
                    width=24,
                ),
            ],
        ),
    ],
)

MONEY_COMMANDS = "ledger_money_commands_total"

DATABASE_AND_MONEY = Dashboard(
    uid="ledger-money",
    title="Ledger: database and money",
    description="Outcomes of money commands, contention on accounts, and the database.",
    variables=INSTANCE_VARIABLES,
    rows=[
        Row(
            "Money",
            [
                Panel("Commands by kind", {"{{kind}}": rate(MONEY_COMMANDS, INSTANCE, "kind")}, "ops", stacked=True),
                Panel(
                    "Commands by outcome",
                    {"{{outcome}}": rate(MONEY_COMMANDS, INSTANCE, "outcome")},
                    "ops",
                    description="posted, declined: recorded; refused: a 4xx without a record; busy: a 409; failed: a 5xx.",
                    stacked=True,
                ),
                Panel(
                    "Declined share",
                    {
                        "{{kind}}": share(
                            rate(MONEY_COMMANDS, f'{INSTANCE}, outcome="declined"', "kind"),
                            rate(MONEY_COMMANDS, INSTANCE, "kind"),
                        )
                    },
                    "percentunit",
                    description="A sudden rise means that customers are refused for a reason they may not understand.",
                ),
                Panel(
                    "Replays",
                    {"{{kind}}": rate("app_idempotent_replays_total", INSTANCE, "kind")},
                    "ops",
                    description="Requests repeated with the same Idempotency-Key: responses are lost, or arrive too late.",
                ),
                Panel(
                    "Contention",
                    {"{{reason}}": rate("app_contention_total", INSTANCE, "reason")},
                    "ops",
                    description="Commands that found an account locked, including those that succeeded after a retry.",
                ),
                Panel(
                    "Gate outcomes",
                    {"{{outcome}}": rate("ledger_gate_wait_seconds_count", INSTANCE, "outcome")},
                    "ops",
                    description="Only with LEDGER_GATE. Bypassed means that Redis did not answer, so the gate was not used.",
                    width=6,
                ),
                Panel(
                    "Wait at the gate (p95)",
                    {"{{outcome}}": quantile(0.95, "ledger_gate_wait_seconds", INSTANCE, "outcome")},
                    "s",
                    width=6,
                    may_be_empty=True,
                ),
            ],
        ),
        Row(
            "Database",
            [
                Panel("Statements", {"{{alias}}": rate("django_db_execute_total", INSTANCE, "alias")}, "ops"),
                Panel("Statement duration", quantiles("django_db_query_duration_seconds", INSTANCE), "s"),
                Panel(
                    "New connections",
                    {"{{alias}}": rate("django_db_new_connections_total", INSTANCE, "alias")},
                    "ops",
                    description="Connections are persistent: many new ones mean that they break or that workers restart.",
                    width=8,
                ),
                Panel(
                    "Connect duration",
                    quantiles("app_db_connect_seconds", INSTANCE),
                    "s",
                    width=8,
                    may_be_empty=True,
                ),
                Panel(
                    "Failed connections",
                    {"{{reason}}": rate("app_db_connect_failures_total", INSTANCE, "reason")},
                    "ops",
                    width=8,
                ),
                Panel(
                    "Failed statements",
                    {"{{type}}": rate("django_db_errors_total", INSTANCE, "type")},
                    "ops",
                    width=24,
                    may_be_empty=True,
                ),
            ],
        ),
        Row(
            "Logins",
            [
                Panel(
                    "By outcome",
                    {"{{outcome}}": rate("app_logins_total", INSTANCE, "outcome")},
                    "ops",
                    stacked=True,
                ),
                Panel(
                    "Throttled logins",
                    {"{{limit}}": rate("app_login_throttled_total", INSTANCE, "limit")},
                    "ops",
                    description="Attempts that a limit refused before the password was checked.",
                ),
            ],
        ),
    ],
)

PROCESSES = Dashboard(
    uid="app-processes",
    title="App: processes and deploys",
    description="Versions, instances, workers and the reasons of their exits.",
    variables=INSTANCE_VARIABLES,
    rows=[
        Row(
            "Now",
            [
                Panel(
                    "Versions",
                    {"{{version}}": f"count by (version) (app_build_info{{{INSTANCE}}})"},
                    kind="stat",
                    description="Instances by commit: two commits during a deployment, else one.",
                    width=8,
                    height=5,
                ),
                Panel(
                    "Instances",
                    {
                        "up": f"sum (up{{{INSTANCE}}})",
                        "down": f"count (up{{{INSTANCE}}} == 0) or vector(0)",
                    },
                    kind="stat",
                    width=8,
                    height=5,
                ),
                Panel(
                    "Age of the newest instance",
                    {"age": f"min (time() - app_start_time_seconds{{{INSTANCE}}})"},
                    "s",
                    "stat",
                    "Time since the last instance started.",
                    width=8,
                    height=5,
                ),
            ],
        ),
        Row(
            "Deploys",
            [
                Panel(
                    "Instances by version",
                    {"{{version}}": f"count by (version) (app_build_info{{{INSTANCE}}})"},
                    stacked=True,
                ),
                Panel(
                    "Probes",
                    {"{{probe}} {{status}}": rate("app_probes_total", INSTANCE, "probe, status")},
                    "reqps",
                    description="A draining instance returns 503 on readyz until it stops.",
                ),
            ],
        ),
        Row(
            "Workers",
            [
                Panel(
                    "Workers",
                    {
                        "{{instance}}": f"app_workers{{{INSTANCE}}}",
                        "{{instance}} wanted": f"app_workers_wanted{{{INSTANCE}}}",
                    },
                ),
                Panel(
                    "Worker exits",
                    {
                        "{{reason}}": f"sum by (reason) (increase(app_worker_exits_total{{{INSTANCE}}}[$__rate_interval]))"
                    },
                    description="exit: recycled or reloaded; signal: killed, or out of memory; timeout: no heartbeat.",
                ),
                Panel(
                    "Busy threads",
                    {"{{instance}}": f"app_requests_in_progress{{{INSTANCE}}} / app_threads{{{INSTANCE}}}"},
                    "percentunit",
                    description="At 100 % new requests wait: the next panel has their number, the one below it the time.",
                    steps=((None, "transparent"), (0.9, "red")),
                ),
                Panel(
                    "Waiting requests",
                    {
                        "{{instance}} for a thread": f"app_requests_waiting{{{INSTANCE}}}",
                        "{{instance}} for a worker": f"app_accept_queue{{{INSTANCE}}}",
                    },
                    description="For a worker: connections that no worker has accepted, because workers are gone or stuck.",
                ),
                Panel("Wait for a thread", quantiles("app_thread_wait_seconds", INSTANCE), "s"),
                Panel("Memory", {"{{instance}}": f"app_resident_memory_bytes{{{INSTANCE}}}"}, "bytes"),
                Panel(
                    "Scrape duration",
                    {"{{instance}}": f"scrape_duration_seconds{{{INSTANCE}}}"},
                    "s",
                    description="Grows with the workers' metric files; Prometheus times out after 10 s.",
                ),
            ],
        ),
    ],
)

DASHBOARDS = (API_AND_SLO, BY_VIEW, DATABASE_AND_MONEY, PROCESSES)


# --- Grafana's JSON --------------------------------------------------------------------------------------------------

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def render(dashboard: Dashboard) -> Json:
    """Return a dashboard as Grafana's JSON model."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.description,
        "tags": ["app"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "utc",
        "links": [
            {
                "type": "dashboards",
                "tags": ["app"],
                "title": "App",
                "keepTime": True,
                "includeVars": True,
                "icon": "dashboard",
            }
        ],
        "annotations": {"list": [deployment_annotations()]},
        "templating": {"list": [datasource_variable(), *map(variable_json, dashboard.variables)]},
        "panels": list(panels_with_positions(dashboard.rows)),
    }


def deployment_annotations() -> Json:
    """Return the annotations that mark when a new version started."""
    return {
        "name": "Deployments",
        "enable": True,
        "datasource": DATASOURCE,
        "expr": f"count by (version) (app_build_info{{{ENVIRONMENT}}} unless app_build_info{{{ENVIRONMENT}}} offset 2m)",
        "titleFormat": "{{version}}",
        "step": "60s",
        "iconColor": "blue",
    }


def datasource_variable() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "refresh": 1,
    }


def variable_json(variable: Variable) -> Json:
    query = f"label_values({variable.series}, {variable.name})"
    variable_model: Json = {
        "name": variable.name,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": variable.name},
        # On time range change: a view or instance may not exist in every range.
        "refresh": 2,
        "sort": 1,
        "multi": not variable.single,
        "includeAll": not variable.single,
    }
    if not variable.single:
        # Matches series without the label, too.
        variable_model |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return variable_model


def panels_with_positions(rows: Sequence[Row]) -> Iterator[Json]:
    """Yield Grafana's rows and panels, each with its id and position."""
    number = y = 0
    for row in rows:
        number += 1
        position = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": position, "panels": []}
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            number += 1
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            position = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": position, **panel_json(panel)}
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def panel_json(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend,
                **QUERY_OPTIONS[panel.kind],
            }
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": field_defaults(panel), "overrides": []},
        **DISPLAY_OPTIONS[panel.kind],
    }


# Fields of a query, by panel type.
QUERY_OPTIONS: dict[PanelType, Json] = {
    "timeseries": {"range": True},
    "stat": {"instant": True, "range": False},
    "heatmap": {"range": True, "format": "heatmap"},
    "table": {"instant": True, "range": False, "format": "table"},
}
# Fields of a panel, by panel type.
DISPLAY_OPTIONS: dict[PanelType, Json] = {
    "timeseries": {
        "options": {
            "legend": {
                "displayMode": "table",
                "placement": "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        }
    },
    "stat": {
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
            "textMode": "auto",
        }
    },
    "heatmap": {
        "options": {
            "calculate": False,
            "cellGap": 1,
            "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
            "yAxis": {"unit": "s"},
            "tooltip": {"mode": "single", "yHistogram": True},
        }
    },
    "table": {
        "options": {"showHeader": True},
        "transformations": [
            {"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True, "job": True}}}
        ],
    },
}


def field_defaults(panel: Panel) -> Json:
    field_config: Json = {"unit": panel.unit}
    if panel.steps:
        steps = [{"value": value, "color": color} for value, color in panel.steps]
        field_config["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "timeseries":
        field_config["min"] = 0
        field_config["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return field_config


# --- Files -----------------------------------------------------------------------------------------------------------


def rendered_files() -> dict[Path, str]:
    """Return the text of each dashboard file, by path."""
    return {
        FOLDER / f"{dashboard.uid}.json": json.dumps(render(dashboard), indent=2) + "\n" for dashboard in DASHBOARDS
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the dashboards, or compare them with the files."""
    parser = argparse.ArgumentParser(description="Write Grafana's dashboards to monitoring/grafana/dashboards/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    expected, present = rendered_files(), set(FOLDER.glob("*.json"))
    if parser.parse_args(arguments).check:
        stale = {path for path, text in expected.items() if path not in present or path.read_text() != text}
        for path in sorted(stale | present - expected.keys()):
            print(f"error: {path.relative_to(FOLDER.parents[2])} is out of date: run make dashboards", file=sys.stderr)
        return 1 if stale or present - expected.keys() else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in present - expected.keys():
        path.unlink()
    for path, text in expected.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
