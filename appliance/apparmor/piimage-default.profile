# The profile of every container that may not administer the system and has no profile of its own.
# seccomp, capabilities and mounts confine it already; this holds where one of them is bypassed or was
# granted too widely. scripts/compile_profiles.py compiles it (docs/decisions/0163).
profile piimage-default flags=(attach_disconnected,mediate_deleted) {
  # What is not denied below is decided by the container's mounts, capabilities and user.
  file,
  network,
  capability,

  # Only the mounts that runc made before the start.
  deny mount,
  deny umount,
  deny remount,
  deny pivot_root,

  # The system stops a container; containers do not signal or trace each other, or the system.
  signal (receive) peer=unconfined,
  signal (send, receive) peer=@{profile_name},
  ptrace (trace, read, tracedby, readby) peer=@{profile_name},

  # Of /proc a container writes to its processes' files, and to the settings of its network.
  deny /proc/* wkl,
  deny /proc/{acpi,asound,bus,driver,dynamic_debug,fs,irq,mpt,scsi,tty}/** wkl,
  deny /proc/sys/{abi,crypto,debug,dev,fs,kernel,sunrpc,user,vm}/** wkl,
  deny /proc/sys/net/core/** wkl,

  # The kernel's memory, keys and timers, and what reboots the system.
  deny /proc/{acpi,asound,kcore,keys,kmsg,latency_stats,sched_debug,scsi,sysrq-trigger,timer_list,timer_stats} rwklmx,
  deny /proc/{acpi,asound,scsi}/** rwklmx,
  deny /sys/firmware/** rwklmx,
  deny /sys/devices/virtual/powercap/** rwklmx,
  deny /sys/kernel/{security,debug,tracing}/** rwklmx,

  # The hardware and the kernel of the whole Pi.
  deny /sys/** wkl,
}
