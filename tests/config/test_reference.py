from config import reference


def test_the_committed_page_is_what_is_declared():
    assert reference.main(["--check"]) == 0


def test_drift_is_shown_and_repaired(tmp_path, monkeypatch, capsys):
    page = tmp_path / "configuration.md"
    monkeypatch.setattr(reference, "PAGE", page)
    assert reference.main(["--check"]) == 1

    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    capsys.readouterr()

    page.write_text(page.read_text().replace("gunicorn's worker processes.", "Workers."))
    assert reference.main(["--check"]) == 1
    told = capsys.readouterr().err
    assert "-| `WEB_CONCURRENCY` " in told
    assert "run make configuration" in told


def test_every_key_is_described():
    for name, key in reference.KEYS.items():
        assert key.about.endswith("."), name
        assert f"| `{name}`" in reference.page()
