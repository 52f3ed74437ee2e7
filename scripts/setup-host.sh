#!/usr/bin/env bash
# Installs the host packages that building and testing need, on Debian 12 or 13; run it as often as
# you like. QEMU must be 9 or newer, which on Debian 12 comes from its backports.
set -euo pipefail

build_packages=(
  bubblewrap ca-certificates cpio device-tree-compiler dosfstools e2fsprogs fdisk git gpgv kmod
  debian-archive-keyring mtools openssh-client python3-venv skopeo squashfs-tools xz-utils zstd
)
emulator_packages=(qemu-system-arm qemu-utils ipxe-qemu qemu-efi-aarch64)
# The engines of the guest for driver tests: user-mode Linux, and QEMU as a machine of this
# architecture with Debian's kernel out of /boot.
case $(dpkg --print-architecture 2>/dev/null) in
  amd64) emulator_packages+=(qemu-system-x86); guest_packages=(linux-image-amd64 user-mode-linux) ;;
  arm64) guest_packages=(linux-image-arm64) ;;
  *) guest_packages=() ;;
esac
# What only the tests use: independent checks and real counterparts; a compiler and Python's headers
# for spidev, which comes as source.
test_packages=(
  gcc libc6-dev python3-dev
  apache2-utils bmap-tools buildah busybox-static chromium docker-registry fonts-dejavu-core fuse3 gnupg
  dbus dmsetup exfatprogs gdisk iproute2 libglib2.0-bin nftables polkitd u-boot-qemu udisks2
  fish libjs-dygraphs man-db mmdebstrap mosquitto mosquitto-clients openssh-server openssl podman
  prometheus runc
  apparmor curl libengine-pkcs11-openssl shellcheck siftool softhsm2 swupdate umoci wget xorriso zsh
)
# Packages of others have the same file.
command -v kubectl >/dev/null || test_packages+=(kubernetes-client)
# Container folders with a Dockerfile: an engine, and arm64 programs under emulation.
engine_packages=(binfmt-support docker.io iptables qemu-user-static)
# Engines that a user runs, which only the tests do.
engine_packages+=(rootlesskit slirp4netns uidmap)
# The command docker, which only the tests use, is a package of its own since Debian 13.
grep -q '^VERSION_ID="12"' /etc/os-release || engine_packages+=(docker-cli)

packages=("${build_packages[@]}" "${emulator_packages[@]}" "${test_packages[@]}"
  "${engine_packages[@]}" "${guest_packages[@]}")

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

installed() { dpkg-query -W -f '${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed; }

qemu_is_new() {
  local version
  version=$(qemu-system-aarch64 --version 2>/dev/null | sed -nE '1s/.*version ([0-9]+).*/\1/p')
  [ "${version:-0}" -ge 9 ]
}

# The archive that this host already uses, for its backports.
archive_root() {
  apt-get indextargets --format '$(SITE) $(RELEASE) $(REPO_URI)' 'Identifier: Packages' |
    awk -v suite="$1" '$2 == suite { print $3; exit }'
}

add_backports() {
  local suite=$1 root
  [ -z "$(archive_root "$suite-backports")" ] || return 0
  root=$(archive_root "$suite")
  [ -n "$root" ] || { echo "setup: apt has no source for $suite: add one" >&2; exit 1; }
  printf 'Types: deb\nURIs: %s\nSuites: %s-backports\nComponents: main\nSigned-By: %s\n' \
    "$root" "$suite" /usr/share/keyrings/debian-archive-keyring.gpg |
    as_root tee /etc/apt/sources.list.d/piimage-backports.sources >/dev/null
  as_root apt-get update -qq
}

missing=()
for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
if [ ${#missing[@]} = 0 ] && qemu_is_new; then exit 0; fi

command -v apt-get >/dev/null || {
  echo "setup: this is not Debian: install by hand: ${packages[*]}" >&2
  exit 3
}
# A machine that boots another way, such as a container, needs no initrd beside the kernel: half a
# minute and 30 MB less.
settings=(DEBIAN_FRONTEND=noninteractive)
compgen -G '/boot/initrd.img*' >/dev/null || settings+=(INITRD=No)
as_root apt-get update -qq
. /etc/os-release
release=()
if [ "${VERSION_ID:-}" = 12 ]; then
  add_backports "$VERSION_CODENAME"
  release=(-t "$VERSION_CODENAME-backports")
fi
# Some packages start a service when they are installed; this forbids it meanwhile.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
  as_root chmod 755 /usr/sbin/policy-rc.d
  trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
fi
as_root env "${settings[@]}" apt-get install -y -qq --no-install-recommends \
  "${release[@]}" "${emulator_packages[@]}" >/dev/null
as_root env "${settings[@]}" apt-get install -y -qq --no-install-recommends \
  "${packages[@]}" >/dev/null
qemu_is_new || { echo "setup: QEMU 9 or newer is needed; found $(qemu-system-aarch64 --version | head -1)" >&2; exit 3; }
