"""One client for each of the data services: PUT /SERVICE/TEXT keeps a text there, GET /SERVICE gives it back."""
import os
import socket
import subprocess
from urllib.parse import unquote, urlparse

import amqp


def mysql(text):
    e = os.environ
    u = urlparse(e["OPENSHIFT_MYSQL_DB_URL"])
    assert u.username == e["OPENSHIFT_MYSQL_DB_USERNAME"] and unquote(u.password) == e["OPENSHIFT_MYSQL_DB_PASSWORD"]
    sql = "CREATE TABLE IF NOT EXISTS t (x TEXT);"
    if text is not None:
        sql += f"DELETE FROM t; INSERT INTO t VALUES ('{text}');"
    return subprocess.run(["mariadb", "-N", "-B", "-h", e["OPENSHIFT_MYSQL_DB_HOST"], "-P", e["OPENSHIFT_MYSQL_DB_PORT"], "-u", u.username,
                           e["OPENSHIFT_APP_NAME"], "-e", sql + "SELECT x FROM t;"], env={**e, "MYSQL_PWD": e["OPENSHIFT_MYSQL_DB_PASSWORD"]},
                          check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30).stdout.decode().strip()


def memcached(text):
    host, _, port = os.environ["MEMCACHED_SERVERS"].partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as s:
        if text is not None:
            s.sendall(f"set note 0 0 {len(text)}\r\n{text}\r\n".encode())
            assert s.recv(100) == b"STORED\r\n"
        s.sendall(b"get note\r\n")
        lines = s.recv(4096).decode().split("\r\n")
    return lines[1] if lines[0].startswith("VALUE") else "nothing"


def rabbitmq(text):
    c = amqp.Connection(os.environ["AMQP_URL"])
    c.declare("notes")
    if text is not None:
        c.publish("notes", text.encode())
        return "sent"
    body = c.get("notes")
    return "nothing" if body is None else body.decode()


def page(name):
    """A page of an add-on beside this application, on its own address."""
    e = os.environ
    short = name.split(".")[0].upper()
    url = f"http://{e[f'OPENSHIFT_{short}_IP']}:{e[f'OPENSHIFT_{short}_PORT']}/{name}"
    login = []
    if name == "adminer":
        login = [f"auth[driver]=server&auth[server]=&auth[username]={e['OPENSHIFT_MYSQL_DB_USERNAME']}&auth[db]={e['OPENSHIFT_APP_NAME']}",
                 "--data-urlencode", f"auth[password]={e['OPENSHIFT_MYSQL_DB_PASSWORD']}"]
        login = ["-L", "-c", "/tmp/jar", "-b", "/tmp/jar", "-d", *login]
    return subprocess.run(["curl", "-sS", "-m", "20", *login, url], check=True, stdout=subprocess.PIPE).stdout.decode()


def application(env, start):
    _, service, *text = env["PATH_INFO"].split("/")
    try:
        if service == "ticks":
            path = os.environ["OPENSHIFT_DATA_DIR"] + "ticks"
            answer = open(path).read() if os.path.exists(path) else "none"
        elif service == "page":
            answer = page(text[0])
        else:
            answer = {"mysql": mysql, "memcached": memcached, "rabbitmq": rabbitmq}[service](text[0] if text else None)
        start("200 OK", [("Content-Type", "text/plain")])
    except Exception as e:  # said to the test
        start("500 Oops", [("Content-Type", "text/plain")])
        answer = f"{type(e).__name__}: {e} {getattr(e, 'output', '')}"
    return [answer.encode()]
