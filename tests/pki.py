"""Real certificates, made by openssl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def openssl(folder, *words):
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def make_ca(folder, name):
    openssl(
        folder, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
        "-keyout", f"{name}.key", "-out", f"{name}.pem", "-subj", f"/CN={name}",
        "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign",
    )  # fmt: skip


def make_certificate(folder, name, *dates, host="IP:127.0.0.1"):
    """Signed by ``ca``; ``openssl ca`` is the one that takes dates of the past."""
    openssl(
        folder, "req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
        "-keyout", f"{name}.key", "-out", f"{name}.csr",
    )  # fmt: skip
    (folder / f"{name}.ext").write_text(f"subjectAltName = {host}\n")
    openssl(
        folder, "ca", "-batch", "-config", "ca.conf", "-cert", "ca.pem", "-keyfile", "ca.key",
        "-in", f"{name}.csr", "-out", f"{name}.pem", "-extfile", f"{name}.ext", "-notext", *dates,
    )  # fmt: skip


CA_CONF = """
[ca]
default_ca = here
[here]
database = ./index.txt
new_certs_dir = .
rand_serial = yes
default_md = sha256
default_days = 2
policy = any
unique_subject = no
[any]
commonName = supplied
"""


def make_pki(folder: Path) -> Path:
    """Two authorities; by ``ca``, certificates of a broker, a client, another host and the past."""
    (folder / "index.txt").touch()
    (folder / "ca.conf").write_text(CA_CONF)
    make_ca(folder, "ca")
    make_ca(folder, "other-ca")
    make_certificate(folder, "broker")
    make_certificate(folder, "client")
    make_certificate(folder, "elsewhere", host="DNS:elsewhere.example")
    past = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
    make_certificate(folder, "expired", *past)
    return folder
