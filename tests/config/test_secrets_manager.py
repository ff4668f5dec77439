"""AWS Secrets Manager over real sockets: requests, responses of every kind, and outages."""

import json
import threading
import time

import pytest

from config import secrets_manager as secrets
from config.secrets_manager import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, SecretError
from tests.support import aws
from tests.support.patience import HANG_S

pytestmark = pytest.mark.usefixtures("_no_secret_held")

CURRENT = (200, {"Name": "app", "SecretString": '{"SECRET_KEY": "from aws"}'})
BROKEN = (500, {"__type": "InternalServiceError"})


@pytest.fixture
def at(monkeypatch):
    """Point the SDK at a server."""

    def point(url):
        for name, value in aws.environment(url).items():
            monkeypatch.setenv(name, value)

    return point


class TestReading:
    def test_a_secret_is_an_object_of_strings(self, moto, at):
        at(moto.url)
        moto.put("app/read", {"SECRET_KEY": "k", "DEBUG": "false"})

        assert secrets.fetch("app/read", aws.REGION) == {"SECRET_KEY": "k", "DEBUG": "false"}

    def test_an_arn_knows_its_region(self, moto, at):
        at(moto.url)
        moto.put("app/arn", {"SECRET_KEY": "k"})
        arn = moto.client.describe_secret(SecretId="app/arn")["ARN"]

        assert secrets.fetch(arn, "") == {"SECRET_KEY": "k"}

    def test_the_current_version_is_asked_for_and_got_while_another_is_pending(self, moto, at):
        at(moto.url)
        moto.put("app/versions", {"SECRET_KEY": "current"})
        moto.client.put_secret_value(
            SecretId="app/versions", SecretString='{"SECRET_KEY": "pending"}', VersionStages=["AWSPENDING"]
        )
        assert secrets.fetch("app/versions", aws.REGION) == {"SECRET_KEY": "current"}

        with aws.Scripted(CURRENT) as scripted:
            at(scripted.url)
            secrets.fetch("app", aws.REGION)
            secrets.get_cached("app", aws.REGION)
            secrets.refresh("app", aws.REGION, pause_s=0)
        assert scripted.asked == [{"SecretId": "app", "VersionStage": "AWSCURRENT"}] * 3

    @pytest.mark.parametrize(
        ("secret", "words"),
        [
            ('{"SECRET_KEY": "canary', "not JSON"),
            ("canary", "not JSON"),
            ("[" * 100_000, "not JSON"),
            ('["canary"]', "not a JSON object of strings"),
            ('{"SECRET_KEY": {"canary": 1}}', "not a JSON object of strings"),
            ('{"PORT": 8000}', "not a JSON object of strings"),
            ('{"DEBUG": null}', "not a JSON object of strings"),
            (
                '{"username": "canary", "password": "canary", "port": 5432}',
                "as RDS's rotation writes it: put DATABASE_URL",
            ),
            (b"canary", "binary secret"),
        ],
    )
    def test_anything_else_is_refused_without_being_shown(self, moto, at, secret, words):
        at(moto.url)
        moto.put("app/other", secret)

        with pytest.raises(SecretError, match=words) as refusal:
            secrets.fetch("app/other", aws.REGION)
        assert "canary" not in str(refusal.value)
        moto.client.delete_secret(SecretId="app/other", ForceDeleteWithoutRecovery=True)

    def test_a_secret_that_is_not_there_or_about_to_go_is_named(self, moto, at):
        at(moto.url)
        moto.put("app/doomed", "{}")
        moto.client.delete_secret(SecretId="app/doomed")

        with pytest.raises(SecretError, match="marked for deletion"):
            secrets.fetch("app/doomed", aws.REGION)
        with pytest.raises(SecretError, match="names no secret in this region"):
            secrets.fetch("app/missing", aws.REGION)

    @pytest.mark.parametrize(
        ("code", "words"),
        [
            ("AccessDeniedException", "secretsmanager:GetSecretValue"),
            ("DecryptionFailure", "kms:Decrypt"),
            ("UnrecognizedClientException", "AWS answers UnrecognizedClientException"),
        ],
    )
    def test_a_role_that_may_not_is_told_what_it_needs(self, at, code, words):
        """As AWS refuses: moto's own check of IAM answers in XML, which no client of this service reads."""
        refusal = (400, {"__type": code, "Message": "User: arn:canary is not authorized on resource: canary"})
        with aws.Scripted(refusal) as scripted:
            at(scripted.url)
            with pytest.raises(SecretError, match=words) as told:
                secrets.fetch("app", aws.REGION)

        assert "canary" not in str(told.value)
        assert len(scripted.asked) == 1

    def test_missing_credentials_and_a_missing_region_are_named(self, moto, at, monkeypatch):
        at(moto.url)
        monkeypatch.delenv("AWS_REGION")
        with pytest.raises(SecretError, match="needs AWS_REGION"):
            secrets.fetch("app", "")

        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(SecretError, match="no AWS credentials"):
            secrets.fetch("app", aws.REGION)


