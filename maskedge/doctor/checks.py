"""All checks by name, in the order in which they tell most."""

from __future__ import annotations

from typing import TYPE_CHECKING

from maskedge.doctor import broker, devices, extras, software, storage, system

if TYPE_CHECKING:
    from maskedge.doctor.finding import Check

CHECKS: dict[str, type[Check]] = {
    kind.name: kind
    for kind in (
        software.Python,
        software.Packages,
        software.Interpreter,
        software.Pycoral,
        software.Networks,
        devices.Libcamera,
        devices.CameraPicture,
        devices.EdgeTpu,
        broker.Broker,
        extras.StatusPage,
        extras.Gpio,
        extras.Command,
        system.Clock,
        system.Temperature,
        storage.Disk,
        storage.Review,
        storage.Snapshots,
        storage.Secrets,
        system.Unit,
    )
}
