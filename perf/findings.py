"""Where the time or the memory behind a goal goes, as profiles of the demo showed it: two cores, Python 3.11.

By py-spy, cProfile, `-X importtime`, the counters of Valkey and `/proc/PID/smaps_rollup`. A figure here is
that of its profile, not of the report in which it appears.
"""

from __future__ import annotations

from perf.goals import Goal

_FINDINGS = {
    ("start_s", "multi"): (
        "Imports come first: about 0.45 s until the anchor is forked (pydantic, FastAPI, redis, and 0.1 s "
        "for our own models), which is nearly the whole start of the floor, and 0.08 s more in an image "
        "for what only hosts need. Then eleven hosts start on two cores, each with 40 to 50 ms of "
        "processor time; half of it goes to some 4,000 page faults, as a fork shares each page until it "
        "is written to."
    ),
    ("memory_mb", "multi"): (
        "A host has about 16 MB of its own: 2.7 as soon as it is forked, 3 with its event loop and logs, "
        "3.5 with its connections and its socket, 2 to 6 with its component's FastAPI application, 2 to 3 "
        "when it consumes and answers. Much of that is no new object, but a page of the image in which a "
        "reference count was written: Python 3.11 has no objects without one. The control plane has 30 "
        "MB, the anchor 19, its image 15, Valkey 5."
    ),
    ("local_rps", "coplane"): (
        "Of 130 µs a request, 97 are uvicorn's and FastAPI's. Of the rest the gateway takes about 18 "
        "(headers, the request id, the deadline, the choice of a replica) and the wall around the "
        "component 8, in many small steps, of which none takes more than 3."
    ),
    ("remote_rps", "coplane"): (
        "The gateway's process is the busier one. Three fifths of a request's time there are Python code "
        "between its arrival at the application and its end, a third goes to reading and parsing on both "
        "sides; a fifth of all was the system call of writing, before head and body went out together."
    ),
    ("memory_per_s", "coplane"): (
        "Of 66 µs a message, about 55 are FastStream's dispatch: parsing, dependency injection, "
        "validation, middlewares. Our path over Redis, with which this goal compares, has gained more: it "
        "sends what is asked at the same time in one piece, and packs and parses in C."
    ),
    ("redis_p50_us", "coplane"): (
        "Of 310 µs from publishing to the handler, about 75 are FastStream's dispatch, which redis-py's "
        "own loop does not have, and 7 the script that keeps a stream within its bounds; the rest is "
        "spread over publishing, the shared connection and the delivery loop."
    ),
}


def finding(goal: Goal) -> str:
    """Return what the profile says of a goal, nothing where none was taken."""
    return _FINDINGS.get((goal.measurement, goal.system), "")
