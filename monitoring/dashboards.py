"""Grafana's dashboards as code: `make dashboards` writes the JSON in monitoring/grafana/dashboards/ from this file.

    dashboards.py            write them
    dashboards.py --check    fail if they are not what this file says

A panel here is a title, its queries and a unit; where it stands, its ids and Grafana's many words follow from that. Every
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
Kind = Literal["timeseries", "stat", "heatmap", "table"]


# --- What a dashboard is ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Panel:
    """One graph.

    queries: PromQL by the legend of its lines.
    steps: (from, colour) pairs, for a figure that is good or bad; lines on a graph.
    quiet: whether it may well be empty, because what it shows is trouble; all others have data once there was traffic.
    """

    title: str
    queries: dict[str, str]
    unit: str = "short"
    kind: Kind = "timeseries"
    about: str = ""
    width: int = 12
    height: int = 8
    stacked: bool = False
    steps: tuple[tuple[float | None, str], ...] = ()
    quiet: bool = False


@dataclass(frozen=True)
class Row:
    """Panels under a heading, from left to right, and on to the next line where one does not fit."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard: the values that a label has."""

    name: str
    series: str
    single: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A page. Its uid is its address, and stays."""

    uid: str
    title: str
    about: str
    variables: Sequence[Variable]
    rows: Sequence[Row]

    @property
    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


# --- Which series ----------------------------------------------------------------------------------------------------

# A recorded series belongs to a whole environment, a scraped one to an instance.
PLACE = 'job="$job", environment=~"$environment"'
HERE = f'{PLACE}, instance=~"$instance"'
VIEW = f'{HERE}, view=~"$view", method=~"$method"'
# What the promises are about (monitoring/prometheus/rules/objectives.yml).
API = f'{HERE}, view!~"<unnamed view>|.*not_found|ping|livez|readyz|schema|swagger-ui|admin:.*"'

RESPONSES = "django_http_responses_total_by_status_view_method_total"
LATENCY = "django_http_requests_latency_seconds_by_view_method"

WHERE = (
    Variable("job", "bank_build_info", single=True),
    Variable("environment", 'bank_build_info{job="$job"}'),
    Variable("instance", f"bank_build_info{{{PLACE}}}"),
)
WHICH = (
    Variable("view", f"{RESPONSES}{{{HERE}}}"),
    Variable("method", f"{RESPONSES}{{{HERE}}}"),
)


def rate(metric: str, where: str, by: str = "") -> str:
    """Return the sum of a counter's rates a second."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(of: float, histogram: str, where: str, by: str = "") -> str:
    """Return a quantile of a histogram."""
    return f"histogram_quantile({of}, {rate(f'{histogram}_bucket', where, f'le, {by}' if by else 'le')})"


def quantiles(histogram: str, where: str) -> dict[str, str]:
    return {f"p{round(of * 100)}": quantile(of, histogram, where) for of in (0.5, 0.95, 0.99)}


def share(part: str, whole: str) -> str:
    """Return a ratio that is 0, not nothing, where the part never happened."""
    return f"({part} or 0 * {whole}) / ({whole} > 0)"


def slow(where: str, by: str) -> str:
    """Return the share of requests that took longer than 300 ms, which is a bound of the buckets."""
    fast = f'{where}, le="0.3"'
    return f"1 - {rate(f'{LATENCY}_bucket', fast, by)} / ({rate(f'{LATENCY}_count', where, by)} > 0)"


def burn(ratio: str, budget: float) -> dict[str, str]:
    return {f"over {window}": f"{ratio}{window}{{{PLACE}}} / {budget}" for window in ("5m", "1h", "6h", "3d")}


# --- The four --------------------------------------------------------------------------------------------------------

BUDGET = ((None, "red"), (0.0, "orange"), (0.25, "green"))
BURN = ((None, "transparent"), (1.0, "yellow"), (6.0, "orange"), (14.4, "red"))

