"""The WSGI application that gunicorn serves: `config.wsgi:application`."""

from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
