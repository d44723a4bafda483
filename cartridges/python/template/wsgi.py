"""A WSGI application to start from: the platform serves `application`."""
import sys

PAGE = f"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<style>body {{ font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }}</style>
<h1>It works</h1>
<p>This page comes from <code>wsgi.py</code>, run by Python {sys.version.split()[0]}. Change it and push:</p>
<pre>git commit -am "My first change" &amp;&amp; git push</pre>
<p>Requirements go into <code>requirements.txt</code>; another server is named in a <code>Procfile</code>.</p>
"""


def application(environ, start_response):
    if environ.get("PATH_INFO") == "/health":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok\n"]
    body = PAGE.encode()
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]
