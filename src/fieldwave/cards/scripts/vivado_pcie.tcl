# PCIe, one channel of DDR4 and the NPU:
#
#     host --- xdma --- M_AXI ------+
#                |                  +-- memory_interconnect --- ddr4
#                |      npu/m_axi --+
#                +-- M_AXI_LITE --- control_interconnect --+-- npu/s_axi
#                                                          +-- ddr4 (ECC)
#
# Pins come from the board file, by the names of the interfaces.

# Ports, named as the board file names its interfaces.
create_bd_intf_port -mode Master -vlnv xilinx.com:interface:pcie_7x_mgt_rtl:1.0 pci_express_x16
create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:diff_clock_rtl:1.0 pcie_refclk
set_property CONFIG.FREQ_HZ 100000000 [get_bd_intf_ports pcie_refclk]
create_bd_port -dir I -type rst pcie_perstn
set_property CONFIG.POLARITY ACTIVE_LOW [get_bd_ports pcie_perstn]
create_bd_intf_port -mode Master -vlnv xilinx.com:interface:ddr4_rtl:1.0 ddr4_sdram_c0
create_bd_intf_port -mode Slave -vlnv xilinx.com:interface:diff_clock_rtl:1.0 default_300mhz_clk0
set_property CONFIG.FREQ_HZ 300000000 [get_bd_intf_ports default_300mhz_clk0]

# The host.
create_bd_cell -type ip -vlnv xilinx.com:ip:util_ds_buf pcie_clock
set_property -dict [list CONFIG.C_BUF_TYPE IBUFDSGTE CONFIG.DIFF_CLK_IN_BOARD_INTERFACE pcie_refclk \
    CONFIG.USE_BOARD_FLOW true] [get_bd_cells pcie_clock]
create_bd_cell -type ip -vlnv xilinx.com:ip:xdma xdma
set_property -dict [list \
    CONFIG.PCIE_BOARD_INTERFACE pci_express_x16 \
    CONFIG.SYS_RST_N_BOARD_INTERFACE pcie_perstn \
    CONFIG.mode_selection Advanced \
    CONFIG.pl_link_cap_max_link_width X16 \
    CONFIG.pl_link_cap_max_link_speed 8.0_GT/s \
    CONFIG.axisten_freq 250 \
    CONFIG.axi_data_width 512_bit \
    CONFIG.xdma_axi_intf_mm AXI_Memory_Mapped \
    CONFIG.axilite_master_en true \
    CONFIG.axilite_master_scale Kilobytes \
    CONFIG.axilite_master_size 128 \
    CONFIG.xdma_num_usr_irq 1 \
    CONFIG.xdma_rnum_chnl 1 \
    CONFIG.xdma_wnum_chnl 1 \
] [get_bd_cells xdma]
connect_bd_intf_net [get_bd_intf_ports pcie_refclk] [get_bd_intf_pins pcie_clock/CLK_IN_D]
connect_bd_net [get_bd_pins pcie_clock/IBUF_OUT] [get_bd_pins xdma/sys_clk_gt]
connect_bd_net [get_bd_pins pcie_clock/IBUF_DS_ODIV2] [get_bd_pins xdma/sys_clk]
connect_bd_net [get_bd_ports pcie_perstn] [get_bd_pins xdma/sys_rst_n]
connect_bd_intf_net [get_bd_intf_pins xdma/pcie_mgt] [get_bd_intf_ports pci_express_x16]

# The memory: 64 bits and ECC at 2400 MT/s, which is 512 bits at 300 MHz on the chip. It also makes the NPU's clock.
create_bd_cell -type ip -vlnv xilinx.com:ip:ddr4 ddr4
set_property -dict [list \
    CONFIG.C0_DDR4_BOARD_INTERFACE ddr4_sdram_c0 \
    CONFIG.C0_CLOCK_BOARD_INTERFACE default_300mhz_clk0 \
    CONFIG.ADDN_UI_CLKOUT1_FREQ_HZ $npu_megahertz \
] [get_bd_cells ddr4]
create_bd_cell -type ip -vlnv xilinx.com:ip:xlconstant never
set_property -dict [list CONFIG.CONST_WIDTH 1 CONFIG.CONST_VAL 0] [get_bd_cells never]
connect_bd_intf_net [get_bd_intf_ports default_300mhz_clk0] [get_bd_intf_pins ddr4/C0_SYS_CLK]
connect_bd_intf_net [get_bd_intf_pins ddr4/C0_DDR4] [get_bd_intf_ports ddr4_sdram_c0]
connect_bd_net [get_bd_pins never/dout] [get_bd_pins ddr4/sys_rst]

