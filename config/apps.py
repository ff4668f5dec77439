"""App configuration of `config`: checks the settings of a deployment when Django starts."""

from django.apps import AppConfig
from django.conf import settings

from config.checks import check_deployment_settings
from config.env import load


class ConfigurationConfig(AppConfig):
    name = "config"

    def ready(self) -> None:
        env = load()
        if env.deployed:
            check_deployment_settings(settings, env)
