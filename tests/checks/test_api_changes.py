"""Breaking API changes, one by one, and the commit that `make check-api` compares with."""

import copy
import json
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from checks import api_changes
from tests.support.paths import ROOT

BEFORE = {
    "paths": {
        "/accounts/{id}/": {
            "parameters": [{"in": "path", "name": "id", "required": True, "schema": {"type": "string"}}],
            "post": {
                "operationId": "pay",
                "parameters": [
                    {"in": "header", "name": "Idempotency-Key", "required": True, "schema": {"type": "string"}},
                    {"in": "query", "name": "limit", "schema": {"type": "integer", "minimum": 1, "maximum": 200}},
                ],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Payment"}}}},
                "responses": {
                    "201": {
                        "headers": {"Location": {"schema": {"type": "string"}}},
                        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Receipt"}}},
                    },
                    "404": {"description": "No such account."},
                },
                "security": [{"token": []}],
            },
            "get": {"operationId": "look", "responses": {"200": {"description": "Open to all."}}},
        },
    },
    "components": {
        "schemas": {
            "Payment": {
                "type": "object",
                "properties": {
                    "amount": {"type": "string", "pattern": "^[0-9]+$", "maxLength": 20},
                    "currency": {"$ref": "#/components/schemas/Currency"},
                    "tags": {"type": "array", "items": {"type": "string", "maxLength": 10}},
                    "rate": {"type": "number", "nullable": True},
                },
                "required": ["amount"],
            },
            "Currency": {"type": "string", "enum": ["EUR", "USD"]},
            "Receipt": {
                "type": "object",
                "properties": {
                    "id": {"type": "string", "format": "uuid"},
                    "kind": {"allOf": [{"$ref": "#/components/schemas/Kind"}], "readOnly": True},
                    "of": {"oneOf": [{"$ref": "#/components/schemas/Receipt"}, {"type": "integer"}]},
                    "number": {"type": "integer", "maximum": 10},
                    "parts": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string"}}}},
                },
                "required": ["id", "kind"],
            },
            "Kind": {"type": "string", "enum": ["deposit", "withdrawal"]},
        },
    },
}
PAY = "POST /accounts/{}/"
PAYMENT, RECEIPT, POST = "/components/schemas/Payment", "/components/schemas/Receipt", "/paths/~1accounts~1{id}~1/post"
SENT, GOT = f"{PAY}: request application/json", f"{PAY}: response 201 application/json"
GONE = object()


def changed(*edits):
    """Return the document with values put at JSON pointers, or taken away."""
    document = copy.deepcopy(BEFORE)
    for pointer, value in edits:
        *parents, last = [part.replace("~1", "/") for part in pointer.split("/")[1:]]
        node = document
        for part in parents:
            node = node[int(part) if isinstance(node, list) else part]
        key = int(last) if isinstance(node, list) else last
        if value is GONE:
            del node[key]
        else:
            node[key] = value
    return document


def breaks(*edits):
    return list(api_changes.Comparison(BEFORE, changed(*edits)).breaks())


