// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel's simulator of interrupts, which Debian's kernel leaves out (IRQ_SIM). It is meant to be
 * built in, and calls irq_to_desc(), which modules cannot: here is the way that they have.
 */

#include <linux/irq.h>
#include <linux/irqdesc.h>

static inline struct irq_desc *module_irq_to_desc(unsigned int irq)
{
	return irq_data_to_desc(irq_get_irq_data(irq));
}

#define irq_to_desc module_irq_to_desc
#include "irq_sim.c"
