import pytest

from config import generate


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the files that are generated, and of what they are generated from."""
    for path in (*generate.generated(), "config/settings/local.py"):
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((generate.ROOT / path).read_text())
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    return tmp_path


def test_the_committed_files_are_what_is_declared():
    assert generate.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("path", "declared", "changed"),
    [
        ("docs/configuration.md", "gunicorn's worker processes.", "Workers."),
        ("docs/configuration.md", "`true` in local", "`false` in local"),
        (".env.example", "# WEB_CONCURRENCY=2", "# WEB_CONCURENCY=2"),
        (".env.example", "# WEB_CONCURRENCY=2\n", ""),
        ("compose.local.yml", "      WEB_CONCURRENCY:\n", ""),
        ("compose.test.yml", "      SECRET_KEY:\n", "      SECRET_KEY:\n      SECRET_KY:\n"),
    ],
)
def test_drift_is_shown_and_repaired(copy, capsys, path, declared, changed):
    before = (copy / path).read_text()
    assert declared in before
    (copy / path).write_text(before.replace(declared, changed))

    assert generate.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert f"error: {path} is out of date: run make configuration" in told
    assert any(line.startswith(("-", "+")) and line[1:].strip() for line in told.splitlines()[2:])

    assert generate.main([]) == 0
    assert (copy / path).read_text() == before
    assert generate.main(["--check"]) == 0


def test_a_missing_page_is_drift(copy):
    (copy / "docs/configuration.md").unlink()

    assert generate.main(["--check"]) == 1


def test_every_key_is_described():
    page = generate.generated()["docs/configuration.md"]
    for name, key in generate.KEYS.items():
        assert key.description.endswith("."), name
        assert f"| `{name}`" in page


def test_a_new_key_is_everywhere_by_its_declaration(copy, monkeypatch):
    new = generate.KEYS["WEB_CONCURRENCY"]
    monkeypatch.setattr(generate, "KEYS", {**generate.KEYS, "A_NEW_KEY": new})

    for path, line in [
        ("docs/configuration.md", "| `A_NEW_KEY` | "),
        (".env.example", "# A_NEW_KEY=2\n"),
        ("compose.local.yml", "      A_NEW_KEY:\n"),
        ("compose.test.yml", "      A_NEW_KEY:\n"),
    ]:
        assert line in generate.generated()[path]