class TestAnOutage:
    def test_two_failures_are_ridden_out_and_a_third_is_the_last(self, at):
        with aws.Scripted(BROKEN, BROKEN, CURRENT) as scripted:
            at(scripted.url)
            assert secrets.fetch("app", aws.REGION) == {"SECRET_KEY": "from aws"}
        assert len(scripted.asked) == secrets.TRIES == 3

        with aws.Scripted(BROKEN) as scripted:
            at(scripted.url)
            with pytest.raises(SecretError, match="AWS answers InternalServiceError"):
                secrets.fetch("app", aws.REGION)
        assert len(scripted.asked) == 3

    @pytest.mark.slow
    def test_silence_is_given_two_seconds_three_times(self, at, monkeypatch):
        # The deadline of them all together is another test's.
        monkeypatch.setattr(secrets, "READ_TIMEOUT_S", READ_TIMEOUT_S)
        with aws.Silent() as silent:
            at(silent.url)
            start = time.monotonic()
            with pytest.raises(SecretError, match="gave no answer"):
                secrets.get_cached("app", aws.REGION)
            elapsed = time.monotonic() - start

        assert silent.connections == 3
        assert elapsed >= 3 * READ_TIMEOUT_S == 3 * 2

    @pytest.mark.slow
    def test_a_door_that_does_not_open_is_given_one_second_three_times(self, at, monkeypatch):
        monkeypatch.setattr(secrets, "CONNECT_TIMEOUT_S", CONNECT_TIMEOUT_S)
        with aws.unreachable() as url:
            at(url)
            start = time.monotonic()
            with pytest.raises(SecretError, match="ConnectTimeoutError"):
                secrets.fetch("app", aws.REGION)
            elapsed = time.monotonic() - start

        assert elapsed >= 3 * CONNECT_TIMEOUT_S == 3 * 1

    def test_without_a_held_secret_it_is_an_error_that_is_not_asked_for_twice(self, at):
        with aws.Scripted((400, {"__type": "InvalidRequestException"})) as scripted:
            at(scripted.url)
            for _ in range(2):
                with pytest.raises(SecretError, match="cannot be read"):
                    secrets.get_cached("app", aws.REGION)

        assert len(scripted.asked) == 1

    def test_with_a_held_secret_it_changes_nothing_and_is_over_when_it_is_over(self, at, caplog):
        renewed = (200, {"Name": "app", "SecretString": '{"SECRET_KEY": "renewed"}'})
        failed = (400, {"__type": "DecryptionFailure"})
        with aws.Scripted(CURRENT, failed, renewed) as scripted:
            at(scripted.url)
            first = secrets.get_cached("app", aws.REGION)

            assert secrets.refresh("app", aws.REGION, pause_s=0) == first == secrets.get_cached("app", aws.REGION)
            assert "APP_SECRETS_ID names a secret that this role may not decrypt" in caplog.text
            assert "from aws" not in caplog.text

            # A moment later nobody is asked.
            assert secrets.refresh("app", aws.REGION, pause_s=HANG_S) == first
            assert len(scripted.asked) == 2
            assert secrets.refresh("app", aws.REGION, pause_s=0) == {"SECRET_KEY": "renewed"}

    @pytest.mark.slow
    def test_a_request_waits_no_longer_than_its_deadline(self, at, monkeypatch):
        """In which there is no time for three tries of two seconds: they go on behind its back."""
        monkeypatch.setattr(secrets, "SERVING_DEADLINE_S", 0.5)
        monkeypatch.setattr(secrets, "READ_TIMEOUT_S", READ_TIMEOUT_S)
        before = set(threading.enumerate())
        secrets.set_cached(json.loads('{"SECRET_KEY": "held"}'))
        with aws.Silent() as silent:
            at(silent.url)
            assert secrets.refresh("app", aws.REGION) == {"SECRET_KEY": "held"}

            behind = [thread.name for thread in set(threading.enumerate()) - before if thread.is_alive()]
            assert "secrets-manager" in behind