@pytest.mark.parametrize(
    ("pointer", "value", "sentence"),
    [
        ("/paths/~1accounts~1{id}~1", GONE, f"{PAY}: is gone"),
        (POST, GONE, f"{PAY}: is gone"),
        (f"{POST}/operationId", "send", f"{PAY}: operationId was pay, and generated clients call it so"),
        (f"{POST}/security", [{"cookie": []}], f"{PAY}: asks for another authentication"),
        ("/security", [{"token": []}], "GET /accounts/{}/: asks for another authentication"),
        # Parameters.
        (f"{POST}/parameters/1", GONE, f"{PAY}: query parameter limit: is gone"),
        (f"{POST}/parameters/1/required", True, f"{PAY}: query parameter limit: is required now"),
        (f"{POST}/parameters/1/schema/maximum", 100, f"{PAY}: query parameter limit: maximum was 200, is 100"),
        (f"{POST}/parameters/1/schema/minimum", 10, f"{PAY}: query parameter limit: minimum was 1, is 10"),
        (
            f"{POST}/parameters/0/schema/minLength",
            8,
            f"{PAY}: header parameter idempotency-key: minLength was not there, is 8",
        ),
        (
            f"{POST}/parameters/0/schema/type",
            "integer",
            f"{PAY}: header parameter idempotency-key: was string, is integer",
        ),
        (
            "/paths/~1accounts~1{id}~1/parameters/0/schema/format",
            "uuid",
            f"{PAY}: path parameter 1: format was not there, is uuid",
        ),
        # Requests.
        (f"{POST}/requestBody/required", True, f"{PAY}: request: a body is required now"),
        (f"{POST}/requestBody/content", {"text/csv": {}}, f"{PAY}: request: application/json is not taken any more"),
        (f"{PAYMENT}/properties/tags", GONE, f"{SENT}.tags: is gone"),
        (f"{PAYMENT}/required", ["amount", "currency"], f"{SENT}.currency: is required now"),
        (f"{PAYMENT}/additionalProperties", False, f"{SENT}: takes no other fields any more"),
        (f"{PAYMENT}/properties/amount/type", "integer", f"{SENT}.amount: was string, is integer"),
        (f"{PAYMENT}/properties/amount/maxLength", 10, f"{SENT}.amount: maxLength was 20, is 10"),
        (f"{PAYMENT}/properties/amount/pattern", "^[1-9]+$", f"{SENT}.amount: pattern was ^[0-9]+$, is ^[1-9]+$"),
        (f"{PAYMENT}/properties/tags/items/maxLength", 5, f"{SENT}.tags[]: maxLength was 10, is 5"),
        (f"{PAYMENT}/properties/tags/maxItems", 5, f"{SENT}.tags: maxItems was not there, is 5"),
        (f"{PAYMENT}/properties/rate/nullable", False, f"{SENT}.rate: was number or null, is number"),
        (f"{PAYMENT}/properties/rate/type", "integer", f"{SENT}.rate: was number or null, is integer or null"),
        ("/components/schemas/Currency/enum", ["EUR"], f"{SENT}.currency: may not be USD any more"),
        # Responses.
        (f"{POST}/responses/201", GONE, f"{PAY}: response 201: is gone"),
        (f"{POST}/responses/201/headers/Location", GONE, f"{PAY}: response 201: header Location is gone"),
        (f"{POST}/responses/201/content", {"text/csv": {}}, f"{PAY}: response 201: application/json is gone"),
        (f"{RECEIPT}/properties/number", GONE, f"{GOT}.number: is gone"),
        (f"{RECEIPT}/properties/id", GONE, f"{GOT}.id: is gone"),
        (f"{RECEIPT}/required", ["kind"], f"{GOT}.id: may be missing now"),
        (f"{RECEIPT}/properties/id/type", "integer", f"{GOT}.id: was string, is integer"),
        (f"{RECEIPT}/properties/id/nullable", True, f"{GOT}.id: was string, is string or null"),
        (f"{RECEIPT}/properties/number/type", "number", f"{GOT}.number: was integer, is number"),
        (f"{RECEIPT}/properties/parts/items/properties/a", GONE, f"{GOT}.parts[].a: is gone"),
        (f"{RECEIPT}/properties/of/oneOf/1/type", "string", f"{GOT}.of: has a form that was not known"),
        ("/components/schemas/Kind/enum", ["deposit", "withdrawal", "fee"], f"{GOT}.kind: may be fee now"),
        ("/components/schemas/Kind", {"type": "string"}, f"{GOT}.kind: may be any value now"),
    ],
)
def test_breaks(pointer, value, sentence):
    assert sentence in breaks((pointer, value))


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/paths/~1users~1", {"get": {"responses": {"200": {}}}}),
        (f"{POST}/description", "Pay."),
        (f"{POST}/security", [{"token": []}, {"cookie": []}]),
        (f"{POST}/parameters/0/name", "idempotency-key"),
        (f"{POST}/parameters/0/required", False),
        (f"{POST}/parameters/1/schema/maximum", 500),
        (f"{POST}/parameters/1/schema/minimum", GONE),
        (f"{POST}/requestBody/content/text~1csv", {}),
        (f"{POST}/responses/404", GONE),
        (f"{POST}/responses/409", {"description": "Busy."}),
        (f"{PAYMENT}/properties/note", {"type": "string"}),
        (f"{PAYMENT}/required", []),
        (f"{PAYMENT}/properties/amount/pattern", GONE),
        ("/components/schemas/Currency/enum", ["EUR", "USD", "JPY"]),
        (f"{RECEIPT}/properties/note", {"type": "string"}),
        (f"{RECEIPT}/required", ["id", "kind", "number"]),
        (f"{RECEIPT}/properties/number/maximum", 20),
        (f"{RECEIPT}/properties/of/oneOf/1", GONE),
        ("/components/schemas/Kind/enum", ["deposit"]),
    ],
)
def test_breaks_nothing(pointer, value):
    assert breaks((pointer, value)) == []


