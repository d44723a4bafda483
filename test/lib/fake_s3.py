"""A store that speaks enough of S3 and takes nothing that is not signed right (AWS Signature Version 4, from its
specification). fake_s3.py DIRECTORY ACCESS_KEY SECRET_KEY REGION: prints its port; objects become files below DIRECTORY.
DIRECTORY/fail: each PUT is answered 503 while that file is there; DIRECTORY/fail-part: the number of the part that is answered
so, once; DIRECTORY/fail-complete: an upload's completion begins with 200 and fails then. Uploads under way are directories
below DIRECTORY/uploads."""
import hashlib, hmac, http.server, os, re, shutil, sys, urllib.parse

directory, access, secret, region = sys.argv[1:5]


def sha(data):
    return hashlib.sha256(data).hexdigest()


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *a):
        pass

    def reply(self, status, body=b"", code=None, tag=None):
        if code:
            body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>".encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if tag:
            self.send_header("ETag", tag)
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
        pairs = sorted(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        query = "&".join(f"{urllib.parse.quote(k, safe='-_.~')}={urllib.parse.quote(v, safe='-_.~')}" for k, v in pairs)
        canonical = "\n".join([self.command, url.path, query, headers, names, hashed])
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope, sha(canonical.encode())])
        key = sign(("AWS4" + secret).encode(), day)
        for part in (region, "s3", "aws4_request"):
            key = sign(key, part)
        return None if hmac.compare_digest(sign(key, text).hex(), signature) else "SignatureDoesNotMatch"

    def multipart(self, key, path, query, payload):
        at = os.path.join(directory, "uploads")
        if self.command == "GET" and "uploads" in query:
            found = [(open(os.path.join(at, i, "key")).read(), i) for i in sorted(os.listdir(at))] if os.path.isdir(at) else []
            bucket = key.rstrip("/") + "/"
            return self.reply(200, ("<?xml version=\"1.0\"?>\n<ListMultipartUploadsResult><Prefix>p</Prefix>" + "".join(
                f"<Upload><Key>{k[len(bucket):]}</Key><Initiator><ID>x</ID></Initiator><UploadId>{i}</UploadId></Upload>" for k, i in found
                if k.startswith(bucket + query.get("prefix", ""))) + "</ListMultipartUploadsResult>").encode())
        if self.command == "POST" and "uploads" in query:
            name = "up+" + os.urandom(6).hex() + "=="  # what must be encoded
            os.makedirs(os.path.join(at, name))
            with open(os.path.join(at, name, "key"), "w") as f:
                f.write(key)
            return self.reply(200, f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode())
        upload = os.path.join(at, query["uploadId"])
        if not os.path.isdir(upload) or open(os.path.join(upload, "key")).read() != key:
            return self.reply(404, code="NoSuchUpload")
        if self.command == "DELETE":
            shutil.rmtree(upload)
            return self.reply(204)
        if self.command == "PUT":
            fails = os.path.join(directory, "fail-part")
            if os.path.exists(os.path.join(directory, "fail")):
                return self.reply(503, code="SlowDown")
            if os.path.exists(fails) and open(fails).read().strip() == query["partNumber"]:
                os.unlink(fails)
                return self.reply(503, code="SlowDown")
            with open(os.path.join(upload, query["partNumber"]), "wb") as f:
                f.write(payload)
            return self.reply(200, tag='"' + hashlib.md5(payload).hexdigest() + '"')
        if os.path.exists(os.path.join(directory, "fail-complete")):
            return self.reply(200, b"<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>")
        parts = re.findall(r"<Part><PartNumber>(\d+)</PartNumber><ETag>([^<]*)</ETag></Part>", payload.decode())
        whole = b""
        for n, (number, tag) in enumerate(parts):
            with open(os.path.join(upload, number), "rb") as f:
                data = f.read()
            if int(number) != n + 1 or tag != '"' + hashlib.md5(data).hexdigest() + '"':
                return self.reply(400, code="InvalidPart")
            if n + 1 < len(parts) and len(data) < 5 << 20:
                return self.reply(400, code="EntityTooSmall")
            whole += data
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(whole)
        shutil.rmtree(upload)
        return self.reply(200, b"<CompleteMultipartUploadResult/>")

    def handle_one(self):
        payload = self.rfile.read(int(self.headers.get("content-length", 0)))
        why = self.wrong(payload)
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        path = os.path.join(directory, "objects", url.path.lstrip("/"))
        if why:
            return self.reply(403, code=why)
        if query:
            return self.multipart(url.path.lstrip("/"), path, query, payload)
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

    do_GET = do_PUT = do_POST = do_DELETE = handle_one


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
