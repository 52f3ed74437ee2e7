/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * The protocol between a program and /dev/sensor-sim. All numbers are little-endian.
 *
 * read() returns one complete request (EMSGSIZE if the buffer is too small): a struct sim_request,
 * its segments, then the bytes that each segment sends, in order. An I2C read segment sends no bytes;
 * every SPI segment sends as many as its length. write() accepts one complete reply: a struct
 * sim_reply and, unless error is set, the bytes that each segment receives, in order. An I2C write
 * segment receives no bytes; every SPI segment receives as many as its length.
 *
 * A request without a reply fails with ETIMEDOUT after the timeout; a later reply fails with ENOENT.
 * While no program has the device open, no chip answers: EREMOTEIO on I2C, ones on SPI.
 */
#ifndef SENSOR_SIM_H
#define SENSOR_SIM_H

#include <linux/types.h>

#define SIM_I2C 1
#define SIM_SPI 2

#define SIM_READ 0x0001		/* I2C: a read; without it, a write */
#define SIM_RELEASE 0x0002	/* SPI: release chip select afterwards */

#define SIM_BYTES_MAX 65536	/* total of all segments */

struct sim_request {
	__le32 id;
	__u8 kind;		/* SIM_I2C, SIM_SPI */
	__u8 bus;		/* 0 */
	__le16 segments;
	__le16 address;		/* I2C: 7 bits; SPI: the chip select */
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
