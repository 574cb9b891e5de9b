"""The runtime folder: where it is, whose it is, and what is left of it."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import LaunchError
from control_plane.runtime.paths import SOCKET_PATH_BYTES, RuntimeDir

ROOT = os.geteuid() == 0


@pytest.fixture
def runtime(folder: Path) -> RuntimeDir:
    return RuntimeDir.open(folder, {})


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    return listener


class TestWhere:
    def test_it_lies_beside_the_configuration(self, folder: Path) -> None:
        assert RuntimeDir.open(folder, {}).home == folder / ".ctl"

    def test_ctl_home_overrides_it(self, folder: Path) -> None:
        assert RuntimeDir.open(folder / "project", {"CTL_HOME": str(folder / "x")}).home == folder / "x"

    def test_a_relative_ctl_home_is_relative_to_the_project(self, folder: Path) -> None:
        assert RuntimeDir.locate(folder, {"CTL_HOME": "run"}).home == folder / "run"

    def test_locating_it_creates_nothing(self, folder: Path) -> None:
        RuntimeDir.locate(folder, {})

        assert list(folder.iterdir()) == []

    def test_sockets_lie_in_it_where_their_paths_fit(self) -> None:
        runtime = RuntimeDir.locate(Path("/srv/novel"), {})

        assert runtime.control_socket == Path("/srv/novel/.ctl/control.sock")
        assert runtime.host_socket("writer-1") == Path("/srv/novel/.ctl/h-writer-1.sock")

    @pytest.mark.parametrize("session", ["", "/run/user/1000", "/" + "x" * 100])
    @pytest.mark.parametrize("host", ["writer-1", "a" * 80])
    def test_every_socket_path_fits_however_deep_the_project_lies(self, session: str, host: str) -> None:
        runtime = RuntimeDir.locate(Path("/srv") / ("deep/" * 40), {"XDG_RUNTIME_DIR": session})

        sockets = (
            runtime.control_socket,
            runtime.anchor_socket,
            runtime.bus_socket,
            runtime.host_socket(host),
        )
        assert all(len(os.fsencode(path)) <= SOCKET_PATH_BYTES for path in sockets)
        assert runtime.sockets.parent == Path(session if session == "/run/user/1000" else "/tmp")

    def test_two_projects_do_not_share_a_short_folder(self) -> None:
        deep = Path("/srv") / ("deep/" * 40)

        assert RuntimeDir.locate(deep / "a", {}).sockets != RuntimeDir.locate(deep / "b", {}).sockets

    def test_importing_it_loads_nothing_heavy(self) -> None:
        heavy = {"pydantic", "fastapi", "redis", "psutil", "asyncio"}
        code = f"import sys, control_plane.runtime.paths;print(sorted({heavy!r} & set(sys.modules)))"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestWhose:
    def test_every_folder_is_for_its_owner_alone(self, runtime: RuntimeDir) -> None:
        for folder in (runtime.home, runtime.sockets, runtime.logs, runtime.data):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700

    def test_a_folder_that_others_may_write_to_is_refused(self, folder: Path) -> None:
        (folder / ".ctl").mkdir()
        (folder / ".ctl").chmod(0o777)

        with pytest.raises(LaunchError, match=r"E2007 .* Other users may write to it"):
            RuntimeDir.open(folder, {})

    @pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
    def test_a_folder_of_somebody_else_is_refused(self, folder: Path) -> None:
        (folder / ".ctl").mkdir()
        os.chown(folder / ".ctl", 12345, -1)

        with pytest.raises(LaunchError, match=r"E2007 .* It belongs to user 12345"):
            RuntimeDir.open(folder, {})

    @pytest.mark.skipif(ROOT, reason="root may write everywhere")
    def test_a_folder_without_write_permission_is_refused(self, folder: Path) -> None:
        (folder / ".ctl").mkdir(mode=0o500)

        with pytest.raises(LaunchError, match=r"E2007 .* [Pp]ermission denied"):
            RuntimeDir.open(folder, {})

    def test_a_file_in_its_place_is_refused(self, folder: Path) -> None:
        (folder / ".ctl").write_text("")

        with pytest.raises(LaunchError, match=r"E2007 the runtime folder .*File exists.*CTL_HOME"):
            RuntimeDir.open(folder, {})

    def test_a_planted_link_in_tmp_is_not_followed(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deep = folder / ("deep/" * 40)
        deep.mkdir(parents=True)
        planted = RuntimeDir.locate(deep, {}).sockets
        planted.symlink_to(folder)
        try:
            with pytest.raises(LaunchError, match=r"E2007 .* symbolic link"):
                RuntimeDir.open(deep, {})
        finally:
            planted.unlink()


class TestLock:
    def test_a_second_launch_is_refused_with_the_first_ones_pid(self, runtime: RuntimeDir) -> None:
        refusal = pytest.raises(LaunchError, match=rf"E2006 .* Process {os.getpid()} .* `ctl stop`")
        with runtime.acquire_lock(), refusal, runtime.acquire_lock():
            pass

    def test_the_lock_of_a_killed_launch_does_not_count(self, runtime: RuntimeDir) -> None:
        code = (
            "import os, signal, pathlib, control_plane.runtime.paths as paths\n"
            f"with paths.RuntimeDir.open(pathlib.Path({str(runtime.project)!r}), {{}}).acquire_lock():\n"
            "    os.kill(os.getpid(), signal.SIGKILL)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
        assert runtime.lock.exists()

        with runtime.acquire_lock():
            assert runtime.lock.read_text() == f"{os.getpid()}\n"

    def test_the_lock_is_gone_afterwards(self, runtime: RuntimeDir) -> None:
        with runtime.acquire_lock():
            pass

        assert not runtime.lock.exists()

    def test_a_lock_that_was_unlinked_while_we_opened_it_is_taken_anew(
        self, runtime: RuntimeDir, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The launch before us unlinks its file between our open and our flock."""
        flock = fcntl.flock

        def unlink_then_lock(fd: int, how: int) -> None:
            monkeypatch.setattr(fcntl, "flock", flock)
            runtime.lock.unlink()
            flock(fd, how)

        monkeypatch.setattr(fcntl, "flock", unlink_then_lock)

        with runtime.acquire_lock():
            assert runtime.lock.exists()


