/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What a program and /dev/sensor-sim say to each other. All numbers are little-endian.
 *
 * read() gives one request, whole (EMSGSIZE if the buffer is too small): a struct sim_request, its
 * segments, then what each of them sends, in order. An I2C segment that reads sends nothing; every
 * SPI segment sends its length. write() takes one reply, whole: a struct sim_reply, and, unless
 * error is set, what each segment receives, in order. An I2C segment that writes receives nothing;
 * every SPI segment receives its length.
 *
 * A request that nobody answers in time fails with ETIMEDOUT; a late reply to it gets ENOENT. While
 * no program has the device open nobody answers on the buses: EREMOTEIO on I2C, ones on SPI.
 */
#ifndef SENSOR_SIM_H
#define SENSOR_SIM_H

#include <linux/types.h>

#define SIM_I2C 1
#define SIM_SPI 2

#define SIM_READ 0x0001		/* I2C: a read; the others are writes */
#define SIM_RELEASE 0x0002	/* SPI: chip select is released after it */

#define SIM_BYTES_MAX 65536	/* of all segments together */

struct sim_request {
	__le32 id;
	__u8 kind;		/* SIM_I2C, SIM_SPI */
	__u8 bus;		/* 0 */
	__le16 segments;
	__le16 address;		/* I2C: 7 bits; SPI: number of the chip select */
	__le16 mode;		/* SPI: SPI_CPHA, SPI_CPOL, ... */
	__le32 speed_hz;	/* SPI: of the fastest segment */
};

struct sim_segment {
	__le16 flags;
	__le16 address;		/* I2C: of this message */
	__le32 length;
};

struct sim_reply {
	__le32 id;
	__le32 error;		/* 0, or a positive errno */
};

#endif
