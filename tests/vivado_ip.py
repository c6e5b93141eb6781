"""What AMD's IP is connected by: pins, interfaces, properties, address segments.

As AMD's guides (PG195 XDMA, PG150 DDR4, PG247 SmartConnect, PG164 resets, PG065 clocks, PG201 processors) and
public designs call them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.verilog_ports import module_ports

__all__ = [
    "ANY",
    "BOARD",
    "HIGH",
    "LOW",
    "OPTIONAL",
    "OTHER_PROPERTIES",
    "PROPERTIES",
    "SEGMENTS",
    "SPACES",
    "Cell",
]

LOW, HIGH, ANY = "reset, low", "reset, high", "reset"


@dataclass
class Cell:
    """Pins by name: direction and kind; interfaces: role and kind, and the pin of their clock."""

    kind: str
    config: dict[str, str] = field(default_factory=dict)
    source: str = ""

    def pins(self) -> dict[str, tuple[str, str]]:
        c = self.config
        if self.kind == "module":
            return self._module_pins()
        if self.kind == "smartconnect":
            clocks = ["aclk", *(f"aclk{i}" for i in range(1, int(c.get("NUM_CLKS", 1))))]
            return {**dict.fromkeys(clocks, ("in", "clock")), "aresetn": ("in", LOW)}
        if self.kind == "ddr4":
            extra = {"addn_ui_clkout1": ("out", "clock")} if "ADDN_UI_CLKOUT1_FREQ_HZ" in c else {}
            return {
                "sys_rst": ("in", HIGH), "c0_ddr4_aresetn": ("in", LOW), "c0_ddr4_ui_clk": ("out", "clock"),
                "c0_ddr4_ui_clk_sync_rst": ("out", HIGH), "c0_init_calib_complete": ("out", "data"), **extra,
            }  # fmt: skip
        if self.kind == "clk_wiz":
            return {"clk_in1": ("in", "clock"), "clk_out1": ("out", "clock"), "locked": ("out", "data")}
        if self.kind == "zynq_ultra_ps_e":
            optional = {
                "PSU__USE__M_AXI_GP0": ("maxihpm0_fpd_aclk", "clock"), "PSU__USE__S_AXI_GP2":
                ("saxihp0_fpd_aclk", "clock"), "PSU__USE__IRQ0": ("pl_ps_irq0", "data"),
            }  # fmt: skip
            used = {pin: ("in", kind) for name, (pin, kind) in optional.items() if c.get(name) == "1"}
            return {"pl_clk0": ("out", "clock"), "pl_resetn0": ("out", LOW), **used}
        return _PINS[self.kind]

    def interfaces(self) -> dict[str, tuple[str, str, str]]:
        c = self.config
        if self.kind == "module":
            clock = next((name for name, (_, kind) in self.pins().items() if kind == "clock"), "")
            roles = {"m_axi": "master", "s_axi": "slave"}
            return {name: (role, "aximm", clock) for name, role in roles.items() if f" {name} AW" in self.source}
        if self.kind == "smartconnect":
            sides = (("S", "slave", "NUM_SI"), ("M", "master", "NUM_MI"))
            return {
                f"{side}{i:02}_AXI": (role, "aximm", "any")
                for side, role, count in sides
                for i in range(int(c.get(count, 1)))
            }
        if self.kind == "zynq_ultra_ps_e":
            found = {}
            if c.get("PSU__USE__M_AXI_GP0") == "1":
                found["M_AXI_HPM0_FPD"] = ("master", "aximm", "maxihpm0_fpd_aclk")
            if c.get("PSU__USE__S_AXI_GP2") == "1":
                found["S_AXI_HP0_FPD"] = ("slave", "aximm", "saxihp0_fpd_aclk")
            return found
        if self.kind == "xdma" and c.get("axilite_master_en") == "true":
            return {**_INTERFACES["xdma"], "M_AXI_LITE": ("master", "aximm", "axi_aclk")}
        return _INTERFACES.get(self.kind, {})

    def _module_pins(self) -> dict[str, tuple[str, str]]:
        name = re.search(r"^module (\w+)", self.source, re.MULTILINE)
        assert name
        found = {}
        for port, (direction, _) in module_ports(self.source, name[1]).items():
            if not re.match(r"[ms]_axi_", port):
                clock = f"clock:1.0 {port} CLK" in self.source
                kind = "clock" if clock else LOW if f"reset:1.0 {port} RST" in self.source else "data"
                found[port] = (direction.removesuffix("put"), kind)
        return found


_PINS: dict[str, dict[str, tuple[str, str]]] = {
    "xdma": {
        "sys_clk": ("in", "clock"), "sys_clk_gt": ("in", "clock"), "sys_rst_n": ("in", LOW),
        "usr_irq_req": ("in", "data"), "axi_aclk": ("out", "clock"), "axi_aresetn": ("out", LOW),
        "user_lnk_up": ("out", "data"), "usr_irq_ack": ("out", "data"),
    },
    "util_ds_buf": {"IBUF_OUT": ("out", "clock"), "IBUF_DS_ODIV2": ("out", "clock")},
    "xlconstant": {"dout": ("out", "constant")},
    "proc_sys_reset": {
        "slowest_sync_clk": ("in", "clock"), "ext_reset_in": ("in", ANY), "dcm_locked": ("in", "data"),
        "peripheral_aresetn": ("out", LOW), "interconnect_aresetn": ("out", LOW),
        "peripheral_reset": ("out", HIGH),
    },
}  # fmt: skip
OPTIONAL = {"dcm_locked"}
_INTERFACES: dict[str, dict[str, tuple[str, str, str]]] = {
    "xdma": {"M_AXI": ("master", "aximm", "axi_aclk"), "pcie_mgt": ("master", "pcie_7x_mgt", "")},
    "ddr4": {
        "C0_SYS_CLK": ("slave", "diff_clock", ""), "C0_DDR4": ("master", "ddr4", ""),
        "C0_DDR4_S_AXI": ("slave", "aximm", "c0_ddr4_ui_clk"),
        "C0_DDR4_S_AXI_CTRL": ("slave", "aximm", "c0_ddr4_ui_clk"),
    },
    "util_ds_buf": {"CLK_IN_D": ("slave", "diff_clock", "")},
}  # fmt: skip
PROPERTIES = {
    "smartconnect": {"NUM_SI", "NUM_MI", "NUM_CLKS"},
    "xdma": {
        "PCIE_BOARD_INTERFACE", "SYS_RST_N_BOARD_INTERFACE", "mode_selection", "pl_link_cap_max_link_width",
        "pl_link_cap_max_link_speed", "axisten_freq", "axi_data_width", "xdma_axi_intf_mm", "axilite_master_en",
        "axilite_master_scale", "axilite_master_size", "xdma_num_usr_irq", "xdma_rnum_chnl", "xdma_wnum_chnl",
    },
    "ddr4": {"C0_DDR4_BOARD_INTERFACE", "C0_CLOCK_BOARD_INTERFACE", "ADDN_UI_CLKOUT1_FREQ_HZ"},
    "util_ds_buf": {"C_BUF_TYPE", "DIFF_CLK_IN_BOARD_INTERFACE", "USE_BOARD_FLOW"},
    "xlconstant": {"CONST_WIDTH", "CONST_VAL"},
    "clk_wiz": {"PRIM_SOURCE", "CLKOUT1_REQUESTED_OUT_FREQ", "USE_LOCKED", "USE_RESET"},
    "zynq_ultra_ps_e": {
        "PSU__FPGA_PL0_ENABLE", "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ", "PSU__USE__M_AXI_GP0",
        "PSU__USE__M_AXI_GP1", "PSU__USE__M_AXI_GP2", "PSU__USE__S_AXI_GP2", "PSU__SAXIGP2__DATA_WIDTH",
        "PSU__USE__IRQ0",
    },
    "proc_sys_reset": set(), "port": {"FREQ_HZ", "POLARITY"}, "module": set(),
}  # fmt: skip
# Address segments behind interfaces, and the spaces of masters.
SEGMENTS = {
    ("ddr4", "C0_DDR4_S_AXI"): "C0_DDR4_MEMORY_MAP/C0_DDR4_ADDRESS_BLOCK",
    ("ddr4", "C0_DDR4_S_AXI_CTRL"): "C0_DDR4_MEMORY_MAP_CTRL/C0_REG",
    ("zynq_ultra_ps_e", "S_AXI_HP0_FPD"): "SAXIGP2/HP0_DDR_LOW",
    ("module", "s_axi"): "s_axi/reg0",
}
SPACES = {("zynq_ultra_ps_e", "M_AXI_HPM0_FPD"): "Data"}
BOARD = {
    "xilinx.com:au250:part0:1.3": {
        "pci_express_x16", "pcie_refclk", "pcie_perstn", "ddr4_sdram_c0", "default_300mhz_clk0"
    },
}  # fmt: skip
OTHER_PROPERTIES = {
    "board_part", "board_connections", "target_language", "top", "strategy", "CONFIG_VOLTAGE",
    "BITSTREAM.GENERAL.COMPRESS", "BITSTREAM.CONFIG.SPI_BUSWIDTH", "BITSTREAM.CONFIG.CONFIGRATE",
}  # fmt: skip