def test_a_placeholder_may_get_another_name():
    after = changed(("/paths/~1accounts~1{id}~1/parameters/0/name", "account"))
    after["paths"]["/accounts/{account}/"] = after["paths"].pop("/accounts/{id}/")

    assert list(api_changes.Comparison(BEFORE, after).breaks()) == []


def test_a_schema_that_was_written_out_may_get_a_name_and_the_other_way_round():
    receipt = f"{POST}/responses/201/content/application~1json/schema"

    assert breaks((receipt, BEFORE["components"]["schemas"]["Receipt"])) == []


def test_our_own_document_is_whole_and_keeps_what_it_says():
    document = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())

    assert list(api_changes.Comparison(document, copy.deepcopy(document)).breaks()) == []
    nothing = api_changes.Comparison(document, {"paths": {}})
    assert len(list(nothing.breaks())) == len(nothing.before.operations()) > 0


class TestCommandLine:
    SENTENCE = f"{GOT}.number: is gone"

    @pytest.fixture
    def run(self, tmp_path, capsys):
        def run(changelog, *edits, before="# Changelog\n"):
            for name, text in {
                "before.yaml": json.dumps(BEFORE),
                "after.yaml": json.dumps(changed(*edits)),
                "before.md": before,
                "after.md": changelog,
            }.items():
                (tmp_path / name).write_text(text)
            files = [str(tmp_path / name) for name in ("before.yaml", "after.yaml", "--changelog")]
            files[2:] = ["--changelog", str(tmp_path / "before.md"), str(tmp_path / "after.md")]
            code = api_changes.main(files)
            printed = capsys.readouterr()
            return code, printed.out, printed.err

        return run

    def test_passes_where_nothing_breaks(self, run):
        assert run("") == (0, "nothing breaks for clients\n", "")

    def test_fails_for_a_break(self, run):
        code, out, err = run("", (f"{RECEIPT}/properties/number", GONE))

        assert (code, out) == (1, f"BREAKS     {self.SENTENCE}\n")
        assert err.startswith("error: 1 breaks for clients")

    def test_passes_a_break_that_the_change_log_announces(self, run):
        wrapped = f"- Breaking: {self.SENTENCE}.".replace(" is", "\n  is")

        assert run(wrapped, (f"{RECEIPT}/properties/number", GONE)) == (0, f"announced  {self.SENTENCE}\n", "")

    def test_takes_no_announcement_of_an_earlier_release_for_one(self, run):
        edit = (f"{RECEIPT}/properties/number", GONE)

        assert run(f"- {self.SENTENCE}", edit, before=f"- {self.SENTENCE}")[0] == 1