API_AND_SLO = Dashboard(
    uid="bank-api",
    title="Bank: API and SLO",
    about="Whether the API keeps its promises: 99.9 % of requests not answered with 5xx, 99 % within 300 ms, over 30 days.",
    variables=WHERE,
    rows=[
        Row(
            "The promises over 30 days",
            [
                Panel(
                    "Availability",
                    {"{{environment}}": f"1 - job:http_errors:ratio_rate30d{{{PLACE}}}"},
                    "percentunit",
                    "stat",
                    "The share of requests that were not answered with 5xx. The promise is 99.9 %.",
                    width=4,
                    height=5,
                    steps=((None, "red"), (0.999, "green")),
                ),
                Panel(
                    "Error budget left",
                    {"{{environment}}": f"1 - job:http_errors:ratio_rate30d{{{PLACE}}} / 0.001"},
                    "percentunit",
                    "stat",
                    "What is left of the one request in a thousand that may fail. Below 0 the promise is broken.",
                    width=4,
                    height=5,
                    steps=BUDGET,
                ),
                Panel(
                    "Within 300 ms",
                    {"{{environment}}": f"1 - job:http_slow:ratio_rate30d{{{PLACE}}}"},
                    "percentunit",
                    "stat",
                    "The share of requests that were answered within 300 ms. The promise is 99 %.",
                    width=4,
                    height=5,
                    steps=((None, "red"), (0.99, "green")),
                ),
                Panel(
                    "Latency budget left",
                    {"{{environment}}": f"1 - job:http_slow:ratio_rate30d{{{PLACE}}} / 0.01"},
                    "percentunit",
                    "stat",
                    "What is left of the one request in a hundred that may be slow.",
                    width=4,
                    height=5,
                    steps=BUDGET,
                ),
                Panel("Requests", {"all": rate(RESPONSES, HERE)}, "reqps", "stat", width=4, height=5),
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
                    {f"{digit}xx": rate(RESPONSES, f'{HERE}, status=~"{digit}.."') for digit in (2, 3, 4, 5)},
                    "reqps",
                    about="All requests but probes.",
                    stacked=True,
                ),
                Panel(
                    "Share that fails",
                    {"5xx": share(rate(RESPONSES, f'{API}, status=~"5.."'), rate(RESPONSES, API))},
                    "percentunit",
                    about="Of the requests that the promises are about.",
                    steps=((None, "transparent"), (0.001, "red")),
                ),
                Panel(
                    "Latency",
                    quantiles(LATENCY, API),
                    "s",
                    about="Of the requests that the promises are about.",
                    steps=((None, "transparent"), (0.3, "red")),
                ),
                Panel(
                    "In progress",
                    {
                        "requests": f"sum (bank_requests_in_progress{{{HERE}}})",
                        "threads": f"sum (bank_threads{{{HERE}}})",
                        "waiting": f"sum (bank_requests_waiting{{{HERE}}})",
                    },
                    about="When requests reach threads, the next ones wait.",
                ),
            ],
        ),
        Row(
            "How fast the budgets burn",
            [
                Panel(
                    "Availability",
                    burn("job:http_errors:ratio_rate", 0.001),
                    about="At 1 the budget lasts exactly 30 days. 14.4 over 1 h or 6 over 6 h page; 1 over 3 d is a ticket.",
                    steps=BURN,
                ),
                Panel(
                    "Latency",
                    burn("job:http_slow:ratio_rate", 0.01),
                    about="As for availability.",
                    steps=BURN,
                ),
                Panel(
                    "Alerts that fire",
                    {"": 'ALERTS{job="$job", alertstate="firing"}'},
                    kind="table",
                    about="docs/runbook.md has a section for each.",
                    width=24,
                    quiet=True,
                ),
            ],
        ),
    ],
)

