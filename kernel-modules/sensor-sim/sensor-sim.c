// SPDX-License-Identifier: GPL-2.0-only
/*
 * An I2C adapter and an SPI controller whose transfers a program answers through /dev/sensor-sim
 * (sensor-sim.h defines the protocol). Add chips through new_device of the I2C adapter, as on any
 * bus, and through new_spi_device of /sys/class/misc/sensor-sim ("MODALIAS CS [SPEED_HZ [MODE]]").
 *
 * The buses refuse what those of a Raspberry Pi refuse: i2c-bcm2835 accepts one read, which is the
 * last message of a transfer; spi-bcm2835 has words of 8 bits and only the modes below.
 */

#include <linux/completion.h>
#include <linux/fs.h>
#include <linux/i2c.h>
#include <linux/list.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/spi/spi.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "sensor-sim.h"

#define SIM_CHIP_SELECTS 4
#define SIM_SEGMENTS_MAX 4096
#define SIM_IDLE_BYTE 0xff	/* no chip drives the line */

static unsigned int timeout_ms = 1000;
module_param(timeout_ms, uint, 0644);
MODULE_PARM_DESC(timeout_ms, "Timeout of a transfer, in milliseconds");

static int bus = -1;
module_param(bus, int, 0444);
MODULE_PARM_DESC(bus, "Number of the I2C bus (-1: the kernel chooses)");

static unsigned int fault_every;
module_param(fault_every, uint, 0644);
MODULE_PARM_DESC(fault_every, "Every Nth transfer fails (0: none)");

static unsigned int fault_errno = EREMOTEIO;
module_param(fault_errno, uint, 0644);
MODULE_PARM_DESC(fault_errno, "Positive errno of such a failure");

/* A transfer that the program answers. It exists as long as the function call that made it. */
struct sim_call {
	struct list_head list;
	struct completion done;
	u32 id;
	int error;
	bool answered;
	void *request;
	size_t request_bytes;
	u8 *reply;
	size_t reply_bytes;
};

/* lock protects all fields below it, and the fields of the calls on both lists. */
struct sim {
	struct platform_device *parent;
	struct i2c_adapter adapter;
	struct spi_controller *controller;
	wait_queue_head_t wait;
	atomic_t transfers;

	struct mutex lock;
	struct list_head pending;	/* not yet read by the program */
	struct list_head active;	/* read, not yet answered */
	struct spi_device *chips[SIM_CHIP_SELECTS];
	u32 next_id;
	bool open;
};

static struct sim sim = {
	.wait = __WAIT_QUEUE_HEAD_INITIALIZER(sim.wait),
	.lock = __MUTEX_INITIALIZER(sim.lock),
	.pending = LIST_HEAD_INIT(sim.pending),
	.active = LIST_HEAD_INIT(sim.active),
};

/* --- calls ------------------------------------------------------------------------------------ */

static int sim_call_make(struct sim_call *call, unsigned int segments, size_t sent, size_t received)
{
	memset(call, 0, sizeof(*call));
	INIT_LIST_HEAD(&call->list);
	init_completion(&call->done);
	call->request_bytes = sizeof(struct sim_request) +
			      segments * sizeof(struct sim_segment) + sent;
	call->reply_bytes = received;
	call->request = kvzalloc(call->request_bytes, GFP_KERNEL);
	call->reply = kvzalloc(max_t(size_t, received, 1), GFP_KERNEL);
	return call->request && call->reply ? 0 : -ENOMEM;
}

static void sim_call_free(struct sim_call *call)
{
	kvfree(call->request);
	kvfree(call->reply);
}

static void sim_answer(struct sim_call *call, int error)
{
	lockdep_assert_held(&sim.lock);
	list_del_init(&call->list);
	call->answered = true;
	call->error = error;
	complete(&call->done);
}

static bool sim_fault(void)
{
	unsigned int every = READ_ONCE(fault_every);

	return every && atomic_inc_return(&sim.transfers) % every == 0;
}

/* Passes the call to the program and waits. Returns -ENOTCONN if there is no program. */
static int sim_call_run(struct sim_call *call)
{
	struct sim_request *request = call->request;

	if (sim_fault())
		return -(int)READ_ONCE(fault_errno);
	mutex_lock(&sim.lock);
	if (!sim.open) {
		mutex_unlock(&sim.lock);
		return -ENOTCONN;
	}
	call->id = ++sim.next_id;
	request->id = cpu_to_le32(call->id);
	list_add_tail(&call->list, &sim.pending);
	mutex_unlock(&sim.lock);
	wake_up_interruptible(&sim.wait);

	wait_for_completion_timeout(&call->done, msecs_to_jiffies(READ_ONCE(timeout_ms)));

	mutex_lock(&sim.lock);
	if (!call->answered) {
		list_del_init(&call->list);
		call->error = -ETIMEDOUT;
	}
	mutex_unlock(&sim.lock);
	return call->error;
}

