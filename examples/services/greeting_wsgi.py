"""A WSGI application as it is; so would be one made with a framework that the jail shows.

    pyjail service run --param name=World examples/services/greeting_wsgi.py
"""

import os


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    name = os.environ.get("PYJAIL_PARAM_NAME", "whoever you are")
    return [f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']} by {name}\n".encode()]
