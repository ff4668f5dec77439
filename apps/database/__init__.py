"""Everything between Django and PostgreSQL: the database backend, connection URLs, time limits, grants and `migrate`."""
