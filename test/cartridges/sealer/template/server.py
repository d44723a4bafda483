import http.server, os, ssl, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        port = self.server.server_address[1]
        version = self.connection.version() if port != 8080 else "plain"
        body = f"{port} {version} {self.server.asked} {self.path} {os.environ['SSL_TO_GEAR']} {self.headers['X-Forwarded-Proto']}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *a):
        pass

def serve(port):
    server = http.server.ThreadingHTTPServer((os.environ["OPENSHIFT_SEALER_IP"], port), Handler)
    server.asked = None
    if port != 8080:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain("cert.pem", "key.pem")
        tls.sni_callback = lambda s, name, c: setattr(server, "asked", name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()

for p in (8080, 8444, 8443):
    serve(p)
