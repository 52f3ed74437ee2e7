#!/bin/sh
# Runs piimage as the owner of the working folder, so that what it writes belongs to that user of
# the host. Docker Desktop maps owners by itself: there the folder belongs to root, as do we.
set -eu
user=$(stat -c %u .)
group=$(stat -c %g .)
if [ "$(id -u)" != 0 ] || [ "$user" = 0 ]; then
  exec piimage "$@"
fi
# ssh and ssh-keygen refuse to run for a user without a name.
echo "user:x:$user:$group::$HOME:/bin/sh" >>/etc/passwd
chown "$user:$group" "$HOME" "$PIIMAGE_STORE"
chmod 700 "$PIIMAGE_STORE"
exec setpriv --reuid "$user" --regid "$group" --clear-groups piimage "$@"