BY_VIEW = Dashboard(
    uid="bank-views",
    title="Bank: by view",
    about="Which part of the API is busy, slow or failing.",
    variables=(*WHERE, *WHICH),
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
                    "Refused (4xx)",
                    {"{{view}} {{status}}": rate(RESPONSES, f'{VIEW}, status=~"4.."', "view, status")},
                    "reqps",
                ),
            ],
        ),
        Row(
            "The chosen views together",
            [
                Panel("By status", {"{{status}}": rate(RESPONSES, VIEW, "status")}, "reqps", stacked=True),
                Panel("Latency", quantiles(LATENCY, VIEW), "s"),
                Panel("Spread of latency", {"{{le}}": rate(f"{LATENCY}_bucket", VIEW, "le")}, "s", "heatmap", width=24),
            ],
        ),
        Row(
            "Trouble",
            [
                Panel(
                    "Failures (5xx)",
                    {"{{view}} {{status}}": rate(RESPONSES, f'{VIEW}, status=~"5.."', "view, status")},
                    "reqps",
                    quiet=True,
                ),
                Panel(
                    "Exceptions that no view expected",
                    {"{{type}}": rate("django_http_exceptions_total_by_type_total", HERE, "type")},
                    "ops",
                    quiet=True,
                ),
                Panel(
                    "Unknown URLs, and what is refused before it has one",
                    {
                        "{{view}} {{status}}": rate(
                            RESPONSES, f'{HERE}, view=~"<unnamed view>|.*not_found"', "view, status"
                        )
                    },
                    "reqps",
                    about="Scanners, mostly. Not part of the promises.",
                    width=24,
                ),
            ],
        ),
    ],
)

MONEY = "bank_money_commands_total"

DATABASE_AND_MONEY = Dashboard(
    uid="bank-money",
    title="Bank: database and money",
    about="What becomes of money commands, who meets whom on an account, and what the database has to do with it.",
    variables=WHERE,
    rows=[
        Row(
            "Money",
            [
                Panel("Commands by kind", {"{{kind}}": rate(MONEY, HERE, "kind")}, "ops", stacked=True),
                Panel(
                    "Commands by outcome",
                    {"{{outcome}}": rate(MONEY, HERE, "outcome")},
                    "ops",
                    about="Posted and declined are on record; refused is a 4xx that is not; busy is a 409; failed is a 5xx.",
                    stacked=True,
                ),
                Panel(
                    "Share that is declined",
                    {"{{kind}}": share(rate(MONEY, f'{HERE}, outcome="declined"', "kind"), rate(MONEY, HERE, "kind"))},
                    "percentunit",
                    about="A jump means that customers are refused for a reason they may not understand.",
                ),
                Panel(
                    "Replays",
                    {"{{kind}}": rate("bank_idempotent_replays_total", HERE, "kind")},
                    "ops",
                    about="Clients that asked again with the same key: their network, or our answers, get lost.",
                ),
                Panel(
                    "Contention",
                    {"{{reason}}": rate("bank_contention_total", HERE, "reason")},
                    "ops",
                    about="Commands that met on a locked account, also those that a retry healed.",
                ),
                Panel(
                    "At the gate",
                    {"{{outcome}}": rate("bank_gate_wait_seconds_count", HERE, "outcome")},
                    "ops",
                    about="Only with LEDGER_GATE. Open means that its Redis could not be asked.",
                    width=6,
                ),
                Panel(
                    "Wait at the gate (p95)",
                    {"{{outcome}}": quantile(0.95, "bank_gate_wait_seconds", HERE, "outcome")},
                    "s",
                    width=6,
                    quiet=True,
                ),
            ],
        ),
        Row(
            "Database",
            [
                Panel("Statements", {"{{alias}}": rate("django_db_execute_total", HERE, "alias")}, "ops"),
                Panel("Time of a statement", quantiles("django_db_query_duration_seconds", HERE), "s"),
                Panel(
                    "New connections",
                    {"{{alias}}": rate("django_db_new_connections_total", HERE, "alias")},
                    "ops",
                    about="Connections are kept: many new ones mean that they break, or that workers come and go.",
                    width=8,
                ),
                Panel("Time to connect", quantiles("bank_db_connect_seconds", HERE), "s", width=8, quiet=True),
                Panel(
                    "Connections that failed",
                    {"{{reason}}": rate("bank_db_connect_failures_total", HERE, "reason")},
                    "ops",
                    width=8,
                ),
                Panel(
                    "Statements that failed",
                    {"{{type}}": rate("django_db_errors_total", HERE, "type")},
                    "ops",
                    width=24,
                    quiet=True,
                ),
            ],
        ),
        Row(
            "Logins",
            [
                Panel("By outcome", {"{{outcome}}": rate("bank_logins_total", HERE, "outcome")}, "ops", stacked=True),
                Panel(
                    "Refused by a limit",
                    {"{{limit}}": rate("bank_login_throttled_total", HERE, "limit")},
                    "ops",
                    about="Attempts that were turned away before a password was looked at.",
                ),
            ],
        ),
    ],
)

