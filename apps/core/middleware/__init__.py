"""Middleware, and the order that `MIDDLEWARE` in config/settings/base.py keeps.

From the outside in; a response passes the same middlewares from the inside out.

1. Security headers (PagePolicyMiddleware, SecurityHeadersMiddleware, XFrameOptionsMiddleware): outermost, because they only
   add headers, and probes and errors of other middlewares need them too.
2. ProbesMiddleware: before every check of hosts and every redirect, because load balancers probe by bare IP and plain HTTP.
3. PrometheusBeforeMiddleware, RequestsInProgressMiddleware: around the rest, so that rejected requests are counted; the
   other half, BoundedAfterMiddleware, is the last.
4. RequestIdMiddleware, then RequestLogMiddleware, then SentryRequestIdMiddleware: the log line and the Sentry event
   need the id.
5. CorsMiddleware: around all that rejects, so that a page on another origin can read the reason. It answers preflights
   itself.
6. RequestValidationMiddleware: before SecurityMiddleware, which would redirect to HTTPS on a host that is not checked yet.
7. CommonMiddleware, for the Content-Length, without which gunicorn would send chunks.
8. Between BeginPagesMiddleware and EndPagesMiddleware what only pages need: SecurityMiddleware for its redirect,
   StaticFilesMiddleware, then Django's own for sessions, CSRF, authentication and messages, in Django's order. A request
   of the API passes none of them: it has no cookie and no form, is refused over plain HTTP, and authenticates in its view.
   A middleware of yours for every request stands before them, one for pages among them.
"""
