"""The configuration file: found, read, and explained when wrong."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maskedge import configfile
from maskedge.config import Config
from maskedge.errors import EX_CONFIG, ConfigError
from maskedge.geometry import Box

ROOT = Path(__file__).parent.parent


def write(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return path


def problems(path, *overrides):
    with pytest.raises(ConfigError) as caught:
        configfile.load(path, overrides)
    return str(caught.value).splitlines()


def keys(tree, prefix=""):
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def test_the_shipped_file_holds_every_key_with_its_default():
    shipped = configfile.load(ROOT / "config.yaml").config
    assert shipped == Config()
    text = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert set(keys(text)) == set(keys(Config().model_dump())) - {"device"}


def test_every_key_of_the_shipped_file_has_a_comment_or_stands_under_one():
    lines = (ROOT / "config.yaml").read_text().splitlines()
    bare = [line for line in lines if line.startswith("  ") and "#" not in line]
    assert [line.split(":")[0].strip() for line in bare] == [
        "source", "height", "alert_on", "host", "username", "tls", "enabled", "key_file",
        "gpio", "command",
    ]  # fmt: skip


def test_all_mistakes_at_once_each_with_line_key_and_cure(tmp_path):
    path = write(
        tmp_path,
        "camera:\n  fsp: 3\n  fps: ten\n  width: 3\nmqtt:\n  prefix: a/+/b\nmin_face: 3\n"
        "verdict: 4\n",
    )
    assert problems(path) == [
        f"{path}:2: camera.fsp: unknown key; did you mean `fps`?",
        f"{path}:3: camera.fps: expected a number, got 'ten'",
        f"{path}:4: camera.width: expected greater than or equal to 64, got 3",
        f"{path}:6: mqtt.prefix: prefix must not contain '+': MQTT reserves it in topics",
        f"{path}:7: min_face: unknown key here; did you mean `verdict.min_face`?",
        f"{path}:8: verdict: expected a section of keys, got 4",
    ]


@pytest.mark.parametrize("control", ["\\x1f", "\\x7f", "\\x85", "\\x9f"])
def test_a_control_character_in_a_topic_is_refused(tmp_path, control):
    """A broker hangs up on it (MQTT 5.0, 1.5.4)."""
    path = write(tmp_path, f'device: "door{control}2"\n')
    told = f"device must not contain '{control}': MQTT reserves it in topics"
    assert problems(path) == [f"{path}:1: device: {told}"]


def test_mistakes_inside_a_list_of_sections(tmp_path):
    path = write(
        tmp_path,
        "signals:\n  gpio:\n    - pin: 17\n      second: 3\n    - {pin: true}\n    - seconds: 2\n",
    )
    assert problems(path) == [
        f"{path}:4: signals.gpio.0.second: unknown key; did you mean `seconds`?",
        f"{path}:5: signals.gpio.1.pin: pin must be a BCM number such as 17, got True",
        f"{path}:6: signals.gpio.2.pin: field required, got {{'seconds': 2}}",
    ]


@pytest.mark.parametrize(
    "area", ["[120, 40, 300, 200]", "[0.5, 0.2, 0.4, 0.9]", "[0.1, 0.2, 0.3]", "0.5",
             "[a, 0, 1, 1]", "[true, 0, 1, 1]", "[0, .nan, 1, 1]"]
)  # fmt: skip
def test_an_area_in_pixels_or_of_no_extent_is_refused_with_the_cure(tmp_path, area):
    path = write(tmp_path, f"tracker:\n  ignore:\n    - [0, 0.5, 1, 1]\n    - {area}\n")
    (problem,) = problems(path)
    assert problem.startswith(f"{path}:4: tracker.ignore.1: an area is [left, top, right, bottom]")
    assert "divide pixels by its width and height" in problem


def test_areas_are_boxes_in_shares_of_the_picture(tmp_path):
    path = write(tmp_path, "tracker:\n  ignore: [[0, 0.5, 1, 1]]\n")
    config = configfile.load(path).config
    assert config.tracker.ignore == (Box(0, 0.5, 1, 1),)
    assert Config.model_validate(config.model_dump()) == config
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_two_outputs_on_one_pin_are_refused(tmp_path):
    path = write(tmp_path, "signals:\n  gpio: [{pin: 17}, {pin: 5}, {pin: 17, seconds: 2}]\n")
    assert problems(path) == [
        f"{path}:2: signals.gpio: pin 17 is named twice; give each pin one output"
    ]


def test_a_command_is_a_list_and_its_program_lies_beside_the_file(tmp_path):
    path = write(tmp_path, "signals:\n  command:\n    run: beep -f 440\n")
    assert problems(path)[0].endswith(
        ":3: signals.command.run: expected a list, program and arguments; "
        "for a shell: [sh, -c, 'a | b']"
    )
    path = write(tmp_path, "signals:\n  command:\n    run: [./note, ./note, 440]\n")
    assert configfile.load(path).config.signals.command.run == (
        str(tmp_path / "note"), "./note", "440",
    )  # fmt: skip
    path = write(tmp_path, "signals:\n  command:\n    run: [beep]\n")
    assert configfile.load(path).config.signals.command.run == ("beep",)


def test_the_exit_code_is_that_of_a_wrong_configuration():
    assert ConfigError.exit_code == EX_CONFIG == 78


def test_a_password_in_the_file_is_refused_and_not_repeated(tmp_path):
    (problem,) = problems(write(tmp_path, "mqtt:\n  password: hunter2\n"))
    assert "password_file" in problem
    assert "hunter2" not in problem


def test_a_key_given_twice_is_refused(tmp_path):
    path = write(tmp_path, "camera:\n  fps: 5\n  fps: 6\n")
    assert problems(path) == [f"{path}:3: camera.fps: given twice; keep one of the two"]


@pytest.mark.parametrize(
    ("text", "line"), [("a: [1\nb: 2\n", 2), ("- a\n", 1), ("a:\n\t- b\n", 2), ("!!python/x y", 1)]
)
def test_what_is_not_a_yaml_mapping_names_its_line(tmp_path, text, line):
    path = write(tmp_path, text)
    assert problems(path)[0].startswith(f"{path}:{line}: ")


@pytest.mark.parametrize(
    "value",
    ["2001-99-99", "!!bool maybe", "!!timestamp noon", "!!int x", "0b_",
     pytest.param("0" + 4400 * "7", id="long octal")],
)  # fmt: skip
def test_a_value_that_is_not_what_it_looks_like_names_its_line(tmp_path, value):
    path = write(tmp_path, f"device: door\nname: {value}\n")
    shown = value.rpartition(" ")[2]
    assert problems(path)[0].startswith(f"{path}:2: {shown!r} is no ")
    assert problems(None, f"name={value}")[0].startswith(f"--set name={value}: the value isn't")


@pytest.mark.parametrize(
    ("value", "read"),
    [("12:30", 750), ("-1:30.5", -90.5), ("010", 8), ("0_20", 16)],
)
def test_a_number_that_yaml_reads_as_no_person_does_is_refused(tmp_path, value, read):
    said = f"{value} means {read} in YAML; write that, or text in quotes"
    assert problems(write(tmp_path, f"verdict:\n  cooldown: {value}\n")) == [
        f"{tmp_path}/config.yaml:2: {said}"
    ]
    (problem,) = problems(None, f"verdict.cooldown={value}")
    assert problem.endswith(said)


@pytest.mark.parametrize("value", ["0", "05", "1_5", "0x1f", "0b11", "15.5", '"010"', "010.5"])
def test_other_forms_of_numbers_are_taken(value):
    assert configfile.load(None, [f"verdict.cooldown={value}"]).config.verdict.cooldown < 40


def test_what_is_too_large_is_not_read_whole(tmp_path):
    said = "more than 100,000 bytes: this isn't a configuration file"
    assert problems(Path("/dev/zero")) == [f"/dev/zero: {said}"]
    path = write(tmp_path, "#" * 100_001)
    assert problems(path) == [f"{path}: {said}"]


def test_aliases_that_unfold_to_more_than_memory_holds_are_refused(tmp_path):
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    path = write(tmp_path, "\n".join(lines))
    assert problems(path) == [f"{path}: its aliases unfold to more than 50,000 values"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (
            "~nobody-here/outbox.db",
            "~nobody-here/outbox.db: there is no such user; give the whole path",
        ),
        ('"a\\0b"', "a path must not hold a NUL character"),
    ],
)
def test_a_path_that_can_be_none_is_a_wrong_configuration(tmp_path, value, said):
    path = write(tmp_path, f"outbox:\n  path: {value}\n")
    assert problems(path) == [f"{path}:2: outbox.path: {said}"]


@pytest.mark.parametrize("key", ["detector.threshold", "camera.give_up_after", "mqtt.port"])
@pytest.mark.parametrize(("value", "read"), [("on", True), ("off", False)])
def test_a_yes_is_no_number(key, value, read):
    said = f"--set: {key}: expected a number, got {read} (so YAML reads on, off, yes and no)"
    assert problems(None, f"{key}={value}") == [said]


def test_bytes_that_are_no_text_are_one_clear_error(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"name: ok\nx: \xff\xfe")
    assert problems(path) == [f"{path}:2: not UTF-8 text (byte 0xff)"]


def test_a_missing_file_is_named(tmp_path):
    assert problems(tmp_path / "none.yaml") == [
        f"{tmp_path}/none.yaml: can't read the configuration: No such file or directory"
    ]


def test_a_current_folder_that_was_removed_is_told(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert problems(None) == ["the current folder was removed: cd to another one"]
    assert configfile.load(write(tmp_path, "")).config == Config()


def test_an_empty_file_means_the_defaults(tmp_path):
    assert configfile.load(write(tmp_path, "# nothing\n")).config == Config()


def test_overrides_win_over_the_file(tmp_path):
    path = write(tmp_path, "verdict:\n  min_face: 100\n")
    config = configfile.load(path, ["verdict.min_face=40", "camera.source=0"]).config
    assert config.verdict.min_face == 40
    assert config.camera.source == "0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("verdict.min_fac=3", "--set: verdict.min_fac: unknown key; did you mean `min_face`?"),
        ("min_face", "--set min_face: expected section.key=value, for example verdict.min_face=40"),
        ("a.b=[", "--set a.b=[: the value isn't valid YAML: while parsing a flow node"),
    ],
)
def test_a_wrong_override_is_named(text, expected):
    assert problems(None, text)[0] == expected


def test_search_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert configfile.find(None, {}) is None
    Path("config.yaml").touch()
    assert configfile.find(None, {}) == Path("config.yaml")
    named = {"MASKEDGE_CONFIG": "/somewhere.yaml"}
    assert configfile.find(None, named) == Path("/somewhere.yaml")
    assert configfile.find(Path("mine.yaml"), named) == Path("mine.yaml")


def test_a_file_that_may_be_there_but_is_not_ours_to_see_is_not_passed_over(closed, monkeypatch):
    monkeypatch.setattr(configfile, "SEARCH_PATH", (closed / "config.yaml",))
    path = configfile.find(None, {})
    assert path is not None
    cure = "let this user read it: chmod a+r"
    assert problems(path) == [f"{path}: can't read the configuration: Permission denied; {cure}"]


def test_relative_files_are_seen_from_the_configuration(tmp_path):
    config = configfile.load(write(tmp_path, "mqtt:\n  password_file: secret\n")).config
    assert config.mqtt.password_file == tmp_path / "secret"


def test_a_default_device_never_breaks_topics(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "a/b#c+d\x85e")
    assert Config().topic_root == "maskedge/a-b-c-d-e"


@given(st.binary(max_size=300))
def test_any_bytes_give_a_configuration_or_a_clear_error(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("fuzz") / "config.yaml"
    path.write_bytes(data)
    try:
        configfile.load(path)
    except ConfigError as error:
        assert str(path) in str(error)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["camera", "fps", "mqtt", "tls", "verdict", "alert_on", "x"]), inner,
        max_size=4,
    ),
    max_leaves=12,
))  # fmt: skip
def test_any_yaml_gives_a_configuration_or_a_clear_error(tmp_path_factory, tree):
    path = tmp_path_factory.mktemp("fuzz") / "config.yaml"
    path.write_text(yaml.safe_dump(tree))
    try:
        configfile.load(path)
    except ConfigError as error:
        assert str(path) in str(error)
