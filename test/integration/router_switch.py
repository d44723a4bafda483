#!/usr/bin/python3
"""The router in front of changing applications: no request is lost in a switch, none without a broker."""
import os, signal, socket, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from router_world import *


def a_switch_of_instances_loses_no_request(w):
    b = w.broker()
    old = w.instance("v0")
    b.put("shop.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    load = Load(r, "shop.test")
    wait_for(lambda: load.count > 20, "requests")
    for i in range(1, 21):
        new = w.instance(f"v{i}")
        rev = b.put("shop.test", new)
        b.wait_report(lambda x: x["revision"] >= rev and old.name not in x["draining"], f"drain of {old.name}")
        old.stop()
        wait_for(lambda: new.requests > 20, f"requests at {new.name}")
        old = new
    load.stop()
    assert not load.bad, load.bad[:10]
    assert len(load.bodies) == 21, load.bodies
    return f"{load.count} requests, 20 switches"


def a_canary_begins_and_ends_without_loss(w):
    b = w.broker()
    old, new = w.instance("old"), w.instance("new")
    b.put("shop.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    loads = [Load(r, "shop.test")]
    wait_for(lambda: loads[0].count > 20, "requests")

    def route(percent):
        return {**b.routes["shop.test"], "endpoints": [old.endpoint(), {**new.endpoint(), "canary": True}], "canary_percent": percent}
    for percent in (10, 50, 100, 0, 30) * 4:
        b.wait_applied(b.change([route(percent)]))
    assert r.get("shop.test").body in (b"old", b"new")
    b.wait_applied(b.change([route(100)]))
    wait_for(lambda: new.requests > 20, "requests at the canary")
    b.put("shop.test", new)
    b.wait_report(lambda x: old.name not in x["draining"], "the drain of the old one")
    old.stop()
    before = new.requests
    wait_for(lambda: new.requests > before + 20, "requests at what was promoted")
    for l in loads:
        l.stop()
        assert not l.bad, l.bad[:10]
    return f"{loads[0].count} requests, 21 changes of the share"


def a_change_is_in_force_at_once(w):
    b = w.broker()
    old, new = w.instance("old"), w.instance("new")
    b.put("shop.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    worst = 0
    for i in range(10):
        rev = b.put("shop.test", new if i % 2 == 0 else old)
        t = time.monotonic()
        b.wait_applied(rev)
        worst = max(worst, time.monotonic() - t)
        for _ in range(5):
            assert r.get("shop.test").body == (b"new" if i % 2 == 0 else b"old")
    assert worst < 2, worst
    return f"reported within {worst * 1000:.1f} ms"


def running_requests_finish_on_the_old_instance(w):
    go = threading.Event()

    def slow(i, c, head, rest):
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nsl")
        go.wait(DEADLINE)
        c.sendall(b"ow")
        return True

    b = w.broker()
    old, new = w.instance("old", slow), w.instance("new")
    b.put("shop.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    with r.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        wait_for(lambda: old.requests == 1, "the slow request")
        rev = b.put("shop.test", new)
        report = b.wait_applied(rev)
        assert report["draining"] == ["old"], report
        assert r.get("shop.test").body == b"new"
        go.set()
        assert Answer(s).read().body == b"slow"
    b.wait_report(lambda x: x["draining"] == [], "the drain")
    wait_for(lambda: not old.open, "the old instance's connections to close")


def idle_connections_to_a_retired_instance_close(w):
    b = w.broker()
    old, new = w.instance("old"), w.instance("new")
    b.put("shop.test", old)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    assert r.get("shop.test").body == b"old"
    assert len(old.open) == 1
    b.put("shop.test", new)
    wait_for(lambda: not old.open, "the idle connection to close")


def it_starts_from_the_saved_table_without_a_broker(w):
    b = w.broker()
    a = w.instance("a")
    for i in range(50):
        b.put(f"h{i}.test", a)
    b.change(deletes=["h7.test"])
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    b.put("late.test", a)
    b.wait_applied(b.revision)
    wait_for(lambda: "late.test" in open(w.path("state/routes.log")).read(), "the saved table")
    b.stop()
    assert r.get("h3.test").body == b"a"
    r.stop(signal.SIGKILL)
    with open(w.path("state/routes.log"), "a") as f:
        f.write('{"type":"put","kind":"route","key":"torn.te')
    r.start()
    assert r.get("h3.test").body == b"a" and r.get("late.test").body == b"a"
    assert r.get("h7.test").status == 404
    asked = len(b.asked)
    b.start()
    b.put("back.test", a)
    b.wait_applied(b.revision)
    assert b.asked[asked] is not None, "it asked for a snapshot though it had a table"
    assert r.get("back.test").body == b"a"
    r.stop()
    r.start()
    assert r.get("back.test").body == b"a"


def without_any_table_it_asks_for_patience(w):
    b = w.broker()
    b.stop()
    a = w.instance("a")
    r = w.fed_router(b)
    x = r.get("one.test")
    assert x.status == 503 and x.headers["retry-after"] == "1", x.status
    b.start()
    b.wait_report(lambda x: x["revision"] == b.revision, "the empty snapshot")
    assert r.get("one.test").status == 404
    b.wait_applied(b.put("one.test", a))
    assert r.get("one.test").body == b"a"


def a_reset_removes_what_it_does_not_name(w):
    b = w.broker()
    a = w.instance("a")
    b.put("one.test", a)
    b.put("two.test", a)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    b.stop()
    b.routes.pop("two.test")
    b.log, b.revision = [], 5  # a history that does not know what the router knows
    b.start()
    b.wait_report(lambda x: x["revision"] == 5, "the snapshot")
    assert r.get("one.test").body == b"a" and r.get("two.test").status == 404


def a_foreign_cluster_is_refused(w):
    b = w.broker()
    a = w.instance("a")
    b.put("one.test", a)
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    b.stop()
    b.cluster, b.routes = "other", {}
    b.start()
    wait_for(lambda: "feed_refused" in r.text(), "the refusal")
    b.stop()
    b.cluster, b.epoch = "c1", 0
    b.start()
    wait_for(lambda: "epoch" in r.text(), "the refusal of the epoch")
    assert r.get("one.test").body == b"a"


def a_bad_route_does_not_stop_the_others(w):
    b = w.broker()
    a = w.instance("a")
    bad = route("bad.test", a)
    bad["endpoints"][0]["address"] = "not an address"
    b.change([bad, route("good.test", a), route("UPPER.test", a)])
    r = w.fed_router(b)
    b.wait_applied(b.revision)
    assert r.get("good.test").body == b"a"
    assert r.get("bad.test").status == 404
    assert "route_skipped" in r.text()


def three_instances_share_fairly(w):
    three = [w.instance(n) for n in "abc"]
    r = w.static_router([("shop.test", *three)], threads=4)
    load = Load(r, "shop.test", workers=6)
    wait_for(lambda: load.count >= 3000, "3000 requests", 60)
    load.stop()
    assert not load.bad, load.bad[:5]
    for i in three:
        share = 100 * load.bodies[i.name.encode()] / sum(load.bodies.values())
        assert 20 <= share <= 47, (i.name, share)  # one that a busy machine holds up gets less


def sequential_requests_go_to_all(w):
    three = [w.instance(n) for n in "abc"]
    r = w.static_router([("shop.test", *three)], threads=1)
    for _ in range(300):
        assert r.get("shop.test").status == 200
    assert all(50 <= i.requests <= 150 for i in three), [i.requests for i in three]


def slow_requests_spread_over_all_lanes(w):
    go = threading.Event()

    def slow(i, c, head, rest):
        go.wait(DEADLINE)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        return True

    three = [w.instance(n, slow) for n in "abc"]
    r = w.static_router([("shop.test", *three)], threads=4)
    held = []
    for k in range(30):
        s = r.connect()
        s.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        held.append(s)
        wait_for(lambda: sum(i.requests for i in three) == k + 1, "the request")
    assert [i.requests for i in three] == [10, 10, 10], [i.requests for i in three]
    go.set()
    for s in held:
        assert Answer(s).read().status == 200
        s.close()


def a_stuck_instance_is_left_out(w):
    go = threading.Event()

    def stuck(i, c, head, rest):
        go.wait(DEADLINE)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        return True

    slow, a, b = w.instance("slow", stuck), w.instance("a"), w.instance("b")
    r = w.static_router([("shop.test", slow, a, b)])
    load = Load(r, "shop.test", workers=8)
    wait_for(lambda: load.count >= 400, "400 requests past it")
    assert slow.requests <= 6, slow.requests
    go.set()
    load.stop()
    assert not load.bad, load.bad[:5]


def a_dead_instance_costs_no_request(w):
    dead, live = w.instance("dead"), w.instance("live")
    dead.stop()
    r = w.static_router([("shop.test", dead, live)])
    load = Load(r, "shop.test")
    wait_for(lambda: load.count >= 500, "500 requests")
    load.stop()
    assert not load.bad, load.bad[:5]
    assert r.get("shop.test", method="POST", body=b"x" * 100000).body == b"live"


def stale_connections_cost_no_request(w):
    def close_after(i, c, head, rest):
        # says keep-alive, closes nevertheless
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return False

    a = w.instance("a", close_after)
    r = w.static_router([("shop.test", a)])
    load = Load(r, "shop.test")
    wait_for(lambda: load.count >= 1000, "1000 requests", 60)
    load.stop()
    assert not load.bad, load.bad[:5]
    for _ in range(50):
        # Of a POST that meets a close under way nobody knows whether it was served; one that comes
        # after the close is safe.
        wait_for(lambda: not a.open, "the instance to close")
        x = r.get("shop.test", method="POST")
        assert x.status == 200, x.status


def the_end_waits_for_running_requests(w):
    go = threading.Event()

    def slow(i, c, head, rest):
        go.wait(DEADLINE)
        c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
        return True

    a = w.instance("a", slow)
    r = w.static_router([("shop.test", a)])
    idle = r.connect()
    idle.sendall(b"GET / HTTP/1.1\r\nHost: none.test\r\n\r\n")
    assert Answer(idle).read().status == 404
    with r.connect() as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: shop.test\r\n\r\n")
        wait_for(lambda: a.requests == 1, "the request")
        r.p.send_signal(signal.SIGTERM)
        assert idle.recv(1) == b""
        def refused():
            try:
                r.connect().close()
            except OSError:
                return True
        wait_for(refused, "the listener to close")
        go.set()
        x = Answer(s).read()
        assert x.body == b"slow" and x.headers["connection"] == "close"
    assert r.p.wait(DEADLINE) == 0


def a_static_table_is_read_again(w):
    a, b = w.instance("a"), w.instance("b")
    r = w.static_router([("one.test", a), ("*.wild.test", b)])
    assert r.get("one.test").body == b"a"
    assert r.get("x.wild.test").body == b"b" and r.get("x.y.WILD.test.:80").body == b"b"
    assert r.get("wild.test").status == 404
    w.write_routes([("one.test", b)])
    r.p.send_signal(signal.SIGHUP)
    wait_for(lambda: r.get("one.test").body == b"b", "the new table")
    wait_for(lambda: r.get("x.wild.test").status == 404, "it in all lanes")
    with open(w.path("routes"), "w") as f:
        f.write("one.test 127.0.0.1:99999\n")
    r.p.send_signal(signal.SIGHUP)
    wait_for(lambda: "routes_kept" in r.text(), "the refusal")
    assert "line 1" in r.text() and r.get("one.test").body == b"b"


def a_static_table_is_watched(w):
    a, b = w.instance("a"), w.instance("b")
    r = w.static_router([("one.test", a), ("two.test", a)])
    kept = r.connect()
    answer = Answer(kept)

    def is_kept():
        kept.sendall(b"GET / HTTP/1.1\r\nHost: two.test\r\n\r\n")
        return answer.read().body == b"a"

    assert is_kept()
    with open(w.path("routes"), "a") as f:  # lines at the end
        f.write(f"three.test {b.address}:{b.port}\none.test {b.address}:{b.port}\n")
    wait_for(lambda: r.get("three.test").body == b"b", "the new lines")
    assert r.get("one.test").body == b"b"
    with open(w.path("new"), "w") as f:  # another file in its place
        f.write(f"two.test {a.address}:{a.port}\none.test {a.address}:{a.port}\n")
    os.rename(w.path("new"), w.path("routes"))
    wait_for(lambda: r.get("one.test").body == b"a", "the other file")
    assert r.get("three.test").status == 404
    # It grew, and something before the end changed as well.
    text = open(w.path("routes")).read()
    with open(w.path("routes"), "r+") as f:
        f.write(text.replace("two.test", "six.test") + "#" * 5000 + "\n")
    wait_for(lambda: r.get("six.test").body == b"a", "the change in the middle")
    with open(w.path("routes"), "r+") as f:
        f.write(text + "#" * 5000 + "\n" + f"four.test {b.address}:{b.port}\n")
    wait_for(lambda: r.get("four.test").body == b"b", "the line at the end")
    wait_for(lambda: r.get("two.test").body == b"a" and r.get("six.test").status == 404, "the change before it")
    assert is_kept()


run_tests([a_switch_of_instances_loses_no_request, a_canary_begins_and_ends_without_loss, a_change_is_in_force_at_once, running_requests_finish_on_the_old_instance,
           idle_connections_to_a_retired_instance_close, it_starts_from_the_saved_table_without_a_broker,
           without_any_table_it_asks_for_patience, a_reset_removes_what_it_does_not_name, a_foreign_cluster_is_refused, a_bad_route_does_not_stop_the_others,
           three_instances_share_fairly, sequential_requests_go_to_all, slow_requests_spread_over_all_lanes, a_stuck_instance_is_left_out, a_dead_instance_costs_no_request,
           stale_connections_cost_no_request, the_end_waits_for_running_requests, a_static_table_is_read_again,
           a_static_table_is_watched])
