#!/usr/bin/python3
"""The node is killed between any two steps of a gear's life: the next one finds its way, nothing is left."""
import os, random, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from node_world import *
from node_life import app

POINTS = ["gear_recorded", "volume_attached", "volume_copied", "gear_volume", "gear_env", "gear_made",
          "gear_base_moved", "instance_directory", "instance_network", "instance_prepared", "container_cgroups",
          "container_runs", "instance_ready", "clean_killed", "clean_cgroups", "clean_state", "clean_bundle",
          "instance_cleaned", "instance_detached", "instance_removed", "gear_cgroup_gone", "volume_unmounted",
          "volume_unlinked", "gear_volume_gone", "report_sent", "feed_line"]


class Keeper(threading.Thread):
    """Starts the daemon again when it died."""

    def __init__(self, w, **env):
        super().__init__(daemon=True)
        self.w, self.env, self.deaths, self.ends = w, env, 0, False
        w.start(**env)
        self.start()

    def run(self):
        while not self.ends:
            if self.w.process.poll() is not None and not self.ends:
                self.deaths += 1
                self.w.start(wait=False, **self.env)
            time.sleep(0.01)

    def stop(self):
        self.ends = True
        self.join()


def live(w, layer):
    """A gear's life, as the broker wants it."""
    g = w.gear()
    i = w.instance(g, layer)
    st = w.wait_state(i, "ready", "failed")
    assert st["state"] == "ready", st
    wait_for(lambda: answers(w, i), "answer")
    w.remove(i)
    w.remove_gear(g)


def answers(w, i):
    try:
        return w.get(i)[0] == 200
    except Exception:
        return False


def killed_between_any_two_steps(w):
    fault = w.root + "/fault"
    k = Keeper(w, PINION_FAULT_FILE=fault)
    layer = app(w)
    missed = []
    for p in POINTS:
        with open(fault, "w") as f:
            f.write(p)
        before = k.deaths
        try:
            live(w, layer)
            wait_for(lambda: w.left() == [], f"end of all (left: {w.left()})")
        except AssertionError as e:
            raise AssertionError(f"{p}: {e}")
        if k.deaths == before:
            missed.append(p)
            os.unlink(fault)
    k.stop()
    assert not missed, f"never passed: {missed}"
    return f"{k.deaths} kills"


def killed_at_random(w):
    k = Keeper(w)
    layer = app(w)
    rng = random.Random(7)
    stop = threading.Event()

    def killer():
        while not stop.wait(rng.uniform(0.05, 2.0)):
            try:
                w.process.kill()
            except OSError:
                pass

    t = threading.Thread(target=killer, daemon=True)
    t.start()
    for _ in range(6):
        live(w, layer)
    stop.set()
    t.join()
    wait_for(lambda: w.left() == [], f"end of all (left: {w.left()})")
    k.stop()
    return f"{k.deaths} kills"


if __name__ == "__main__":
    run_tests([killed_between_any_two_steps, killed_at_random])
