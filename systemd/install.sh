#!/bin/sh
# Installs maskedge as a service on 64-bit Raspberry Pi OS or Debian (Bookworm, Trixie).
# Run it again to upgrade: configuration, password and waiting events are kept.
set -eu

usage() {
  cat <<'END'
Usage: sudo systemd/install.sh [--no-start | --uninstall [--purge]]

  (nothing)    install or upgrade from this checkout, then start the service
  --no-start   install or upgrade, start nothing
  --uninstall  stop and remove program and service; keep /etc/maskedge and waiting events
  --purge      with --uninstall: remove these too
END
}

here=$(cd "$(dirname "$0")/.." && pwd)
root=${MASKEDGE_ROOT:-} # the tests install into a folder
prefix=$root/opt/maskedge
etc=$root/etc/maskedge
unit=$root/etc/systemd/system/maskedge.service
rule=$root/etc/udev/rules.d/60-maskedge-coral.rules
state=$root/var/lib/private/maskedge
start=yes uninstall=no purge=no

say() { echo "maskedge: $*"; }
die() {
  echo "maskedge: $1" >&2
  exit "${2:-69}"
}
# In a chroot or a folder there is no manager to talk to.
managed() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

for argument in "$@"; do
  case $argument in
  --no-start) start=no ;;
  --uninstall) uninstall=yes ;;
  --purge) purge=yes ;;
  -h | --help) usage && exit 0 ;;
  *) usage >&2 && exit 64 ;;
  esac
done
[ "$purge" = no ] || [ "$uninstall" = yes ] || { usage >&2 && exit 64; }
[ "$(id -u)" = 0 ] || die "run it as root: sudo systemd/install.sh" 77

if [ "$uninstall" = yes ]; then
  if managed && [ -e "$unit" ]; then systemctl disable --now maskedge.service; fi
  rm -rf "$prefix" "$unit" "$rule"
  if [ "$purge" = yes ]; then rm -rf "$etc" "$state" "$root/var/lib/maskedge"; fi
  if managed; then systemctl daemon-reload; fi
  say "removed$([ "$purge" = yes ] || echo "; /etc/maskedge and waiting events are kept (--purge removes them)")"
  exit 0
fi

case $(uname -m) in
aarch64 | x86_64) ;;
*) die "$(uname -m): only 64-bit systems are supported; install the 64-bit Raspberry Pi OS" ;;
esac
command -v python3 >/dev/null || die "python3 is missing: sudo apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "$(python3 --version) is too old: Bookworm or newer has 3.11"

packages=
python3 -c 'import ensurepip, venv' 2>/dev/null || packages=python3-venv
# Only Raspberry Pi OS has picamera2; elsewhere the camera is USB or a stream.
if ! python3 -c 'import picamera2' 2>/dev/null && command -v apt-cache >/dev/null &&
  apt-cache show python3-picamera2 >/dev/null 2>&1; then
  packages="$packages python3-picamera2"
fi
if [ -n "$packages" ]; then
  say "installing$packages"
  # shellcheck disable=SC2086 # split on purpose
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

say "installing the program into /opt/maskedge"
[ -x "$prefix/venv/bin/python" ] || python3 -m venv --system-site-packages "$prefix/venv"
rm -rf "$here/build" # else files of an older version could slip into the wheel
"$prefix/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "$here"
rm -rf "$here/build"

install -d -m 0755 "$etc" "$(dirname "$unit")" "$(dirname "$rule")"
if [ -e "$etc/config.yaml" ]; then
  install -m 0644 "$here/config.yaml" "$etc/config.yaml.new"
  say "kept /etc/maskedge/config.yaml; today's defaults are in config.yaml.new"
else
  install -m 0644 "$here/config.yaml" "$etc/config.yaml"
fi
"$prefix/venv/bin/maskedge" check --config "$etc/config.yaml" >/dev/null ||
  die "the configuration is not valid, so the running service is left as it is" 78
install -m 0644 "$here/systemd/maskedge.service" "$unit"
install -m 0644 "$here/systemd/60-maskedge-coral.rules" "$rule"

if managed; then
  getent group plugdev >/dev/null || groupadd --system plugdev
  systemctl daemon-reload
  if command -v udevadm >/dev/null; then udevadm control --reload && udevadm trigger -s usb; fi
  if [ "$start" = yes ]; then
    systemctl enable --quiet maskedge.service
    systemctl restart maskedge.service
    say "running; see: journalctl -fu maskedge"
  fi
fi
say "edit /etc/maskedge/config.yaml (changes are taken over at once), check with: $prefix/venv/bin/maskedge check"
