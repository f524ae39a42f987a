from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from maskedge.camera.fake import End, Fail, FakeCamera, Hang, Show, black, frozen
from maskedge.camera.frame import Camera, ChannelOrder
from maskedge.camera.guard import CameraGuard, CameraState, _Session
from maskedge.errors import CameraError, InputError

SLOW = 20.0  # what a loaded machine may need for anything here


def fake_camera(*steps, **settings):
    return FakeCamera(*steps, **({"width": 64, "height": 48, "fps": 200.0} | settings))


@pytest.fixture
def guarded():
    guards = []

    def make(camera, **settings):
        make_camera = camera if callable(camera) else lambda: camera
        settings = {
            "read_timeout": SLOW, "reopen_delay": 0.01, "reopen_delay_max": 0.02, **settings
        }  # fmt: skip
        guards.append(CameraGuard(make_camera, **settings).start())
        return guards[-1]

    yield make
    for guard in guards:
        guard.close()


def loss(guard):
    """The status, if the camera is lost: soon it may be back."""
    status = guard.status
    return status if status.state is CameraState.LOST else None


def test_the_fake_is_a_camera():
    assert isinstance(FakeCamera(), Camera)


def test_frames_arrive_and_the_status_tells(guarded):
    guard = guarded(fake_camera())
    first, second = guard.wait(SLOW), guard.wait(SLOW)
    assert (first.width, first.height, first.order) == (64, 48, ChannelOrder.RGB)
    assert second.number > first.number
    assert second.time > first.time
    status = guard.status
    assert (status.name, status.state, status.error) == ("fake", CameraState.STREAMING, None)
    assert (status.width, status.height, status.reopens) == (64, 48, 0)
    assert status.frames >= 2


