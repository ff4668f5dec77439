"""The dashboard files: valid for Grafana, and equal to the output of monitoring/dashboards.py."""

import json
import re
from itertools import combinations

import promql_parser
import pytest

from monitoring import app, dashboards
from tests.monitoring.queries import as_sent

RENDERED = {dashboard.uid: dashboards.render(dashboard) for dashboard in dashboards.all_dashboards()}
GRAFANA_S_OWN = {"__rate_interval", "__all"}


def panels(dashboard: dict) -> list[dict]:
    return dashboard["panels"]


def overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] < other["x"] + other["w"]
        and other["x"] < one["x"] + one["w"]
        and one["y"] < other["y"] + other["h"]
        and other["y"] < one["y"] + one["h"]
    )


class TestFiles:
    def test_are_what_the_script_says(self, capsys):
        assert dashboards.main(["--check"]) == 0
        assert capsys.readouterr().err == ""

    def test_one_that_is_changed_by_hand_or_left_over_fails_the_check(self, tmp_path, monkeypatch, capsys):
        folder = tmp_path / "monitoring" / "grafana" / "dashboards"
        monkeypatch.setattr(dashboards, "FOLDER", folder)
        dashboards.main([])
        assert dashboards.main(["--check"]) == 0
        (folder / "app-api.json").write_text("{}")
        (folder / "old.json").write_text("{}")

        assert dashboards.main(["--check"]) == 1
        assert capsys.readouterr().err.splitlines() == [
            "error: monitoring/grafana/dashboards/app-api.json is out of date: run make dashboards",
            "error: monitoring/grafana/dashboards/old.json is out of date: run make dashboards",
        ]
        assert dashboards.main([]) == 0
        assert dashboards.main(["--check"]) == 0

    def test_each_has_an_address_and_a_title_of_its_own(self):
        assert {dashboard.uid for dashboard in app.DASHBOARDS} <= set(RENDERED)
        assert len(RENDERED) == len({dashboard["title"] for dashboard in RENDERED.values()})
        assert len(RENDERED) == len(dashboards.all_dashboards())
        assert {dashboard["schemaVersion"] for dashboard in RENDERED.values()} == {39}


@pytest.mark.parametrize("uid", RENDERED)
class TestDashboard:
    def test_no_two_panels_share_an_id_or_a_place(self, uid):
        found = panels(RENDERED[uid])

        assert len({panel["id"] for panel in found}) == len(found)
        for one, other in combinations(found, 2):
            assert not overlap(one["gridPos"], other["gridPos"]), (one["title"], other["title"])
        for panel in found:
            place = panel["gridPos"]
            assert place["x"] >= 0 <= place["y"]
            assert place["x"] + place["w"] <= 24

    def test_no_row_has_two_panels_of_one_title(self, uid):
        (dashboard,) = [dashboard for dashboard in dashboards.all_dashboards() if dashboard.uid == uid]

        for row in dashboard.rows:
            assert len({panel.title for panel in row.panels}) == len(row.panels)

    def test_every_variable_that_is_used_is_defined_and_the_other_way_round(self, uid):
        dashboard = RENDERED[uid]
        text = json.dumps({"panels": dashboard["panels"], "annotations": dashboard["annotations"]})
        choices = json.dumps(dashboard["templating"])
        defined = [variable["name"] for variable in dashboard["templating"]["list"]]

        used = set(re.findall(r"\$\{?(\w+)", text + choices)) - GRAFANA_S_OWN

        assert used == set(defined)
        assert len(set(defined)) == len(defined)

    def test_a_variable_asks_only_for_those_before_it(self, uid):
        known = set()
        for variable in RENDERED[uid]["templating"]["list"]:
            assert set(re.findall(r"\$\{?(\w+)", json.dumps(variable))) - GRAFANA_S_OWN <= known
            known.add(variable["name"])

    def test_every_panel_asks_the_chosen_prometheus_something_that_parses(self, uid):
        for panel in panels(RENDERED[uid]):
            if panel["type"] == "row":
                continue
            assert panel["targets"], panel["title"]
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
            for target in panel["targets"]:
                assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
                promql_parser.parse(as_sent(target["expr"]))

    def test_every_rate_is_over_grafana_s_interval(self, uid):
        for panel in panels(RENDERED[uid]):
            for target in panel.get("targets", []):
                assert set(re.findall(r"(?:rate|increase)\([^[]*\[([^]]+)\]", target["expr"])) <= {"$__rate_interval"}
