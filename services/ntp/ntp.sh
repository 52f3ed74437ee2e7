#!/bin/sh
# chronyd with its configuration on the command line. It needs CAP_SYS_TIME and nothing else.
set -u
for server in ${NTP_SERVERS:-pool.ntp.org}; do echo "pool $server iburst"; done >/tmp/servers
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
