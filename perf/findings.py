"""Where the time or the memory behind a goal goes, as profiles of the demo showed it: two cores, Python 3.11.

By py-spy, cProfile, `-X importtime`, the counters of Valkey, `/proc/PID/pagemap` and the kernel's trace of
page faults. A figure here is that of its profile, not of the report in which it appears.
"""

from __future__ import annotations

from perf.goals import Goal

_FINDINGS = {
    ("start_s", "multi"): (
        "Imports come first: 0.39 s until the anchor is forked, which is most of the floor's whole start, "
        "and 0.13 s in an image for what only hosts and components need. Then eleven hosts start on two "
        "cores, each with about 20 ms of processor time; half of it goes to some 3,200 page faults, as a "
        "fork shares each page until it is written to. The control plane takes 50 ms meanwhile."
    ),
    ("memory_mb", "multi"): (
        "A host has 12 MB of its own, and next to nothing of that is new: some 3,000 pages of the image were "
        "written to, the same ones in every host, mostly for a reference count, which every object of "
        "Python 3.11 has. So it counts which libraries a host comes to run at all; what was taken out of its "
        "way: the routes and messages that are worked out before the forks now, FastStream's model of each "
        "handler's arguments and its mocks, a thread pool, psutil, the pattern of one path, the words of an "
        "exception that nobody sees. The control plane has 24 MB, the anchor 16, its image 13, Valkey 5. "
        "Tried and not kept: copying the code that hosts run to pages of its own (6 MB of all, for 17 ms "
        "more at the start and a list of 1,200 functions), connections that are made before the forks "
        "(nothing), filling the holes in the allocator's pools (nothing: there are none)."
    ),
    ("local_rps", "coplane"): (
        "Of some 105 µs a request, 83 are uvicorn's and FastAPI's: fewer than the 96 of FastAPI alone, "
        "since a component's routes are called without an included router, without the outer middlewares, "
        "and without asking at each request whether telemetry has been configured meanwhile. The gateway "
        "takes about 11 (headers, the request id, the deadline, the choice of a replica), the server and "
        "the walls around the gateway and the component 7."
    ),
    ("remote_rps", "coplane"): (
        "The component's process is the busier one: 78 µs of processor time a request, where the gateway's "
        "takes 66; behind nginx, which takes 36, uvicorn took 87. Three fifths of the gateway's are Python "
        "code between a request's arrival at the application and its end, a third goes to reading and "
        "parsing on both sides."
    ),
    ("memory_per_s", "coplane"): (
        "Of 7.3 µs a message, 3.8 go to publishing it and 3.5 to its delivery; 2 of all are JSON and "
        "validation. Our path over Redis, with which this goal compares, takes 25: what is asked at the same "
        "time is sent in one piece, packed and parsed in C, and the server works on the other core."
    ),
    ("redis_p50_us", "coplane"): (
        "Of some 200 µs from publishing to the handler, 40 pass before the message is sent, of which a "
        "part is the acknowledgement of the one before, 70 in the server and on the way, with a script "
        "that keeps the stream within its bounds; the rest is spread over the shared connection and the "
        "delivery loop."
    ),
}


def finding(goal: Goal) -> str:
    """Return what the profile says of a goal, nothing where none was taken."""
    return _FINDINGS.get((goal.measurement, goal.system), "")
