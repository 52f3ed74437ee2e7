// SPDX-License-Identifier: GPL-2.0-only
/* A minimal module to copy: one parameter, and a line in the log when it is loaded and removed. */

#include <linux/init.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static char *whom = "world";
module_param(whom, charp, 0444);
MODULE_PARM_DESC(whom, "Name to greet");

static int __init hello_init(void)
{
	pr_info("hello, %s\n", whom);
	return 0;
}

static void __exit hello_exit(void)
{
	pr_info("good-bye, %s\n", whom);
}

module_init(hello_init);
module_exit(hello_exit);

MODULE_DESCRIPTION("Writes a greeting to the kernel log");
MODULE_LICENSE("GPL");
