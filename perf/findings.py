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
        "Of 113 µs a request, about 88 are uvicorn's and FastAPI's: fewer than the 94 of FastAPI alone, "
        "since a component's routes are called without an included router and without the outer "
        "middlewares. The gateway takes about 14 (headers, the request id, the deadline, the choice of a "
        "replica), the wall around the component 3 and the server below 3, in many small steps."
    ),
    ("remote_rps", "coplane"): (
        "The gateway's process is the busier one. Three fifths of a request's time there are Python code "
        "between its arrival at the application and its end, a third goes to reading and parsing on both "
        "sides; a fifth of all was the system call of writing, before head and body went out together."
    ),
    ("memory_per_s", "coplane"): (
        "Of 28 µs a message, some 12 are validation and JSON, which both paths have, and 10 what a "
        "message is given when it is published. Our path over Redis, with which this goal compares, takes "
        "no more than 41: it sends what is asked at the same time in one piece, packs and parses in C, and "
        "has the server's part done by the other core."
    ),
    ("redis_p50_us", "coplane"): (
        "Of 225 µs from publishing to the handler, 50 pass before the message is sent, of which a part "
        "is the acknowledgement of the one before, 70 in the server and on the way, with a script that "
        "keeps the stream within its bounds; the rest is spread over the shared connection and the "
        "delivery loop."
    ),
}


def finding(goal: Goal) -> str:
    """Return what the profile says of a goal, nothing where none was taken."""
    return _FINDINGS.get((goal.measurement, goal.system), "")
