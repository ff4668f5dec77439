from time import perf_counter

from tests.ledger.benchmarks.peers import observed


class ObservedMiddleware:
    """Metrics and a log line for each request, and the request's id in the answer."""

    def __init__(self, get_response) -> None:
        self.get_response = get_response

    def __call__(self, request):
        started, request_id = perf_counter(), observed.new_request_id()
        response = self.get_response(request)
        response["X-Request-ID"] = request_id
        user = getattr(request, "auth", None)
        observed.record(
            method=request.method,
            route=request.resolver_match.route if request.resolver_match else "",
            status=response.status_code,
            started=started,
            request_id=request_id,
            user_id=str(user.pk) if user else None,
        )
        return response
