# PCIe, DDR4 and the NPU, in Platform Designer:
#
#     host --- pcie --- rxm_bar0 (registers) --- npu.s_axi
#                |
#                +----- rxm_bar2 (a window of memory) --+
#                                                       +-- memory (EMIF)
#                             npu.m_axi ----------------+
#
# The NPU runs on the memory's clock: a quarter of 1066.667 MHz. Interconnects between clocks and widths are made by
# Platform Designer.

package require -exact qsys 17.1
source [file join [file dirname [info script]] parameters.tcl]

create_system system
set_project_property DEVICE_FAMILY $family
set_project_property DEVICE $part

# Memory: the vendor's preset of this kit has its timing.
add_instance memory altera_emif
apply_instance_preset memory $memory_preset
set_instance_parameter_value memory {SHORT_QSYS_INTERFACE_NAMES} {1}
add_interface memory conduit end
set_interface_property memory EXPORT_OF memory.mem
add_interface memory_oct conduit end
set_interface_property memory_oct EXPORT_OF memory.oct
add_interface memory_clock clock sink
set_interface_property memory_clock EXPORT_OF memory.pll_ref_clk
add_interface reset reset sink
set_interface_property reset EXPORT_OF memory.global_reset_n

# The host: generation 2, eight lanes, 128 bits at 250 MHz.
add_instance pcie altera_pcie_a10_hip
foreach {name value} [list \
    interface_type_hwtcl {Avalon-MM} \
    port_type_hwtcl {Native endpoint} \
    wrala_hwtcl 7 \
    avmm_addr_width_hwtcl 64 \
    pll_refclk_freq_hwtcl {100 MHz} \
    cg_impl_cra_av_slave_port_hwtcl 0 \
    bar0_type_hwtcl {32-bit non-prefetchable memory} \
    bar0_address_width_hwtcl $registers_bits \
    bar1_type_hwtcl Disabled \
    bar1_address_width_hwtcl 0 \
    bar2_type_hwtcl {64-bit prefetchable memory} \
    bar2_address_width_hwtcl $window_bits \
    vendor_id_hwtcl 4466 \
    device_id_hwtcl 57344 \
    class_code_hwtcl 1179648 \
] {
    set_instance_parameter_value pcie $name $value
}
add_interface pcie_refclk clock sink
set_interface_property pcie_refclk EXPORT_OF pcie.refclk
add_interface pcie_rstn conduit end
set_interface_property pcie_rstn EXPORT_OF pcie.npor
add_interface pcie conduit end
set_interface_property pcie EXPORT_OF pcie.hip_serial
add_interface pcie_ctrl conduit end
set_interface_property pcie_ctrl EXPORT_OF pcie.hip_ctrl
add_interface pcie_pipe conduit end
set_interface_property pcie_pipe EXPORT_OF pcie.hip_pipe

# The NPU, on the memory's clock.
add_instance npu fieldwave_npu
add_connection memory.emif_usr_clk npu.clock
add_connection memory.emif_usr_reset_n npu.reset

# Addresses: parameters.tcl has them.
add_connection npu.m_axi memory.ctrl_amm_0
set_connection_parameter_value npu.m_axi/memory.ctrl_amm_0 baseAddress $memory_base
add_connection pcie.rxm_bar2 memory.ctrl_amm_0
set_connection_parameter_value pcie.rxm_bar2/memory.ctrl_amm_0 baseAddress $memory_base
add_connection pcie.rxm_bar0 npu.s_axi
set_connection_parameter_value pcie.rxm_bar0/npu.s_axi baseAddress $registers_base

# The end of a program interrupts the host.
add_connection pcie.rxm_irq npu.irq
set_connection_parameter_value pcie.rxm_irq/npu.irq irqNumber 0

save_system system.qsys