class TestWhatIsLeft:
    def test_stale_sockets_are_removed_and_living_ones_stay(self, runtime: RuntimeDir) -> None:
        listening(runtime.anchor_socket).close()
        with listening(runtime.control_socket):
            runtime.clean_stale()

            assert not runtime.anchor_socket.exists()
            assert runtime.control_socket.exists()

    def test_files_that_are_no_sockets_are_not_ours_to_remove(self, runtime: RuntimeDir) -> None:
        (runtime.sockets / "notes.sock").write_text("mine")

        runtime.clean_stale()

        assert (runtime.sockets / "notes.sock").exists()

    def test_only_logs_and_data_outlive_a_launch(self, folder: Path) -> None:
        deep = folder / ("deep/" * 40)
        deep.mkdir(parents=True)
        runtime = RuntimeDir.open(deep, {"XDG_RUNTIME_DIR": str(folder)})
        with runtime.acquire_lock():
            for path in (runtime.control_socket, runtime.anchor_socket, runtime.host_socket("writer-1")):
                listening(path).close()
            (runtime.logs / "writer-1.log").write_text("")

            runtime.remove_ephemeral()

        assert sorted(path.name for path in runtime.home.rglob("*")) == ["data", "logs", "writer-1.log"]
        assert not runtime.sockets.exists()

    def test_what_an_anchor_still_listens_on_is_left_to_it(self, runtime: RuntimeDir) -> None:
        with runtime.acquire_lock(), listening(runtime.anchor_socket):
            runtime.remove_ephemeral()

            assert runtime.anchor_alive()

    def test_an_anchor_is_alive_while_it_listens(self, runtime: RuntimeDir) -> None:
        assert not runtime.anchor_alive()
        with listening(runtime.anchor_socket):
            assert runtime.anchor_alive()
        assert not runtime.anchor_alive()

    def test_a_busy_listener_is_alive(self, runtime: RuntimeDir) -> None:
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as waiting:
            listener.bind(str(runtime.anchor_socket))
            listener.listen(0)
            waiting.connect(str(runtime.anchor_socket))

            assert runtime.anchor_alive()
