"""Videos are judged as the daemon would, in their own time."""

from __future__ import annotations

import pytest

from maskedge.camera.files import open_files
from maskedge.config import Config
from maskedge.detect.judging import judge_pictures, judge_video
from maskedge.errors import EndOfStream, InputError
from maskedge.pipeline import Pipeline


def read(path):
    camera = open_files(path)
    camera.open()
    while True:
        try:
            yield camera.read()
        except EndOfStream:
            break
    camera.close()


def told(decisions):
    """Everything but what is counted over the whole process."""
    return [
        (d.type, d.label, round(d.confidence, 6), d.frames, d.first_seen, d.decided_at, d.ended_at,
         d.reason, d.box)
        for d in decisions
    ]  # fmt: skip


@pytest.fixture(scope="module")
def judged(walk, vision, config):
    return list(judge_video(read(walk), vision, config))


def test_decisions_are_those_of_the_daemons_pipeline(walk, judged, vision, config):
    pipeline = Pipeline(vision.detector, vision.classifier, vision.assess, None, config)
    expected = []
    for frame in read(walk):
        expected += pipeline.process(frame, frame.time).decisions
    expected += pipeline.flush(frame.time)
    assert [d.type for d in expected] == ["started", "ended"]
    assert told(d for one in judged for d in one.decisions) == told(expected)


def test_every_frame_once_with_its_time_and_every_face_judged(walk, judged, vision):
    alone = list(judge_pictures(read(walk), vision))
    assert [one.frame.number for one in judged] == list(range(61))
    assert [one.time for one in judged] == pytest.approx([n / 10 for n in range(61)])
    assert [[f.probabilities for f in one.faces] for one in judged] == [
        [f.probabilities for f in one.faces] for one in alone
    ]
    assert {one.time for one in alone} == {None}


def test_a_person_has_one_number_from_1_in_each_video(walk, judged, vision, config):
    for frames in (judged, list(judge_video(read(walk), vision, config))):
        numbers = [face.person.track_id for one in frames for face in one.faces if face.person]
        assert len(numbers) > 15
        assert set(numbers) == {1}
        assert {d.track_id for one in frames for d in one.decisions} == {1}


def test_a_label_is_the_persons_own_as_soon_as_it_is_decided(judged):
    labels = [face.person.label for one in judged for face in one.faces if face.person]
    assert labels[0] == "unsure"
    assert labels[-1] == "without_mask"


def test_the_configurations_thresholds_hold(walk, vision):
    strict = Config.model_validate({"verdict": {"min_face": 400}})
    frames = list(judge_video(read(walk), vision, strict))
    assert [one.decisions for one in frames] == [()] * 61
    assert any(face.person for one in frames for face in one.faces)


def test_a_video_that_is_cut_off_tells_what_it_showed(walk, vision, config):
    def cut(frames):
        for frame in frames:
            if frame.number == 40:
                raise InputError("cut off")
            yield frame

    seen = []
    with pytest.raises(InputError, match="cut off"):
        seen.extend(judge_video(cut(read(walk)), vision, config))
    assert [one.frame.number for one in seen] == list(range(40))
    last = [d for one in seen for d in one.decisions][-1]
    assert (last.type, last.reason) == ("ended", "shutdown")
    assert last.ended_at == pytest.approx(3.9)
