def url(cluster: str) -> str:
    return "postgres://"
