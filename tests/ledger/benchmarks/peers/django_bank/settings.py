"""Settings of the contenders in Django: what `startproject` and the REST framework's tutorial write, and what each changes.

BENCHMARK_VARIANT names the contender (peers/django_bank/urls.py), BENCHMARK_DATABASE its socket's folder and database.
"""

# ruff: noqa: TID251  # it is no part of the product: its key protects nothing, and its environment is the benchmark's

import os

VARIANT = os.environ["BENCHMARK_VARIANT"]
HOST, _, NAME = os.environ["BENCHMARK_DATABASE"].partition(" ")
# `manage.py runserver` closes the connection to the database after each request, as Django does by default.
IS_TUTORIAL = VARIANT == "tutorial"

DEBUG = IS_TUTORIAL
SECRET_KEY = "of-a-contender-in-a-benchmark-which-protects-nothing"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "tests.ledger.benchmarks.peers.django_bank",
]
MIDDLEWARE = [
    *(["tests.ledger.benchmarks.peers.django_bank.observed.ObservedMiddleware"] if VARIANT == "ninja" else []),
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
ROOT_URLCONF = "tests.ledger.benchmarks.peers.django_bank.urls"
WSGI_APPLICATION = "tests.ledger.benchmarks.peers.django_bank.wsgi.application"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": HOST,
        "NAME": NAME,
        "USER": "app",
        "CONN_MAX_AGE": 0 if IS_TUTORIAL else None,
    }
}
AUTH_USER_MODEL = "django_bank.Customer"
PASSWORD_HASHERS = ["tests.ledger.benchmarks.peers.django_bank.hashers.Argon2PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "tests.ledger.benchmarks.peers.django_bank.authentication.HashedTokenAuthentication"
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
}
# The Redis of the contender that locks in it.
REDIS_URL = os.environ.get("BENCHMARK_REDIS_URL", "")