def test_the_rate_is_measured(until):
    class Ticking:
        now = 0.0

        def clock(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    time_line = Ticking()
    fake = FakeCamera(
        Show(100, fps=5.0), End(), live=False, clock=time_line.clock, sleep=time_line.sleep
    )
    rates = set()
    with CameraGuard(lambda: fake, clock=time_line.clock, read_timeout=1e6) as guard:
        while guard.wait(SLOW):
            rates.add(round(guard.status.fps, 3))
        until(lambda: guard.ended)
        assert guard.status.fps == 0
    assert rates <= {0.0, 5.0}
    assert 5.0 in rates


def test_of_a_live_camera_only_the_newest_frame_is_kept_and_the_rest_counted(guarded, until):
    guard = guarded(fake_camera(Show(50), Hang()))
    until(lambda: guard.status.frames == 50)
    frame = guard.wait(SLOW)
    assert frame.number == 49
    assert guard.status.dropped == 49
    assert guard.wait(0.05) is None


def test_of_a_file_every_frame_is_handed_over_in_order(guarded):
    guard = guarded(fake_camera(Show(30), live=False, fps=0))
    numbers = []
    while (frame := guard.wait(SLOW)) is not None:
        time.sleep(0.002)  # slower than the source
        numbers.append(frame.number)
    assert numbers == list(range(30))
    assert guard.status.dropped == 0
    assert guard.ended


def test_waiting_for_the_taker_of_a_file_is_no_hang(guarded, until):
    guard = guarded(fake_camera(Show(3), live=False, fps=0), read_timeout=0.2)
    until(lambda: guard.status.frames == 1)
    time.sleep(0.8)
    assert guard.status.state is CameraState.STREAMING
    assert [guard.wait(SLOW).number for _ in range(3)] == [0, 1, 2]
    assert guard.status.reopens == 0


def test_it_waits_until_the_deadline_and_not_for_a_lost_camera(guarded, until):
    now = [0.0]
    guard = guarded(fake_camera(Show(1), Hang()), read_timeout=50.0, clock=lambda: now[0])
    assert guard.wait(SLOW)
    until(lambda: guard._session.deadline == 50.0)  # it reads
    now[0] = 49.0
    assert guard.waiting
    now[0] = 51.0
    assert not guard.waiting
    lost = guarded(fake_camera(Fail(), Hang(when="open")))
    until(lambda: lost.status.reopens and lost._session)
    assert not lost.waiting


def test_frames_skipped_by_the_source_count_as_dropped(guarded):
    class Skipping(FakeCamera):
        def read(self):
            self._number += 4
            return super().read()

    guard = guarded(Skipping(Show(3), live=False, fps=0))
    while guard.wait(SLOW):
        pass
    assert guard.status.dropped == 12


def test_the_end_comes_after_the_last_frame(guarded, until):
    guard = guarded(fake_camera(Show(1), End(), live=False))
    until(lambda: guard.status.state is CameraState.ENDED)
    assert not guard.ended
    assert guard.wait(SLOW).number == 0
    assert guard.ended
    assert guard.wait(SLOW) is None
    assert guard.status.error is None


def test_a_read_that_hangs_is_abandoned_and_the_camera_opened_anew(guarded, until):
    now = [0.0]
    fake = fake_camera(Show(3), Hang(), Show(None))
    guard = guarded(fake, read_timeout=0.3, reopen_delay=1.0, clock=lambda: now[0])
    until(lambda: guard.status.frames == 3 and guard._session.deadline == 0.3)  # it reads
    now[0] = 1.0
    assert "took longer than 0.3 s" in until(lambda: loss(guard)).error
    until(lambda: guard.status.state is CameraState.STREAMING)
    assert guard.status.reopens == 1
    assert guard.hung == 1
    fake.release()
    until(lambda: guard.hung == 0)
    assert fake.opened == 2


def test_the_late_result_of_an_abandoned_read_is_ignored(guarded, until):
    hanging = fake_camera(Hang(), name="hanging")
    fresh = fake_camera(Show(1), Hang(), name="fresh", width=32)
    cameras = iter([hanging, fresh])
    guard = guarded(lambda: next(cameras, fresh), read_timeout=0.3)
    until(lambda: guard.status.frames == 1)
    hanging.release()
    until(lambda: not hanging.is_open)  # it read its frame, found nobody, closed
    assert guard.wait(SLOW).width == 32
    assert guard.wait(0.05) is None


def test_an_opening_that_hangs_is_abandoned_too(guarded, until):
    guard = guarded(fake_camera(Hang(when="open"), Show(None)), open_timeout=0.2, reopen_delay=1.0)
    assert "opening it took longer than 0.2 s" in until(lambda: loss(guard)).error
    assert guard.wait(SLOW) is not None


def test_a_failed_read_reopens_and_frames_of_another_size_pass(guarded, until):
    guard = guarded(fake_camera(Show(5), Fail("gone"), Show(None, size=(32, 16))))
    until(lambda: guard.status.width == 32)
    assert guard.status.error is None
    assert guard.status.reopens == 1
    until(lambda: guard.wait(SLOW).height == 16)


def test_lost_until_plugged_in_again(guarded, until):
    fake = fake_camera()
    guard = guarded(fake)
    until(lambda: guard.status.state is CameraState.STREAMING)
    before = guard.status.since
    fake.unplug()
    until(lambda: guard.status.reopens > 3)
    lost = guard.status
    assert lost.state is CameraState.LOST
    assert "no such device" in lost.error
    assert lost.fps == 0
    assert lost.since > before
    fake.plug()
    until(lambda: guard.status.state is CameraState.STREAMING)
    assert guard.status.error is None


def test_lost_is_logged_once_and_its_return_once(guarded, until, caplog):
    caplog.set_level("INFO")
    fake = fake_camera()
    guard = guarded(fake)
    until(lambda: guard.status.state is CameraState.STREAMING)
    fake.unplug()
    until(lambda: guard.status.reopens > 5)
    fake.plug()
    until(lambda: guard.status.state is CameraState.STREAMING)
    lines = [record.message for record in caplog.records]
    assert len([line for line in lines if "unplugged" in line or "no such device" in line]) == 1
    assert len([line for line in lines if "streaming" in line]) == 2


def test_without_a_thread_to_be_had_it_is_lost_and_opened_once_there_is_one(
    guarded, until, no_threads
):
    fake = fake_camera()
    guard = guarded(fake)
    until(lambda: guard.status.state is CameraState.STREAMING)
    with no_threads():
        fake.unplug()
        until(lambda: "can't start new thread" in (guard.status.error or ""))
        assert guard.status.state is CameraState.LOST
        fake.plug()
    until(lambda: guard.status.state is CameraState.STREAMING)
    guard.close()
    assert not guard._supervisor.is_alive()


@pytest.mark.parametrize("error", [ValueError("odd"), OSError(5, "EIO"), RuntimeError()])
def test_an_exception_of_a_cameras_library_is_a_lost_camera(guarded, until, error):
    guard = guarded(fake_camera(Fail(error), Show(None)), reopen_delay=1.0)
    assert type(error).__name__ in until(lambda: loss(guard)).error
    assert guard.wait(SLOW) is not None


def test_gives_up_after_so_many_failed_reopenings_in_a_row(guarded):
    fake = fake_camera()
    fake.unplug()
    guard = guarded(fake, give_up_after=3)
    with pytest.raises(CameraError, match=r"no such device.*gave up after 3 failed attempts"):
        guard.wait(SLOW)
    with pytest.raises(CameraError, match="gave up"):
        guard.wait(SLOW)
    assert guard.status.reopens == 3
    assert guard.status.state is CameraState.LOST


def test_a_frame_between_failures_starts_the_count_anew(guarded, until):
    steps = [step for _ in range(6) for step in (Show(1), Fail(), Fail())]
    guard = guarded(fake_camera(*steps, Show(None)), give_up_after=2)
    until(lambda: guard.status.reopens == 12)
    until(lambda: guard.wait(SLOW) is not None)


def test_never_gives_up_when_told_so(guarded, until):
    fake = fake_camera()
    fake.unplug()
    guard = guarded(fake, give_up_after=0)
    until(lambda: guard.status.reopens >= 30)
    fake.plug()
    assert guard.wait(SLOW) is not None


def test_hung_threads_are_bounded_even_then(guarded):
    guard = guarded(fake_camera(*[Hang()] * 10), give_up_after=0, read_timeout=0.15, max_hung=2)
    with pytest.raises(CameraError, match="3 calls to the camera hang"):
        guard.wait(SLOW)
    assert guard.hung == 3


def test_a_missing_file_surfaces_at_once(guarded):
    def make():
        raise InputError("party.mp4: no such file")

    guard = guarded(make)
    with pytest.raises(InputError, match=r"party\.mp4: no such file"):
        guard.wait(SLOW)
    assert guard.status.reopens == 0


def test_close_returns_although_a_read_hangs_and_ends_a_wait(guarded, until):
    guard = guarded(fake_camera(Show(1), Hang()))
    until(lambda: guard.wait(SLOW) is not None)
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(guard.wait()), daemon=True)
    waiter.start()
    began = time.monotonic()
    guard.close()
    assert time.monotonic() - began < 10  # 2 s on a machine that isn't loaded
    waiter.join(SLOW)
    assert answers == [None]
    assert guard.wait(1) is None