# The NPU, and resets for the two clocks that the memory makes.
create_bd_cell -type module -reference fieldwave_npu npu
foreach {name clock} {memory_reset ddr4/c0_ddr4_ui_clk npu_reset ddr4/addn_ui_clkout1} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset $name
    connect_bd_net [get_bd_pins $clock] [get_bd_pins $name/slowest_sync_clk]
    connect_bd_net [get_bd_pins ddr4/c0_ddr4_ui_clk_sync_rst] [get_bd_pins $name/ext_reset_in]
}
connect_bd_net [get_bd_pins memory_reset/peripheral_aresetn] [get_bd_pins ddr4/c0_ddr4_aresetn]
connect_bd_net [get_bd_pins ddr4/addn_ui_clkout1] [get_bd_pins npu/aclk]
connect_bd_net [get_bd_pins npu_reset/peripheral_aresetn] [get_bd_pins npu/aresetn]

# Interconnects, which also change clocks and widths.
create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect memory_interconnect
set_property -dict [list CONFIG.NUM_SI 2 CONFIG.NUM_MI 1 CONFIG.NUM_CLKS 3] [get_bd_cells memory_interconnect]
connect_bd_net [get_bd_pins ddr4/c0_ddr4_ui_clk] [get_bd_pins memory_interconnect/aclk]
connect_bd_net [get_bd_pins ddr4/addn_ui_clkout1] [get_bd_pins memory_interconnect/aclk1]
connect_bd_net [get_bd_pins xdma/axi_aclk] [get_bd_pins memory_interconnect/aclk2]
connect_bd_net [get_bd_pins memory_reset/interconnect_aresetn] [get_bd_pins memory_interconnect/aresetn]
connect_bd_intf_net [get_bd_intf_pins npu/m_axi] [get_bd_intf_pins memory_interconnect/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins xdma/M_AXI] [get_bd_intf_pins memory_interconnect/S01_AXI]
connect_bd_intf_net [get_bd_intf_pins memory_interconnect/M00_AXI] [get_bd_intf_pins ddr4/C0_DDR4_S_AXI]

create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect control_interconnect
set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI 2 CONFIG.NUM_CLKS 3] [get_bd_cells control_interconnect]
connect_bd_net [get_bd_pins xdma/axi_aclk] [get_bd_pins control_interconnect/aclk]
connect_bd_net [get_bd_pins ddr4/addn_ui_clkout1] [get_bd_pins control_interconnect/aclk1]
connect_bd_net [get_bd_pins ddr4/c0_ddr4_ui_clk] [get_bd_pins control_interconnect/aclk2]
connect_bd_net [get_bd_pins xdma/axi_aresetn] [get_bd_pins control_interconnect/aresetn]
connect_bd_intf_net [get_bd_intf_pins xdma/M_AXI_LITE] [get_bd_intf_pins control_interconnect/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control_interconnect/M00_AXI] [get_bd_intf_pins npu/s_axi]
connect_bd_intf_net [get_bd_intf_pins control_interconnect/M01_AXI] [get_bd_intf_pins ddr4/C0_DDR4_S_AXI_CTRL]

# The end of a program interrupts the host.
create_bd_cell -type module -reference synchronizer irq_synchronizer
connect_bd_net [get_bd_pins xdma/axi_aclk] [get_bd_pins irq_synchronizer/clk]
connect_bd_net [get_bd_pins npu/irq] [get_bd_pins irq_synchronizer/level]
connect_bd_net [get_bd_pins irq_synchronizer/synchronized] [get_bd_pins xdma/usr_irq_req]

# Addresses: parameters.tcl has them.
foreach space {npu/m_axi xdma/M_AXI} {
    assign_bd_address -offset $memory_base -range $memory_bytes -target_address_space [get_bd_addr_spaces $space] \
        [get_bd_addr_segs ddr4/C0_DDR4_MEMORY_MAP/C0_DDR4_ADDRESS_BLOCK]
}
assign_bd_address -offset $registers_base -range $registers_bytes \
    -target_address_space [get_bd_addr_spaces xdma/M_AXI_LITE] [get_bd_addr_segs npu/s_axi/reg0]
assign_bd_address -offset $memory_controller_base -range $memory_controller_bytes \
    -target_address_space [get_bd_addr_spaces xdma/M_AXI_LITE] [get_bd_addr_segs ddr4/C0_DDR4_MEMORY_MAP_CTRL/C0_REG]
