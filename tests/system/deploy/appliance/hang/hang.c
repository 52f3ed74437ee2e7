// SPDX-License-Identifier: GPL-2.0-only
/* Keeps all processors busy without interrupts, for ever: nothing but the watchdog ends that. */

#include <linux/cpumask.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/stop_machine.h>

static int spin(void *data)
{
	for (;;)
		cpu_relax();
	return 0;
}

static int __init hang_init(void)
{
	pr_emerg("hang: nothing runs from here on\n");
	return stop_machine(spin, NULL, cpu_online_mask);
}

static void __exit hang_exit(void)
{
}

module_init(hang_init);
module_exit(hang_exit);

MODULE_DESCRIPTION("Hangs the kernel when it is loaded");
MODULE_LICENSE("GPL");
