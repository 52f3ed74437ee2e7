"""A small board as a device tree, and the drivers of a small kernel."""

from __future__ import annotations

from piimage.firmware.fdt import Tree, read_tree
from piimage.hardware.drivers import Drivers
from tests.unit.firmware.cards import blob

BOARD = """/dts-v1/;
/ {
	#address-cells = <1>;
	interrupt-parent = <&gic>;
	aliases { mmc0 = "/soc/mmc@1"; ethernet0 = "/soc/bridge@7/net@0"; };
	soc {
		compatible = "simple-bus";
		gic: controller@0 {
			compatible = "maker,gic";
			#interrupt-cells = <3>;
			interrupts = <1 9 4>;
		};
		mmc@1 {
			compatible = "maker,new-mmc", "maker,mmc";
			interrupts = <0 1 4>;
			clocks = <&fixed>, <&clocks 7 8>, <0>, <&dead 1>;
			vmmc-supply = <&supply>;
			pinctrl-0 = <&card_pins>;
			cd-gpios = <&gpio 5 1>;
			mmc-pwrseq = <&sequence>;
		};
		gpio: gpio@2 {
			compatible = "maker,gpio";
			gpio-controller;
			#gpio-cells = <2>;
			interrupt-controller;
			#interrupt-cells = <2>;
			card_pins: pins { pins = "a", "b"; };
			hog { gpio-hog; gpios = <3 0>; };
		};
		clocks: clocks@3 {
			compatible = "maker,clocks";
			#clock-cells = <2>;
			clocks = <&fixed>;
		};
		dead: dead@4 { compatible = "maker,dead"; #clock-cells = <1>; status = "disabled"; };
		keys: keys {
			compatible = "maker,keys";
			one { gpios = <&gpio 1 0>; };
			chip { compatible = "maker,chip"; pwms = <&gpio>; };
		};
		slow: slow@5 { compatible = "maker,slow"; resets = <&lazy 1>; nr-gpios = <9>; };
		lazy: lazy@6 { compatible = "maker,lazy"; #reset-cells = <1>; };
		bridge: bridge@7 {
			compatible = "maker,pcie";
			device_type = "pci";
			#address-cells = <3>;
			#interrupt-cells = <1>;
			interrupt-map = <0 0 0 1 &gic 0 5 4>, <0 0 0 2 &gic 0 6 4>;
			net@0 { resets = <&lazy 0>; };
			chip@1 { compatible = "pci1de4,1"; };
		};
		usb: usb@8 {
			compatible = "maker,usb";
			hub@1 { compatible = "usb424,2514"; port@1 { compatible = "usb424,7800"; }; };
		};
		left: left@9 { compatible = "maker,left"; phys = <&right>; #phy-cells = <0>; };
		right: right@a { compatible = "maker,right"; phys = <&left>; #phy-cells = <0>; };
	};
	fixed: oscillator { compatible = "fixed-clock"; #clock-cells = <0>; };
	supply: supply { compatible = "maker,supply"; enable-gpio = <&gpio 6 0>; };
	sequence: sequence { compatible = "maker,sequence"; };
};
"""
MODULES = (
    "mmc",
    "mmc of:N*T*Cmaker,mmc",
    "mmc of:N*T*Cmaker,mmcC*",
    "supply",
    "supply of:N*T*Cmaker,supplyC*",
    "lazy",
    "lazy of:N*T*Cmaker,lazy",
    "lan78xx",
    "lan78xx usb:v0424p7800d*dc*dsc*dp*ic*isc*ip*in*",
    "chip",
    "chip pci:v00001DE4d00000001sv*sd*bc*sc*i*",
)
BUILT_IN = ("usbcore", "gpio", "gpio of:N*T*Cmaker,gpio")
IMAGE = (
    "fixed-clock", "maker,clocks", "maker,gic", "maker,gpio", "maker,pcie", "maker,sequence",
    "maker,slow", "maker,usb", "simple-bus",
)  # fmt: skip


def tree(source: str = BOARD) -> Tree:
    return read_tree(blob(source), "board.dtb")


def drivers() -> Drivers:
    return Drivers(MODULES, BUILT_IN, IMAGE)
