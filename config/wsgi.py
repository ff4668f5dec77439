"""The WSGI application that gunicorn serves: `config.wsgi:application`."""

import django

from apps.core.wsgi import PlainWSGIHandler

django.setup(set_prefix=False)
application = PlainWSGIHandler()
