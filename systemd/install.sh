#!/bin/sh
# Installs maskedge as a service on 64-bit Raspberry Pi OS or Debian (Bookworm, Trixie).
# Run it again to upgrade: configuration, password and waiting events are kept.
set -eu
umask 022 # the service's user must read what a careful root installs
# Packages that only this root sees, and settings of its shell and pip, are not the service's.
unset CDPATH PYTHONPATH PYTHONHOME
export PYTHONNOUSERSITE=1 PIP_USER=no

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
command=$root/usr/local/bin/maskedge
state=$root/var/lib/private/maskedge
manual=$root/usr/local/share/man/man1/maskedge.1
completions="bash:$root/usr/local/share/bash-completion/completions/maskedge
zsh:$root/usr/local/share/zsh/site-functions/_maskedge
fish:$root/usr/local/share/fish/vendor_completions.d/maskedge.fish"
start=yes uninstall=no purge=no

say() { echo "maskedge: $*"; }
die() {
  echo "maskedge: $1" >&2
  exit "${2:-69}"
}
# In a chroot or a folder there is no manager to talk to.
managed() { [ -z "$root" ] && [ -d /run/systemd/system ]; }
# `venv` is a link to the environment in force. One rename puts another one in its place.
put_in_force() {
  ln -sfn "${1##*/}" "$prefix/venv.link"
  mv -T "$prefix/venv.link" "$prefix/venv"
}
# Away with environments that are neither in force nor in use, as by a service not yet restarted.
tidy() {
  needed="$prefix/$(readlink "$prefix/venv")/ $(cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' ' ')"
  for folder in "$prefix"/venv.*; do
    case $needed in *"$folder/"*) ;; *) rm -rf "$folder" ;; esac
  done
}

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
  if managed && [ -e "$unit" ]; then systemctl disable --quiet --now maskedge.service; fi
  if [ "$(readlink "$command")" = /opt/maskedge/venv/bin/maskedge ]; then rm "$command"; fi
  rm -rf "$prefix" "$unit" "$unit.new" "$rule" "$rule.new" "$root/etc/systemd/system/multi-user.target.wants/maskedge.service"
  rm -f "$manual"
  for completion in $completions; do rm -f "${completion#*:}"; done
  if [ "$purge" = yes ]; then rm -rf "$etc" "$unit.d" "$state" "$root/var/lib/maskedge"; fi
  if managed; then
    systemctl daemon-reload
    systemctl reset-failed maskedge.service 2>/dev/null || true
  fi
  say "removed$([ "$purge" = yes ] || echo "; /etc/maskedge and waiting events are kept (--purge removes them)")"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP # dash would leave it there
