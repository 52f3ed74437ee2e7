#!/bin/sh
# Collects the keys that may log in, then serves.
set -u
mkdir -p /root/.ssh
for file in /etc/piimage/authorized_keys /data/piimage/provision/authorized_keys; do
	[ ! -r "$file" ] || cat "$file"
done >/root/.ssh/authorized_keys
chmod 0700 /root/.ssh
chmod 0600 /root/.ssh/authorized_keys
[ -s /root/.ssh/authorized_keys ] || echo "sshd: no authorized key: nobody can log in" >&2
# -s: no passwords; -R: the host key is made when it is first needed; -j -k: no forwarding; -K: who is
# gone without a word is noticed, and what ran for them ends.
exec dropbear -F -E -s -j -k -K 15 -R -r /etc/dropbear/dropbear_ed25519_host_key -p "${SSH_PORT:-22}"