/* --- I2C -------------------------------------------------------------------------------------- */

static int sim_i2c_check(const struct i2c_msg *messages, int count)
{
	size_t bytes = 0;
	int i;

	for (i = 0; i < count; i++) {
		/* As in drivers/i2c/busses/i2c-bcm2835.c: only the last message may be a read. */
		if (i < count - 1 && (messages[i].flags & I2C_M_RD))
			return -EOPNOTSUPP;
		if (messages[i].flags & (I2C_M_TEN | I2C_M_RECV_LEN))
			return -EOPNOTSUPP;
		bytes += messages[i].len;
	}
	return bytes > SIM_BYTES_MAX ? -EMSGSIZE : 0;
}

static int sim_i2c_transfer(struct i2c_adapter *adapter, struct i2c_msg *messages, int count)
{
	struct sim_segment *segments;
	struct sim_request *request;
	size_t sent = 0, received = 0;
	struct sim_call call;
	u8 *data;
	int error, i;

	error = sim_i2c_check(messages, count);
	if (error)
		return error;
	for (i = 0; i < count; i++) {
		if (messages[i].flags & I2C_M_RD)
			received += messages[i].len;
		else
			sent += messages[i].len;
	}
	error = sim_call_make(&call, count, sent, received);
	if (error)
		goto out;

	request = call.request;
	request->kind = SIM_I2C;
	request->segments = cpu_to_le16(count);
	request->address = cpu_to_le16(messages[0].addr);
	segments = (struct sim_segment *)(request + 1);
	data = (u8 *)(segments + count);
	for (i = 0; i < count; i++) {
		bool reading = messages[i].flags & I2C_M_RD;

		segments[i].flags = cpu_to_le16(reading ? SIM_READ : 0);
		segments[i].address = cpu_to_le16(messages[i].addr);
		segments[i].length = cpu_to_le32(messages[i].len);
		if (!reading) {
			memcpy(data, messages[i].buf, messages[i].len);
			data += messages[i].len;
		}
	}
	error = sim_call_run(&call);
	if (error == -ENOTCONN)
		error = -EREMOTEIO;	/* no chip acknowledges */
	/* Only the last message can be a read. */
	if (!error && received)
		memcpy(messages[count - 1].buf, call.reply, received);
out:
	sim_call_free(&call);
	return error ?: count;
}

static u32 sim_i2c_functionality(struct i2c_adapter *adapter)
{
	return I2C_FUNC_I2C | I2C_FUNC_SMBUS_EMUL;
}

static const struct i2c_algorithm sim_i2c_algorithm = {
	.master_xfer = sim_i2c_transfer,
	.functionality = sim_i2c_functionality,
};

/* --- SPI -------------------------------------------------------------------------------------- */

static int sim_spi_fill(struct sim_call *call, struct spi_message *message, unsigned int count)
{
	struct sim_request *request = call->request;
	struct sim_segment *segment = (struct sim_segment *)(request + 1);
	u8 *data = (u8 *)(segment + count);
	struct spi_transfer *transfer;
	u32 fastest = 0;

	request->kind = SIM_SPI;
	request->segments = cpu_to_le16(count);
	request->address = cpu_to_le16(spi_get_chipselect(message->spi, 0));
	request->mode = cpu_to_le16(message->spi->mode);
	list_for_each_entry(transfer, &message->transfers, transfer_list) {
		segment->flags = cpu_to_le16(transfer->cs_change ? SIM_RELEASE : 0);
		segment->length = cpu_to_le32(transfer->len);
		if (transfer->tx_buf)
			memcpy(data, transfer->tx_buf, transfer->len);
		data += transfer->len;
		fastest = max(fastest, transfer->speed_hz);
		segment++;
	}
	request->speed_hz = cpu_to_le32(fastest);
	return sim_call_run(call);
}

