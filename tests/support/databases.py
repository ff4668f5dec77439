"""URLs of the test database, for servers and programs that a test starts."""

from urllib.parse import quote

from django.db import connection


def database_url() -> str:
    """Return the URL of the database that the tests are using now."""
    of = connection.settings_dict
    user = f"{quote(of['USER'])}:{quote(of['PASSWORD'])}" if of["PASSWORD"] else quote(of["USER"])
    if of["HOST"].startswith("/"):
        return f"postgres://{user}@/{quote(of['HOST'])}/{of['NAME']}"
    return f"postgres://{user}@{of['HOST']}:{of['PORT'] or 5432}/{of['NAME']}"
