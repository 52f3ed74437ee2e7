#!/bin/sh
# Runs chronyd with a configuration made of NTP_SERVERS. It needs CAP_SYS_TIME and nothing else.
set -u
for SERVER in ${NTP_SERVERS:-pool.ntp.org}; do echo "pool $SERVER iburst"; done >/tmp/servers
cat >>/tmp/servers <<-END
	driftfile /data/ntp/drift
	makestep 1 3
	rtcsync
	port 0
	cmdport 0
	bindcmdaddress /
	pidfile /
END
exec chronyd -d -U -u root -f /tmp/servers
