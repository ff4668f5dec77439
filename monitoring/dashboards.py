"""Grafana dashboards as code: `make dashboards` writes monitoring/grafana/dashboards/*.json from this folder's modules.

    python -m monitoring.dashboards            write the files
    python -m monitoring.dashboards --check    fail if a file differs from what the modules have

A module's DASHBOARDS are its dashboards (app.py, and one named after an app that has its own); a panel there is a title, its
queries and a unit. Its position, its ids and the rest of Grafana's JSON are generated here. Each query runs against a real
Prometheus in tests/monitoring/.
"""

# A command line tool: it prints.
# ruff: noqa: T201

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from monitoring.parts import ENVIRONMENT, Dashboard, Panel, PanelType, Row, Variable

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "grafana" / "dashboards"
SCHEMA_VERSION = 39
# Grafana's grid.
COLUMNS = 24

Json = dict[str, Any]


def all_dashboards() -> list[Dashboard]:
    """Return the dashboards of all modules in this folder."""
    modules = [
        import_module(f"monitoring.{module.name}")
        for module in iter_modules([str(HERE)])
        if module.name != "dashboards"
    ]
    return [dashboard for module in modules for dashboard in getattr(module, "DASHBOARDS", ())]


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
        FOLDER / f"{dashboard.uid}.json": json.dumps(render(dashboard), indent=2) + "\n"
        for dashboard in all_dashboards()
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