PROCESSES = Dashboard(
    uid="bank-processes",
    title="Bank: processes and deploys",
    about="Which version serves where, with how many workers, and what ends them.",
    variables=WHERE,
    rows=[
        Row(
            "Now",
            [
                Panel(
                    "Versions",
                    {"{{version}}": f"count by (version) (bank_build_info{{{HERE}}})"},
                    kind="stat",
                    about="How many instances serve each commit; two during a deployment, else one.",
                    width=8,
                    height=5,
                ),
                Panel(
                    "Instances",
                    {"up": f"sum (up{{{HERE}}})", "down": f"count (up{{{HERE}}} == 0) or vector(0)"},
                    kind="stat",
                    width=8,
                    height=5,
                ),
                Panel(
                    "Youngest",
                    {"age": f"min (time() - bank_start_time_seconds{{{HERE}}})"},
                    "s",
                    "stat",
                    "How long ago the last instance started.",
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
                    {"{{version}}": f"count by (version) (bank_build_info{{{HERE}}})"},
                    stacked=True,
                ),
                Panel(
                    "Probes",
                    {"{{probe}} {{status}}": rate("bank_probes_total", HERE, "probe, status")},
                    "reqps",
                    about="A drain shows as readyz 503, and ends with the instance.",
                ),
            ],
        ),
        Row(
            "Workers",
            [
                Panel(
                    "Workers",
                    {
                        "{{instance}}": f"bank_workers{{{HERE}}}",
                        "{{instance}} wanted": f"bank_workers_wanted{{{HERE}}}",
                    },
                ),
                Panel(
                    "Ends of workers",
                    {"{{reason}}": f"sum by (reason) (increase(bank_worker_exits_total{{{HERE}}}[$__rate_interval]))"},
                    about="exit: recycled or reloaded; signal: killed, also for want of memory; timeout: too long silent.",
                ),
                Panel(
                    "Busy threads",
                    {"{{instance}}": f"bank_requests_in_progress{{{HERE}}} / bank_threads{{{HERE}}}"},
                    "percentunit",
                    about="At 100 % new requests wait: beside this how many, below it for how long.",
                    steps=((None, "transparent"), (0.9, "red")),
                ),
                Panel(
                    "Waiting",
                    {
                        "{{instance}} for a thread": f"bank_requests_waiting{{{HERE}}}",
                        "{{instance}} for a worker": f"bank_accept_queue{{{HERE}}}",
                    },
                    about="For a worker wait those that none has accepted: workers are gone or stuck.",
                ),
                Panel("Wait for a thread", quantiles("bank_thread_wait_seconds", HERE), "s"),
                Panel("Memory", {"{{instance}}": f"bank_resident_memory_bytes{{{HERE}}}"}, "bytes"),
                Panel(
                    "Time of a scrape",
                    {"{{instance}}": f"scrape_duration_seconds{{{HERE}}}"},
                    "s",
                    about="Grows with the workers' files; Prometheus gives up after 10 s.",
                ),
            ],
        ),
    ],
)