def test_stop_ends_a_wait_and_leaves_the_waiting_for_the_camera_to_close(guarded, until):
    fake = fake_camera()
    guard = guarded(fake)
    until(lambda: guard.wait(SLOW) is not None)
    session = guard._session
    guard.stop()
    assert guard.wait(1) is None
    guard.stop()
    guard.close(2 * SLOW)
    assert not session.is_alive()
    assert not fake.is_open


def test_close_closes_the_camera(guarded, until):
    fake = fake_camera()
    guard = guarded(fake)
    assert guard.wait(SLOW)
    guard.close()
    until(lambda: not fake.is_open)
    guard.close()


def test_close_ends_a_file_whose_frame_nobody_takes(guarded, until):
    fake = fake_camera(live=False)
    guard = guarded(fake)
    until(lambda: guard.status.frames == 1)
    guard.close()
    until(lambda: not fake.is_open)


def test_waits_grow_with_each_failure_are_jittered_and_bounded():
    def waits(jitter, spent=0.0):
        guard = CameraGuard(
            FakeCamera, reopen_delay=0.5, reopen_delay_max=3.0, jitter=lambda: jitter
        )
        return [guard._backoff(failures, spent) for failures in (0, 1, 2, 3, 1000)]

    assert waits(1.0) == [0.5, 1.0, 2.0, 3.0, 3.0]
    assert waits(0.0) == [0.25, 0.5, 1.0, 1.5, 1.5]
    assert waits(1.0, spent=2.5) == [0.25, 0.25, 0.25, 0.5, 0.5]


def scripted(code):
    """A process of its own that runs this and is talked to by lines."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)


def feed(process):
    """The camera may go on."""
    process.stdin.write("\n")
    process.stdin.flush()


def stop_for(process, seconds):
    """As a suspended machine does."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