static int sim_spi_message(struct spi_controller *controller, struct spi_message *message)
{
	struct spi_transfer *transfer;
	unsigned int count = 0;
	struct sim_call call;
	size_t bytes = 0;
	u8 *data;
	int error;

	list_for_each_entry(transfer, &message->transfers, transfer_list) {
		bytes += transfer->len;
		count++;
	}
	if (bytes > SIM_BYTES_MAX || count > SIM_SEGMENTS_MAX) {
		error = -EMSGSIZE;
		goto finish;
	}
	error = sim_call_make(&call, count, bytes, bytes);
	if (!error)
		error = sim_spi_fill(&call, message, count);
	if (error == -ENOTCONN) {
		memset(call.reply, SIM_IDLE_BYTE, bytes);
		error = 0;
	}
	if (!error) {
		data = call.reply;
		list_for_each_entry(transfer, &message->transfers, transfer_list) {
			if (transfer->rx_buf)
				memcpy(transfer->rx_buf, data, transfer->len);
			data += transfer->len;
		}
		message->actual_length = bytes;
	}
	sim_call_free(&call);
finish:
	message->status = error;
	spi_finalize_current_message(controller);
	return error;
}

static ssize_t new_spi_device_store(struct device *dev, struct device_attribute *attr,
				    const char *text, size_t count)
{
	struct spi_board_info info = { .max_speed_hz = 1000000 };
	struct spi_device *chip;
	unsigned int select;
	int fields;

	fields = sscanf(text, "%31s %u %u %u", info.modalias, &select, &info.max_speed_hz,
			&info.mode);
	if (fields < 2 || select >= SIM_CHIP_SELECTS)
		return -EINVAL;
	info.chip_select = select;
	mutex_lock(&sim.lock);
	chip = sim.chips[select] ? ERR_PTR(-EBUSY) : NULL;
	if (!chip)
		sim.chips[select] = ERR_PTR(-EBUSY);	/* reserved while its driver probes it */
	mutex_unlock(&sim.lock);
	if (chip)
		return PTR_ERR(chip);

	chip = spi_new_device(sim.controller, &info);
	mutex_lock(&sim.lock);
	sim.chips[select] = chip;
	mutex_unlock(&sim.lock);
	return chip ? count : -ENODEV;
}
static DEVICE_ATTR_WO(new_spi_device);

static ssize_t delete_spi_device_store(struct device *dev, struct device_attribute *attr,
				       const char *text, size_t count)
{
	struct spi_device *chip;
	unsigned int select;

	if (kstrtouint(text, 0, &select) || select >= SIM_CHIP_SELECTS)
		return -EINVAL;
	mutex_lock(&sim.lock);
	chip = sim.chips[select];
	if (!IS_ERR_OR_NULL(chip))
		sim.chips[select] = ERR_PTR(-EBUSY);
	mutex_unlock(&sim.lock);
	if (IS_ERR_OR_NULL(chip))
		return chip ? PTR_ERR(chip) : -ENODEV;

	spi_unregister_device(chip);
	mutex_lock(&sim.lock);
	sim.chips[select] = NULL;
	mutex_unlock(&sim.lock);
	return count;
}
static DEVICE_ATTR_WO(delete_spi_device);

static struct attribute *sim_attrs[] = {
	&dev_attr_new_spi_device.attr,
	&dev_attr_delete_spi_device.attr,
	NULL,
};
ATTRIBUTE_GROUPS(sim);

/* --- /dev/sensor-sim -------------------------------------------------------------------------- */

static int sim_open(struct inode *inode, struct file *file)
{
	int error = 0;

	mutex_lock(&sim.lock);
	if (sim.open)
		error = -EBUSY;
	else
		sim.open = true;
	mutex_unlock(&sim.lock);
	return error ?: stream_open(inode, file);
}

static int sim_release(struct inode *inode, struct file *file)
{
	struct sim_call *call, *next;

	mutex_lock(&sim.lock);
	sim.open = false;
	list_for_each_entry_safe(call, next, &sim.pending, list)
		sim_answer(call, -ENOTCONN);
	list_for_each_entry_safe(call, next, &sim.active, list)
		sim_answer(call, -ENOTCONN);
	mutex_unlock(&sim.lock);
	return 0;
}

static ssize_t sim_read(struct file *file, char __user *buffer, size_t size, loff_t *position)
{
	struct sim_call *call;
	ssize_t result;

	for (;;) {
		mutex_lock(&sim.lock);
		if (!list_empty(&sim.pending))
			break;
		mutex_unlock(&sim.lock);
		if (file->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(sim.wait, !list_empty_careful(&sim.pending)))
			return -ERESTARTSYS;
	}
	call = list_first_entry(&sim.pending, struct sim_call, list);
	result = call->request_bytes;
	if (size < call->request_bytes)
		result = -EMSGSIZE;
	else if (copy_to_user(buffer, call->request, call->request_bytes))
		result = -EFAULT;
	else
		list_move_tail(&call->list, &sim.active);
	mutex_unlock(&sim.lock);
	return result;
}

