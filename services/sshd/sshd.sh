#!/bin/sh
# Collects the keys that may log in, then runs the server.
set -u
mkdir -p /root/.ssh
for FILE in /etc/piimage/authorized_keys /data/piimage/provision/authorized_keys; do
	[ ! -r "$FILE" ] || cat "$FILE"
done >/root/.ssh/authorized_keys
chmod 0700 /root/.ssh
chmod 0600 /root/.ssh/authorized_keys
[ -s /root/.ssh/authorized_keys ] || echo "sshd: no authorized key: nobody can log in" >&2
# -s: no passwords; -R: make the host key when it is first needed; -j -k: no forwarding; -K: end a
# session, and what it runs, if its client no longer answers.
exec dropbear -F -E -s -j -k -K 15 -R -r /etc/dropbear/dropbear_ed25519_host_key -p "${SSH_PORT:-22}"
