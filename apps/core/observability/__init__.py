"""Observability: log lines, redaction of customer data, Sentry events and Prometheus metrics."""