static struct sim_call *sim_find(u32 id)
{
	struct sim_call *call;

	list_for_each_entry(call, &sim.active, list)
		if (call->id == id)
			return call;
	return NULL;
}

static ssize_t sim_write(struct file *file, const char __user *buffer, size_t size,
			 loff_t *position)
{
	struct sim_reply *reply;
	struct sim_call *call;
	size_t bytes;
	u32 error;
	ssize_t result = size;

	if (size < sizeof(*reply) || size > sizeof(*reply) + SIM_BYTES_MAX)
		return -EINVAL;
	bytes = size - sizeof(*reply);
	reply = vmemdup_user(buffer, size);
	if (IS_ERR(reply))
		return PTR_ERR(reply);
	error = le32_to_cpu(reply->error);

	mutex_lock(&sim.lock);
	call = sim_find(le32_to_cpu(reply->id));
	if (!call) {
		result = -ENOENT;
	} else if (error >= MAX_ERRNO || bytes != (error ? 0 : call->reply_bytes)) {
		result = -EINVAL;
	} else {
		memcpy(call->reply, reply + 1, bytes);
		sim_answer(call, -(int)error);
	}
	mutex_unlock(&sim.lock);
	kvfree(reply);
	return result;
}

static __poll_t sim_poll(struct file *file, poll_table *table)
{
	poll_wait(file, &sim.wait, table);
	return list_empty_careful(&sim.pending) ? EPOLLOUT : EPOLLIN | EPOLLRDNORM | EPOLLOUT;
}

static const struct file_operations sim_operations = {
	.owner = THIS_MODULE,
	.open = sim_open,
	.release = sim_release,
	.read = sim_read,
	.write = sim_write,
	.poll = sim_poll,
};

static struct miscdevice sim_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "sensor-sim",
	.mode = 0600,
	.fops = &sim_operations,
	.groups = sim_groups,
};

/* --- the module ------------------------------------------------------------------------------- */

static int sim_add_i2c(void)
{
	struct i2c_adapter *adapter = &sim.adapter;

	adapter->owner = THIS_MODULE;
	adapter->class = I2C_CLASS_DEPRECATED;
	adapter->algo = &sim_i2c_algorithm;
	adapter->dev.parent = &sim.parent->dev;
	adapter->nr = bus;
	strscpy(adapter->name, "sensor-sim", sizeof(adapter->name));
	return i2c_add_numbered_adapter(adapter);
}

static int sim_add_spi(void)
{
	struct spi_controller *controller = spi_alloc_host(&sim.parent->dev, 0);
	int error;

	if (!controller)
		return -ENOMEM;
	controller->bus_num = -1;
	controller->num_chipselect = SIM_CHIP_SELECTS;
	controller->mode_bits = SPI_CPOL | SPI_CPHA | SPI_CS_HIGH | SPI_NO_CS | SPI_3WIRE;
	controller->bits_per_word_mask = SPI_BPW_MASK(8);
	controller->transfer_one_message = sim_spi_message;
	error = spi_register_controller(controller);
	if (error)
		spi_controller_put(controller);
	else
		sim.controller = controller;
	return error;
}

static int __init sim_init(void)
{
	int error;

	sim.parent = platform_device_register_simple("sensor-sim", PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(sim.parent))
		return PTR_ERR(sim.parent);
	error = sim_add_i2c();
	if (error)
		goto parent;
	error = sim_add_spi();
	if (error)
		goto i2c;
	error = misc_register(&sim_device);
	if (error)
		goto spi;
	return 0;
spi:
	spi_unregister_controller(sim.controller);
i2c:
	i2c_del_adapter(&sim.adapter);
parent:
	platform_device_unregister(sim.parent);
	return error;
}

static void __exit sim_exit(void)
{
	misc_deregister(&sim_device);
	spi_unregister_controller(sim.controller);	/* with its devices */
	i2c_del_adapter(&sim.adapter);
	platform_device_unregister(sim.parent);
}

module_init(sim_init);
module_exit(sim_exit);

MODULE_DESCRIPTION("I2C and SPI buses whose chips a program simulates");
MODULE_LICENSE("GPL");