trap 'exit 130' INT
trap 'exit 143' TERM
command -v python3 >/dev/null || die "python3 is missing: sudo apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  die "$(python3 --version) is too old: Bookworm or newer has 3.11"
# Not the kernel's word alone: a 32-bit Raspberry Pi OS has a 64-bit kernel.
machine=$(python3 -c 'import os, sys; print(os.uname().machine, sys.maxsize.bit_length() + 1)')
case $machine in
"aarch64 64" | "x86_64 64") ;;
*) die "$machine bits: only 64-bit systems are supported; install the 64-bit Raspberry Pi OS" ;;
esac
[ -n "$root" ] || case $(python3 -c 'import os, sys; print(os.path.realpath(sys.base_prefix))') in
/home/* | /root/*)
  die "$(command -v python3) lies where the service may not look: use the system's, \
sudo env PATH=/usr/sbin:/usr/bin:/sbin:/bin $0"
  ;;
esac

mkdir -p "$prefix"
exec 9<"$prefix"
flock -n 9 || die "another install.sh is at work: wait for it"
trap 'tidy; rm -rf "$work"; sync' EXIT # it may be unplugged as soon as this has ended
tidy

# A Pi that was just switched on may be updating its packages: wait for it.
apt() {
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y -qq "$@" \
    </dev/null >"$work/apt" 2>&1
}
# A freshly written image has no lists of packages yet, and would seem to have no picamera2.
if command -v apt-get >/dev/null && ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
  say "fetching the list of packages"
  apt update || say "apt-get update failed: $(tail -n 1 "$work/apt")"
fi
packages=
python3 -c 'import ensurepip, venv' 2>/dev/null || packages=python3-venv
# Only Raspberry Pi OS has picamera2; elsewhere the camera is USB or a stream.
if ! python3 -c 'import picamera2' 2>/dev/null && apt-cache show python3-picamera2 >/dev/null 2>&1; then
  packages="$packages python3-picamera2"
fi
for package in $packages; do
  say "installing $package"
  apt install --no-install-recommends "$package" || { apt update && apt install --no-install-recommends "$package"; } || {
    cat "$work/apt" >&2
    die "apt-get could not install $package"
  }
done

say "installing the program into /opt/maskedge (some minutes on a Pi)"
# Built from a copy: root leaves nothing in the user's checkout.
mkdir -p "$work/source/docs"
for part in pyproject.toml setup.py MANIFEST.in README.md LICENSE maskedge convert models; do
  cp -R "$here/$part" "$work/source"
done
cp "$here/docs/faults.md" "$work/source/docs"
# A new environment beside the one in force, which runs on untouched until all is ready, whatever
# interrupts this. It begins with hard links to what is there: pip replaces files, it changes none.
old=$prefix/$(readlink "$prefix/venv" || echo venv)
reuse=no space=500
case $("$old/bin/python" -m pip --version 2>/dev/null) in
*" from $old/"*) [ -e "$prefix/unfinished" ] || reuse=yes space=100 ;; # an earlier install.sh's mark
esac
free=$(($(stat -f -c '%a * %S' "$prefix") / 1000000))
[ "$free" -ge "$space" ] || die "too little space: $free MB are free in /opt/maskedge, it needs $space MB"
new=$(mktemp -d "$prefix/venv.XXXXXX")
chmod 755 "$new"
if [ "$reuse" = yes ]; then
  cp -al "$old/." "$new"
  find "$new/bin" -type f -exec sed -i "s#$old#$new#" {} +
else # a first one, or the system was upgraded to another Python
  python3 -m venv --system-site-packages "$new"
fi
"$new/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir \
  --upgrade "$work/source[web]" ||
  die "pip could not install it: is there a network, and space on the disk? Nothing was changed"

# A file is there whole or not at all, whatever interrupts this.
put() { install -m 0644 "$1" "$2.new" && mv -f "$2.new" "$2"; }
mkdir -p "$etc" "$(dirname "$unit")" "$(dirname "$rule")" "$(dirname "$command")"
if [ -e "$etc/config.yaml" ]; then
  put "$here/config.yaml" "$etc/config.yaml.new"
  say "kept /etc/maskedge/config.yaml; today's defaults are in config.yaml.new"
else
  put "$here/config.yaml" "$etc/config.yaml"
fi
"$new/bin/maskedge" check --config "$etc/config.yaml" >/dev/null ||
  die "this is to be corrected first; what is installed is left as it is" $?
put "$here/systemd/60-maskedge-coral.rules" "$rule"

# The manual page, and the shells' Tab key.
mkdir -p "$(dirname "$manual")"
"$new/bin/maskedge" man >"$manual"
for completion in $completions; do
  mkdir -p "$(dirname "${completion#*:}")"
  "$new/bin/maskedge" completion "${completion%%:*}" >"${completion#*:}"
done

if [ -z "$root" ]; then
  for group in plugdev apex gpio; do getent group $group >/dev/null || groupadd --system $group; done
fi
# In a container there is no udev to talk to.
if managed && udevadm control --reload 2>/dev/null; then udevadm trigger -s usb; fi

sync # what comes into force is on the disk
if [ -e "$unit" ]; then cp "$unit" "$work/unit"; fi
if [ -e "$prefix/venv" ] && [ ! -L "$prefix/venv" ]; then # made by an earlier install.sh
  old=$prefix/venv.first
  mv -T "$prefix/venv" "$old"
fi
put_in_force "$new"
put "$here/systemd/maskedge.service" "$unit"
[ -e "$command" ] || ln -sf /opt/maskedge/venv/bin/maskedge "$command"
rm -f "$prefix/unfinished"
if managed; then systemctl daemon-reload; fi
if [ "$start" = yes ] && [ -z "$root" ]; then
  systemctl enable --quiet maskedge.service # in an image that is being built: for its first boot
  if managed; then
    ran=no
    if systemctl is-active --quiet maskedge.service; then ran=yes; fi
    systemctl reset-failed maskedge.service 2>/dev/null || true # or an old start limit still holds
    if ! systemctl restart maskedge.service; then
      [ "$ran" = yes ] || die "it doesn't start; see: journalctl -u maskedge"
      put_in_force "$old"
      put "$work/unit" "$unit"
      systemctl daemon-reload
      systemctl reset-failed maskedge.service 2>/dev/null || true
      systemctl restart maskedge.service || die "neither the new version starts nor the one before"
      die "the new version doesn't start, so the one before runs again; see: journalctl -u maskedge"
    fi
    say "running; see: journalctl -fu maskedge"
  fi
fi
say "edit /etc/maskedge/config.yaml (changes are taken over at once), check with: maskedge check"
