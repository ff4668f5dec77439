"""Publishing: one image per commit, also for repeated and parallel runs."""

import os

import pytest

from deploy import images
from deploy.images import DeliveryError, Image, Registry
from tests.support import fake_aws
from tests.support.fake_aws import COMMIT


class Commands:
    """A stand-in for images.run(): it records the commands, and a push adds the image to the registry."""

    def __init__(self, registry, ecr):
        self.registry, self.ecr = registry, ecr
        self.run, self.password = [], None
        # Called before a command, by its first two words.
        self.callbacks = {}

    def __call__(self, *command, text=None):
        self.run.append(command)
        self.password = text or self.password
        self.callbacks.get(command[:2], lambda: None)()
        if command[:2] == ("docker", "push"):
            fake_aws.push(self.ecr, command[-1].rpartition(":")[2])


def fail():
    raise DeliveryError("it failed")


@pytest.fixture
def commands(monkeypatch):
    with fake_aws.registry() as (registry, ecr):
        commands = Commands(registry, ecr)
        monkeypatch.setattr(images, "run", commands)
        yield commands


class TestPublish:
    def test_builds_checks_and_pushes_what_names_its_commit(self, commands):
        image = images.publish(commands.registry, COMMIT)

        name = f"{commands.registry.uri}:sha-{COMMIT}"
        assert commands.run == [
            ("devtools/docker.sh", "image", name, COMMIT),
            ("checks/check-image", name),
            ("docker", "login", "--username", "AWS", "--password-stdin", commands.registry.uri.partition("/")[0]),
            ("docker", "push", "--quiet", name),
        ]
        assert (image.commit, image.digest) == (COMMIT, fake_aws.digests(commands.ecr)[f"sha-{COMMIT}"])

    def test_the_password_goes_through_a_pipe(self, commands):
        images.publish(commands.registry, COMMIT)

        assert commands.password
        assert all(commands.password not in word for command in commands.run for word in command)

    def test_a_second_run_takes_the_digest_that_is_there(self, commands):
        first = images.publish(commands.registry, COMMIT)
        commands.run.clear()

        assert images.publish(commands.registry, COMMIT).digest == first.digest
        assert commands.run == []

    def test_of_two_runs_at_once_one_is_believed(self, commands):
        def other_run():
            fake_aws.push(commands.ecr, f"sha-{COMMIT}", content="the other's")
            fail()

        commands.callbacks["docker", "push"] = other_run

        image = images.publish(commands.registry, COMMIT)

        assert image.digest == fake_aws.digests(commands.ecr)[f"sha-{COMMIT}"]

    def test_an_image_that_does_not_serve_is_not_pushed(self, commands):
        commands.callbacks["checks/check-image", f"{commands.registry.uri}:sha-{COMMIT}"] = fail

        with pytest.raises(DeliveryError, match="it failed"):
            images.publish(commands.registry, COMMIT)

        assert len(commands.run) == 2

    def test_a_push_that_fails_is_an_error(self, commands):
        commands.callbacks["docker", "push"] = fail

        with pytest.raises(DeliveryError, match="it failed"):
            images.publish(commands.registry, COMMIT)

    def test_a_push_that_did_nothing_is_an_error(self, commands, monkeypatch):
        monkeypatch.setattr(fake_aws, "push", print)

        with pytest.raises(DeliveryError, match=f"sha-{COMMIT} was pushed, but is not in app"):
            images.publish(commands.registry, COMMIT)

    @pytest.mark.parametrize("commit", ["main", COMMIT[:7], COMMIT.upper()])
    def test_a_commit_is_forty_digits(self, commands, commit):
        with pytest.raises(DeliveryError, match=f"the commit is '{commit}'"):
            images.publish(commands.registry, commit)


class TestScan:
    @pytest.fixture(autouse=True)
    def published(self, commands):
        self.main = f"{commands.registry.uri}@{fake_aws.push(commands.ecr, f'sha-{COMMIT}')}"
        self.release = f"{commands.registry.uri}@{fake_aws.push(commands.ecr, 'v1.2.3', content='the release')}"

    def test_pulls_and_scans_each_by_its_digest(self, commands, capsys):
        images.scan(commands.registry, [f"sha-{COMMIT}", "v1.2.3", "v9.9.9"])

        assert commands.run[1:] == [
            ("docker", "pull", "--quiet", self.main),
            ("checks/scan-image", self.main),
            ("docker", "pull", "--quiet", self.release),
            ("checks/scan-image", self.release),
        ]
        assert "v9.9.9 is not published" in capsys.readouterr().out

    def test_of_a_vulnerable_one_does_not_keep_the_next_from_it(self, commands):
        commands.callbacks["checks/scan-image", self.main] = fail

        with pytest.raises(DeliveryError, match=f"sha-{COMMIT}: build and release again"):
            images.scan(commands.registry, [f"sha-{COMMIT}", "v1.2.3"])
        assert commands.run[-1] == ("checks/scan-image", self.release)

    def test_of_nothing_is_no_success(self, commands):
        with pytest.raises(DeliveryError, match="there is no image to scan"):
            images.scan(commands.registry, ["v9.9.9"])


