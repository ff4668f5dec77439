"""Dashboards of the application, whatever it does: objectives, views, the database, processes."""

from monitoring.parts import (
    API,
    ENVIRONMENT,
    INSTANCE,
    INSTANCE_VARIABLES,
    LATENCY,
    RESPONSES,
    VIEW,
    VIEW_VARIABLES,
    Dashboard,
    Panel,
    Row,
    burn,
    quantile,
    quantiles,
    rate,
    share,
    slow,
)

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

DATABASE_AND_LOGINS = Dashboard(
    uid="app-database",
    title="App: database and logins",
    description="The database, conflicts on its rows, repeated requests, and logins.",
    variables=INSTANCE_VARIABLES,
    rows=[
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
            "Replica",
            [
                Panel(
                    "Reads",
                    {"{{alias}}: {{reason}}": rate("app_replica_reads_total", INSTANCE, "alias, reason")},
                    "ops",
                    description="Reads meant for the replica, by the server that answered and the reason.",
                    stacked=True,
                ),
                Panel(
                    "Lag",
                    {"lag": f"max (app_replica_lag_seconds{{{INSTANCE}}})"},
                    "s",
                    description="How far the replica was behind when it was last asked.",
                ),
            ],
        ),
        Row(
            "Commands",
            [
                Panel(
                    "Replays",
                    {"{{kind}}": rate("app_idempotent_replays_total", INSTANCE, "kind")},
                    "ops",
                    description="Requests repeated with the same Idempotency-Key: responses are lost, or arrive too late.",
                    may_be_empty=True,
                ),
                Panel(
                    "Contention",
                    {"{{reason}}": rate("app_contention_total", INSTANCE, "reason")},
                    "ops",
                    description="Commands that found a row locked, including those that succeeded after a retry.",
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

DASHBOARDS = (API_AND_SLO, BY_VIEW, DATABASE_AND_LOGINS, PROCESSES)