DASHBOARDS = (API_AND_SLO, BY_VIEW, DATABASE_AND_MONEY, PROCESSES)


# --- Grafana's words for it ------------------------------------------------------------------------------------------

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


def render(dashboard: Dashboard) -> Json:
    """Return a dashboard as Grafana stores it."""
    return {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["bank"],
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
                "tags": ["bank"],
                "title": "Bank",
                "keepTime": True,
                "includeVars": True,
                "icon": "dashboard",
            }
        ],
        "annotations": {"list": [deployments()]},
        "templating": {"list": [choice_of_datasource(), *map(render_variable, dashboard.variables)]},
        "panels": list(laid_out(dashboard.rows)),
    }


def deployments() -> Json:
    """Mark the moments at which a version appeared."""
    return {
        "name": "Deployments",
        "enable": True,
        "datasource": DATASOURCE,
        "expr": f"count by (version) (bank_build_info{{{PLACE}}} unless bank_build_info{{{PLACE}}} offset 2m)",
        "titleFormat": "{{version}}",
        "step": "60s",
        "iconColor": "blue",
    }


def choice_of_datasource() -> Json:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "hide": 0,
        "refresh": 1,
    }


def render_variable(variable: Variable) -> Json:
    query = f"label_values({variable.series}, {variable.name})"
    words: Json = {
        "name": variable.name,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": variable.name},
        # When the time range changes: views and instances come and go.
        "refresh": 2,
        "sort": 1,
        "multi": not variable.single,
        "includeAll": not variable.single,
    }
    if not variable.single:
        # Also what has no such label.
        words |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return words


def laid_out(rows: Sequence[Row]) -> Iterator[Json]:
    """Yield the panels with their places."""
    number = y = 0
    for row in rows:
        number += 1
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            number += 1
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            place = {"x": x, "y": y, "w": panel.width, "h": panel.height}
            yield {"id": number, "gridPos": place, **render_panel(panel)}
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest


def render_panel(panel: Panel) -> Json:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "editorMode": "code",
                "expr": query,
                "legendFormat": legend,
                **HOW[panel.kind],
            }
            for number, (legend, query) in enumerate(panel.queries.items())
        ],
        "fieldConfig": {"defaults": defaults(panel), "overrides": []},
        **OPTIONS[panel.kind],
    }


# How Prometheus is asked.
HOW: dict[Kind, Json] = {
    "timeseries": {"range": True},
    "stat": {"instant": True, "range": False},
    "heatmap": {"range": True, "format": "heatmap"},
    "table": {"instant": True, "range": False, "format": "table"},
}
# How the answer is shown.
OPTIONS: dict[Kind, Json] = {
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


def defaults(panel: Panel) -> Json:
    words: Json = {"unit": panel.unit}
    if panel.steps:
        steps = [{"value": value, "color": color} for value, color in panel.steps]
        words["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "timeseries":
        words["min"] = 0
        words["custom"] = {
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 0,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    return words


# --- Files -----------------------------------------------------------------------------------------------------------


def files() -> dict[Path, str]:
    """Return what belongs into which file."""
    return {
        FOLDER / f"{dashboard.uid}.json": json.dumps(render(dashboard), indent=2) + "\n" for dashboard in DASHBOARDS
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the dashboards, or compare them with what is there."""
    parser = argparse.ArgumentParser(description="Write Grafana's dashboards to monitoring/grafana/dashboards/.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if they are not what this file says")
    wanted, there = files(), set(FOLDER.glob("*.json"))
    if parser.parse_args(arguments).check:
        stale = {path for path, text in wanted.items() if path not in there or path.read_text() != text}
        for path in sorted(stale | there - wanted.keys()):
            print(f"error: {path.relative_to(FOLDER.parents[2])} is out of date: run make dashboards", file=sys.stderr)
        return 1 if stale or there - wanted.keys() else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in there - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
