"""The rules: Prometheus loads them, each alert is tested firing and silent, and each has a section in the runbook."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from django.apps import apps
from django.core.management import get_commands

from tests.monitoring.queries import ROOT, alerts, metrics, of_panels, rules
from tests.support.monitoring_programs import program

CONFIGURATION = ROOT / "monitoring" / "prometheus" / "prometheus.yml"
TESTS = sorted((Path(__file__).parent / "alerts").glob("*.yml"))
DOCS = ROOT / "docs"
# The application's runbook, and one for each app that has alerts of its own.
RUNBOOKS = {path: path.read_text() for path in [DOCS / "runbook.md", *sorted(DOCS.glob("*/runbook.md"))]}
# Names of metrics: the application's, django-prometheus's, and those of each app.
METRIC = re.compile(rf"\b(?:app|django|{'|'.join(config.label for config in apps.get_app_configs())})_[a-z0-9_]+")
# Sections that no alert links to, but that the alerts' sections do.
GENERAL = {"Roll back", "Run a command", "Scale", "Secrets", "Tasks", "The database"}


# Sections that alarms of CloudWatch name; tests/deploy/test_terraform.py has the alarms.
ALARMS = {
    name
    for path in (ROOT / "deploy" / "ecs" / "terraform" / "environment").glob("*.tf")
    for name in re.findall(r"docs/runbook\.md, (\w+)\.", path.read_text())
}


def promtool(*arguments: str | Path) -> str:
    """Return promtool's output; fail if its exit code is not 0."""
    done = subprocess.run([program("promtool"), *arguments], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sections(text: str) -> dict[str, str]:
    """Return a runbook's sections by their titles."""
    _, *parts = re.split(r"^## (.+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub derives from the titles."""
    return {title.lower().replace(" ", "-") for title in sections(text)}


class TestRules:
    def test_prometheus_takes_the_configuration_and_every_rule(self):
        assert "SUCCESS" in promtool("check", "config", "--lint=all", "--lint-fatal", CONFIGURATION)

    @pytest.mark.parametrize(
        "path",
        # promtool takes seconds for windows of hours and days.
        [
            pytest.param(
                path, id=path.stem, marks=pytest.mark.slow if re.search("burn_rates|housekeeping", path.stem) else ()
            )
            for path in TESTS
        ],
    )
    def test_fire_when_they_should_and_only_then(self, path):
        assert "SUCCESS" in promtool("test", "rules", path)

    def test_each_alert_is_seen_to_fire_and_to_stay_silent_and_to_fire_in_each_of_its_ways(self):
        checks = [
            check
            for path in TESTS
            for case in yaml.safe_load(path.read_text())["tests"]
            for check in case["alert_rule_test"]
        ]
        fired = [check["alertname"] for check in checks if check.get("exp_alerts")]
        silent = {check["alertname"] for check in checks if not check.get("exp_alerts")}

        assert set(fired) == silent == set(alerts())
        for name, rule in alerts().items():
            # A burn rate alert has two pairs of windows, and either pair fires.
            assert fired.count(name) >= 1 + rule["expr"].count(") or (")


@pytest.mark.parametrize("name", alerts())
class TestAlert:
    def test_says_how_urgent_it_is_and_what_it_is(self, name):
        rule = alerts()[name]

        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith((".", ")."))
        assert set(rule["annotations"]) == {"summary", "runbook_url"}

    def test_links_to_a_section_of_its_own_with_answers(self, name):
        rule = alerts()[name]
        path, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        runbook = ROOT / path.removeprefix("{{ $externalLabels.repository }}/")
        section = sections(RUNBOOKS[runbook])[name]

        assert anchor == name.lower()
        assert f"**{rule['labels']['severity']}**" in section
        for heading in ("**The user**", "**Look**", "**Do**"):
            assert heading in section


def test_no_section_is_one_that_nothing_leads_to():
    titles = [title for text in RUNBOOKS.values() for title in sections(text)]

    assert sorted(titles) == sorted({*alerts()} | ALARMS | GENERAL)
    for title in GENERAL:
        assert f"(#{title.lower().replace(' ', '-')})" in RUNBOOKS[DOCS / "runbook.md"]


@pytest.mark.parametrize("name", sorted(ALARMS - GENERAL))
def test_a_section_that_an_alarm_names_has_answers(name):
    section = sections(RUNBOOKS[DOCS / "runbook.md"])[name]

    for heading in ("**The user**", "**Look**", "**Do**"):
        assert heading in section


@pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.parent.name)
class TestRunbook:
    def test_every_link_leads_somewhere(self, page):
        for target in re.findall(r"\]\(([^)]+)\)", RUNBOOKS[page]):
            path, _, anchor = target.partition("#")
            assert not path or (page.parent / path).exists(), target
            assert path or anchor in anchors(RUNBOOKS[page]), target

    def test_every_query_in_it_names_metrics_that_rules_or_dashboards_know(self, page):
        known = {name for rule in rules() for name in metrics(rule["expr"])} | {*get_commands()}
        known |= {name for _, exprs in of_panels().values() for expr in exprs for name in metrics(expr)}
        named = {name for quoted in re.findall(r"`([^`]+)`", RUNBOOKS[page]) for name in METRIC.findall(quoted)}

        assert named or page.parent != DOCS
        assert named <= known
