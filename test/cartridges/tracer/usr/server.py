# Answers on three addresses: the name of each, and the path that came.
import http.server, os, signal, sys, threading

def serve(name, ip, port):
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = ("%s %s\n" % (name, self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *a):
            print(name, *a, flush=True)
    http.server.ThreadingHTTPServer.daemon_threads = True
    s = http.server.ThreadingHTTPServer((ip, port), Handler)
    threading.Thread(target=s.serve_forever, daemon=True).start()

def var(name):
    return os.environ["OPENSHIFT_TRACER_" + name]

serve("first", var("IP"), int(var("PORT")))
serve("admin", var("IP"), int(var("ADMIN_PORT")))
serve("second", var("IP2"), int(var("SECOND_PORT")))
serve("raw", var("IP3"), int(var("RAW_PORT")))
with open(os.path.join(var("DIR"), "run/server.pid"), "w") as f:
    f.write("%d\n" % os.getpid())
print("tracer serves", flush=True)
signal.sigwait([signal.SIGTERM])