class TestPromotion:
    def test_a_second_tag_is_on_the_very_bytes(self, commands):
        digest = fake_aws.push(commands.ecr, f"sha-{COMMIT}")
        image = commands.registry.find(f"sha-{COMMIT}")

        commands.registry.tag(image, "v1.2.3")
        commands.registry.tag(image, "v1.2.3")

        assert commands.registry.find("v1.2.3") == Image(digest=digest, tags=frozenset({f"sha-{COMMIT}", "v1.2.3"}))
        assert commands.registry.find(digest) == commands.registry.find("v1.2.3")

    def test_a_tag_never_moves(self, commands):
        fake_aws.push(commands.ecr, "v1.2.3", content="the first")
        fake_aws.push(commands.ecr, f"sha-{COMMIT}")
        before = fake_aws.digests(commands.ecr)

        with pytest.raises(DeliveryError, match=r"tag v1\.2\.3 is already on another image, and tags are immutable"):
            commands.registry.tag(commands.registry.find(f"sha-{COMMIT}"), "v1.2.3")

        assert fake_aws.digests(commands.ecr) == before

    def test_an_image_that_is_gone_cannot_be_tagged(self, commands):
        with pytest.raises(DeliveryError, match="it is not in app"):
            commands.registry.tag(Image(digest=fake_aws.sha256("gone"), tags=frozenset()), "v1.2.3")

    def test_a_repository_that_is_not_there_is_named(self, commands):
        registry = Registry(fake_aws.client_of("ecr"), commands.registry.uri + "s")

        with pytest.raises(DeliveryError, match=r"looking for v1\.2\.3 in apps: RepositoryNotFoundException"):
            registry.find("v1.2.3")


class TestCommandLine:
    @pytest.fixture
    def aws(self, monkeypatch):
        monkeypatch.setenv("AWS_DEFAULT_REGION", fake_aws.REGION)
        with fake_aws.registry() as (registry, ecr):
            yield registry, ecr

    @staticmethod
    def words(registry, commit: str = COMMIT, schema: str = "a" * 12) -> list[str]:
        return ["publish", "--repository", registry.uri, "--commit", commit, "--schema", schema]

    def test_ends_with_the_digest(self, aws, capsys):
        registry, ecr = aws
        digest = fake_aws.push(ecr, f"sha-{COMMIT}")

        assert images.main(self.words(registry)) == 0
        assert capsys.readouterr().out.splitlines() == [
            f"sha-{COMMIT} is already published: skipping the build",
            f"{digest} is the image of commit {COMMIT}",
        ]

    def test_tags_what_its_schema_was_tested_with_and_nothing_before_the_first_release(self, aws, capsys):
        registry, ecr = aws
        digest = fake_aws.push(ecr, f"sha-{COMMIT}")
        tags = {f"sha-{COMMIT}", f"schema-{'a' * 12}-{COMMIT}"}

        assert images.main([*self.words(registry), "--fits", ""]) == 0
        assert fake_aws.digests(ecr) == dict.fromkeys(tags, digest)
        for _ in range(2):
            assert images.main([*self.words(registry), "--fits", "f" * 40]) == 0
            assert fake_aws.digests(ecr) == dict.fromkeys({*tags, f"fits-{'f' * 40}-{COMMIT}"}, digest)

    def test_needs_the_schemas_version(self, aws, capsys):
        registry, ecr = aws
        fake_aws.push(ecr, f"sha-{COMMIT}")

        assert images.main(self.words(registry, schema="")) == 1
        assert capsys.readouterr().err == "error: the schema's version is '': it must be 12 hexadecimal digits\n"

    def test_fails_with_one_line(self, aws, capfd, monkeypatch, tmp_path):
        (tmp_path / "docker").write_text("#!/bin/sh\nexit 7\n")
        (tmp_path / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
        registry, _ = aws

        assert images.main(self.words(registry)) == 1
        assert capfd.readouterr().err.splitlines()[-1] == (
            "error: devtools/docker.sh image failed (exit code 7): its output is above"
        )

    def test_says_when_a_command_is_not_there(self):
        with pytest.raises(DeliveryError, match="no-such-command: command not found"):
            images.run("no-such-command")

    def test_says_when_there_is_no_region(self, capsys, monkeypatch):
        for name in ("AWS_DEFAULT_REGION", "AWS_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)

        assert images.main(["publish", "--repository", "1.ecr/app", "--commit", COMMIT, "--schema", "a" * 12]) == 1
        assert capsys.readouterr().err == "error: connecting to AWS: You must specify a region.\n"
