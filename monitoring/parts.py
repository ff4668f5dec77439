"""Parts of a Grafana dashboard: dashboards, rows and panels as data, and the queries that several panels share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PanelType = Literal["timeseries", "stat", "heatmap", "table"]


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
