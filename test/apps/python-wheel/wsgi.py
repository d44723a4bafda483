"""A requirement that comes as a wheel with the repository, and one that the stack has."""
from greeting import greet


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [greet("wheel").encode()]
