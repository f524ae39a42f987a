"""TLS with real certificates: verified by default, and what is wrong is said."""

from __future__ import annotations

import pytest
from mosquitto import PATIENCE, wait_for
from pki import make_pki, openssl

from maskedge.config import MqttConfig, TlsConfig
from maskedge.delivery import credentials
from maskedge.errors import ConfigError


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def tls_broker(mosquitto, pki):
    def build(certificate="broker", *more):
        return mosquitto(
            f"cafile {pki / 'ca.pem'}",
            f"certfile {pki / certificate}.pem",
            f"keyfile {pki / certificate}.key",
            *more,
        ).start()

    return build


def tls(pki, ca="ca", **more):
    return TlsConfig(enabled=True, ca_file=pki / f"{ca}.pem", **more)


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_events_over_tls_with_own_certificate(
    tls_broker, pki, outbox, publish, collect, make, version
):
    broker = tls_broker("broker", "require_certificate true", "use_identity_as_username true")
    mine = tls(pki, cert_file=pki / "client.pem", key_file=pki / "client.key")
    config = broker.client(tls=mine, version=version)
    collector = collect(config)
    publisher = publish(config)
    outbox.put(*make(300))
    assert publisher.wait_idle(PATIENCE)
    wait_for(lambda: len(collector.events) == 300, "300 events")


@pytest.mark.parametrize(
    ("certificate", "ca", "said"),
    [
        ("broker", "other-ca", "certificate verify failed: "),
        ("expired", "ca", "certificate verify failed: certificate has expired"),
        ("elsewhere", "ca", "certificate verify failed: IP address mismatch"),
    ],
)
def test_bad_certificates_are_refused_and_named(tls_broker, pki, publish, certificate, ca, said):
    broker = tls_broker(certificate)
    publisher = publish(broker.client(tls=tls(pki, ca)))
    wait_for(lambda: publisher.status().code, "the fault")
    assert publisher.status().code == "broker-tls"
    assert said in publisher.status().last_error
    assert not publisher.status().connected


def test_verification_can_be_switched_off(tls_broker, pki, publish):
    broker = tls_broker("expired")
    publisher = publish(broker.client(tls=tls(pki, "other-ca", verify=False)))
    wait_for(lambda: publisher.status().connected, "a connection")


def test_tls_to_a_plain_port_and_plain_to_a_tls_port(broker, tls_broker, pki, publish):
    publisher = publish(broker.client(tls=tls(pki)))
    wait_for(lambda: publisher.status().code, "the fault")
    assert publisher.status().code == "broker-tls"
    publisher = publish(tls_broker().client(client_id="plain"))
    wait_for(lambda: publisher.status().code, "the fault")
    assert "is mqtt.tls set as it wants" in publisher.status().last_error


def test_missing_own_certificate_is_refused(tls_broker, pki, publish):
    broker = tls_broker("broker", "require_certificate true")
    publisher = publish(broker.client(tls=tls(pki)))
    wait_for(lambda: publisher.status().code, "the fault")
    assert not publisher.status().connected


def test_unusable_files_are_errors_of_configuration(tmp_path, pki):
    with pytest.raises(ConfigError, match=r"ca_file .*absent.pem: No such file"):
        credentials.tls_context(TlsConfig(enabled=True, ca_file=tmp_path / "absent.pem"))
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ConfigError, match=r"ca_file .*text: no certificate or crl found"):
        credentials.tls_context(TlsConfig(enabled=True, ca_file=tmp_path / "text"))
    openssl(pki, "rsa", "-in", "client.key", "-aes128", "-passout", "pass:x", "-out", "locked.key")
    with pytest.raises(ConfigError, match="unencrypted key"):
        credentials.tls_context(tls(pki, cert_file=pki / "client.pem", key_file=pki / "locked.key"))


def test_password_sources_in_order(tmp_path):
    file = tmp_path / "file"
    file.write_text("from file\n")
    (tmp_path / "mqtt-password").write_text("from credential\r\n")
    environ = {"MASKEDGE_MQTT_PASSWORD": "from environment", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    config = MqttConfig(username="u", password_file=file)
    assert credentials.password(config, environ) == "from file"
    config = MqttConfig(username="u")
    assert credentials.password(config, environ) == "from environment"
    del environ["MASKEDGE_MQTT_PASSWORD"]
    assert credentials.password(config, environ) == "from credential"
    assert credentials.password(config, {}) is None
    assert credentials.password(MqttConfig(), environ) is None


def test_unusable_password_files_are_errors_of_configuration(tmp_path):
    file = tmp_path / "file"
    for content, said in [(None, "No such file"), (b"\n", "is empty"), (b"\xff", "UTF-8")]:
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigError, match=said):
            credentials.password(MqttConfig(username="u", password_file=file), {})
    with pytest.raises(ConfigError, match=r"mqtt\.username isn't"):
        credentials.password(MqttConfig(password_file=file), {})


def test_an_empty_credential_names_the_file_that_systemd_made_it_of(tmp_path):
    (tmp_path / "mqtt-password").write_text("\n")  # what the unit's SetCredential leaves
    with pytest.raises(ConfigError, match="/etc/maskedge/mqtt-password and restart the service"):
        credentials.password(MqttConfig(username="u"), {"CREDENTIALS_DIRECTORY": str(tmp_path)})
