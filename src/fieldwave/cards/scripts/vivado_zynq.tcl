# The processors, their memory and the NPU:
#
#     ps/M_AXI_HPM0_FPD --- control_interconnect --- npu/s_axi
#     npu/m_axi --- memory_interconnect --- ps/S_AXI_HP0_FPD (128 bits)
#
# No pin of the programmable logic is used; those of the processors come from the board file.

create_bd_cell -type ip -vlnv xilinx.com:ip:zynq_ultra_ps_e ps
apply_bd_automation -rule xilinx.com:bd_rule:zynq_ultra_ps_e -config {apply_board_preset "1"} [get_bd_cells ps]
set_property -dict [list \
    CONFIG.PSU__FPGA_PL0_ENABLE 1 \
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ 100 \
    CONFIG.PSU__USE__M_AXI_GP0 1 \
    CONFIG.PSU__USE__M_AXI_GP1 0 \
    CONFIG.PSU__USE__M_AXI_GP2 0 \
    CONFIG.PSU__USE__S_AXI_GP2 1 \
    CONFIG.PSU__SAXIGP2__DATA_WIDTH 128 \
    CONFIG.PSU__USE__IRQ0 1 \
] [get_bd_cells ps]

# The NPU's clock and reset.
create_bd_cell -type ip -vlnv xilinx.com:ip:clk_wiz clock
set_property -dict [list CONFIG.PRIM_SOURCE No_buffer CONFIG.CLKOUT1_REQUESTED_OUT_FREQ $npu_megahertz \
    CONFIG.USE_LOCKED true CONFIG.USE_RESET false] [get_bd_cells clock]
connect_bd_net [get_bd_pins ps/pl_clk0] [get_bd_pins clock/clk_in1]
create_bd_cell -type ip -vlnv xilinx.com:ip:proc_sys_reset npu_reset
connect_bd_net [get_bd_pins clock/clk_out1] [get_bd_pins npu_reset/slowest_sync_clk]
connect_bd_net [get_bd_pins ps/pl_resetn0] [get_bd_pins npu_reset/ext_reset_in]
connect_bd_net [get_bd_pins clock/locked] [get_bd_pins npu_reset/dcm_locked]

create_bd_cell -type module -reference fieldwave_npu npu
foreach name {memory_interconnect control_interconnect} {
    create_bd_cell -type ip -vlnv xilinx.com:ip:smartconnect $name
    set_property -dict [list CONFIG.NUM_SI 1 CONFIG.NUM_MI 1 CONFIG.NUM_CLKS 1] [get_bd_cells $name]
    connect_bd_net [get_bd_pins npu_reset/interconnect_aresetn] [get_bd_pins $name/aresetn]
}
foreach pin {npu/aclk memory_interconnect/aclk control_interconnect/aclk ps/maxihpm0_fpd_aclk ps/saxihp0_fpd_aclk} {
    connect_bd_net [get_bd_pins clock/clk_out1] [get_bd_pins $pin]
}
connect_bd_net [get_bd_pins npu_reset/peripheral_aresetn] [get_bd_pins npu/aresetn]
connect_bd_intf_net [get_bd_intf_pins npu/m_axi] [get_bd_intf_pins memory_interconnect/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins memory_interconnect/M00_AXI] [get_bd_intf_pins ps/S_AXI_HP0_FPD]
connect_bd_intf_net [get_bd_intf_pins ps/M_AXI_HPM0_FPD] [get_bd_intf_pins control_interconnect/S00_AXI]
connect_bd_intf_net [get_bd_intf_pins control_interconnect/M00_AXI] [get_bd_intf_pins npu/s_axi]
connect_bd_net [get_bd_pins npu/irq] [get_bd_pins ps/pl_ps_irq0]

# Addresses: parameters.tcl has them.
assign_bd_address -offset $memory_base -range $memory_bytes -target_address_space [get_bd_addr_spaces npu/m_axi] \
    [get_bd_addr_segs ps/SAXIGP2/HP0_DDR_LOW]
assign_bd_address -offset $registers_base -range $registers_bytes \
    -target_address_space [get_bd_addr_spaces ps/Data] [get_bd_addr_segs npu/s_axi/reg0]
