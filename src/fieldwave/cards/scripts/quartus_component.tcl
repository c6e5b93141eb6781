# The NPU as a component of Platform Designer.

package require -exact qsys 17.1
source [file join [file dirname [info script]] parameters.tcl]

set_module_property NAME fieldwave_npu
set_module_property VERSION 1.0
set_module_property DISPLAY_NAME "Fieldwave NPU"
set_module_property EDITABLE false

add_fileset synthesis QUARTUS_SYNTH
set_fileset_property synthesis TOP_LEVEL fieldwave_npu
foreach source $npu_sources { add_fileset_file [file tail $source] VERILOG PATH $source }

add_interface clock clock end
add_interface_port clock aclk clk Input 1
add_interface reset reset end
set_interface_property reset associatedClock clock
set_interface_property reset synchronousEdges DEASSERT
add_interface_port reset aresetn reset_n Input 1

# Bursts of INCR, 16 in flight each way: fieldwave.npu.axi.
add_interface m_axi axi4 start
set_interface_property m_axi associatedClock clock
set_interface_property m_axi associatedReset reset
set_interface_property m_axi readIssuingCapability 16
set_interface_property m_axi writeIssuingCapability 16
set_interface_property m_axi combinedIssuingCapability 32
set_interface_property m_axi issuesINCRBursts true
set_interface_property m_axi issuesWRAPBursts false
set_interface_property m_axi issuesFIXEDBursts false

add_interface s_axi axi4lite end
set_interface_property s_axi associatedClock clock
set_interface_property s_axi associatedReset reset

add_interface irq interrupt end
set_interface_property irq associatedClock clock
set_interface_property irq associatedReset reset
set_interface_property irq associatedAddressablePoint s_axi
add_interface_port irq irq irq Output 1

foreach {interface port role direction bits} $bus_ports {
    add_interface_port $interface $port $role $direction $bits
}
