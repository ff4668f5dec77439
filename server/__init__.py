"""Server: the parts of the running container besides Django, which are gunicorn's configuration and extensions."""
