"""A store that speaks enough of S3 and takes nothing that is not signed right (AWS Signature Version 4, from its
specification). fake_s3.py DIRECTORY ACCESS_KEY SECRET_KEY REGION: prints its port; objects become files below DIRECTORY.
DIRECTORY/fail: each PUT is answered 503 while that file is there."""
import hashlib, hmac, http.server, os, re, sys, urllib.parse

directory, access, secret, region = sys.argv[1:5]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def reply(self, status, body=b"", code=None):
        if code:
            body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def wrong(self, payload):
        """Why the request is not to be trusted; None: it is."""
        m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})",
                         self.headers.get("authorization", ""))
        if not m:
            return "MissingAuthenticationToken"
        who, day, where, names, signature = m.groups()
        stamp = self.headers.get("x-amz-date", "")
        hashed = self.headers.get("x-amz-content-sha256", "")
        if who != access or where != region or not stamp.startswith(day):
            return "InvalidAccessKeyId"
        if "host" not in names.split(";") or "x-amz-content-sha256" not in names.split(";"):
            return "UnsignedHeaders"
        if hashed != "UNSIGNED-PAYLOAD" and hashed != sha(payload):
            return "XAmzContentSHA256Mismatch"
        url = urllib.parse.urlsplit(self.path)
        headers = "".join(f"{n}:{' '.join(self.headers[n].split())}\n" for n in names.split(";"))
        canonical = "\n".join([self.command, url.path, url.query, headers, names, hashed])
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, sha(canonical.encode())])
        key = sign(("AWS4" + secret).encode(), day)
        for part in (region, "s3", "aws4_request"):
            key = sign(key, part)
        return None if hmac.compare_digest(sign(key, text).hex(), signature) else "SignatureDoesNotMatch"

    def handle_one(self):
        payload = self.rfile.read(int(self.headers.get("content-length", 0)))
        why = self.wrong(payload)
        path = os.path.join(directory, "objects", self.path.lstrip("/"))
        if why:
            return self.reply(403, code=why)
        if self.command == "PUT":
            if os.path.exists(os.path.join(directory, "fail")):
                return self.reply(503, code="SlowDown")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as f:
                f.write(payload)
            return self.reply(200)
        if self.command == "DELETE":
            if os.path.exists(path):
                os.unlink(path)
            return self.reply(204)
        if not os.path.isfile(path):
            return self.reply(404, code="NoSuchKey")
        with open(path, "rb") as f:
            return self.reply(200, f.read())

    do_GET = do_PUT = do_DELETE = handle_one


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
