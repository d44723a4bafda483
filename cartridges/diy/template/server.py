"""A web server to start from; replace it with anything that listens on PORT."""
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGE = b"""<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
<h1>It works</h1>
<p>This page comes from <code>server.py</code>, started by <code>.openshift/action_hooks/start</code>. Change both and push:</p>
<pre>git commit -am "My first change" &amp;&amp; git push</pre>
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, format, *args):
        pass


address = (os.environ.get("HOST", "0.0.0.0"), int(os.environ.get("PORT", "8080")))
print("listening on %s:%d" % address, flush=True)
ThreadingHTTPServer(address, Handler).serve_forever()
