// SPDX-License-Identifier: GPL-2.0-only
/* The kernel's own file under another name: gpio-sim.o is the whole module. */
#include "gpio-sim.c"