class TestBaselineCommit:
    """`checks/check-api`, on real repositories; a stand-in for devtools/run records its arguments."""

    @pytest.fixture
    def repository(self, tmp_path, monkeypatch):
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            monkeypatch.delenv(name, raising=False)
        (tmp_path / "checks").mkdir()
        (tmp_path / "devtools").mkdir()
        (tmp_path / "docs").mkdir()
        for name in ("check-api", "lib.sh"):
            shutil.copy(ROOT / "checks" / name, tmp_path / "checks")
        (tmp_path / "devtools/run").write_text('#!/bin/sh\necho "$@" >handed-over\n')
        (tmp_path / "devtools/run").chmod(0o755)
        self.folder = tmp_path
        self.git("init", "--quiet", "--initial-branch=main")
        self.commit("first")
        return self

    def git(self, *arguments):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@app.example", "-c", "tag.gpgSign=false"]
        return subprocess.run(
            ["git", *identity, *arguments],  # noqa: S607  wherever it is
            cwd=self.folder,
            check=True,
            text=True,
            capture_output=True,
        ).stdout.strip()

    def commit(self, text, name="app"):
        (self.folder / "docs/openapi.yaml").write_text(text)
        (self.folder / "CHANGELOG.md").write_text(f"# {text}")
        (self.folder / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n')
        self.git("add", "docs", "CHANGELOG.md", "pyproject.toml")
        self.git("commit", "--quiet", "--message", text)

    def check(self, *arguments):
        command = [self.folder / "checks/check-api", *arguments]
        return subprocess.run(command, text=True, capture_output=True, check=False)

    def compared_with(self, *arguments):
        done = self.check(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        words = (self.folder / "handed-over").read_text().split()
        assert words[:4] == ["tool", "python", "-m", "checks.api_changes"]
        assert words[5:] == [
            "docs/openapi.yaml",
            "--changelog",
            f"{Path(words[4]).parent}/CHANGELOG.md",
            "CHANGELOG.md",
        ]
        before = (self.folder / words[4]).read_text()
        assert (self.folder / words[7]).read_text() == f"# {before}"
        return before

    def why_not_compared(self):
        done = self.check()
        assert done.returncode == 0
        assert not (self.folder / "handed-over").exists()
        return done.stderr

    def test_the_last_release(self, repository):
        repository.git("tag", "v1.2.3")
        repository.commit("second")
        repository.git("tag", "v1.10.0")
        repository.commit("later")
        repository.git("tag", "other")
        repository.commit("last")

        assert repository.compared_with() == "second"

    def test_a_named_commit(self, repository):
        repository.commit("second")

        assert repository.compared_with("HEAD~1") == "first"

    def test_without_a_release_nothing_is_compared(self, repository):
        repository.commit("second")

        assert repository.why_not_compared() == (
            "nothing to compare with: app has no release yet (COMMIT=<commit> names another commit)\n"
        )

    def test_a_release_of_the_template_is_none_of_the_product(self, repository):
        repository.git("tag", "v9.0.0")
        repository.commit("ours", name="acme")

        assert "has no release yet" in repository.why_not_compared()

        repository.git("tag", "v0.1.0")
        repository.commit("last", name="acme")

        assert repository.compared_with() == "ours"

    def test_a_release_beside_the_history_is_none_of_it(self, repository):
        repository.git("checkout", "--quiet", "-b", "side")
        repository.commit("aside")
        repository.git("tag", "v1.2.3")
        repository.git("checkout", "--quiet", "main")

        assert "has no release yet" in repository.why_not_compared()

    def test_a_shallow_clone_says_so(self, repository, tmp_path_factory):
        repository.git("tag", "v1.2.3")
        repository.commit("later")
        shallow = tmp_path_factory.mktemp("shallow") / "clone"
        repository.git("add", "checks", "devtools")
        repository.git("commit", "--quiet", "--message", "scripts")
        repository.git("clone", "--quiet", "--depth=1", f"file://{repository.folder}", str(shallow))
        repository.folder = shallow

        assert repository.why_not_compared() == (
            "skipped: this clone is shallow and has no release in it (git fetch --unshallow --tags gets them)\n"
        )
