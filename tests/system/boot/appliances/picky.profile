# The first profile of the user's own.
profile picky flags=(attach_disconnected) {
  file,
  signal (receive) peer=unconfined,
  deny /proc/version r,
  deny network inet stream,
}
