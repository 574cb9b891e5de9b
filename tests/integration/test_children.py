"""What a process started ends with it, or is reaped: in processes of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

from tests.support.anchored import gone
from tests.support.stand_in_host import LEAVING


def run(source: str) -> str:
    """Run a program that must end well; return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=30,
    ).stdout


class TestLeavingNothing:
    def test_ends_what_was_started_in_the_block_and_spares_what_was_there(self) -> None:
        said = run(f"""
            import subprocess, sys
            from control_plane.runtime import children

            def start(command):
                with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
                    return int(started.stdout.readline())

            before = subprocess.Popen(["sleep", "600"])
            with children.leaving_nothing():
                pids = [start(command) for command in {list(LEAVING.values())!r}]
                pids.append(subprocess.Popen(["sleep", "600"]).pid)
            print(*pids)
            print(before.poll())
            before.kill()
        """)
        left, before = said.splitlines()
        assert len(left.split()) == 4
        assert all(gone(int(pid)) for pid in left.split())
        assert before == "None"

    def test_leaves_the_resource_tracker_to_end_by_itself(self) -> None:
        said = run("""
            from multiprocessing import resource_tracker, shared_memory
            from control_plane.runtime import children

            with children.leaving_nothing():
                shared = shared_memory.SharedMemory(create=True, size=16)
            print(resource_tracker._resource_tracker._check_alive())
            shared.close(), shared.unlink()
        """)
        assert said == "True\n"


class TestChildPids:
    def test_are_those_of_every_thread_and_zombies_too(self) -> None:
        said = run("""
            import os, subprocess, threading
            from control_plane.runtime import children

            started, wait = [], threading.Event()

            def start_and_wait():
                started.append(subprocess.Popen(["sleep", "600"]))
                wait.set()
                ended.wait()

            ended = threading.Event()
            thread = threading.Thread(target=start_and_wait)
            thread.start()
            wait.wait()
            zombie = subprocess.Popen(["true"])
            os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
            print(children.child_pids() == {started[0].pid, zombie.pid}, children._has_no_children())
            zombie.wait()
            print(children._has_no_children())
            started[0].kill(), started[0].wait(), ended.set(), thread.join()
            print(children.child_pids(), children._has_no_children())
        """)
        assert said == "True False\nFalse\nset() True\n"


class TestForking:
    def test_a_signal_to_a_child_that_was_just_forked_ends_it_and_never_reaches_its_parent(self) -> None:
        """Otherwise a host that is told to end as it is made ends the anchor, and all hosts with it."""
        said = run("""
            import os, signal, socket, time
            from control_plane.runtime import children

            asleep, waker = socket.socketpair()
            asleep.setblocking(False), waker.setblocking(False)
            signal.set_wakeup_fd(waker.fileno())
            signal.signal(signal.SIGTERM, lambda *_: None)
            # Widens the gap between the fork and the moment in which the child has undone our handlers.
            os.register_at_fork(after_in_child=lambda: time.sleep(0.3))
            pid = children._fork(lambda: time.sleep(600))
            os.kill(pid, signal.SIGTERM)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            try:
                print(asleep.recv(1))
            except BlockingIOError:
                print("nothing")
        """)
        assert said == f"{-signal.SIGTERM}\nnothing\n"


class TestUnreaped:
    def test_the_oldest_ended_are_reaped_and_a_few_keep_their_exit_codes(self) -> None:
        said = run("""
            import os, subprocess
            from control_plane.runtime.unreaped import Unreaped

            unreaped = Unreaped(kept=2, look_every_s=10.0)
            started = [subprocess.Popen(["sh", "-c", "exit 3"]) for _ in range(5)]
            for process in started:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            unreaped.reap(0.0)  # found
            unreaped.reap(9.0)  # not looked at
            print(len(list(filter(os.path.exists, (f"/proc/{p.pid}" for p in started)))))
            unreaped.reap(10.0)
            print([p.wait() for p in started])
            unreaped.reap(20.0)
        """)
        assert said == "5\n[0, 0, 0, 3, 3]\n"
