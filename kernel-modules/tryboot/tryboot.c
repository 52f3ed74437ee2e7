// SPDX-License-Identifier: GPL-2.0-only
/*
 * The firmware's one-time flag: with it, the next start is a try of the other slot.
 *
 * /sys/module/tryboot/parameters/next is 0 or 1, and is always the flag itself. On a Pi the firmware
 * keeps it, and is asked through its mailbox. If it does not know the question, reading and writing
 * fail with EOPNOTSUPP. In an emulator no firmware runs: the property piimage,try-flag of /chosen has
 * the address of a page, in memory that the kernel does not use, where the emulator looks for it.
 */

#define pr_fmt(format) "tryboot: " format

#include <linux/errno.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/of.h>
#include <linux/sysfs.h>
#include <linux/types.h>

#include <soc/bcm2835/raspberrypi-firmware.h>

/* Raspberry Pi's kernel tree: include/soc/bcm2835/raspberrypi-firmware.h; Linux 7.3 lacks them. */
#define GET_REBOOT_FLAGS 0x00030064
#define SET_REBOOT_FLAGS 0x00038064
#define TRY BIT(0)

/* Raspberry Pi's documentation of the mailbox: bit 31 and the length of what was answered. */
#define ANSWERED BIT(31)

/* What an emulator finds in its page: nothing else in there is taken for a flag. */
#define EMULATED 0x54525930 /* "TRY0"; "TRY1" with the flag */

struct request {
	struct rpi_firmware_property_tag_header header;
	__le32 flags;
} __packed;

/*
 * The whole request is sent, and not its value alone, because only the header shows whether the
 * firmware knows the tag.
 */
static int ask(u32 tag, u32 *flags, u32 *length)
{
	struct request request = {
		.header = { .tag = tag, .buf_size = sizeof(request.flags) },
		.flags = cpu_to_le32(*flags),
	};
	struct device_node *node = rpi_firmware_find_node();
	struct rpi_firmware *firmware;
	int error;

	if (!node)
		return -EOPNOTSUPP;
	firmware = rpi_firmware_get(node);
	of_node_put(node);
	if (!firmware)
		return -EOPNOTSUPP;
	error = rpi_firmware_property_list(firmware, &request, sizeof(request));
	rpi_firmware_put(firmware);
	if (error == -EINVAL || (!error && !(request.header.req_resp_size & ANSWERED)))
		return -EOPNOTSUPP;
	if (error)
		return error;
	*flags = le32_to_cpu(request.flags);
	*length = request.header.req_resp_size & ~ANSWERED;
	return 0;
}

static int read_mailbox(u32 *flags)
{
	u32 length = 0;
	int error;

	*flags = 0;
	error = ask(GET_REBOOT_FLAGS, flags, &length);
	/* QEMU answers with nothing what it does not know. */
	if (!error && length < sizeof(*flags))
		return -EOPNOTSUPP;
	return error;
}

/* Writes the flag, and looks whether the firmware has it. Its other flags stay. */
static int write_mailbox(bool next)
{
	u32 flags, length, wanted;
	int error = read_mailbox(&flags);

	if (error)
		return error;
	wanted = next ? flags | TRY : flags & ~TRY;
	flags = wanted;
	error = ask(SET_REBOOT_FLAGS, &flags, &length);
	if (error)
		return error;
	error = read_mailbox(&flags);
	if (error)
		return error;
	return (flags ^ wanted) & TRY ? -EIO : 0;
}

static u32 *map_page(void)
{
	u64 address;

	if (!of_chosen || of_property_read_u64(of_chosen, "piimage,try-flag", &address))
		return NULL;
	return memremap(address, sizeof(u32), MEMREMAP_WB);
}

static int get_next(char *buffer, const struct kernel_param *parameter)
{
	u32 *page = map_page();
	u32 flags = 0;
	int error = 0;

	if (page) {
		flags = READ_ONCE(*page) == (EMULATED | TRY) ? TRY : 0;
		memunmap(page);
	} else {
		error = read_mailbox(&flags);
	}
	return error ? error : sysfs_emit(buffer, "%d\n", (flags & TRY) != 0);
}

static int set_next(const char *text, const struct kernel_param *parameter)
{
	u32 *page;
	bool next;
	int error = kstrtobool(text, &next);

	if (error)
		return error;
	page = map_page();
	if (page) {
		WRITE_ONCE(*page, EMULATED | (next ? TRY : 0));
		memunmap(page);
	} else {
		error = write_mailbox(next);
	}
	if (!error)
		pr_info("the next start is %s\n", next ? "a try" : "an ordinary one");
	return error;
}

static const struct kernel_param_ops next_ops = { .get = get_next, .set = set_next };
module_param_cb(next, &next_ops, NULL, 0600);
__MODULE_PARM_TYPE(next, "bool");
MODULE_PARM_DESC(next, "Whether the next start is a try (0 or 1); reading asks the firmware");

MODULE_DESCRIPTION("Sets the one-time flag of a Pi's firmware that makes it try the other slot");
MODULE_LICENSE("GPL");
