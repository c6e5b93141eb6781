# The whole project, from sources to bitstream:
#
#     qsys-script --script=system.tcl --search-path="./,$"
#     qsys-generate system.qsys --synthesis=VERILOG --search-path="./,$"
#     quartus_sh -t build.tcl
#
# What belongs to this configuration is in parameters.tcl.

package require ::quartus::project
package require ::quartus::flow

set here [file dirname [file normalize [info script]]]
source $here/parameters.tcl

project_new -overwrite -revision $project_name $project_name
set_global_assignment -name FAMILY $family
set_global_assignment -name DEVICE $part
set_global_assignment -name TOP_LEVEL_ENTITY top
set_global_assignment -name PROJECT_OUTPUT_DIRECTORY output
foreach source $sources { set_global_assignment -name VERILOG_FILE $source }
set_global_assignment -name QSYS_FILE system.qsys
set_global_assignment -name SDC_FILE constraints.sdc
set_global_assignment -name OPTIMIZATION_MODE "HIGH PERFORMANCE EFFORT"
# Two int8 products in a DSP block: Quartus pairs multiplications of 18 x 19 bits or less.
set_global_assignment -name DSP_BLOCK_BALANCING "DSP BLOCKS"

source $here/pins.tcl
export_assignments
execute_flow -compile
project_close
