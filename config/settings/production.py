"""What a deployment runs. Secrets and hosts have no default: without them the process does not start."""

from config.settings.base import *  # noqa: F403  a settings module is its parent's names with some changed
from config.settings.base import REST_FRAMEWORK, database, env

SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS")
DATABASES = {"default": database(env.str("DATABASE_URL"))}

SIGN_UP_OPEN = env.bool("SIGN_UP_OPEN", default=False)
REST_FRAMEWORK = REST_FRAMEWORK | {"NUM_PROXIES": env.int("NUM_PROXIES", default=0)}

# TLS ends at a proxy that sets this header and drops the client's own.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SECURE_SSL_REDIRECT = True
SECURE_HSTS_SECONDS = 63_072_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = True
# Preloading is a promise about the whole domain and is hard to take back: an operator's choice.
SECURE_HSTS_PRELOAD = env.bool("SECURE_HSTS_PRELOAD", default=False)
SILENCED_SYSTEM_CHECKS = [] if SECURE_HSTS_PRELOAD else ["security.W021"]
SECURE_REFERRER_POLICY = "no-referrer"
SESSION_COOKIE_NAME = "__Host-sessionid"
SESSION_COOKIE_SECURE = True
SESSION_COOKIE_AGE = 8 * 60 * 60
CSRF_COOKIE_NAME = "__Host-csrftoken"
CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True