WATCHED = """
import sys
from maskedge.camera.fake import FakeCamera
from maskedge.camera.guard import CameraGuard

class Camera(FakeCamera):
    def read(self):
        sys.stdin.readline()
        return super().read()

with CameraGuard(lambda: Camera(fps=0, live=False), read_timeout=2.0) as guard:
    for _ in range(2):
        print(guard.wait(30).number, guard.status.reopens, flush=True)
"""


def test_a_process_that_was_stopped_blames_no_camera():
    with scripted(WATCHED) as process:
        feed(process)
        assert process.stdout.readline() == "0 0\n"
        stop_for(process, 4)  # longer than a read may take
        time.sleep(0.2)  # the next frame isn't there at once
        feed(process)
        assert process.stdout.readline() == "1 0\n"


IMPATIENT = """
import sys, time
from maskedge.camera.fake import FakeCamera
from maskedge.camera.guard import CameraGuard, CameraState
from maskedge.errors import CameraError

class Stream(FakeCamera):
    def read(self):
        asked = time.monotonic()
        sys.stdin.readline()
        if time.monotonic() - asked > 2:
            raise CameraError("the stream stopped")
        return super().read()

with CameraGuard(
    lambda: Stream(fps=0, live=False), read_timeout=2.0, reopen_delay=6.0
) as guard:
    print(guard.wait(30).number, flush=True)
    while guard.status.state is CameraState.STREAMING:
        time.sleep(0.01)
    print(guard.status.state, guard.status.error, flush=True)
    print(guard.wait(30).number, guard.status.reopens, flush=True)
"""


def test_a_stream_that_ends_as_the_process_was_stopped_is_opened_anew_and_not_blamed():
    with scripted(IMPATIENT) as process:
        feed(process)
        assert process.stdout.readline() == "0\n"
        stop_for(process, 4)  # longer than a read may take
        assert process.communicate("\n" * 9)[0] == "opening None\n0 1\n"


def test_a_stop_before_the_guards_first_look_blames_no_camera(guarded, until, monkeypatch):
    now, start = [0.0], _Session.start

    def stopped(session):
        start(session)
        until(lambda: session.doing == "a read" and session.deadline == SLOW)
        now[0] = 100.0

    monkeypatch.setattr(_Session, "start", stopped)
    fake = fake_camera(Hang(), Show(None))
    guard = guarded(fake, clock=lambda: now[0])
    until(lambda: guard._session and guard._session.deadline == 100.0 + SLOW)
    fake.release()
    assert guard.wait(SLOW)
    assert guard.status.reopens == 0


GONE = """
import sys, time
from maskedge.camera.fake import FakeCamera
from maskedge.camera.guard import CameraGuard, CameraState
from maskedge.errors import CameraError

class Gone(FakeCamera):
    def open(self):
        print("asked", flush=True)
        sys.stdin.readline()
        raise CameraError("unplugged")

with CameraGuard(Gone, read_timeout=1.0, reopen_delay=30.0, reopen_delay_max=30.0) as guard:
    while guard.status.state is CameraState.OPENING:
        time.sleep(0.01)
    print(guard.status.state, guard.status.error)
"""


def test_a_camera_that_gave_nothing_before_the_process_was_stopped_is_lost():
    with scripted(GONE) as process:
        assert process.stdout.readline() == "asked\n"
        stop_for(process, 3)
        assert process.communicate("\n")[0] == "lost unplugged\n"  # at the first attempt


def test_a_quiet_guard_costs_no_processor_time(guarded, until):
    guard = guarded(fake_camera(Show(1), Hang()))
    until(lambda: guard.status.frames == 1)
    assert guard.wait(SLOW)
    before = time.thread_time(), time.process_time()
    assert guard.wait(1.0) is None
    assert time.process_time() - before[1] < 0.2


def test_fake_pictures_show_their_faults():
    fake = FakeCamera(
        Show(2), Show(2, picture=frozen), Show(1, picture=black), width=64, height=48, fps=0
    )
    fake.open()
    pictures = [fake.read().pixels for _ in range(5)]
    assert not np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[2], pictures[3])
    assert pictures[4].max() == 0


def test_the_fake_keeps_its_pace_by_the_clock_handed_in():
    slept = []
    fake = FakeCamera(Show(2), Show(1, fps=4.0), fps=10.0, sleep=slept.append)
    fake.open()
    for _ in range(3):
        fake.read()
    assert slept == pytest.approx([0.1, 0.1, 0.25])
    fake.play(Show(1, size=(20, 10)))
    assert fake.read().width == 20
